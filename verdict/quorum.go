// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"fmt"
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// QuorumState is whether a majority of the voters follows one leader.
type QuorumState string

// The states of the quorum.
const (
	// QuorumHeld means that there is a leader with a quorum: a linearizable read proves it, or enough voters answer and
	// name one leader, which answers and names itself. It does not mean that writes commit: see Writes.
	QuorumHeld QuorumState = "held"
	// QuorumLost means that too few voters answer, even if all unknown ones do, and that something answered in this scrape
	// and says that there is no leader.
	QuorumLost QuorumState = "lost"
	// QuorumUnknown means neither.
	QuorumUnknown QuorumState = "unknown"
)

// QuorumStates returns all states.
func QuorumStates() []QuorumState { return []QuorumState{QuorumHeld, QuorumLost, QuorumUnknown} }

// Quorum is whether there is a leader that a majority of the voters follows. As JSON it is public: fields are only ever
// added.
type Quorum struct {
	// State is the answer in a word.
	State QuorumState `json:"state"`
	// Lacks says what is lacking to tell, as a clause; left out unless the state is unknown.
	Lacks string `json:"lacks,omitempty"`
	// Voters is the number of servers that have a vote by the Raft configuration.
	Voters int `json:"voters"`
	// Needed is how many of them must agree: more than half.
	Needed int `json:"needed"`
	// Reachable is the number of voters that answered on their own port 8300.
	Reachable int `json:"reachable"`
	// Unknown is the number of voters of which it is not known whether they would answer. The others are lost.
	Unknown int `json:"unknown"`
	// Following is the number of reachable voters except those that know of no leader, or of another one than the only
	// one, and those whose Raft configuration lacks another one of its peers: cut off from it, or because they do not vote
	// for a server that they do not know, they do not vote with the others. While nobody leads, or several do, it is that
	// of all reachable voters.
	Following int `json:"following"`
	// NeverBootstrapped is whether the servers still wait for the first election, and Lacks says how many there are.
	NeverBootstrapped bool `json:"-"`
}

// LostVoters is the number of voters that did not answer.
func (q Quorum) LostVoters() int { return q.Voters - q.Reachable - q.Unknown }

// Margin is how many more voters can fail before the quorum is lost; negative when it is lost. It is known only if no
// voter is unknown, and, with too few voters that answer, if the quorum is known to be lost. A leader has a quorum, or
// it steps down within seconds, so voters that do not follow it can be spared, however many they are at this moment.
func (q Quorum) Margin() (margin int, known bool) {
	spare := q.Reachable - q.Needed
	if q.Unknown > 0 || q.Voters == 0 || q.NeverBootstrapped || (spare < 0 && q.State != QuorumLost) {
		return 0, false
	}
	return max(q.Following-q.Needed, min(spare, 0)), true
}

// Lost reports whether the quorum is lost.
func (q Quorum) Lost() bool { return q.State == QuorumLost }

// String says how many voters answer.
func (q Quorum) String() string {
	if q.Voters == 1 {
		return fmt.Sprintf("%d of 1 voter answers", q.Reachable)
	}
	return fmt.Sprintf("%d of %d voters %s", q.Reachable, q.Voters, wording.Word(q.Reachable, "answers", "answer"))
}

// judgeQuorum counts the voters. A server without a vote never counts.
func judgeQuorum(e *inputs.Evidence, voters map[string]VoterState) Quorum {
	q := Quorum{State: QuorumUnknown, Voters: len(voters), Needed: needed(len(voters))}
	leader, witnesses := leaderAddress(e.Reports), 0
	for _, r := range e.Reports {
		switch voters[r.Server.Name] {
		case VoterAnswering:
			q.Reachable++
			if votesWith(leader, r, e.Reports) {
				q.Following++
			}
			if leader != "" && r.RPC.Raft.LeaderKnown && r.RPC.Raft.Leader == leader {
				witnesses++
			}
		case VoterUnknown:
			q.Unknown++
		case VoterLost:
		}
	}
	switch tooFew := q.Reachable+q.Unknown < q.Needed; {
	case q.Voters > 0 && (readProves(e) || (witnesses >= q.Needed && leadsAVoter(leader, e.Reports))):
		q.State = QuorumHeld
	case q.Voters > 0 && tooFew && saysNoLeader(e) && !neverBootstrapped(e):
		q.State = QuorumLost
	default:
		q.Lacks, q.NeverBootstrapped = lacks(e, &q, leader), neverBootstrapped(e)
	}
	return q
}

// votesWith reports whether nothing says that a voter would not vote with the leader and its other followers. The
// leader is the address of the only one; empty if there is none, or several.
func votesWith(leader string, voter cluster.Report, reports []cluster.Report) bool {
	raft := &voter.RPC.Raft
	if leader == "" || !raft.LeaderKnown {
		return true
	}
	i := slices.IndexFunc(reports, cluster.Report.LeadsItself)
	lacks := func(peer string) bool { return peer != voter.Server.RPCAddress && !slices.Contains(raft.Peers, peer) }
	return raft.Leader == leader && (!raft.PeersKnown || !slices.ContainsFunc(reports[i].RPC.Raft.Peers, lacks))
}

