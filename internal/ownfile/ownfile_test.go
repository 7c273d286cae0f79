// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package ownfile_test

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/ownfile"
)

var notes = ownfile.WithFirstLine("a file of notes", "# notes")

func withContent(content string) func(path string) error {
	return func(path string) error { return os.WriteFile(path, []byte(content), 0o600) }
}

func linkTo(content string) func(path string) error {
	return func(path string) error {
		return errors.Join(withContent(content)(path+"-target"), os.Symlink(path+"-target", path))
	}
}

// A file that is new, empty or ours is opened, and read from its beginning; all others are left as they are.
func TestKind(t *testing.T) {
	t.Parallel()
	const line = "its first line is not # notes"
	for _, tc := range []struct {
		name string
		make func(path string) error
		want string // Why it is refused; empty if it is not.
	}{
		{"ours", withContent("# notes\none\n"), ""},
		{"only the first line", withContent("# notes\n"), ""},
		{"empty", withContent(""), ""},
		{"without the newline", withContent("# notes"), line},
		{"with more in the first line", withContent("# notes!\n"), line},
		{"others", withContent("other\n# notes\n"), line},
		{"a newline", withContent("\n"), line},
		{"binary junk", withContent("\x00\x7fELF\xff\xfe\n\x00{"), line},
		{"a directory", func(path string) error { return os.Mkdir(path, 0o700) }, "it is a directory"},
		{"a FIFO", func(path string) error { return syscall.Mkfifo(path, 0o600) }, "it is a FIFO"},
		{"a socket", func(path string) error {
			listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				return err
			}
			listener.SetUnlinkOnClose(false)
			return listener.Close()
		}, "it is a socket"},
		{"a link to one of ours", linkTo("# notes\n"), "it is a symbolic link"},
		{"a link to one of others", linkTo("others'"), "it is a symbolic link"},
		{"a link to nothing", func(path string) error { return os.Symlink("nothing", path) }, "it is a symbolic link"},
	} {
		path := filepath.Join(t.TempDir(), "file")
		must.Do(t, tc.make(path))
		before := must.Get(os.Lstat(path))(t)
		file, err := notes.OpenToWrite(path, os.O_TRUNC, 0o600)
		after := must.Get(os.Lstat(path))(t)
		if tc.want == "" {
			must.Do(t, err)
			must.Do(t, file.Close())
			if after.Size() != 0 {
				t.Errorf("%s: it has %d bytes; want it to be empty", tc.name, after.Size())
			}
			continue
		}
		refused := err != nil && err.Error() == path+" exists and is not a file of notes: "+tc.want
		if !refused || notes.Check(path).Error() != err.Error() {
			t.Errorf("%s: error %v; want that %s", tc.name, err, tc.want)
		}
		if !os.SameFile(before, after) || before.Mode() != after.Mode() || before.ModTime() != after.ModTime() {
			t.Errorf("%s: it was %v and is %v; want it as it was", tc.name, before, after)
		}
	}
	for _, device := range []string{"/dev/null", "/dev/zero"} {
		if err := notes.Check(device); err == nil || !strings.HasSuffix(err.Error(), ": it is a device") {
			t.Errorf("%s: error %v; want that it is a device", device, err)
		}
	}
}

// A file that is not there can be checked, cannot be read, and is made to write to it.
func TestKind_Missing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	must.Do(t, notes.Check(path))
	if _, err := notes.Open(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v; want that there is no file", err)
	}
	file := must.Get(notes.OpenToWrite(path, os.O_APPEND, 0o600))(t)
	must.Get(io.WriteString(file, "# notes\none\n"))(t)
	must.Do(t, file.Close())
	file = must.Get(notes.Open(path))(t)
	defer file.Close()
	if content, err := io.ReadAll(file); err != nil || string(content) != "# notes\none\n" {
		t.Errorf("content %q, %v; want all of it", content, err)
	}
	other := must.Get(os.Stat(t.TempDir()))(t)
	if err := ownfile.Same(file, other); err == nil {
		t.Error("a folder is called the same file")
	}
}

// One that can be taken only while it is empty is never taken for its content.
func TestEmpty(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	must.Do(t, withContent("")(path))
	lock := ownfile.Empty("a lock")
	must.Do(t, lock.Check(path))
	must.Do(t, withContent("17")(path))
	if err := lock.Check(path); err == nil || !strings.Contains(err.Error(), "is not a lock: it is not empty") {
		t.Errorf("error %v; want that it is not empty", err)
	}
}
