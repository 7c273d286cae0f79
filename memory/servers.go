// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"cmp"
	"slices"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
)

// learnServers takes who the servers are now, and what became of those that were known.
func (m *Memory) learnServers(e *inputs.Evidence, elapsed time.Duration) {
	if e.Topology.Strangers(m.remembered()) {
		logger := m.logger()
		level.Warn(logger).Log("msg", "the state file is about another cluster, it is set aside and memory starts empty")
		m.state, m.foreign, m.dirty = state{Seconds: m.state.Seconds}, true, true
	}
	if e.Agent != nil && e.Agent.BootstrapExpect > 0 {
		m.state.BootstrapExpect = e.Agent.BootstrapExpect
	}
	if e.MinQuorum > 0 {
		m.state.MinQuorum = int(min(e.MinQuorum, MaxServers))
	}
	if len(e.Answered) <= maxAnswered && !slices.Equal(e.Answered, m.state.Answered) {
		m.state.Answered, m.dirty = slices.Clone(e.Answered), true
	}
	_, others := e.Topology.Split(e.Reports)
	for _, s := range e.Topology.Servers {
		if !slices.ContainsFunc(others, func(r cluster.Report) bool { return r.Server.ID == s.ID }) {
			m.learnServer(s, e)
		}
	}
	if e.Topology.RaftKnown {
		m.forgetRebuilt(&e.Topology)
		m.countVoters(e, elapsed)
	}
	m.forgetServers()
}

// learnServer notes one server of the topology. Without an ID it could not be told from another one later.
func (m *Memory) learnServer(s cluster.Server, e *inputs.Evidence) {
	if s.ID == "" || (s.Status == cluster.StatusNone && !e.Topology.RaftKnown) { // Nobody but memory names it.
		return
	}
	i := slices.IndexFunc(m.state.Servers, func(k serverState) bool { return k.ID == s.ID })
	switch {
	case s.Missing():
		if i >= 0 {
			m.miss(&m.state.Servers[i], s.Absence.How, e.At)
		}
		return
	case i < 0 && (len(m.state.Servers) >= MaxServers || !counts(s, &e.Topology)):
		return
	case i < 0:
		m.state.Servers = append(m.state.Servers, serverState{ID: s.ID, KnownSince: e.At.UTC()})
		i, m.dirty = len(m.state.Servers)-1, true
	}
	if known := &m.state.Servers[i]; known.see(s, e, m.state.Seconds, m.state.Voters > 0) {
		m.dirty = true
	}
}

// miss notes that a server is missing, and since when. That is not in the future: the clock was wrong.
func (m *Memory) miss(known *serverState, how cluster.Departure, now time.Time) {
	switch {
	case known.Missing == nil:
		known.Voter = known.hadVote(m.state.Seconds)
		known.Missing = &absenceState{How: how, Since: now.UTC(), At: m.state.Seconds}
		logger := m.logger()
		level.Info(logger).Log("msg", "a server is missing from now on", "server", known.Name, "id", known.ID, "how", how)
	case known.Missing.Since.After(now):
		known.Missing.Since = now.UTC()
	default:
		return
	}
	m.dirty = true
}

// forgetRebuilt forgets servers that were rebuilt under their names, and so have other IDs now. Their votes are not
// missing and not new.
func (m *Memory) forgetRebuilt(t *cluster.Topology) {
	for _, old := range slices.Clone(m.state.Servers) {
		i := slices.IndexFunc(t.Servers, func(s cluster.Server) bool { return s.ID != old.ID && s.Name == old.Name })
		if i < 0 || t.Servers[i].Status != cluster.StatusAlive || t.Called(old.ID) != "" {
			continue
		}
		j := slices.IndexFunc(m.state.Servers, func(s serverState) bool { return s.ID == t.Servers[i].ID })
		if j < 0 {
			continue
		}
		m.state.Servers[j].Replaces = m.state.Servers[j].Replaces || old.Voter
		m.drop(old)
	}
}

// counts reports whether a server that was not known is worth to be: one that failed and is no Raft peer was dismissed,
// or is what a cluster of long ago has left.
func counts(s cluster.Server, t *cluster.Topology) bool {
	return s.Status == cluster.StatusAlive || s.Status == cluster.StatusLeaving || slices.ContainsFunc(t.Peers, s.IsPeer)
}

// countVoters keeps how many voters there are and, with the quorum held, for how long there were at least so many.
func (m *Memory) countVoters(e *inputs.Evidence, elapsed time.Duration) {
	voters := 0
	for _, s := range e.Topology.Servers {
		if s.Voter && !s.Missing() {
			voters++
		}
	}
	m.state.Voters = voters
	if !quorumHeld(e) {
		return
	}
	if m.state.Expected == 0 {
		m.state.Expected, m.dirty = min(cmp.Or(m.state.BootstrapExpect, voters), MaxServers), true
	}
	bounded := min(voters, MaxServers)
	m.state.HeldSeconds = m.state.HeldSeconds[:min(len(m.state.HeldSeconds), bounded)]
	for len(m.state.HeldSeconds) < bounded {
		m.state.HeldSeconds = append(m.state.HeldSeconds, 0)
	}
	for i := range m.state.HeldSeconds {
		m.state.HeldSeconds[i] = min(m.state.HeldSeconds[i]+elapsed.Seconds(), heldFor.Seconds())
		if m.state.HeldSeconds[i] >= heldFor.Seconds() && i+1 > m.state.Expected {
			m.state.Expected, m.dirty = i+1, true
		}
	}
}

