// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// A fact is fetched once however many ask, and a caller that cannot wait does not end it for the others.
func TestFact(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	release := make(chan struct{})
	fetched := 0
	var f Fact[int]
	if _, ok := f.Peek(); ok || f.Asked() {
		t.Error("a new fact is there, or has been asked for")
	}
	start := func() *Fact[int] {
		return f.Start(t.Context(), func(context.Context) (int, error) {
			fetched++
			<-release
			return 42, nil
		})
	}
	if _, err := start().Get(ended); !errors.Is(err, context.Canceled) || !f.Asked() {
		t.Errorf("error %v, asked %v; want that of the caller's context, and true", err, f.Asked())
	}
	if _, ok := f.Peek(); ok {
		t.Error("a fact is there before it has been fetched")
	}
	close(release)
	for range 2 {
		if got, err := start().Get(t.Context()); got != 42 || err != nil {
			t.Errorf("got %d, %v; want 42", got, err)
		}
	}
	if got, err := f.Wait(); got != 42 || err != nil {
		t.Errorf("got %d, %v; want 42", got, err)
	}
	for range 1000 {
		if got, err := f.Get(ended); got != 42 || err != nil {
			t.Fatalf("got %d, %v after the context has ended; want the value, which is there", got, err)
		}
	}
	if got, ok := f.Peek(); got != 42 || !ok {
		t.Errorf("got %d, %v; want 42, which is there", got, ok)
	}
	if fetched != 1 {
		t.Errorf("fetched %d times; want once", fetched)
	}
}

func TestFact_Panic(t *testing.T) {
	t.Parallel()
	var f Fact[int]
	_, err := f.Start(t.Context(), func(context.Context) (int, error) { panic("boom") }).Get(t.Context())
	if err == nil || !strings.Contains(err.Error(), "panic: boom") || !strings.Contains(err.Error(), "fact_test.go") {
		t.Errorf("error %v; want the panic and where it was", err)
	}
}
