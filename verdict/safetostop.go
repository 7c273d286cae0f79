// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// Answer is the answer to whether a server can be stopped.
type Answer string

// The answers. Automation treats everything except yes as no.
const (
	AnswerYes Answer = "yes"
	// AnswerNo means that there is evidence against it.
	AnswerNo Answer = "no"
	// AnswerUnknown means that evidence is missing.
	AnswerUnknown Answer = "unknown"
)

// Stop is whether a server can be stopped without the cluster losing its quorum, by what was known in one scrape. As
// JSON it is public: fields are only ever added.
type Stop struct {
	// Server is the node name of the server, or what was given instead if no server was found by it.
	Server string `json:"server"`
	// ID is the node ID of the server; left out when it is not known.
	ID string `json:"id,omitempty"`
	// Safe is whether the answer is yes.
	Safe bool `json:"safe"`
	// Answer is whether the server can be stopped.
	Answer Answer `json:"answer"`
	// Voter is whether the server has a vote.
	Voter bool `json:"voter"`
	// Answers is whether its port 8300 answers.
	Answers bool `json:"answers"`
	// Leads is whether it leads.
	Leads bool `json:"leads"`
	// Voters is the number of servers that have a vote.
	Voters int `json:"voters"`
	// Needed is how many of them must agree.
	Needed int `json:"needed"`
	// Before is how many voters can be counted on now: fewer than answer if some have no leader or lag.
	Before int `json:"before"`
	// After is how many voters can be counted on without this server.
	After int `json:"after"`
	// Unknown is the number of the other voters about which too much is unknown.
	Unknown int `json:"unknown"`
	// Reasons says why, one sentence each; the last one is about the quorum, unless something must be fixed first.
	Reasons []string `json:"reasons"`
	// Hint says what to do first if it is safe; mostly left out.
	Hint string `json:"hint,omitempty"`
	// CatchUp is whether the server could catch up after a restart; mostly unknown.
	CatchUp Answer `json:"catch_up"`
}

// Margin is how many more voters may fail once the server is stopped; negative when the quorum would be lost.
func (s Stop) Margin() int { return s.After - s.Needed }

// ErrUnknownServer means that the cluster has no server of this name or ID.
var ErrUnknownServer = errors.New("there is no server named")

// JudgeStop decides whether the server with this name or node ID can be stopped. It is a pure function.
//
// The answer is yes if enough of the other voters in the Raft configuration can be counted on, no if too few can even
// if all that are unknown could, and otherwise unknown. See stopVoter for who can be counted on.
func JudgeStop(server string, in inputs.Stop) (Stop, error) {
	targets, err := stopTargets(server, &in)
	if err != nil {
		return Stop{}, err
	}
	return newStopJudge(&in, targets).judge(server), nil
}

// stopTargets are the indexes of the reports of a server: several if it has had another name, or another server was at
// its address before, or a rebuilt server's old peer has its name. All of them are stopped with it.
func stopTargets(server string, in *inputs.Stop) (map[int]bool, error) {
	targets := make(map[int]bool)
	for i, r := range in.Reports {
		if server != "" && (r.Server.Name == server || r.Server.ID == server) {
			targets[i] = true
		}
	}
	for grown := true; grown; {
		before := len(targets)
		for i, r := range in.Reports {
			for j := range targets {
				t := &in.Reports[j].Server
				if (t.ID != "" && t.ID == r.Server.ID) || (t.RPCAddress != "" && t.RPCAddress == r.Server.RPCAddress) {
					targets[i] = true
				}
			}
		}
		grown = len(targets) > before
	}
	if len(targets) == 0 {
		return nil, unknownServer(server, in.Reports)
	}
	return targets, nil
}

func unknownServer(server string, reports []cluster.Report) error {
	names := wording.Names(reports, func(r cluster.Report) (string, bool) { return r.Server.Name, true })
	return fmt.Errorf("%w %q; the servers are: %s", ErrUnknownServer, server, strings.Join(names, ", "))
}

// Away reports whether the server with this name or node ID is certainly stopped or gone: nothing listens on its port
// 8300, or there is no answer and gossip has lost it too, or Consul no longer names it. That a probe got no answer is
// not enough.
func Away(server string, in inputs.Stop) bool {
	targets, err := stopTargets(server, &in)
	if err != nil {
		return in.Topology.MembersKnown && in.Topology.RaftKnown
	}
	j := newStopJudge(&in, targets)
	for i := range targets {
		r := &in.Reports[i]
		lost := in.Topology.MembersKnown && r.Server.Status != cluster.StatusAlive
		if !j.silent() || (r.RPC.Outcome() != probe.OutcomeRefused && !lost) {
			return false
		}
	}
	return true
}

// Means reports whether somebody who calls a server by this name or node ID means the one that was to be stopped. By
// now that may have another name, and another server may have the one that it had.
func Means(server string, stopped inputs.StoppingServer, in inputs.Stop) bool {
	if stopped.ID == "" || stopped.ID == server {
		return server == cmp.Or(stopped.ID, stopped.Name)
	}
	i := slices.IndexFunc(in.Reports, func(r cluster.Report) bool { return r.Server.ID == stopped.ID })
	if i < 0 { // It was rebuilt, or is gone.
		return server == stopped.Name
	}
	return server == in.Reports[i].Server.Name
}

// JudgeReturn decides whether the server with this name or node ID, which was stopped, is back: it can be counted on,
// whether it has a vote or not. Why says why not.
func JudgeReturn(server string, in inputs.Stop) (answer Answer, why string, err error) {
	in.Stopping = nil
	targets, err := stopTargets(server, &in)
	if err != nil {
		return AnswerUnknown, "", err
	}
	j := newStopJudge(&in, targets)
	answer, why = AnswerNo, "it is not in the Raft configuration"
	for _, p := range in.Topology.Peers {
		i := reportOf(p, in.Reports)
		if !targets[i] {
			continue
		}
		if answer, why = j.voter(p, i); answer != AnswerYes {
			return answer, why, nil
		}
	}
	return answer, why, nil
}

// decide turns the counts into the answer. Trouble is why there is no yes whatever the counts are; empty if there is
// none, and then answer is what the counts say.
func (s *Stop) decide(answer Answer, trouble string) {
	quorum := fmt.Sprintf("Without %s %d of %d voters can be counted on, and the quorum is %d",
		s.Server, s.After, s.Voters, s.Needed)
	tooFew := s.After+s.Unknown < s.Needed
	switch {
	case trouble != "" && (answer == AnswerNo || !tooFew):
		s.Answer = answer
		s.Reasons = append(s.Reasons, trouble)
		return
	case s.After >= s.Needed:
		s.Answer, s.Safe = AnswerYes, true
		s.Reasons = append(s.Reasons, fmt.Sprintf("%s: %s.", quorum, tolerated(s.Margin())))
	case tooFew:
		s.Answer = AnswerNo
		s.Reasons = append(s.Reasons, quorum+".")
		return
	default:
		s.Answer = AnswerUnknown
		s.Reasons = append(s.Reasons, fmt.Sprintf("%s; %s unknown.", quorum, wording.Plural(s.Unknown, "is", "are")))
		return
	}
	if s.Leads {
		s.Hint = s.Server + " leads: transfer the leadership first (consul operator raft transfer-leader), which spares " +
			"clients an election."
	}
}

// tolerated says how many more failures the quorum can take.
func tolerated(margin int) string {
	switch margin {
	case 0:
		return "no further failure can be tolerated"
	case 1:
		return "one more failure can be tolerated"
	default:
		return fmt.Sprintf("%d more failures can be tolerated", margin)
	}
}
