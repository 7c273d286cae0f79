// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package memory is what is remembered from one scrape to the next.
package memory

import (
	"slices"
	"sync"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// Memory is what the scrapes of one cluster have seen. The zero value is ready; it is safe for concurrent use.
type Memory struct {
	mu sync.Mutex
	// last is when the latest scrape began in which a server answered.
	last   time.Time
	leader string
	term   uint64
	// since is zero for a leader that led when the watch began.
	since   time.Time
	changes uint64
	wan     wanAbsences
	log     commits
}

// commits is how far the log of a leader was committed.
type commits struct {
	leader    string // Its node ID.
	committed uint64
	at        time.Time // When the latest scrape began that knew.
	// standing is zero until two scrapes can be compared.
	standing cluster.Standing
	since    time.Time
}

// Learn takes what the servers reported in a scrape that began at that time. Scrapes overlap, so one that began
// before the last one is ignored. So is one without a leader, or with two: a change counts once there is a single
// leader again.
func (m *Memory) Learn(reports []cluster.Report, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at.Before(m.last) || !slices.ContainsFunc(reports, func(r cluster.Report) bool { return r.RPC.Raft.LeaderKnown }) {
		return
	}
	watched := !m.last.IsZero()
	m.last = at
	leader, term, ok := soleLeader(reports)
	if !ok || (leader == m.leader && term == m.term) {
		return
	}
	switch {
	case m.leader == "": // The first one that is seen changes nothing.
	case term > m.term:
		m.changes += term - m.term
	default: // A lower term: this is a new cluster.
		m.changes++
	}
	m.leader, m.term, m.since = leader, term, time.Time{}
	if watched {
		m.since = at
	}
}

// LeaderChanges is how often the leader or the term changed since the first scrape. Between two scrapes there may
// have been several elections; each raises the term by one at least and the winner writes a log entry with its term
// at once, so the growth of the last log term counts them.
func (m *Memory) LeaderChanges() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changes
}

// LeaderSince returns since when the one leader of these reports leads; zero when that is not known.
func (m *Memory) LeaderSince(reports []cluster.Report) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if leader, term, ok := soleLeader(reports); ok && leader == m.leader && term == m.term {
		return m.since
	}
	return time.Time{}
}

// soleLeader returns the only server that calls itself leader, and the term of its last log entry.
func soleLeader(reports []cluster.Report) (name string, term uint64, ok bool) {
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

// Standing takes how far the log of the leader with this node ID is, and is committed, in a scrape that began at that
// time, and returns since when it stands still. An empty ID means that no leader is known.
func (m *Memory) Standing(leader string, last, committed uint64, at time.Time) cluster.Standing {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch l := &m.log; {
	case leader == "" || leader != l.leader:
		m.log = commits{leader: leader, committed: committed, at: at, since: at}
	case !at.After(l.at): // It overlaps with another one.
	case committed == l.committed && last > committed:
		l.at, l.standing = at, cluster.Standing{Since: l.since, Scrapes: l.standing.Scrapes + 1}
	default:
		l.committed, l.at, l.since, l.standing = committed, at, at, cluster.Standing{Since: at}
	}
	return m.log.standing
}
