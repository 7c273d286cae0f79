// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// stopJudge decides whether servers can be stopped: one, or several that share its name.
type stopJudge struct {
	in *inputs.Stop
	// targets are the indexes in in.Reports of what is to be stopped.
	targets map[int]bool
	// leader is the only server that calls itself leader, and hasLeader whether there is one.
	leader    cluster.Report
	hasLeader bool
	// configured are the addresses in the Raft configuration, as addressSet returns them.
	configured string
}

func newStopJudge(in *inputs.Stop, targets map[int]bool) *stopJudge {
	j := &stopJudge{in: in, targets: targets}
	j.leader, j.hasLeader = inputs.OnlyLeader(in.Reports)
	var addresses []string
	for _, p := range in.Topology.Peers {
		addresses = append(addresses, p.Address)
	}
	j.configured = addressSet(addresses)
	return j
}

func (j *stopJudge) judge(server string) Stop {
	stop := Stop{Server: server, Reasons: []string{}, CatchUp: AnswerUnknown}
	for i := range j.in.Reports {
		if r := &j.in.Reports[i]; j.targets[i] {
			stop.Server, stop.ID = r.Server.Name, r.Server.ID
			stop.Answers, stop.Leads = stop.Answers || r.RPC.Up, stop.Leads || r.LeadsItself()
		}
	}
	j.count(&stop)
	if trouble := j.configurationTrouble(&stop); trouble != "" {
		stop.Answer, stop.Reasons = AnswerUnknown, append(stop.Reasons, trouble)
		return stop
	}
	answer, trouble := j.trouble(&stop)
	switch {
	case !stop.Voter && j.elsewhere():
		if trouble == "" {
			answer, trouble = AnswerUnknown, stop.Server+" has no vote here, and follows the leader of another cluster."
		}
	case !stop.Voter && j.gone():
		stop.Reasons = append(stop.Reasons, stop.Server+" is gone already, so nothing is lost with it.")
	case !stop.Voter && answer == AnswerUnknown && trouble != "": // Whether it has one is as uncertain.
	case !stop.Voter && j.joins():
		stop.Reasons = append(stop.Reasons, stop.Server+" has no vote yet.")
		if votes := stop.Voters + 1; trouble == "" && stop.After >= stop.Needed && stop.After < votes/2+1 {
			answer, trouble = AnswerNo, fmt.Sprintf("Autopilot gives it one once it is stable, and then the quorum is "+
				"%d of %d, but without it only %d can be counted on.", votes/2+1, votes, stop.After)
		}
	case !stop.Voter:
		stop.Reasons = append(stop.Reasons, stop.Server+" has no vote.")
	case j.silent():
		stop.Reasons = append(stop.Reasons, stop.Server+" does not answer, so nothing is lost with it.")
	}
	stop.decide(answer, trouble)
	return stop
}

// gone reports whether all of what is to be stopped is known only from before.
func (j *stopJudge) gone() bool {
	for i := range j.targets {
		if !j.in.Reports[i].Server.Missing() {
			return false
		}
	}
	return true
}

// joins reports whether autopilot may give a vote to what is to be stopped at any moment: all servers get one, except
// those that do not answer and read replicas of Consul Enterprise.
func (j *stopJudge) joins() bool {
	for i := range j.targets {
		if r := &j.in.Reports[i]; !r.Server.Replica && !r.Server.Missing() {
			return !j.silent()
		}
	}
	return false
}

// elsewhere reports whether what is to be stopped names a leader that is not the only one here.
func (j *stopJudge) elsewhere() bool {
	for i := range j.targets {
		if leader := j.in.Reports[i].RPC.Raft.Leader; leader != "" && leader != j.leader.RPC.Raft.Leader {
			return true
		}
	}
	return false
}

// silent reports whether nothing of what is to be stopped answers, and that is known.
func (j *stopJudge) silent() bool {
	for i := range j.targets {
		if state, _ := portEvidence(&j.in.Reports[i].RPC.Result); state != AnswerNo {
			return false
		}
	}
	return true
}

