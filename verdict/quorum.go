// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import "github.com/zervigo/consul_cluster_exporter/cluster"

// Quorum is whether enough voters answer for Raft to commit anything.
type Quorum struct {
	// Voters have a vote by the Raft configuration.
	Voters int
	// Needed is the number of voters that must agree: more than half of all.
	Needed int
	// Reachable voters answered on their own port 8300, and Unknown ones could not be asked: whether they would answer is not
	// known. The others are lost.
	Reachable, Unknown int
	// Following are the reachable voters but those that know of no leader, or of another one than the one that there is: cut off from it, they
	// do not vote with the others. They are all reachable ones while nobody leads, or several do.
	Following int
}

// Lost is the number of voters that did not answer.
func (q Quorum) Lost() int { return q.Voters - q.Reachable - q.Unknown }

// Margin is how many more voters may fail before the quorum is lost; negative when it is lost. A leader has a quorum, or it steps down within
// a second: voters that do not follow it can be missed, however many they are at this moment. It is not known while a voter is unknown, unless
// the quorum would be lost even if all of those answered.
func (q Quorum) Margin() (margin int, known bool) {
	if atBest := q.Reachable + q.Unknown - q.Needed; q.Unknown > 0 {
		return atBest, atBest < 0
	}
	return max(q.Following-q.Needed, min(q.Reachable-q.Needed, 0)), true
}

// judgeQuorum counts the voters. A server without a vote never counts.
func judgeQuorum(reports []cluster.Report) Quorum {
	var q Quorum
	leader := leaderAddress(reports)
	for _, r := range reports {
		if !r.Server.Voter {
			continue
		}
		q.Voters++
		if r.RPC.Skipped {
			q.Unknown++
		}
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
