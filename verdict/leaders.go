// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import "github.com/zervigo/consul_cluster_exporter/cluster"

// Leadership is who leads, by the account of each server that answered.
type Leadership struct {
	// Leaders are the names of the servers that call themselves leader: one when all is well, none during an
	// election, two or more in a split brain.
	Leaders []string
	// Reported are the distinct addresses that any server calls leader, in the order of the servers.
	Reported []string
	// Without is the number of servers that answered and know of no leader.
	Without int
	// Unknown is the number of voters that could not be asked.
	Unknown int
}

// Known reports whether the leaders are: while there is none and a voter could not be asked, that one may lead.
func (l Leadership) Known() bool { return len(l.Leaders) > 0 || l.Unknown == 0 }

func judgeLeadership(reports []cluster.Report) Leadership {
	var l Leadership
	seen := make(map[string]bool)
	for _, r := range reports {
		switch {
		case r.RPC.Skipped && r.Server.Voter:
			l.Unknown++
		case !r.RPC.Raft.LeaderKnown:
		case r.RPC.Raft.Leader == "":
			l.Without++
		default:
			if !seen[r.RPC.Raft.Leader] {
				seen[r.RPC.Raft.Leader] = true
				l.Reported = append(l.Reported, r.RPC.Raft.Leader)
			}
			if r.LeadsItself() {
				l.Leaders = append(l.Leaders, r.Server.Name)
			}
		}
	}
	return l
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
