// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
)

func TestMemory_LeaderSince(t *testing.T) {
	t.Parallel()
	inTerm := func(leader int, term uint64) []cluster.Report {
		r := reporttest.Says(reporttest.Server(leader), leader, 3, 10)
		r.RPC.Raft.LastLogTerm = term
		return []cluster.Report{r, reporttest.Silent(reporttest.Server(3))}
	}
	start := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	at := func(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }
	var m Memory
	for _, step := range []struct {
		name    string
		second  int
		reports []cluster.Report
		want    time.Time
	}{
		{"nobody answers", 0, []cluster.Report{reporttest.Silent(reporttest.Server(1))}, time.Time{}},
		{"the first that is seen", 1, inTerm(1, 2), time.Time{}},
		{"the same", 2, inTerm(1, 2), time.Time{}},
		{"nobody leads", 3, []cluster.Report{reporttest.Says(reporttest.Server(1), 0, 3, 10)}, time.Time{}},
		{"another", 4, inTerm(2, 3), at(4)},
		{"a scrape that began earlier ends later", 3, inTerm(1, 2), time.Time{}},
		{"the same as before it", 5, inTerm(2, 3), at(4)},
		{"elected again", 6, inTerm(2, 4), at(6)},
	} {
		m.Learn(step.reports, at(step.second))
		if got := m.LeaderSince(step.reports); !got.Equal(step.want) {
			t.Errorf("%s: since %v; want %v", step.name, got, step.want)
		}
	}
}

func TestMemory_LeaderChanges(t *testing.T) {
	t.Parallel()
	inTerm := func(leader int, term uint64) []cluster.Report {
		r := reporttest.Says(reporttest.Server(leader), leader, 3, 10)
		r.RPC.Raft.LastLogTerm = term
		return []cluster.Report{r, reporttest.Says(reporttest.Server(3), leader, 3, 10)}
	}
	two := append(inTerm(1, 7), inTerm(2, 9)...)
	none := []cluster.Report{reporttest.Says(reporttest.Server(1), 0, 3, 10), reporttest.Silent(reporttest.Server(2))}

	var m Memory
	for i, step := range []struct {
		name    string
		reports []cluster.Report
		want    uint64
	}{
		{"nobody leads yet", none, 0},
		{"first leader", inTerm(1, 2), 0},
		{"the same", inTerm(1, 2), 0},
		{"nobody leads", none, 0},
		{"another leader", inTerm(2, 3), 1},
		{"the same leader again, after an election", inTerm(2, 4), 2},
		{"three elections between two scrapes", inTerm(1, 7), 5},
		{"split brain", two, 5},
		{"the same as before the split", inTerm(1, 7), 5},
		{"another leader whose log has not got its term yet", inTerm(2, 7), 6},
		{"a cluster set up anew", inTerm(2, 1), 7},
	} {
		m.Learn(step.reports, time.Unix(int64(i), 0))
		if got := m.LeaderChanges(); got != step.want {
			t.Errorf("step %d, %s: %d changes; want %d", i, step.name, got, step.want)
		}
	}
}
