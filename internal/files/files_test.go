// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// However many want to read a file that hangs, one goroutine does, and nobody waits for longer than he wants.
func TestFlights(t *testing.T) {
	t.Parallel()
	fs := flights[[]byte]{byPath: make(map[string]*flight[[]byte])}
	release := make(chan struct{})
	reads := 0
	read := func() ([]byte, error) {
		reads++
		<-release
		return []byte("content"), nil
	}
	for range 100 {
		_, err := fs.get("hung", 10*time.Millisecond, read)
		if !errors.Is(err, errBlocked) || !strings.Contains(err.Error(), "hung") {
			t.Fatalf("error %v; want %v with the path", err, errBlocked)
		}
	}
	f := fs.byPath["hung"]
	close(release)
	<-f.done
	if content, err := fs.get("hung", time.Minute, read); string(content) != "content" || err != nil || reads != 2 {
		t.Errorf("got %q, error %v after %d reads; want the content after 2", content, err, reads)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	must.Do(t, os.WriteFile(path, make([]byte, maxBytes+1), 0o600))
	for path, want := range map[string]string{
		path: "is larger than 4 MiB", "/dev/zero": "is larger than 4 MiB", dir: "is a directory",
		filepath.Join(dir, "none"): "no such file",
	} {
		content, err := Read(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("got %d bytes, error %v; want an error with %q and %s", len(content), err, want, path)
		}
	}
	must.Do(t, os.WriteFile(path, make([]byte, maxBytes), 0o600))
	if content, err := Read(path); err != nil || len(content) != maxBytes {
		t.Errorf("got %d bytes, error %v; want %d", len(content), err, maxBytes)
	}
}

// A folder is watched as a whole: files come, change and go. Folders in it do not count.
func TestWatched_Folder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	parse := func(read []File) (string, error) {
		var all []string
		for _, f := range read {
			all = append(all, filepath.Base(f.Path)+"="+string(f.Content))
		}
		return strings.Join(all, " "), nil
	}
	if _, err := Watch(parse, nil, Source{dir, true}); err == nil || !strings.Contains(err.Error(), "has no file") {
		t.Errorf("error %v; want that there is no file", err)
	}
	write := func(name, content string) {
		t.Helper()
		must.Do(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	write("a", "1")
	must.Do(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	var errs []error
	w := must.Get(Watch(parse, func(err error) { errs = append(errs, err) }, Source{dir, true}))(t)
	expect := func(want string, failing bool, wantErrs int) {
		t.Helper()
		if got := w.Value(); got != want || (w.Failing() != nil) != failing || len(errs) != wantErrs {
			t.Errorf("got %q, failing with %v, errors %v; want %q, failing %v, %d errors",
				got, w.Failing(), errs, want, failing, wantErrs)
		}
	}
	expect("a=1", false, 0)
	write("b", "2")
	expect("a=1 b=2", false, 0)
	write("a", "3")
	expect("a=3 b=2", false, 0)
	for _, name := range []string{"a", "b"} {
		must.Do(t, os.Remove(filepath.Join(dir, name)))
	}
	expect("a=3 b=2", true, 1)
	expect("a=3 b=2", true, 1)
	write("c", "4")
	expect("c=4", false, 1)
}
