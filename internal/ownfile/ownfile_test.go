// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package ownfile_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/ownfile"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

var notes = ownfile.WithFirstLine("a file of notes", "# notes")

// A file that is new, empty or ours is opened, and read from its beginning; all others are left as they are.
func TestKind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link, target := filepath.Join(dir, "link"), filepath.Join(dir, "target")
	must(t, os.WriteFile(target, []byte("# notes\n"), 0o600))
	must(t, os.Symlink(target, link))
	for _, tc := range []struct {
		name, path, content, want string
	}{
		{"ours", "", "# notes\none\n", ""},
		{"only the first line", "", "# notes\n", ""},
		{"empty", "", "", ""},
		{"without the newline", "", "# notes", "its first line is not # notes"},
		{"with more in the first line", "", "# notes!\n", "its first line is not # notes"},
		{"others", "", "other\n# notes\n", "its first line is not # notes"},
		{"a directory", dir, "", "it is a directory"},
		{"a link to one of ours", link, "", "it is a symbolic link"},
	} {
		path := tc.path
		if path == "" {
			path = filepath.Join(t.TempDir(), "file")
			must(t, os.WriteFile(path, []byte(tc.content), 0o600))
		}
		file, err := notes.OpenToWrite(path, os.O_TRUNC, 0o600)
		if tc.want != "" {
			if err == nil || !strings.HasPrefix(err.Error(), path+" exists and is not a file of notes: "+tc.want) || notes.Check(path).Error() != err.Error() {
				t.Errorf("%s: error %v; want that %s", tc.name, err, tc.want)
			}
			if content, err := os.ReadFile(path); tc.path == "" && (err != nil || string(content) != tc.content) {
				t.Errorf("%s: the file has %q, %v; want it as it was", tc.name, content, err)
			}
			continue
		}
		must(t, err)
		must(t, file.Close())
		if info, err := os.Stat(path); err != nil || info.Size() != 0 {
			t.Errorf("%s: %v, %v; want it to be empty", tc.name, info, err)
		}
	}
}

// A file that is not there can be checked, cannot be read, and is made to write to it.
func TestKind_Missing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	must(t, notes.Check(path))
	if _, err := notes.Open(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v; want that there is no file", err)
	}
	file, err := notes.OpenToWrite(path, os.O_APPEND, 0o600)
	must(t, err)
	_, err = io.WriteString(file, "# notes\none\n")
	must(t, err)
	must(t, file.Close())
	file, err = notes.Open(path)
	must(t, err)
	defer file.Close()
	if content, err := io.ReadAll(file); err != nil || string(content) != "# notes\none\n" {
		t.Errorf("content %q, %v; want all of it", content, err)
	}
	other, err := os.Stat(t.TempDir())
	must(t, err)
	if err := ownfile.Same(file, other); err == nil {
		t.Error("a folder is called the same file")
	}
}

// One that can be taken only while it is empty is never taken for its content.
func TestEmpty(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	must(t, os.WriteFile(path, nil, 0o600))
	lock := ownfile.Empty("a lock")
	must(t, lock.Check(path))
	must(t, os.WriteFile(path, []byte("17"), 0o600))
	if err := lock.Check(path); err == nil || !strings.Contains(err.Error(), "is not a lock: it is not empty") {
		t.Errorf("error %v; want that it is not empty", err)
	}
}