// quorumHeld reports whether a linearizable read succeeded, or the one leader answers and enough voters follow it.
func quorumHeld(e *inputs.Evidence) bool {
	if e.Read != nil && e.Read.OK {
		return true
	}
	reports, leader, voters, following := e.Reports, "", 0, 0
	for _, r := range reports {
		if !r.LeadsItself() {
			continue
		}
		if leader != "" {
			return false
		}
		leader = r.RPC.Raft.Leader
	}
	for _, r := range reports {
		if !r.Server.Voter {
			continue
		}
		voters++
		if r.RPC.Up && r.RPC.Raft.Leader == leader {
			following++
		}
	}
	return leader != "" && following > voters/2
}

// expected is how many voters there should be; 0 if that is unknown.
func (m *Memory) expected() int { return cmp.Or(m.opts.ExpectedVoters, m.state.Expected) }

// forgetServers forgets the missing servers that were replaced or dismissed, or that expired.
func (m *Memory) forgetServers() {
	slices.SortStableFunc(m.state.Servers, func(a, b serverState) int { return cmp.Compare(b.missingAt(), a.missingAt()) })
	var dismissed []string
	if m.opts.Dismissed != nil {
		dismissed = m.opts.Dismissed()
	}
	for _, s := range slices.Backward(slices.Clone(m.state.Servers)) { // The oldest gap is filled first.
		if s.Missing == nil {
			continue
		}
		switch by := m.replacement(s); {
		case slices.Contains(dismissed, s.ID):
			m.forget(s, "it was dismissed")
		case s.Voter && m.opts.ExpectedVoters > 0 && m.state.Voters >= m.opts.ExpectedVoters:
			m.forget(s, "there are as many voters as --cluster.expected-voters says")
		case by != nil:
			by.Replaces = true
			logger := m.logger()
			level.Info(logger).Log("msg", "a missing server was replaced", "server", s.Name, "id", s.ID, "by", by.Name)
			if *by.VoterAt >= s.Missing.At {
				m.drop(s)
			} else { // They were counted together for a while.
				m.dropExpected(s)
			}
		case m.expired(s):
			m.forget(s, "it left in order long ago, or no voter is lacking")
		}
	}
}

// forget forgets a missing server that is not replaced.
func (m *Memory) forget(s serverState, why string) {
	logger := m.logger()
	level.Info(logger).Log("msg", "a missing server is forgotten", "server", s.Name, "id", s.ID, "why", why)
	m.dropExpected(s)
}

// dropExpected forgets a server, and expects one voter fewer if it had a vote, but not fewer than there are.
func (m *Memory) dropExpected(s serverState) {
	m.drop(s)
	if s.Voter && m.state.Expected > m.state.Voters {
		m.state.Expected--
	}
}

func (m *Memory) drop(s serverState) {
	m.state.Servers = slices.DeleteFunc(m.state.Servers, func(k serverState) bool { return k.ID == s.ID })
	m.dirty = true
}

// replacement returns the voter that has taken the place of a missing one: one that got its vote later, if there are
// more gaps than voters are lacking, or one that got it shortly before, while there are still as many voters as Consul
// is configured to have. It is nil if there is none.
func (m *Memory) replacement(gone serverState) *serverState {
	if !gone.Voter {
		return nil
	}
	gaps, enough := 0, m.state.Voters >= max(m.state.BootstrapExpect, m.state.MinQuorum, 1)
	for _, s := range m.state.Servers {
		if s.Missing != nil && s.Voter {
			gaps++
		}
	}
	surplus := gaps > m.expected()-m.state.Voters
	for i := range m.state.Servers {
		s := &m.state.Servers[i]
		if s.Missing != nil || !s.Voter || s.VoterAt == nil || s.Replaces {
			continue
		}
		before := gone.Missing.At - *s.VoterAt
		if (before <= 0 && surplus) || (before > 0 && enough && before <= replacesWithin.Seconds()) {
			return s
		}
	}
	return nil
}

// expired reports whether a missing server needs no attention any more: it left in order, never had a vote, or no voter
// is lacking, and that for three days.
func (m *Memory) expired(s serverState) bool {
	harmless := !s.Voter || s.Missing.How == cluster.DepartureLeft || m.state.Voters >= m.expected()
	return harmless && m.state.Seconds-s.Missing.At >= forgottenAfter.Seconds()
}

// Forget forgets servers that are missing, as the operator wants, and returns which of these there were.
func (m *Memory) Forget(ids ...string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var forgotten []string
	for _, s := range slices.Clone(m.state.Servers) {
		if s.Missing != nil && slices.Contains(ids, s.ID) {
			m.forget(s, "it was dismissed")
			forgotten = append(forgotten, s.ID)
		}
	}
	return forgotten
}

// logger is where Options.Logger goes, or nowhere.
func (m *Memory) logger() log.Logger {
	if m.opts.Logger == nil {
		return log.NewNopLogger()
	}
	return m.opts.Logger
}
