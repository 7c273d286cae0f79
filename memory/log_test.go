// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

func TestMemory_Standing(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	m := New(Options{})
	for _, c := range []struct {
		what            string
		leader          string
		last, committed uint64
		at              time.Duration
		since           time.Duration // Negative means that nothing stands still, as far as is known.
		scrapes         int
	}{
		{"the first scrape", "a", 12, 10, 0, -1, 0},
		{"stands still", "a", 12, 10, 5 * time.Second, 0, 1},
		{"no leader is known", "", 0, 0, 10 * time.Second, -1, 0},
		{"still stands still", "a", 13, 10, 15 * time.Second, 0, 2},
		{"overlaps", "a", 20, 20, 14 * time.Second, 0, 2},
		{"moves", "a", 21, 13, 20 * time.Second, 20 * time.Second, 0},
		{"stands still again", "a", 21, 13, 30 * time.Second, 20 * time.Second, 1},
		{"all is committed", "a", 13, 13, 40 * time.Second, 40 * time.Second, 0},
		{"another leader", "b", 30, 13, 50 * time.Second, -1, 0},
		{"the other one stands still", "b", 30, 13, time.Minute, 50 * time.Second, 1},
		{"the clock is set back", "b", 30, 13, -time.Hour, -1, 0},
		{"and stands still", "b", 30, 13, time.Minute - time.Hour, -time.Hour, 1},
	} {
		want := inputs.Standing{Since: start.Add(c.since), Scrapes: c.scrapes}
		if c.since == -1 {
			want = inputs.Standing{}
		}
		if got := m.Standing(c.leader, c.last, c.committed, start.Add(c.at)); got != want {
			t.Errorf("%s: %v; want %v", c.what, got, want)
		}
	}
}

// What stands still before the exporter is restarted still does so after that, and for the command check.
func TestMemory_Standing_Restart(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	m := New(Options{})
	m.Standing("a", 12, 10, start)
	m.Standing("a", 12, 10, start.Add(time.Second))
	again, err := Decode(must.Get(m.Encode(start))(t), Options{})
	must.Do(t, err)
	want := inputs.Standing{Since: start, Scrapes: 2}
	if got := again.Standing("a", 12, 10, start.Add(time.Hour)); got != want {
		t.Errorf("after the restart: %v; want %v", got, want)
	}
}
