// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package ownfile tells the program's own files from those of others, so that it never writes to, replaces or locks a
// file that another program or a person has put at the same path. A file is ours if what it contains says so.
package ownfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrInUse means that another process has a file that Lock is to take.
var ErrInUse = errors.New("another process uses it")

// Kind is a kind of files that the program writes.
type Kind struct {
	// name is what errors call it, such as "a history of the responder".
	name string
	// mark is what errors say is missing in a file of others.
	mark string
	// ours reads as much of a file as it needs to recognize it.
	ours func(io.Reader) bool
}

// WithFirstLine is the kind of files that begin with this line, which has no newline at its end.
func WithFirstLine(name, line string) Kind {
	want := []byte(line + "\n")
	return Kind{name, "its first line is not " + line, func(r io.Reader) bool {
		got := make([]byte, len(want))
		_, err := io.ReadFull(r, got)
		return err == nil && bytes.Equal(got, want)
	}}
}

// Recognized is the kind of files that ours recognizes. The mark is what errors say about others, such as "it has
// another uid".
func Recognized(name, mark string, ours func(io.Reader) bool) Kind { return Kind{name, mark, ours} }

// Empty is the kind of files that have no content.
func Empty(name string) Kind {
	return Kind{name, "it is not empty", func(io.Reader) bool { return false }} // Empty ones are not asked about.
}

// Open opens a file to read it from its beginning. Its error says that the file is not of this kind, or why that is
// unknown; it is fs.ErrNotExist if there is no file. An empty regular file is of any kind. What is no regular file is
// of none, and is not opened: to open a FIFO can take forever, and to open a device can have effects. A symbolic link
// is of none either, because renaming it would not rename the file.
func (k Kind) Open(path string) (*os.File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, k.foreign(path, "it is "+typeText(info.Mode()))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := k.verify(file, info); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// Check returns why a file must not be written to or replaced; nil if there is none or it is of this kind.
func (k Kind) Check(path string) error {
	file, err := k.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return file.Close()
}

// OpenToWrite opens a file for reading from its beginning and for writing with these flags. A file that is not there
// is made, and no file is opened for writing before it is known to be of this kind.
func (k Kind) OpenToWrite(path string, flags int, perm fs.FileMode) (*os.File, error) {
	read, err := k.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|flags, perm)
	}
	if err != nil {
		return nil, err
	}
	defer read.Close()
	info, err := read.Stat()
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|flags, perm)
	if err != nil {
		return nil, err
	}
	if err := Same(file, info); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// Same returns an error if a file is not the one that info is about: another one has taken its path.
func Same(file *os.File, info fs.FileInfo) error {
	opened, err := file.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(opened, info) {
		return fmt.Errorf("%s was replaced with another file", file.Name())
	}
	return nil
}

// verify looks at the content of a file that Lstat called regular.
func (k Kind) verify(file *os.File, info fs.FileInfo) error {
	if err := Same(file, info); err != nil {
		return err
	}
	if info.Size() == 0 {
		return nil
	}
	if !k.ours(file) {
		return k.foreign(file.Name(), k.mark)
	}
	_, err := file.Seek(0, io.SeekStart)
	return err
}

func (k Kind) foreign(path, why string) error {
	return fmt.Errorf("%s exists and is not %s: %s", path, k.name, why)
}

func typeText(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	default:
		return "no regular file"
	}
}
