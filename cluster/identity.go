// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"fmt"
	"net"
	"slices"
)

// newTopology joins the Serf members (nil: unknown) with the Raft configuration (nil: unknown).
func newTopology(members []Member, peers []RaftPeer) Topology {
	t := Topology{MembersKnown: members != nil}
	if t.MembersKnown {
		t.ServerStates = make(map[MemberStatus]int)
	}
	for _, m := range members {
		if !m.Server() {
			continue
		}
		t.ServerStates[m.Status]++
		if m.Status != StatusLeft {
			t.Servers = append(t.Servers, newServer(m))
		}
	}
	t.Servers = onePerID(t.Servers)
	return t.WithPeers(peers)
}

// onePerID keeps one server of those with the same ID, one that is alive if there is one: the others are names that it
// had before.
func onePerID(servers []Server) []Server {
	byRank(servers)
	known := make(map[string]bool)
	return slices.DeleteFunc(servers, func(s Server) bool {
		again := s.ID != "" && known[s.ID]
		known[s.ID] = true
		return again
	})
}

// byRank sorts servers: those that are alive first, then those that are leaving, then the other members, and by name.
func byRank(servers []Server) {
	rank := func(s Server) int {
		return slices.Index([]MemberStatus{StatusFailed, StatusLeaving, StatusAlive}, s.Status)
	}
	slices.SortStableFunc(servers, func(a, b Server) int {
		return cmp.Or(cmp.Compare(rank(b), rank(a)),
			cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID), cmp.Compare(a.RPCAddress, b.RPCAddress))
	})
}

// WithPeers returns the topology with another Raft configuration (nil: unknown). Who has a vote is up to the
// configuration; only where there is none, or one without votes, the servers' Serf tags say more.
func (t Topology) WithPeers(peers []RaftPeer) Topology {
	known, before := slices.Clone(t.Servers), t.Peers
	byRank(known)
	t.RaftKnown, t.Peers, t.Servers = peers != nil, peers, nil
	serverOf := matchPeers(known, peers)
	joined := make(map[int]bool, len(known)) // Indexes of the servers that are peers.
	for i, p := range peers {
		j, ok := serverOf[i]
		if !ok {
			t.Servers = append(t.Servers, strangePeer(p))
			continue
		}
		joined[j] = true
		known[j].Voter, known[j].Absence = p.Voter && (!p.VoterAssumed || !known[j].Replica), nil
	}
	for j, s := range known {
		switch onlyPeer := s.Status == StatusNone && !s.Missing() && slices.ContainsFunc(before, s.IsPeer); {
		case !joined[j] && onlyPeer:
			continue
		case !joined[j]:
			s.Voter = !t.RaftKnown && !s.Replica && !s.Missing()
		}
		t.Servers = append(t.Servers, s)
	}
	return t.named()
}

// named returns the topology with a name for each server, see uniqueNames, and the servers in their order.
func (t Topology) named() Topology {
	byRank(t.Servers)
	t.Servers = uniqueNames(t.Servers)
	slices.SortFunc(t.Servers, func(a, b Server) int { return cmp.Compare(a.Name, b.Name) })
	return t
}

// matchPeers returns for each peer that is one of the servers the index of that, which no other peer has. They are
// matched by ID, and by address only where one of the two has no ID and no server with another ID is alive there. The
// servers must be sorted by rank.
func matchPeers(servers []Server, peers []RaftPeer) map[int]int {
	serverOf, taken := make(map[int]int, len(peers)), make(map[int]bool)
	match := func(is func(RaftPeer, Server) bool) {
		for i, p := range peers {
			if _, ok := serverOf[i]; ok {
				continue
			}
			for j, s := range servers {
				if !taken[j] && is(p, s) {
					serverOf[i], taken[j] = j, true
					break
				}
			}
		}
	}
	match(func(p RaftPeer, s Server) bool { return s.ID != "" && s.ID == p.nodeID() })
	match(func(p RaftPeer, s Server) bool {
		return (s.ID == "" || p.nodeID() == "") && s.RPCAddress == p.Address &&
			!slices.ContainsFunc(servers, func(other Server) bool {
				return other.alive() && other.RPCAddress == p.Address && other.ID != s.ID
			})
	})
	return serverOf
}

// strangePeer returns the server behind a Raft peer that no Serf member matches. It may answer, and counts for the
// quorum.
func strangePeer(p RaftPeer) Server {
	host, _, err := net.SplitHostPort(p.Address)
	if err != nil {
		host = p.Address
	}
	return Server{Name: p.Name, ID: p.nodeID(), Host: host, RPCAddress: p.Address, Voter: p.Voter}
}

// uniqueNames gives each server a name of its own: the first one with a name keeps it. Another one, such as the peer
// that a server left behind when it was rebuilt under its name, is called by its address. Consul names peers by their
// addresses, so that the name of a peer without a member may be that of another server at its address.
func uniqueNames(servers []Server) []Server {
	taken := make(map[string]bool, len(servers))
	for i := range servers {
		s := &servers[i]
		for _, name := range []string{s.Name, s.RPCAddress, s.RPCAddress + " " + s.ID, fmt.Sprint(s.RPCAddress, " ", i)} {
			if s.Name = name; name != "" && !taken[name] {
				break
			}
		}
		taken[s.Name] = true
	}
	return servers
}

// PeerOf returns a server's entry in the Raft configuration: the one with its node ID. It is an error if there is none,
// or if another entry has its address: then it is not certain which of the two is meant.
func (t Topology) PeerOf(s Server) (RaftPeer, error) {
	own := slices.IndexFunc(t.Peers, func(p RaftPeer) bool { return s.ID != "" && p.nodeID() == s.ID })
	other := slices.IndexFunc(t.Peers, func(p RaftPeer) bool { return p.Address == s.RPCAddress && p.nodeID() != s.ID })
	switch {
	case s.ID == "":
		return RaftPeer{}, fmt.Errorf("the node ID of %s is unknown", s.Name)
	case other >= 0:
		return RaftPeer{}, fmt.Errorf("%s has the node ID %s, and the peer at its address %s has %s",
			s.Name, s.ID, s.RPCAddress, cmp.Or(t.Peers[other].nodeID(), "none"))
	case own < 0:
		return RaftPeer{}, fmt.Errorf("%s is not in the Raft configuration", s.Name)
	default:
		return t.Peers[own], nil
	}
}

// NameFor returns the name of the server with this node ID. If there is none, that is what the server calls itself, or
// nothing if another server has that name.
func (t Topology) NameFor(id, itself string) string {
	name := t.Called(id)
	if name == "" && !slices.ContainsFunc(t.Servers, func(s Server) bool { return s.Name == itself }) {
		return itself
	}
	return name
}

// Called returns the name of the server with this node ID; empty if there is none.
func (t Topology) Called(id string) string {
	i := slices.IndexFunc(t.Servers, func(s Server) bool { return id != "" && s.ID == id })
	if i < 0 {
		return ""
	}
	return t.Servers[i].Name
}
