// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package consultest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

func (s *slots) free(t *testing.T) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*slotPause)
	defer cancel()
	file, err := s.take(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	return err == nil && file.Close() == nil
}

// As many tests as there are slots have one at one time; the next one waits until one is given back.
func TestSlots_Take(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	// Each process has its own slots in the same folder.
	ours, theirs := &slots{folder: folder, count: 2}, &slots{folder: folder, count: 2}
	first := must.Get(ours.take(t.Context()))(t)
	second := must.Get(theirs.take(t.Context()))(t)
	defer second.Close()
	if theirs.free(t) {
		t.Error("a third slot of two is free")
	}
	time.AfterFunc(2*slotPause, func() { _ = first.Close() })
	must.Do(t, must.Get(theirs.take(t.Context()))(t).Close())
}

// A test has one slot for all of its clusters: it cannot wait for itself.
func TestSlots_OnePerTest(t *testing.T) {
	t.Parallel()
	s := &slots{folder: t.TempDir(), count: 1}
	t.Run("with a cluster", func(t *testing.T) {
		s.claim(t)
		s.claim(t)
		t.Run("subtest", func(t *testing.T) { s.claim(t) })
		if s.free(t) {
			t.Error("the end of a subtest gives the slot of the test back")
		}
	})
	if !s.free(t) {
		t.Error("the test has ended and still has its slot")
	}
	t.Run("with clusters in subtests only", func(t *testing.T) {
		for _, name := range []string{"one", "two"} {
			t.Run(name, func(t *testing.T) {
				s.claim(t)
				if s.free(t) {
					t.Error("the subtest has no slot")
				}
			})
		}
	})
	// The name of one test may begin with that of another.
	s.owners.Store("TestA", true)
	for name, want := range map[string]bool{"TestA": true, "TestA/b/c": true, "TestAB": false, "Test": false} {
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
		{"", 1, 3}, {"", 2, 6}, {"", 4, 12}, {"3", 2, 3}, {"0", 2, 6}, {"many", 2, 6},
	} {
		if got := slotCount(tc.variable, tc.processors); got != tc.want {
			t.Errorf("%q with %d processors: %d slots; want %d", tc.variable, tc.processors, got, tc.want)
		}
	}
}
