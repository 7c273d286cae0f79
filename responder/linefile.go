// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zervigo/consul_cluster_exporter/internal/ownfile"
)

// lineFile is a file of a history that lines are added to. No other process can have it, by whatever path.
type lineFile struct {
	path string
	file *os.File
	size int64
	// broken is why nothing can be added any more; nil if it can.
	broken error
}

// openLineFile opens a file and returns the lines after its header. A new file gets one.
func openLineFile(path string) (f *lineFile, lines []byte, err error) {
	file, lines, err := openHistoryFile(path)
	if err != nil {
		return nil, nil, err
	}
	if err := ownfile.Lock(file); err != nil {
		return nil, nil, errors.Join(inUse(path, err), file.Close())
	}
	return &lineFile{path: path, file: file, size: int64(len(historyHeader) + 1 + len(lines))}, lines, nil
}

func inUse(path string, err error) error {
	if errors.Is(err, ownfile.ErrInUse) {
		return fmt.Errorf("history %s is in use by another responder; each needs one of its own", path)
	}
	return err
}

// empty is whether there is nothing but the header.
func (f *lineFile) empty() bool { return f.size == int64(len(historyHeader)+1) }

// What somebody can have done to a file that the responder has open.
const (
	lossDeleted = "deleted"
	lossCut     = "cut off"
)

// loss is what was done to the file; empty if nothing. It is an error if another one is at its path.
func (f *lineFile) loss() (string, error) {
	info, err := os.Lstat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return lossDeleted, nil
	}
	if err == nil {
		err = ownfile.Same(f.file, info)
	}
	if err == nil && info.Size() < f.size {
		return lossCut, nil
	}
	return "", err
}

// repair keeps the good lines of a file that was cut off, and gives it a header again if it has lost that.
func (f *lineFile) repair() error {
	content, err := io.ReadAll(io.NewSectionReader(f.file, 0, f.size))
	if err != nil {
		return err
	}
	header := []byte(historyHeader + "\n")
	lines, ok := bytes.CutPrefix(content, header)
	if !ok {
		if err := f.cut(0); err != nil {
			return err
		}
		return f.add(header)
	}
	good, _ := readRecords(lines, func(Record) {}) // Bad ones are cut off as well.
	return f.cut(int64(len(header) + good))
}

// add writes a line, and returns when it is on the disk. What could be written of a line that fails is cut off again.
func (f *lineFile) add(line []byte) error {
	if f.broken != nil {
		return f.broken
	}
	_, err := f.file.Write(line)
	if err == nil {
		err = f.file.Sync()
	}
	if err != nil {
		return errors.Join(err, f.cut(f.size))
	}
	f.size += int64(len(line))
	return nil
}

// cut takes off what is behind a size.
func (f *lineFile) cut(size int64) error {
	if err := f.file.Truncate(size); err != nil {
		f.broken = fmt.Errorf("after an error a part is left: %w", err) // Half a line would spoil the next one.
		return f.broken
	}
	f.size = size
	return nil
}

// sync makes sure that the file and its name are on the disk.
func (f *lineFile) sync() error {
	return errors.Join(f.file.Sync(), ownfile.SyncFolder(filepath.Dir(f.path)))
}

func (f *lineFile) close() error { return f.file.Close() }