// count counts the voters of the Raft configuration.
func (j *stopJudge) count(stop *Stop) {
	for _, p := range j.in.Topology.Peers {
		if !p.Voter {
			continue
		}
		stop.Voters++
		i := reportOf(p, j.in.Reports)
		name := p.Address
		if i >= 0 {
			name = j.in.Reports[i].Server.Name
		}
		state, why := j.voter(p, i)
		switch {
		case j.targets[i]:
			stop.Voter = true
			if state == AnswerYes {
				stop.Before++
			}
			continue
		case state == AnswerYes:
			stop.Before++
			stop.After++
			continue
		case state == AnswerUnknown:
			stop.Unknown++
		}
		stop.Reasons = append(stop.Reasons, fmt.Sprintf("%s cannot be counted on: %s.", name, why))
	}
	stop.Needed = stop.Voters/2 + 1
}

// reportOf returns the index of the report of a peer, or -1. A server that was renamed may be there twice: the living
// one is meant.
func reportOf(p cluster.RaftPeer, reports []cluster.Report) int {
	found := -1
	for i, r := range reports {
		if p.ID != "" && r.Server.ID == p.ID && (found < 0 || r.Server.Status == cluster.StatusAlive) {
			found = i
		}
	}
	return found
}

// configurationTrouble says why there is no telling who votes; empty if there is.
func (j *stopJudge) configurationTrouble(stop *Stop) string {
	t := &j.in.Topology
	switch {
	case !t.RaftKnown || stop.Voters == 0:
		return "The Raft configuration is unknown, so there is no telling who votes."
	case slices.ContainsFunc(t.Peers, func(p cluster.RaftPeer) bool { return p.ID == "" }):
		return "The Raft configuration is known only by addresses, not by node IDs (may the token read operator?)."
	case slices.ContainsFunc(t.Peers, j.votesOtherwise):
		return "The Raft configuration and autopilot do not agree about who votes; it may be changing."
	default:
		return ""
	}
}

// votesOtherwise reports whether autopilot says of a peer that it votes and the Raft configuration that it does not, or
// the other way around.
func (j *stopJudge) votesOtherwise(p cluster.RaftPeer) bool {
	a := j.in.Autopilot.Of(p.ID)
	return a != nil && a.Voter != nil && *a.Voter != p.Voter
}

// trouble says why the answer is not yes, whatever the voters say; empty if nothing.
func (j *stopJudge) trouble(stop *Stop) (answer Answer, why string) {
	if answer, why := j.leadershipTrouble(stop); why != "" {
		return answer, why
	}
	if slices.ContainsFunc(j.in.Topology.Peers, j.contradicts) {
		return AnswerNo, "The servers do not agree about who leads; an election may be under way."
	}
	first, _ := j.in.FirstLeader()
	switch read := j.in.Consistent; {
	case j.leader.RPC.Raft.LastLogIndex > first.RPC.Raft.LastLogIndex: // It has written, so it can.
	case read == nil:
		return AnswerUnknown, "Whether consistent reads succeed is unknown."
	case !read.OK:
		return AnswerNo, fmt.Sprintf("Consistent reads fail, though %s leads.", j.leader.Server.Name)
	}
	if c := j.in.CatchUp; c != nil && stop.Voter && stop.Answers {
		stop.CatchUp = AnswerYes
		if c.Short() {
			stop.CatchUp = AnswerNo
			return AnswerNo, fmt.Sprintf("%s might never catch up after a restart: the oldest entry in the leader's log is "+
				"%s old, less than twice the %s that the last restore took (raft_logstore or raft_trailing_logs).",
				stop.Server, c.OldestLogAge, c.LastRestore)
		}
	}
	return "", ""
}

