// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"
	"time"
)

// Absence says that a server was known and that Consul no longer names it as one of the cluster's.
type Absence struct {
	How Departure
	// Since is when it was first missing.
	Since time.Time
	// Voter is whether it had a vote.
	Voter bool
	// Succeeded is whether a live server with another ID has its address on port 8300. Then nothing is asked there on
	// behalf of the missing one.
	Succeeded bool
}

// Departure is how a server disappeared.
type Departure string

// The ways in which a server disappears.
const (
	// DepartureLeft means that it was seen leaving.
	DepartureLeft Departure = "left"
	// DepartureRemoved means that it failed before it was removed, mostly by autopilot.
	DepartureRemoved Departure = "removed"
	// DepartureGone means that nobody saw how it went. It is judged as a removal.
	DepartureGone Departure = "gone"
)

// DepartureOf returns how a server went that was last in this state of Serf.
func DepartureOf(last MemberStatus) Departure {
	switch last {
	case StatusLeaving:
		return DepartureLeft
	case StatusFailed:
		return DepartureRemoved
	default:
		return DepartureGone
	}
}

// Missing reports whether Consul no longer names the server.
func (s Server) Missing() bool { return s.Absence != nil }

// unprobed says why a missing server's ports are not probed; empty if they are.
func (s Server) unprobed() string {
	switch {
	case s.Absence == nil:
		return ""
	case s.Absence.Succeeded:
		return "another server has this address now"
	case s.Absence.How == DepartureLeft:
		return "the server left the cluster in order"
	default:
		return ""
	}
}

// MissingServers are the servers that were known and that Consul no longer names.
func (t *Topology) MissingServers() []Server {
	return slices.DeleteFunc(slices.Clone(t.Servers), func(s Server) bool { return !s.Missing() })
}

// remember adds the servers that are known from before (Options.Remembered) and that Consul does not name now. Only the
// Raft configuration tells that a server is gone: while it is unknown, they are taken to be what they were.
func (t *Topology) remember(remembered []Server, members []Member, now time.Time) {
	if t.Strangers(remembered) {
		return
	}
	for i := range remembered {
		s := remembered[i]
		if j := slices.IndexFunc(t.Servers, func(named Server) bool { return named.ID == s.ID }); j >= 0 {
			t.judgeNamed(&t.Servers[j], s, now)
			continue
		}
		if j := slices.IndexFunc(t.Servers, func(named Server) bool {
			return named.ID == "" && named.RPCAddress == s.RPCAddress && !s.Missing()
		}); j >= 0 {
			t.Servers[j].ID = s.ID // Of a Raft configuration without IDs.
			t.Servers[j].takeName(s)
			continue
		}
		if t.holdsName(s) {
			continue
		}
		if t.RaftKnown || s.Missing() {
			s = t.missing(s, members, now)
		} else {
			s.Status = StatusNone
		}
		t.Servers = append(t.Servers, s)
	}
	*t = t.named()
}

// Strangers reports whether the servers that are known from before are those of another cluster: some of them had a
// vote, and none of them is in the Raft configuration.
func (t *Topology) Strangers(remembered []Server) bool {
	if !t.RaftKnown || len(t.Peers) == 0 {
		return false
	}
	voted := false
	for _, s := range remembered {
		voted = voted || s.Voter || (s.Missing() && s.Absence.Voter)
		if slices.ContainsFunc(t.Peers, func(p RaftPeer) bool { return p.nodeID() == "" || p.ID == s.ID }) {
			return false
		}
	}
	return voted
}

// judgeNamed marks a server that is named only as failed in Serf, and not in the Raft configuration, as missing.
func (t *Topology) judgeNamed(named *Server, before Server, now time.Time) {
	named.takeName(before)
	if t.RaftKnown && named.Status == StatusFailed && !slices.ContainsFunc(t.Peers, named.IsPeer) {
		if before.Status != StatusLeaving {
			before.Status = StatusFailed
		}
		named.Absence = absence(before, now)
	}
}

// takeName gives a Raft peer that no Serf member matches the name that it had.
func (s *Server) takeName(before Server) {
	if s.Name == s.RPCAddress {
		s.Name = before.Name
	}
}

// missing returns a server as one that Consul does not name.
func (t *Topology) missing(s Server, members []Member, now time.Time) Server {
	s.Absence = absence(s, now)
	s.Absence.Succeeded = slices.ContainsFunc(t.Servers, func(named Server) bool {
		return named.Status == StatusAlive && named.RPCAddress == s.RPCAddress
	})
	s.Voter, s.Status = false, StatusNone
	if i := slices.IndexFunc(members, func(m Member) bool { return m.ID == s.ID }); i >= 0 {
		s.Status = members[i].Status
	}
	return s
}

// markDropped marks servers as missing that are not in the Raft configuration any more and do not answer, by what the
// followers of a leader said. It is for a scrape in which no agent said who the members are: the list of an earlier one
// may call anybody alive.
func (t *Topology) markDropped(reports []Report, remembered []Server, now time.Time) {
	own, _ := t.Split(reports)
	if counts, ok := deciding(own); !ok || counts.RPC.Raft.Leader == "" {
		return
	}
	for _, before := range remembered {
		i := slices.IndexFunc(t.Servers, func(s Server) bool { return s.ID == before.ID })
		if i < 0 || t.Servers[i].Missing() || slices.ContainsFunc(t.Peers, t.Servers[i].IsPeer) {
			continue
		}
		j := slices.IndexFunc(reports, func(r Report) bool { return r.Server.ID == before.ID })
		if j >= 0 && !reports[j].RPC.Up && (before.Missing() || (before.Voter && !reports[j].RPC.Outcome().Unknown())) {
			t.Servers[i].Absence = absence(before, now)
		}
	}
}

// absence returns since when a server is missing that was not named before, or is not now.
func absence(before Server, now time.Time) *Absence {
	if before.Missing() {
		known := *before.Absence
		known.Succeeded = false
		return &known
	}
	return &Absence{How: DepartureOf(before.Status), Since: now, Voter: before.Voter}
}

// holdsName reports whether another server has the name of a missing one: it was rebuilt, and has another ID.
func (t *Topology) holdsName(s Server) bool {
	return slices.ContainsFunc(t.Servers, func(other Server) bool { return other.Name == s.Name })
}

// RemembersAnother reports whether the servers that are known from before (Options.Remembered) are those of another
// cluster, as far as a closed snapshot has found out. They are ignored then.
func (c *Cluster) RemembersAnother() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := newTopology(c.known.members, c.known.peers)
	return t.Strangers(c.known.remembered)
}

// remembered returns the servers that are known from before.
func (c *Cluster) remembered() []Server {
	if c.opts.Remembered == nil {
		return nil
	}
	return c.opts.Remembered()
}
