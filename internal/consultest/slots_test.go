// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"context"
	"errors"
	"testing"
	"time"
)

// As many tests as there are slots have one at one time; the next one waits until one is given back.
func TestSlots_Take(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	// Each process has slots of its own in the same folder.
	ours, theirs := newSlots(folder, 2), newSlots(folder, 2)
	first, err := ours.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := theirs.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*slotPause)
	defer cancel()
	if _, err := theirs.take(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third slot of two: %v; want to wait until the deadline", err)
	}
	waiting := make(chan error, 1)
	go func() {
		third, err := theirs.take(t.Context())
		waiting <- errors.Join(err, third.Close())
	}()
	select {
	case err := <-waiting:
		t.Errorf("a third slot of two is taken: %v", err)
	case <-time.After(2 * slotPause):
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		t.Errorf("a slot that was given back cannot be taken: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}

// A test has one slot, whoever starts its clusters: it cannot wait for itself.
func TestSlots_OnePerTest(t *testing.T) {
	t.Parallel()
	s := newSlots(t.TempDir(), 1)
	free := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), slotPause)
		defer cancel()
		file, err := s.take(ctx)
		return err == nil && file.Close() == nil
	}
	t.Run("with a cluster", func(t *testing.T) {
		s.claim(t)
		s.claim(t)
		t.Run("subtest", func(t *testing.T) { s.claim(t) })
		if free() {
			t.Error("the end of a subtest gives the slot of the test back")
		}
	})
	if !free() {
		t.Error("the test has ended and has its slot still")
	}
	t.Run("with clusters in subtests only", func(t *testing.T) {
		for _, name := range []string{"one", "two"} {
			t.Run(name, func(t *testing.T) {
				s.claim(t)
				if free() {
					t.Error("the subtest has no slot")
				}
			})
		}
	})
	// The name of one test may begin with that of another.
	s.setOwner("TestA", true)
	for name, want := range map[string]bool{"TestA": true, "TestA/b": true, "TestAB": false, "Test": false} {
		if got := s.owned(name); got != want {
			t.Errorf("%s has the slot of TestA: %t; want %t", name, got, want)
		}
	}
}

func TestSlotCount(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		variable         string
		processors, want int
	}{
		{"", 1, 2}, {"", 2, 3}, {"", 4, 6}, {"5", 2, 5}, {"0", 2, 3}, {"many", 2, 3},
	} {
		if got := slotCount(tc.variable, tc.processors); got != tc.want {
			t.Errorf("%q with %d processors: %d slots; want %d", tc.variable, tc.processors, got, tc.want)
		}
	}
}
