// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package memory is what is remembered from one scrape to the next, and across restarts of the exporter: who the
// servers were, how many of them had a vote, and who led.
//
// Time is counted, not read from the clock: each scrape adds the time since the one before it, but at most five
// minutes. So a clock that jumps, a laptop that sleeps or an exporter that was off for a week makes nothing expire.
package memory

import (
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
)

const (
	// longestGap is how much the time between two scrapes counts at most.
	longestGap = 5 * time.Minute
	// heldFor is how long a number of voters must have been held, with a quorum, to be expected from then on.
	heldFor = time.Hour
	// replacesWithin is how long before a server went its replacement may have got its vote.
	replacesWithin = 24 * time.Hour
	// forgottenAfter is how long servers that left in order, and those without a vote, stay known.
	forgottenAfter = 72 * time.Hour
	// MaxServers bounds how many servers are remembered.
	MaxServers = 200
)

// Options are what a Memory is made from. The zero value is a memory without a file.
type Options struct {
	// ExpectedVoters is how many voters the cluster should have; 0 means the most that it had for an hour.
	ExpectedVoters int
	// Dismissed returns the IDs of servers that are not to be remembered once they are missing; nil means none.
	Dismissed func() []string
	// Logger gets what happens to the file and to what is remembered; nil means no log.
	Logger log.Logger
}

// Memory is what the scrapes of one cluster have seen. The zero value is ready; it is safe for concurrent use.
type Memory struct {
	opts Options
	// file is nil without a state file.
	file *stateFile

	mu sync.Mutex
	// learned is when the latest scrape began.
	learned time.Time
	// watched is whether an earlier scrape of this process saw a server answer.
	watched bool
	changes uint64
	wan     wanAbsences
	state   state
	// peeringsRead is when the scrape began that saw the latest peerings.
	peeringsRead time.Time
	// dirty is whether something changed that a restart must not lose.
	dirty bool
	// foreign is whether the state in the file is that of another cluster.
	foreign bool
}

// New returns a memory without a file.
func New(opts Options) *Memory { return &Memory{opts: opts} }

// Learn takes what a scrape saw. Scrapes overlap, so one that began before the latest one is ignored, unless the clock
// was set back. Leadership is learned only from a scrape with a single leader: a change counts once there is one again.
func (m *Memory) Learn(e *inputs.Evidence) {
	m.mu.Lock()
	if elapsed, ok := m.advance(e.At); ok {
		m.learnServers(e, elapsed)
		m.learnLeader(e.Reports, e.At)
	}
	m.mu.Unlock()
	if m.file != nil {
		m.file.wake()
	}
}

// advance returns the time to count since the latest scrape, and whether this one is later.
func (m *Memory) advance(at time.Time) (elapsed time.Duration, ok bool) {
	switch since := at.Sub(m.learned); {
	case m.learned.IsZero():
	case since >= 0:
		elapsed = min(since, longestGap)
	case since > -longestGap:
		return 0, false
	}
	m.learned = at
	m.state.Seconds += elapsed.Seconds()
	return elapsed, true
}

// learnLeader notes the only leader, if there is one.
func (m *Memory) learnLeader(reports []cluster.Report, at time.Time) {
	if !slices.ContainsFunc(reports, func(r cluster.Report) bool { return r.RPC.Raft.LeaderKnown }) {
		return
	}
	watched := m.watched
	m.watched = true
	leader, ok := soleLeader(reports)
	before := m.state.Leader
	if !ok || leader.is(before) {
		return
	}
	switch {
	case before == nil || !watched: // The first one that this process sees is no change.
	case leader.Term > before.Term:
		m.changes += leader.Term - before.Term
	default: // A lower term: this is a new cluster.
		m.changes++
	}
	if watched {
		leader.Since = at
	}
	m.state.Leader, m.dirty = &leader, true
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
	if leader, ok := soleLeader(reports); ok && leader.is(m.state.Leader) {
		return m.state.Leader.Since
	}
	return time.Time{}
}

// soleLeader returns the only server that calls itself leader, and the term of its last log entry.
func soleLeader(reports []cluster.Report) (leader leaderState, ok bool) {
	for _, r := range reports {
		if !r.LeadsItself() || !r.RPC.Raft.StatsKnown {
			continue
		}
		if ok {
			return leaderState{}, false
		}
		leader, ok = leaderState{ID: keyOf(r.Server), Term: r.RPC.Raft.LastLogTerm}, true
	}
	return leader, ok
}

// keyOf tells servers apart: by node ID, or by name where none is known.
func keyOf(s cluster.Server) string {
	if s.ID == "" {
		return s.Name
	}
	return s.ID
}

// Shortage is how many voters there should be, and how many of these are missing.
type Shortage struct {
	// Expected is 0 as long as it is unknown.
	Expected int
	Missing  int
}

// Shortage compares with the number of voters that was seen last.
func (m *Memory) Shortage() Shortage {
	m.mu.Lock()
	defer m.mu.Unlock()
	expected := m.expected()
	return Shortage{Expected: expected, Missing: max(0, expected-m.state.Voters)}
}

// Remembered returns the servers that were known, for cluster.Options: first those that are missing, the latest first.
func (m *Memory) Remembered() []cluster.Server {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.remembered()
}

func (m *Memory) remembered() []cluster.Server {
	servers := make([]cluster.Server, 0, len(m.state.Servers))
	for _, s := range m.state.Servers {
		servers = append(servers, s.server(m.state.Seconds))
	}
	return servers
}

// Answered returns the addresses of ports at which something has answered, for cluster.Options.
func (m *Memory) Answered() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.state.Answered)
}
