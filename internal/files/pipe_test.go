// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package files

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// A pipe delivers what its writer writes, even if the writer comes late. Without a writer, only the first use waits,
// and not for long.
func TestWatched_Pipe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pipe")
	must.Do(t, syscall.Mkfifo(path, 0o600))
	go func() {
		writer, err := os.OpenFile(path, os.O_WRONLY, 0) // Waits for the reader.
		if err == nil {
			_, _ = writer.WriteString("first")
			writer.Close()
		}
	}()
	failed := make(chan error, 10)
	content := func(read []File) (string, error) { return string(read[0].Content), nil }
	w, err := Watch(content, func(err error) { failed <- err }, Source{Path: path})
	if err != nil || w.value != "first" {
		t.Fatalf("got %q, error %v; want what was written", w.value, err)
	}
	start := time.Now()
	for range 1000 {
		if got := w.Value(); got != "first" {
			t.Fatalf("got %q; want the last good content", got)
		}
	}
	if took := time.Since(start); took > 10*useWait {
		t.Errorf("1000 uses took %s", took)
	}
	if err := <-failed; !strings.Contains(err.Error(), path) || w.Failing() == nil || len(failed) != 0 {
		t.Errorf("the error is %v, failing with %v, and %d more; want one with the path", err, w.Failing(), len(failed))
	}

	must.Do(t, os.WriteFile(path+".new", []byte("second"), 0o600))
	must.Do(t, os.Rename(path+".new", path))
	for deadline := time.Now().Add(30 * time.Second); w.Value() != "second"; <-time.After(pipePoll) {
		if time.Now().After(deadline) {
			t.Fatal("what came instead of the pipe is not used")
		}
	}
	if err := w.Failing(); err != nil {
		t.Errorf("failing with %v; want that it is well again", err)
	}
}
