// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package files reads the files that operators configure: tokens, keys, certificates, configuration.
//
// Reading a file may block: a pipe that nobody writes to, a network file system that hangs. So every file is read in
// the background, by at most one goroutine in the process, and callers wait for a bounded time.
package files

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// maxBytes bounds a file. The largest that is read is a bundle of all public authorities, with 250 KB.
	maxBytes = 4 << 20
	// startWait is how long the start of the program, a reload of the configuration and a refresh in the background wait
	// for one file.
	startWait = 5 * time.Second
	// pipeWait is how long a pipe may take to deliver. It is shorter than startWait, so that its own error is reported.
	pipeWait = 4 * time.Second
	// pipePoll is how often a pipe without a writer is read again.
	pipePoll = 20 * time.Millisecond
)

// errBlocked means that reading a file takes longer than anyone waits for it.
var errBlocked = errors.New("reading it blocks (is it a pipe that nobody writes to, or on a file system that hangs?)")

// Read reads a whole file. It waits for 5 seconds at most and accepts 4 MiB at most. Its error has the path.
func Read(path string) ([]byte, error) {
	return reads.get(path, startWait, func() ([]byte, error) { return readAll(path) })
}

// inFolder returns the paths of the files in a folder, with the bounds of Read.
func inFolder(folder string) ([]string, error) {
	paths, err := listings.get(folder, startWait, func() (paths []string, err error) {
		entries, err := os.ReadDir(folder) // Says "open <folder>: ...".
		for _, e := range entries {
			path := filepath.Join(folder, e.Name())
			// Kubernetes mounts secrets with a link to a folder among the files.
			if info, err := os.Stat(path); err != nil || !info.IsDir() {
				paths = append(paths, path)
			}
		}
		return paths, err
	})
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("folder %s has no file", folder)
	}
	return paths, err
}

// Those under way in this process.
var (
	reads    = flights[[]byte]{byPath: make(map[string]*flight[[]byte])}
	listings = flights[[]string]{byPath: make(map[string]*flight[[]string])}
)

// flights lets all who want to read the same path share one goroutine.
type flights[T any] struct {
	mu     sync.Mutex
	byPath map[string]*flight[T] // Guarded by mu.
}

// flight is a read under way. Its result may be used when done is closed.
type flight[T any] struct {
	start time.Time
	done  chan struct{}
	value T
	err   error
}

// get returns what read returns, which it starts unless a read of this path is under way. It fails once the read has
// taken as long as wait.
func (fs *flights[T]) get(path string, wait time.Duration, read func() (T, error)) (value T, err error) {
	f := fs.start(path, read)
	select {
	case <-f.done:
		return f.value, f.err
	case <-time.After(time.Until(f.start.Add(wait))):
		return value, fmt.Errorf("read %s: %w", path, errBlocked)
	}
}

func (fs *flights[T]) start(path string, read func() (T, error)) *flight[T] {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.byPath[path]; f != nil {
		return f
	}
	f := &flight[T]{start: time.Now(), done: make(chan struct{})}
	fs.byPath[path] = f
	go func() {
		f.value, f.err = read()
		fs.mu.Lock()
		delete(fs.byPath, path)
		fs.mu.Unlock()
		close(f.done)
	}()
	return f
}

// readAll reads a file, which may be a pipe.
func readAll(path string) ([]byte, error) {
	// Opening a pipe that nobody writes to would block until somebody does, even when the path has long become another
	// file.
	f, err := os.OpenFile(path, os.O_RDONLY|nonblocking, 0)
	if err != nil {
		return nil, err // Says "open <path>: ...".
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	in := io.Reader(f)
	if info.Mode()&fs.ModeNamedPipe != 0 {
		deadline := time.Now().Add(pipeWait)
		_ = f.SetReadDeadline(deadline) // Where it is not supported, startWait is what bounds the read.
		in = &pipe{f, deadline, false}
	}
	content, err := io.ReadAll(io.LimitReader(in, maxBytes+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("read %s: nobody has written to this pipe within %s", path, pipeWait)
	case err != nil:
		return nil, err // Says "read <path>: ...".
	case len(content) > maxBytes:
		return nil, fmt.Errorf("read %s: the file is larger than %d MiB", path, maxBytes>>20)
	}
	return content, nil
}

// pipe waits for its first writer, which a pipe opened without blocking does not do by itself.
type pipe struct {
	r        io.Reader
	deadline time.Time
	written  bool
}

func (p *pipe) Read(b []byte) (int, error) {
	for {
		n, err := p.r.Read(b)
		p.written = p.written || n > 0
		if p.written || !errors.Is(err, io.EOF) {
			return n, err
		}
		if time.Now().After(p.deadline) {
			return 0, os.ErrDeadlineExceeded
		}
		<-time.After(pipePoll)
	}
}

// File is what a file held when it was last read.
type File struct {
	Path    string
	Content []byte
}

func sameFile(a, b File) bool { return a.Path == b.Path && bytes.Equal(a.Content, b.Content) }
