// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
)

// Stop is whether a server can be stopped without the cluster losing its quorum, by what was known in one scrape. As
// JSON it is public: fields are only ever added.
type Stop struct {
	Server string `json:"server"`
	Safe   bool   `json:"safe"`
	// Voter is whether the server has a vote, Answers whether its port 8300 answers, and Leads whether it leads.
	Voter   bool `json:"voter"`
	Answers bool `json:"answers"`
	Leads   bool `json:"leads"`
	// Voters have a vote, Needed of them must agree, and Before and After are how many of them can be counted on now and
	// without this server. That is fewer than answer if some have no leader or lag.
	Voters int `json:"voters"`
	Needed int `json:"needed"`
	Before int `json:"before"`
	After  int `json:"after"`
	// Reasons says why, one sentence each; the last one is about the quorum, unless something must be fixed first.
	Reasons []string `json:"reasons"`
	// Hint is what to do first if it is safe; usually empty.
	Hint string `json:"hint,omitempty"`
	// unknown is whether its port 8300 could not be probed.
	unknown bool
}

// Margin is how many more voters may fail once the server is stopped; negative when the quorum would be lost.
func (s Stop) Margin() int { return s.After - s.Needed }

// ErrUnknownServer means that the cluster has no server of this name.
var ErrUnknownServer = errors.New("no such server")

// JudgeStop decides whether the named server can be stopped. It is a pure function. What cannot be found out counts
// as no: a voter is counted on only if it answers, follows the one leader, is not far behind, and autopilot does not
// call it unhealthy.
func JudgeStop(server string, in cluster.StopInput) (Stop, error) {
	w, err := judgeWithout(server, &in)
	if err != nil {
		return Stop{}, err
	}
	stop := Stop{
		Server: server, Voter: w.Server.Voter, Answers: w.RPC.Up, Leads: w.LeadsItself(), unknown: w.RPC.Skipped,
		Voters: w.Quorum.Voters, Needed: w.Quorum.Needed, Before: w.counted, After: w.counted, Reasons: w.reasons,
	}
	if stop.Voter && doubtAbout(w.Report, w.Verdict, &in) == "" {
		stop.Before++
	}
	stop.decide(w.Verdict)
	return stop, nil
}

// without are the grounds for a decision about the quorum without a server.
type without struct {
	cluster.Report // Of the server.
	Verdict

	// counted are the other voters that can be counted on, and reasons are why not all can.
	counted int
	reasons []string
}

func judgeWithout(server string, in *cluster.StopInput) (without, error) {
	i := slices.IndexFunc(in.Reports, func(r cluster.Report) bool { return r.Server.Name == server })
	if i < 0 {
		names := wording.Names(in.Reports, func(r cluster.Report) (string, bool) { return r.Server.Name, true })
		return without{}, fmt.Errorf("%w: %q; the servers are: %s", ErrUnknownServer, server, strings.Join(names, ", "))
	}
	w := without{Report: in.Reports[i], Verdict: Judge(in.Evidence())}
	for _, r := range in.Reports {
		if !r.Server.Voter || r.Server.Name == server {
			continue
		}
		if doubt := doubtAbout(r, w.Verdict, in); doubt != "" {
			w.reasons = append(w.reasons, fmt.Sprintf("%s cannot be counted on: %s.", r.Server.Name, doubt))
		} else {
			w.counted++
		}
	}
	return w, nil
}

// decide adds the last reasons.
func (s *Stop) decide(v Verdict) {
	if trouble := leadershipTrouble(v); trouble != "" {
		s.Reasons = append(s.Reasons, trouble)
		return
	}
	switch {
	case !s.Voter:
		s.Reasons = append(s.Reasons, s.Server+" has no vote.")
	case !s.Answers && !s.unknown:
		s.Reasons = append(s.Reasons, s.Server+" does not answer, so nothing is lost with it.")
	}
	quorum := fmt.Sprintf("Without %s %d of %d voters can be counted on, and the quorum is %d",
		s.Server, s.After, s.Voters, s.Needed)
	if s.Safe = s.Margin() >= 0; !s.Safe {
		s.Reasons = append(s.Reasons, quorum+".")
		return
	}
	s.Reasons = append(s.Reasons, fmt.Sprintf("%s: %s more may fail.", quorum, count(s.Margin())))
	if s.Leads {
		s.Hint = s.Server + " leads: transfer the leadership first (consul operator raft transfer-leader), which spares " +
			"clients an election."
	}
}

// leadershipTrouble says what is wrong with the leadership, in which case no server should be stopped.
func leadershipTrouble(v Verdict) string {
	leaders := v.Leadership.Leaders
	switch {
	case len(leaders) > 1:
		return fmt.Sprintf("Split brain: %s all call themselves leader.", strings.Join(leaders, ", "))
	case len(v.Leadership.Reported) > 1:
		return "The servers do not agree about who leads; an election may be under way."
	case !v.Leadership.Known():
		return "Who leads is unknown, because not all servers could be probed."
	case len(leaders) == 0:
		return "There is no leader."
	case v.Configurations > 1:
		return "The servers do not agree about the Raft configuration."
	default:
		return ""
	}
}

// Doubt says why the named server cannot be counted on; empty if it can.
func Doubt(server string, in *cluster.StopInput) string {
	for _, r := range in.Reports {
		if r.Server.Name == server {
			return doubtAbout(r, Judge(in.Evidence()), in)
		}
	}
	return "there is no such server"
}

// doubt says why a voter cannot be counted on; empty if it can.
func doubtAbout(r cluster.Report, v Verdict, in *cluster.StopInput) string {
	lag, known := v.LogLag[r.Server.Name]
	switch {
	case r.RPC.Skipped:
		return fmt.Sprintf("its port 8300 could not be probed (%s)", r.RPC.Reason)
	case !r.RPC.Up:
		return fmt.Sprintf("port 8300 does not answer (%s)", r.RPC.Reason)
	case !r.RPC.Raft.LeaderKnown:
		return "it does not say who leads"
	case r.RPC.Raft.Leader == "":
		return "it knows of no leader"
	case !known:
		return "it does not say how long its log is"
	case lag > in.MaxTrailingLogs:
		return fmt.Sprintf("its log is %d entries behind, more than %d", lag, in.MaxTrailingLogs)
	default:
		return autopilotDoubt(r.Server.ID, in.Autopilot)
	}
}

// autopilotDoubt says why autopilot's answer speaks against a server, joined by its node ID; empty if it does not.
func autopilotDoubt(id string, autopilot *cluster.AutopilotState) string {
	judged := autopilot.Of(id)
	switch {
	case autopilot == nil:
		return ""
	case judged == nil:
		return "autopilot says nothing about it"
	case !judged.Healthy:
		return "autopilot calls it unhealthy"
	default:
		return ""
	}
}

// count says a number of voters in words where that reads better.
func count(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}