// leadsAVoter reports whether a voter has this address.
func leadsAVoter(leader string, reports []cluster.Report) bool {
	return slices.ContainsFunc(reports, func(r cluster.Report) bool {
		return r.Server.Voter && r.Server.RPCAddress == leader
	})
}

// saysNoLeader reports whether a server or the agent answered and knows of no leader, and nothing else of this scrape
// shows that there is one. A server that was taken out of the cluster is no witness.
func saysNoLeader(e *inputs.Evidence) bool {
	says := e.AgentLeader != nil && *e.AgentLeader == ""
	for _, r := range e.Reports {
		says = says || (r.RPC.Up && r.RPC.Raft.LeaderKnown && r.RPC.Raft.Leader == "" && !r.Server.Missing())
	}
	return says && leaderShown(e) == ""
}

// freshContact is within what a leader is heard of: once in two seconds at least (hashicorp/raft sends a heartbeat in a
// tenth of the heartbeat timeout to twice that, and Consul allows for a timeout of ten seconds).
const freshContact = 3 * time.Second

// leaderShown says what shows that there is a leader although no voter that answers calls itself one; empty if nothing.
func leaderShown(e *inputs.Evidence) string {
	if e.Read != nil && e.Read.OK {
		return "a linearizable read succeeds"
	}
	for _, r := range e.Reports {
		raft := &r.RPC.Raft
		if r.RPC.Up && raft.Leader != "" && !r.LeadsItself() && !r.Server.Missing() &&
			raft.StatsKnown && raft.LastContactKnown && raft.LastContact < freshContact {
			return r.Server.Name + " has just heard of a leader, " + nameAt(raft.Leader, e.Reports)
		}
	}
	return ""
}

// neverBootstrapped reports whether the agent is a server without a Raft configuration, which waits for others, and no
// configuration is known: one that another server has, or that there was, is that of a cluster which has yet to add the
// agent.
func neverBootstrapped(e *inputs.Evidence) bool {
	configured := len(e.Topology.Peers) > 0 || slices.ContainsFunc(e.Reports, func(r cluster.Report) bool {
		return len(r.RPC.Raft.Peers) > 0
	})
	return !configured && e.Agent != nil && e.Agent.Raft != nil && len(e.Agent.Raft.Peers) == 0 &&
		e.Agent.BootstrapExpect > 1
}

// lacks says why there is no telling whether there is a quorum.
func lacks(e *inputs.Evidence, q *Quorum, leader string) string {
	reported := judgeLeadership(e.Reports, nil).Reported
	switch {
	case neverBootstrapped(e):
		return fmt.Sprintf("the cluster was never bootstrapped: %d of %d expected servers",
			len(e.Topology.Servers), e.Agent.BootstrapExpect)
	case q.Voters == 0:
		return "no server is known to have a vote"
	case q.Unknown == 0 && e.AgentLeader == nil && !slices.ContainsFunc(e.Reports, answers):
		return nothingAnswers(e)
	case q.Unknown > 0:
		return fmt.Sprintf("%s unknown%s", wording.Plural(q.Unknown, "voter is", "voters are"), whyUnknown(e))
	case q.Reachable < q.Needed && leaderShown(e) != "":
		return "too few voters answer, but " + leaderShown(e)
	case q.Reachable < q.Needed:
		return "too few voters answer, and none of them says that there is no leader"
	case leader == "" && len(reported) == 1 && answersAs(reported[0].Leader, e.Reports):
		return reported[0].Leader + " is called leader and does not lead"
	case leader == "" && len(reported) == 1:
		return reported[0].Leader + " is called leader and does not answer"
	default:
		return "the voters that answer do not follow one leader"
	}
}

// nothingAnswers blames the network only if nothing accepts a connection either.
func nothingAnswers(e *inputs.Evidence) string {
	hang := wording.Names(e.Reports, func(r cluster.Report) (string, bool) {
		return r.Server.Name, r.RPC.Connected() && r.RPC.Outcome() == probe.OutcomeSilent
	})
	if len(hang) > 0 {
		return "nothing answers, although " + wording.List(hang) + " " +
			wording.Word(len(hang), "accepts", "accept") + " connections"
	}
	return "neither a port 8300 nor the agent answers, and the reason may be this exporter's network"
}

func answers(r cluster.Report) bool { return r.RPC.Up }

// answersAs reports whether the server with this name answers.
func answersAs(name string, reports []cluster.Report) bool {
	return slices.ContainsFunc(reports, func(r cluster.Report) bool { return answers(r) && r.Server.Name == name })
}

// whyUnknown has the first of the reasons why voters are unknown.
func whyUnknown(e *inputs.Evidence) string {
	for _, r := range e.Reports {
		if r.Server.Voter && judgeVoter(r) == VoterUnknown && r.RPC.Err != nil {
			if remedy := Remedy(cluster.ProtocolRPC, &r.RPC.Result); remedy != "" {
				return fmt.Sprintf(" (port 8300 of %s turns the exporter away: %s)", r.Server.Name, remedy)
			}
			return fmt.Sprintf(" (port 8300 of %s was not queried: %v)", r.Server.Name, r.RPC.Err)
		}
	}
	return ""
}
