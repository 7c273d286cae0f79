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
)

// without are the grounds for a decision about the quorum without a server.
type without struct {
	cluster.Report // Of the server.
	Verdict

	// counted are the other voters that can be counted on, and reasons are why not all can.
	counted int
	reasons []string
}

func judgeWithout(server string, in *inputs.Stop) (without, error) {
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

// leadershipTrouble says what is wrong with the leadership, in which case no server should be stopped.
func leadershipTrouble(v Verdict) string {
	leaders := v.Leadership.Leaders
	switch {
	case len(leaders) > 1:
		return fmt.Sprintf("Several servers call themselves leader: %s.", strings.Join(leaders, ", "))
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
func Doubt(server string, in *inputs.Stop) string {
	for _, r := range in.Reports {
		if r.Server.Name == server {
			return doubtAbout(r, Judge(in.Evidence()), in)
		}
	}
	return "there is no such server"
}

// doubt says why a voter cannot be counted on; empty if it can.
func doubtAbout(r cluster.Report, v Verdict, in *inputs.Stop) string {
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
