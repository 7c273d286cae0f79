// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// Leadership is who leads, by the account of each server that answered.
type Leadership struct {
	// Leaders are the names of the servers that call themselves leader: one when all is well, none during an
	// election, two or more in a split brain.
	Leaders []string
	// Reported are the distinct leaders that servers report, in the order of the servers.
	Reported []ReportedLeader
	// Without is the number of servers that answered and know of no leader.
	Without int
	// Unknown is the number of voters of which nothing is known.
	Unknown int
	known   bool
}

// ReportedLeader is a server, and the names of those that call it leader.
type ReportedLeader struct {
	// Leader is the name, or an address that no known server has.
	Leader string
	By     []string
}

// Known reports whether the leaders are. While none is seen, a voter that is unknown may lead; and so may one that does
// not answer here, if nothing that answers says that there is no leader, or if something shows that there is one.
func (l Leadership) Known() bool { return l.known }

func judgeLeadership(reports []cluster.Report, voters map[string]VoterState) Leadership {
	var l Leadership
	for _, r := range reports {
		if voters[r.Server.Name] == VoterUnknown {
			l.Unknown++
		}
		switch {
		case !r.RPC.Raft.LeaderKnown:
		case r.RPC.Raft.Leader == "":
			l.Without++
		default:
			l.note(r.Server.Name, nameAt(r.RPC.Raft.Leader, reports))
			if r.LeadsItself() {
				l.Leaders = append(l.Leaders, r.Server.Name)
			}
		}
	}
	return l
}

// note adds that one server calls another leader.
func (l *Leadership) note(by, leader string) {
	i := slices.IndexFunc(l.Reported, func(r ReportedLeader) bool { return r.Leader == leader })
	if i < 0 {
		i = len(l.Reported)
		l.Reported = append(l.Reported, ReportedLeader{Leader: leader})
	}
	l.Reported[i].By = append(l.Reported[i].By, by)
}

// leaderAddress returns the address of the only server that calls itself leader; empty if there is none, or several.
func leaderAddress(reports []cluster.Report) string {
	address := ""
	for _, r := range reports {
		if !r.LeadsItself() {
			continue
		}
		if address != "" {
			return ""
		}
		address = r.RPC.Raft.Leader
	}
	return address
}

// nameAt returns the name of the server with this address in Raft, or else the address. Of several that were given the
// address, it is one that answers there, or that Serf calls alive.
func nameAt(address string, reports []cluster.Report) string {
	name, best := address, 0
	for _, r := range reports {
		rank := 1
		switch {
		case address == "" || r.Server.RPCAddress != address:
			continue
		case r.RPC.Up:
			rank = 3
		case r.Server.Status == cluster.StatusAlive:
			rank = 2
		}
		if rank > best {
			name, best = r.Server.Name, rank
		}
	}
	return name
}
