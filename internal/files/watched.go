// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package files

import (
	"slices"
	"sync"
	"time"
)

// useWait is how long the user of a file waits to see whether the file has changed. Reading a file that is fine takes
// some microseconds.
const useWait = 100 * time.Millisecond

// Source names one file, or all files of a folder.
type Source struct {
	Path   string
	Folder bool
}

// Watched is what one or several files hold. Each use has the files read again in the background. As long as they
// cannot be read, or hold something unexpected, the last good value stays in use: a rotation replaces files, and for a
// moment there may be none. It is safe for concurrent use.
type Watched[T any] struct {
	sources []Source
	parse   func([]File) (T, error)
	onError func(error)

	mu         sync.Mutex
	read       []File        // Guarded by mu: what value was made from.
	value      T             // Guarded by mu.
	err        error         // Guarded by mu: why the last refresh failed; nil if it did not.
	refreshing chan struct{} // Guarded by mu: closed at the end of the refresh under way; nil without one.
	late       bool          // Guarded by mu: a refresh took longer than useWait, and none has succeeded since.
}

// Watch reads files for the first time, for which it waits as long as Read does for each. Parse makes the value of
// them; its errors must have no part of a secret. When a refresh fails where the one before did not, onError is
// called; nil means that nobody wants to know.
func Watch[T any](parse func([]File) (T, error), onError func(error), sources ...Source) (*Watched[T], error) {
	w := &Watched[T]{sources: sources, parse: parse}
	w.refresh()
	if w.err != nil {
		return nil, w.err
	}
	w.onError = onError
	return w, nil
}

// Value returns the current value. It waits for a tenth of a second at most, and not at all while the files are known
// to block.
func (w *Watched[T]) Value() T {
	w.mu.Lock()
	done, late := w.refreshing, w.late
	if done == nil {
		done = make(chan struct{})
		w.refreshing = done
		go func() {
			w.refresh()
			close(done)
		}()
	}
	w.mu.Unlock()
	if !late {
		w.wait(done)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.value
}

func (w *Watched[T]) wait(done <-chan struct{}) {
	select {
	case <-done:
	case <-time.After(useWait):
		w.mu.Lock()
		w.late = w.refreshing == done || w.late
		w.mu.Unlock()
	}
}

// Failing returns why the last refresh failed; nil if it did not.
func (w *Watched[T]) Failing() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// refresh reads the files and updates the value if they have changed.
func (w *Watched[T]) refresh() {
	read, err := w.readAll()
	w.mu.Lock()
	changed := !slices.EqualFunc(read, w.read, sameFile)
	w.mu.Unlock()
	var value T
	if err == nil && changed {
		value, err = w.parse(read)
	}
	w.mu.Lock()
	w.refreshing = nil
	failed := w.err == nil && err != nil
	w.err = err
	if err == nil {
		w.late = false
		if changed {
			w.read, w.value = read, value
		}
	}
	w.mu.Unlock()
	if failed && w.onError != nil {
		w.onError(err)
	}
}

func (w *Watched[T]) readAll() (read []File, err error) {
	for _, s := range w.sources {
		paths := []string{s.Path}
		if s.Folder {
			if paths, err = inFolder(s.Path); err != nil {
				return nil, err
			}
		}
		for _, path := range paths {
			content, err := Read(path)
			if err != nil {
				return nil, err
			}
			read = append(read, File{path, content})
		}
	}
	return read, nil
}
