// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"fmt"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// guards are what all actions that change something must pass. They are pure functions of a view.
type guards struct {
	// expected is how many servers the cluster has.
	expected int
	require  RequireConfig
}

// judged refuses unless every server can be judged, and there are as many as expected. It is empty if that is so.
func (g *guards) judged(v *view) string {
	if v.incomplete != nil {
		return fmt.Sprintf("Not all can be found out: %v.", v.incomplete)
	}
	if n := len(v.stop.Topology.Servers); n < g.expected {
		return fmt.Sprintf("There are %d servers, and %d are expected: the others cannot be judged.", n, g.expected)
	}
	for _, r := range v.stop.Reports {
		if doubt := unjudged(r); doubt != "" {
			return fmt.Sprintf("%s cannot be judged: %s.", r.Server.Name, doubt)
		}
	}
	return ""
}

// unjudged says why there is no telling how a server is. One that is dead or hangs can be judged.
func unjudged(r cluster.Report) string {
	switch {
	case r.RPC.Skipped:
		return "its port 8300 could not be asked"
	case r.RPC.Up && (!r.RPC.Raft.LeaderKnown || !r.RPC.Raft.PeersKnown || !r.RPC.Raft.StatsKnown):
		return "it does not say all about Raft"
	case r.RPC.Up:
		return ""
	case slices.Contains([]probe.Reason{probe.ReasonRefused, probe.ReasonTimeout, probe.ReasonReset, probe.ReasonUnreachable}, r.RPC.Reason):
		return ""
	default:
		return fmt.Sprintf("it answers, and not as it should (%s)", r.RPC.Reason)
	}
}

// canLose decides whether the cluster can afford to lose the named server now, as check --safe-to-stop does.
func (g *guards) canLose(server string, v *view) ruling {
	if doubt := g.judged(v); doubt != "" {
		return ruling{reasons: []string{doubt}}
	}
	stop, err := verdict.JudgeStop(server, v.stop)
	if err != nil {
		return ruling{reasons: []string{fmt.Sprintf("There is no telling: %v.", err)}}
	}
	r := ruling{
		allowed: stop.Safe,
		reasons: stop.Reasons,
		quorum:  &QuorumRecord{stop.Voters, stop.Voters, stop.Needed, stop.Needed, stop.Before, stop.After},
	}
	r.demand(g.require.Margin, stop.Margin())
	return r
}

// canRemove decides whether the cluster can do without the named server, which is dead.
func (g *guards) canRemove(server string, v *view) ruling {
	if doubt := g.judged(v); doubt != "" {
		return ruling{reasons: []string{doubt}}
	}
	removal, err := verdict.JudgeRemoval(server, max(g.require.MinVoters, int(v.minQuorum)), v.stop)
	if err != nil {
		return ruling{reasons: []string{fmt.Sprintf("There is no telling: %v.", err)}}
	}
	r := ruling{
		allowed: removal.Safe,
		reasons: removal.Reasons,
		quorum: &QuorumRecord{
			removal.VotersBefore, removal.VotersAfter, removal.NeededBefore, removal.NeededAfter, removal.Counted, removal.Counted,
		},
	}
	r.demand(g.require.Margin, removal.Margin())
	return r
}

// demand refuses what leaves a smaller margin than the rule wants.
func (r *ruling) demand(want, margin int) {
	if r.allowed && margin < want {
		r.allowed = false
		r.reasons = append(r.reasons, fmt.Sprintf("After the action %d more may fail, and the rule wants %d.", margin, want))
	}
}
