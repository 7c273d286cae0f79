// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"
	"sync"
	"time"
)

// Memory is what scrapes have seen of the leadership. The zero value is ready; it is safe for concurrent use.
type Memory struct {
	mu sync.Mutex
	// last is when the latest scrape began in which a server answered.
	last   time.Time
	leader string
	term   uint64
	// since is zero for a leader that led when the watch began.
	since   time.Time
	changes uint64
}

// Learn takes what the servers said in a scrape that began at that time. Scrapes overlap: one that began before another is no news, and neither
// is one in which nobody leads or two do: a change counts when a single leader is there again.
func (h *Memory) Learn(reports []Report, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at.Before(h.last) || !slices.ContainsFunc(reports, func(r Report) bool { return r.RPC.Raft.LeaderKnown }) {
		return
	}
	watched := !h.last.IsZero()
	h.last = at
	leader, term, ok := soleLeader(reports)
	if !ok || (leader == h.leader && term == h.term) {
		return
	}
	switch {
	case h.leader == "": // The first one that is seen changes nothing.
	case term > h.term:
		h.changes += term - h.term
	default: // A lower term: the cluster was set up anew.
		h.changes++
	}
	h.leader, h.term, h.since = leader, term, time.Time{}
	if watched {
		h.since = at
	}
}

// LeaderChanges is how often the leader or the term changed since the first scrape. Between two scrapes there may have been several elections;
// each raises the term by one at least and the winner writes a log entry with its term at once, so the growth of the last log term counts them.
func (h *Memory) LeaderChanges() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changes
}

// LeaderSince returns since when the one leader of these reports leads; zero when that is not known.
func (h *Memory) LeaderSince(reports []Report) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if leader, term, ok := soleLeader(reports); ok && leader == h.leader && term == h.term {
		return h.since
	}
	return time.Time{}
}

// soleLeader returns the only server that calls itself leader, and the term of its last log entry.
func soleLeader(reports []Report) (name string, term uint64, ok bool) {
	for _, r := range reports {
		if !r.LeadsItself() || !r.RPC.Raft.StatsKnown {
			continue
		}
		if ok {
			return "", 0, false
		}
		name, term, ok = r.Server.Name, r.RPC.Raft.LastLogTerm, true
	}
	return name, term, ok
}