// leadershipTrouble says what is wrong with the leadership, in which case no server should be stopped.
func (j *stopJudge) leadershipTrouble(stop *Stop) (answer Answer, why string) {
	leaders := wording.Names(inputs.Leaders(j.in.Reports), func(r cluster.Report) (string, bool) {
		return r.Server.Name, true
	})
	first, hadLeader := j.in.FirstLeader()
	raft := &j.leader.RPC.Raft
	switch {
	case len(leaders) > 1:
		return AnswerNo, fmt.Sprintf("Several servers call themselves leader: %s.", strings.Join(leaders, ", "))
	case !j.hasLeader && stop.Unknown > 0:
		return AnswerUnknown, "Who leads is unknown, because not all servers could be probed."
	case !j.hasLeader:
		return AnswerNo, "There is no leader."
	case !hadLeader || first.Server.RPCAddress != j.leader.Server.RPCAddress:
		return AnswerNo, fmt.Sprintf("%s was elected a moment ago.", j.leader.Server.Name)
	case !slices.ContainsFunc(j.in.Topology.Peers, func(p cluster.RaftPeer) bool {
		return p.Voter && p.ID == j.leader.Server.ID
	}):
		return AnswerUnknown, fmt.Sprintf("%s leads, and has no vote in the Raft configuration.", j.leader.Server.Name)
	case !raft.PeersKnown || !raft.StatsKnown || !first.RPC.Raft.StatsKnown:
		return AnswerUnknown, fmt.Sprintf("%s leads, and does not say all about Raft.", j.leader.Server.Name)
	case addressSet(raft.Peers) != j.configured || addressSet(first.RPC.Raft.Peers) != j.configured:
		return AnswerUnknown, fmt.Sprintf("The Raft configuration of the leader, %s, was not the same at each look; it may "+
			"be changing.", j.leader.Server.Name)
	default:
		return "", ""
	}
}

// contradicts reports whether a voter names another leader than the only one.
func (j *stopJudge) contradicts(p cluster.RaftPeer) bool {
	return p.Voter && slices.ContainsFunc(j.in.Reports, func(r cluster.Report) bool {
		return r.Server.ID == p.ID && r.RPC.Raft.Leader != "" && r.RPC.Raft.Leader != j.leader.RPC.Raft.Leader
	})
}

// addressSet is the same for the same addresses in any order.
func addressSet(addresses []string) string {
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(addresses))), "\n")
}

// voter reports whether a voter can be counted on, and if not, why. It can if its own port 8300 answers for it, it
// follows the only leader, which it has heard of since the first look, its log has all that the leader's had then, and
// autopilot calls it healthy. Its report has the index i, or there is none.
func (j *stopJudge) voter(p cluster.RaftPeer, i int) (Answer, string) {
	if i < 0 {
		return AnswerUnknown, "no server is known that has its node ID"
	}
	r := &j.in.Reports[i]
	if slices.ContainsFunc(j.in.Stopping, func(s inputs.StoppingServer) bool {
		return (s.ID != "" && s.ID == p.ID) || (s.ID == "" && s.Name == r.Server.Name)
	}) && !j.targets[i] {
		return AnswerNo, "somebody has reserved its stop"
	}
	if state, why := portEvidence(&r.RPC.Result); state != AnswerYes {
		return state, why
	}
	if expiry := r.RPC.CertExpiry; !expiry.IsZero() && expiry.Before(r.RPC.Start) {
		return AnswerUnknown, "its certificate on port 8300 has expired, so others may not be able to connect to it again"
	}
	if state, why := j.identity(r); state != AnswerYes {
		return state, why
	}
	if state, why := j.following(r); state != AnswerYes {
		return state, why
	}
	return j.health(p)
}

// portEvidence is whether port 8300 answers. That a probe was not made or rejected says nothing about the server.
func portEvidence(r *probe.Result) (Answer, string) {
	switch r.Outcome() {
	case probe.OutcomeAnswered:
		return AnswerYes, ""
	case probe.OutcomeOwnFault:
		return AnswerUnknown, fmt.Sprintf("its port 8300 could not be probed (%s)", r.Reason)
	case probe.OutcomeTurnedAway:
		return AnswerUnknown, fmt.Sprintf("its port 8300 turns this program away (%s)", r.Reason)
	default:
		return AnswerNo, fmt.Sprintf("port 8300 does not answer (%s)", r.Reason)
	}
}

