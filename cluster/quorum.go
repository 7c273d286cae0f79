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
	// Following are the reachable voters but those that know of no leader, or of another one than the one that there is: cut off from it, they
	// do not vote with the others. They are all reachable ones while nobody leads, or several do.
	Following int
}

// Margin is how many more voters may fail before the quorum is lost; negative when it is lost. A leader has a quorum, or it steps down within
// a second: voters that do not follow it can be missed, however many they are at this moment.
func (q Quorum) Margin() int { return max(q.Following-q.Needed, min(q.Reachable-q.Needed, 0)) }

// judgeQuorum counts the voters. A server without a vote never counts.
func judgeQuorum(reports []Report) Quorum {
	var q Quorum
	leader := leaderAddress(reports)
	for _, r := range reports {
		if !r.Server.Voter {
			continue
		}
		q.Voters++
		if r.RPC.Up {
			q.Reachable++
			if leader == "" || !r.RPC.Raft.LeaderKnown || r.RPC.Raft.Leader == leader {
				q.Following++
			}
		}
	}
	q.Needed = q.Voters/2 + 1
	return q
}
