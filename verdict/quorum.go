// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"fmt"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
)

// Quorum is whether enough voters answer for Raft to commit anything. As JSON it is public: fields are only ever added.
type Quorum struct {
	// Voters have a vote by the Raft configuration, and Needed of them must agree: more than half.
	Voters int `json:"voters"`
	Needed int `json:"needed"`
	// Reachable voters answered on their own port 8300. Whether Unknown ones would answer is not known, because they could
	// not be probed. The others are lost.
	Reachable int `json:"reachable"`
	Unknown   int `json:"unknown"`
	// Following are the reachable voters except those that know of no leader, or of another one than the only one: cut off
	// from it, they do not vote with the others. While nobody leads, or several do, they are all reachable voters.
	Following int `json:"following"`
}

// LostVoters is the number of voters that did not answer.
func (q Quorum) LostVoters() int { return q.Voters - q.Reachable - q.Unknown }

// Margin is how many more voters may fail before the quorum is lost; negative when it is lost. A leader has a quorum,
// or it steps down within a second, so voters that do not follow it can be spared, however many they are at this
// moment. While a voter is unknown the margin is not known, unless the quorum would be lost even if all of those
// answered.
func (q Quorum) Margin() (margin int, known bool) {
	if atBest := q.Reachable + q.Unknown - q.Needed; q.Unknown > 0 {
		return atBest, atBest < 0
	}
	return max(q.Following-q.Needed, min(q.Reachable-q.Needed, 0)), true
}

// Lost reports whether the quorum is lost, even if all unknown voters answer.
func (q Quorum) Lost() bool {
	margin, _ := q.Margin()
	return margin < 0
}

// Doubtful reports whether there may be a quorum or not, depending on the unknown voters.
func (q Quorum) Doubtful() bool {
	return q.Reachable < q.Needed && q.Unknown > 0 && !q.Lost()
}

// String says how many voters answer.
func (q Quorum) String() string {
	if q.Voters == 1 {
		return fmt.Sprintf("%d of 1 voter answers", q.Reachable)
	}
	return fmt.Sprintf("%d of %d voters %s", q.Reachable, q.Voters, wording.Word(q.Reachable, "answers", "answer"))
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