// identity is whether what answers is the peer: port 8300 does not say who it is.
func (j *stopJudge) identity(r *cluster.Report) (Answer, string) {
	other := func(s cluster.Server) bool {
		return s.ID != r.Server.ID && s.RPCAddress == r.Server.RPCAddress && s.Status == cluster.StatusAlive
	}
	switch status := r.Server.Status; {
	case !j.in.Topology.MembersKnown:
		return AnswerUnknown, "the members of gossip are unknown (may the token read nodes?)"
	case slices.ContainsFunc(j.in.Topology.Servers, other):
		return AnswerNo, "another server is at its address"
	case status == cluster.StatusNone:
		return AnswerUnknown, "no member of gossip has its node ID"
	case status != cluster.StatusAlive:
		return AnswerNo, fmt.Sprintf("it is %s in gossip", status)
	default:
		return AnswerYes, ""
	}
}

// following is whether the server follows the leader, and keeps up with it.
func (j *stopJudge) following(r *cluster.Report) (Answer, string) {
	raft, leader := &r.RPC.Raft, &j.leader.RPC.Raft
	behind := leader.LastLogIndex - min(leader.LastLogIndex, raft.LastLogIndex)
	switch {
	case !raft.LeaderKnown:
		return AnswerUnknown, "it does not say who leads"
	case raft.Leader == "":
		return AnswerNo, "it knows of no leader"
	case !j.hasLeader && j.unasked(raft.Leader):
		return AnswerUnknown, fmt.Sprintf("whether %s leads, which it follows, is unknown", nameAt(raft.Leader, j.in.Reports))
	case !j.hasLeader:
		return AnswerNo, fmt.Sprintf("%s, which it follows, does not lead", nameAt(raft.Leader, j.in.Reports))
	case raft.Leader != leader.Leader:
		return AnswerNo, "it follows another leader, " + nameAt(raft.Leader, j.in.Reports)
	case !raft.PeersKnown:
		return AnswerUnknown, "it does not say who its peers are"
	case addressSet(raft.Peers) != addressSet(leader.Peers):
		return AnswerUnknown, "its Raft configuration is not the leader's"
	case !raft.StatsKnown || !leader.StatsKnown:
		return AnswerUnknown, "it does not say how long its log is"
	case behind > j.in.MaxTrailingLogs:
		return AnswerNo, fmt.Sprintf("its log is %d entries behind, more than %d", behind, j.in.MaxTrailingLogs)
	case len(j.in.Earlier) > 0 && j.in.Between == 0:
		return AnswerUnknown, "there was no time to look at its log twice (--timeout)"
	case !j.in.Stored(*r):
		return AnswerNo, fmt.Sprintf("its log does not keep up: %s behind, without what the leader had %.0f s before",
			wording.Plural(int(behind), "entry", "entries"), j.in.Between.Seconds())
	case !j.in.Heard(*r):
		return AnswerNo, fmt.Sprintf("it has not heard of the leader for %.1f s", raft.LastContact.Seconds())
	default:
		return AnswerYes, ""
	}
}

// unasked reports whether it is unknown what the server with this address says, if there is one.
func (j *stopJudge) unasked(address string) bool {
	i := slices.IndexFunc(j.in.Reports, func(r cluster.Report) bool { return r.Server.RPCAddress == address })
	if i < 0 {
		return true
	}
	state, _ := portEvidence(&j.in.Reports[i].RPC.Result)
	return state == AnswerUnknown
}

// health is autopilot's opinion of the voter, by its node ID.
func (j *stopJudge) health(p cluster.RaftPeer) (Answer, string) {
	if j.in.Autopilot == nil {
		return AnswerUnknown, "what autopilot says about it is unknown"
	}
	servers := j.in.Autopilot.Servers
	switch i := slices.IndexFunc(servers, func(s cluster.AutopilotServer) bool { return s.ID == p.ID }); {
	case i < 0:
		return AnswerUnknown, "autopilot does not know its node ID"
	case !servers[i].Healthy:
		return AnswerNo, "autopilot calls it unhealthy"
	default:
		return AnswerYes, ""
	}
}
