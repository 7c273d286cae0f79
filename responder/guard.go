// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"fmt"

	"github.com/zervigo/consul_cluster_exporter/probe"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// guards are what every action that changes something must pass. They are pure functions of a view.
type guards struct {
	// expected is how many servers the cluster has.
	expected int
	require  RequireConfig
}

// judged says why not every server can be judged, or that there are fewer than expected; empty if neither.
func (g *guards) judged(v *view) string {
	if v.incomplete != nil {
		return fmt.Sprintf("Not everything is known: %v.", v.incomplete)
	}
	if n := len(v.stop.Topology.Servers); n < g.expected {
		return fmt.Sprintf("There are %d servers, and %d are expected: the others cannot be judged.", n, g.expected)
	}
	for _, r := range v.stop.Reports {
		if doubt := unjudged(&r.RPC); doubt != "" {
			return fmt.Sprintf("%s cannot be judged: %s.", r.Server.Name, doubt)
		}
	}
	return ""
}

// unjudged says why the state of a server is unknown. One that is dead or hangs can be judged.
func unjudged(r *probe.RPCResult) string {
	if r.Skipped {
		return "its port 8300 could not be asked"
	}
	if r.Up {
		if r.Raft.LeaderKnown && r.Raft.PeersKnown && r.Raft.StatsKnown {
			return ""
		}
		return "it does not say all about Raft"
	}
	switch r.Reason {
	case probe.ReasonRefused, probe.ReasonTimeout, probe.ReasonReset, probe.ReasonUnreachable:
		return ""
	default:
		return fmt.Sprintf("it answers, and not as it should (%s)", r.Reason)
	}
}

// canLose decides whether the cluster can afford to lose the named server now, as check --safe-to-stop does.
func (g *guards) canLose(server string, v *view) decision {
	return g.decide(v, func() (decision, int, error) {
		stop, err := verdict.JudgeStop(server, v.stop)
		quorum := &QuorumRecord{stop.Voters, stop.Voters, stop.Needed, stop.Needed, stop.Before, stop.After}
		return decision{stop.Safe, stop.Reasons, quorum}, stop.Margin(), err
	})
}

// canRemove decides whether the cluster can do without the named server, which is dead.
func (g *guards) canRemove(server string, v *view) decision {
	return g.decide(v, func() (decision, int, error) {
		if v.stop.MinQuorum == nil {
			return refused("Autopilot's min_quorum is unknown."), 0, nil
		}
		r, err := verdict.JudgeRemoval(server, max(g.require.MinVoters, int(*v.stop.MinQuorum)), v.stop)
		quorum := &QuorumRecord{r.VotersBefore, r.VotersAfter, r.NeededBefore, r.NeededAfter, r.Counted, r.Counted}
		return decision{r.Safe, r.Reasons, quorum}, r.Margin(), err
	})
}

// decide adds to a decision what holds for all of them: every server can be judged, and the margin is large enough.
func (g *guards) decide(v *view, judge func() (d decision, margin int, err error)) decision {
	if doubt := g.judged(v); doubt != "" {
		return decision{reasons: []string{doubt}}
	}
	d, margin, err := judge()
	if err != nil {
		return refused("There is no telling: %v.", err)
	}
	if d.allowed && margin < g.require.Margin {
		d.allowed = false
		d.reasons = append(d.reasons,
			fmt.Sprintf("After the action %d more may fail, and the rule wants %d.", margin, g.require.Margin))
	}
	return d
}
