// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
)

// WritesState is whether writes commit.
type WritesState string

// The states of writes.
const (
	// WritesCommitting means that the leader has no log entry that waits to be committed, or that its commit index moves.
	WritesCommitting WritesState = "committing"
	// WritesStalled means that the leader has entries that are not committed, and that its commit index stands still: what
	// is written times out although reads succeed. The disks of the other voters may be stuck.
	WritesStalled WritesState = "stalled"
	// WritesUnknown means neither.
	WritesUnknown WritesState = "unknown"
)

// WritesStates returns all states.
func WritesStates() []WritesState {
	return []WritesState{WritesCommitting, WritesStalled, WritesUnknown}
}

// Writes is whether writes commit, by the logs of the leader and its followers. As JSON it is public: fields are only
// ever added.
type Writes struct {
	// State is the answer in a word.
	State WritesState `json:"state"`
	// LastLogIndex is the index of the last entry in the leader's log; 0, and left out, if unknown.
	LastLogIndex uint64 `json:"last_log_index,omitempty"`
	// CommitIndex is at least the index of the last committed entry; 0, and left out, if unknown.
	CommitIndex uint64 `json:"commit_index,omitempty"`
	// Behind are the voters that answer and lack the first entry that is not committed; they hold the others up.
	Behind []string `json:"behind,omitempty"`
}

const (
	// stalledAfter is how long the commit index must stand still. Consul writes something about as often by itself.
	stalledAfter = 20 * time.Second
	// stalledScrapes is how many scrapes must have seen that.
	stalledScrapes = 2
)

// LogPosition is how far the log of the one leader is, and how far it is committed.
type LogPosition struct {
	Leader          string // The leader's node ID, or its name without one; empty if nothing is known.
	Last, Committed uint64
}

// Outstanding reports whether entries wait to be committed.
func (p LogPosition) Outstanding() bool { return p.Leader != "" && p.Last > p.Committed }

// JudgeLog finds the position of the leader's log. An entry is committed once the majority of the voters have it, so
// the servers' log positions bound the commit index from above, without any server's HTTP API. Where the leader itself
// tells its commit index, that counts.
func JudgeLog(e *inputs.Evidence) LogPosition {
	e, _ = ofOneCluster(e)
	leader := leaderAddress(e.Reports)
	i := slices.IndexFunc(e.Reports, func(r cluster.Report) bool {
		return r.Server.Voter && r.LeadsItself() && r.RPC.Raft.Leader == leader && r.RPC.Raft.StatsKnown
	})
	if leader == "" || i < 0 {
		return LogPosition{}
	}
	r := e.Reports[i]
	p := LogPosition{Leader: r.Server.ID, Last: r.RPC.Raft.LastLogIndex}
	if p.Leader == "" {
		p.Leader = r.Server.Name
	}
	p.Committed = min(p.Last, commitBound(e, p.Last))
	if self, ok := e.Servers[r.Server.ID]; ok && self.Raft != nil {
		p.Committed = min(p.Last, self.Raft.CommitIndex)
	}
	return p
}

// commitBound is the highest index that a majority of the voters can have, if unknown voters have all.
func commitBound(e *inputs.Evidence, all uint64) uint64 {
	voters := judgeVoters(e)
	var indexes []uint64
	for _, r := range e.Reports {
		switch state, isVoter := voters[r.Server.Name]; {
		case !isVoter:
		case state == VoterLost:
			indexes = append(indexes, 0)
		case state == VoterAnswering && r.RPC.Raft.StatsKnown:
			indexes = append(indexes, r.RPC.Raft.LastLogIndex)
		default:
			indexes = append(indexes, all)
		}
	}
	slices.Sort(indexes)
	return indexes[len(indexes)-needed(len(indexes))]
}

func judgeWrites(e *inputs.Evidence, q Quorum) Writes {
	p := JudgeLog(e)
	if p.Leader == "" || q.State != QuorumHeld {
		return Writes{State: WritesUnknown}
	}
	w := Writes{State: WritesCommitting, LastLogIndex: p.Last, CommitIndex: p.Committed}
	standing := e.Standing
	switch {
	case !p.Outstanding():
		return w
	case standing.Scrapes >= stalledScrapes && e.At.Sub(standing.Since) >= stalledAfter:
		w.State = WritesStalled
	case standing.Scrapes > 0 || standing.Since.IsZero(): // It has not moved since the last scrape, or there was none.
		w.State = WritesUnknown
	}
	for _, r := range e.Reports {
		if r.Server.Voter && r.RPC.Up && r.RPC.Raft.StatsKnown && r.RPC.Raft.LastLogIndex <= p.Committed {
			w.Behind = append(w.Behind, r.Server.Name)
		}
	}
	return w
}
