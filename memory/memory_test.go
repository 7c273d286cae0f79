// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	silent, says := reporttest.Silent, reporttest.Says
	inTerm := func(leader int, term uint64) []cluster.Report {
		r := says(reporttest.Server(leader), leader, 3, 10)
		r.RPC.Raft.LastLogTerm = term
		return []cluster.Report{r, silent(reporttest.Server(3))}
	}
	nobody := []cluster.Report{says(reporttest.Server(1), 0, 3, 10), silent(reporttest.Server(2))}
	start := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	const unknown = -1
	var m Memory
	for _, step := range []struct {
		name    string
		second  int
		reports []cluster.Report
		since   int
		changes uint64
	}{
		{"no server answers", 0, []cluster.Report{silent(reporttest.Server(1))}, unknown, 0},
		{"nobody leads yet", 0, nobody, unknown, 0},
		{"the first leader", 1, inTerm(1, 2), 1, 0},
		{"the same", 2, inTerm(1, 2), 1, 0},
		{"nobody leads", 3, nobody, unknown, 0},
		{"another leader", 4, inTerm(2, 3), 4, 1},
		{"a scrape that began earlier ends later", 3, inTerm(1, 2), unknown, 1},
		{"the same as before it", 5, inTerm(2, 3), 4, 1},
		{"the same leader again, after an election", 6, inTerm(2, 4), 6, 2},
		{"three elections between two scrapes", 7, inTerm(1, 7), 7, 5},
		{"split brain", 8, append(inTerm(1, 7), inTerm(2, 9)...), unknown, 5},
		{"the same as before the split", 9, inTerm(1, 7), 7, 5},
		{"another leader whose log has not got its term yet", 10, inTerm(2, 7), 10, 6},
		{"a new cluster", 11, inTerm(2, 1), 11, 7},
	} {
		m.Learn(&inputs.Evidence{Reports: step.reports, At: start.Add(time.Duration(step.second) * time.Second)})
		want := time.Time{}
		if step.since != unknown {
			want = start.Add(time.Duration(step.since) * time.Second)
		}
		if got := m.LeaderSince(step.reports); !got.Equal(want) || m.LeaderChanges() != step.changes {
			t.Errorf("%s: since %v after %d changes; want %v and %d", step.name, got, m.LeaderChanges(), want, step.changes)
		}
	}
}

// When a leader was elected that led already at the first scrape is not known.
func TestMemory_FirstLeader(t *testing.T) {
	t.Parallel()
	reports := []cluster.Report{reporttest.Says(reporttest.Server(1), 1, 3, 10)}
	var m Memory
	m.Learn(&inputs.Evidence{Reports: reports, At: time.Unix(1, 0)})
	if got := m.LeaderSince(reports); !got.IsZero() || m.LeaderChanges() != 0 {
		t.Errorf("since %v after %d changes; want neither", got, m.LeaderChanges())
	}
}
