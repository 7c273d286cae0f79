// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package fact has values that are fetched at most once, however many ask for them.
package fact

import (
	"context"
	"sync"

	"github.com/zervigo/consul_cluster_exporter/internal/panics"
)

// Fact is a value that is fetched at most once. Its zero value is ready for use.
type Fact[T any] struct {
	mu    sync.Mutex
	done  chan struct{} // Guarded by mu: nil until somebody asks. It is closed once value and err are there.
	value T
	err   error
}

// Start begins to fetch the fact, in a goroutine of its own, unless it has been started. A panic of fetch is an
// error.
func (f *Fact[T]) Start(ctx context.Context, fetch func(context.Context) (T, error)) *Fact[T] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done != nil {
		return f
	}
	done := make(chan struct{})
	f.done = done
	go func() {
		defer close(done)
		f.err = panics.Try(func() (err error) {
			f.value, err = fetch(ctx)
			return err
		})
	}()
	return f
}

// Get waits for the fact until ctx is done. A value that is there is returned even when ctx has ended.
func (f *Fact[T]) Get(ctx context.Context) (T, error) {
	done := f.started()
	select {
	case <-done:
		return f.value, f.err
	default: // A select of both would choose one of them at random.
	}
	select {
	case <-done:
		return f.value, f.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// Wait waits for the fact, which must have been started, for as long as fetching takes.
func (f *Fact[T]) Wait() (T, error) {
	<-f.started()
	return f.value, f.err
}

// Peek returns the value if it is there already, and no error instead.
func (f *Fact[T]) Peek() (value T, ok bool) {
	select {
	case <-f.started():
		return f.value, f.err == nil
	default:
		return value, false
	}
}

// Asked reports whether the fact has been started.
func (f *Fact[T]) Asked() bool { return f.started() != nil }

func (f *Fact[T]) started() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.done
}
