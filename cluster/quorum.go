// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

// Quorum is whether enough voters answer for Raft to commit anything.
type Quorum struct {
	// Voters have a vote by the Raft configuration.
	Voters int
	// Needed is the number of voters that must agree: more than half of all.
	Needed int
	// Reachable voters answered on their own port 8300.
	Reachable int
}

// Margin is how many more voters may fail before the quorum is lost; negative when it is lost.
func (q Quorum) Margin() int { return q.Reachable - q.Needed }

// judgeQuorum counts the voters. A server without a vote never counts.
func judgeQuorum(reports []Report) Quorum {
	var q Quorum
	for _, r := range reports {
		if !r.Server.Voter {
			continue
		}
		q.Voters++
		if r.RPC.Up {
			q.Reachable++
		}
	}
	q.Needed = q.Voters/2 + 1
	return q
}
