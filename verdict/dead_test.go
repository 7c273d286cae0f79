// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// A server is dead only if everything says so, each on its own account.
func TestJudgeDead(t *testing.T) {
	t.Parallel()
	failed := reporttest.Server(3)
	failed.Status = cluster.StatusFailed
	answer := func(r probe.Result) probe.RPCResult { return probe.RPCResult{Result: r} }
	refused := answer(probe.Result{Reason: probe.ReasonRefused, Phases: []probe.PhaseDuration{{Phase: probe.PhaseConnect}}})
	dead := func() cluster.DeathInput {
		return cluster.DeathInput{
			Topology: cluster.Topology{MembersKnown: true, RaftKnown: true, Peers: []cluster.RaftPeer{
				{ID: "id-1", Address: reporttest.Server(1).RPCAddress}, {ID: "id-3", Address: failed.RPCAddress},
			}},
			Reports: []cluster.Report{reporttest.Says(reporttest.Server(1), 1, 3, 1000), {Server: failed, RPC: refused}},
			Leader:  cluster.AutopilotState{Servers: []cluster.AutopilotServer{{Name: "server-1", Healthy: true, Alive: true}, {Name: "server-3"}}},
			MembersSeen: map[string][]cluster.Member{
				"server-1": {{Name: "server-1", Status: cluster.StatusAlive}, {Name: "server-3", Status: cluster.StatusFailed}},
				"server-2": {{Name: "server-2", Status: cluster.StatusAlive}, {Name: "server-3", Status: cluster.StatusLeft}},
			},
		}
	}
	in := func(r probe.Result) func(*cluster.DeathInput) {
		return func(d *cluster.DeathInput) { d.Reports[1].RPC = answer(r) }
	}
	connecting := []probe.PhaseDuration{{Phase: probe.PhaseConnect}}
	requesting := []probe.PhaseDuration{{Phase: probe.PhaseConnect}, {Phase: probe.PhaseRequest}}
	silent := probe.Result{Reason: probe.ReasonTimeout, Phases: connecting}
	for _, tc := range []struct {
		name   string
		change func(*cluster.DeathInput)
		want   string // Part of what speaks against it; empty if nothing does.
	}{
		{"dead", func(*cluster.DeathInput) {}, ""},
		{"no member any more", func(d *cluster.DeathInput) { d.Reports[1].Server.Status = cluster.StatusNone }, ""},
		{"unknown to another server", func(d *cluster.DeathInput) { d.MembersSeen["server-2"] = nil }, ""},
		{"alive in Serf", func(d *cluster.DeathInput) { d.Reports[1].Server.Status = cluster.StatusAlive }, "server-3 is alive in Serf"},
		{"leaving in Serf", func(d *cluster.DeathInput) { d.Reports[1].Server.Status = cluster.StatusLeaving }, "server-3 is leaving in Serf"},
		{"members unknown", func(d *cluster.DeathInput) { d.Topology.MembersKnown = false }, "the members of Serf are not known"},
		{"no peer", func(d *cluster.DeathInput) { d.Topology.Peers = d.Topology.Peers[:1] }, "server-3 is not in the Raft configuration"},
		{"answers", in(probe.Result{Up: true}), "its port 8300 answers"},
		{"hangs", in(probe.Result{Reason: probe.ReasonTimeout, Phases: requesting}), "something is on its port 8300 (timeout)"},
		{"another program", in(probe.Result{Reason: probe.ReasonProtocol, Phases: requesting}), "something is on its port 8300 (protocol)"},
		{"not asked", in(probe.Result{Skipped: true}), "could not be asked"},
		{"a silent host", in(silent), "its host says nothing on port 8300 (timeout), which is also how it looks from outside a partition"},
		{"no route", in(probe.Result{Reason: probe.ReasonUnreachable, Phases: connecting}), "(unreachable), which is also how it looks"},
		{"a silent host, which is to count", func(d *cluster.DeathInput) { in(silent)(d); d.SilentHostIsDead = true }, ""},
		{"hangs, where a silent host counts", func(d *cluster.DeathInput) {
			in(probe.Result{Reason: probe.ReasonTimeout, Phases: requesting})(d)
			d.SilentHostIsDead = true
		}, "something is on its port 8300"},
		{"the leader sees it", func(d *cluster.DeathInput) { d.Leader.Servers[1].Alive = true }, "the leader sees server-3 alive"},
		{"autopilot calls it healthy", func(d *cluster.DeathInput) { d.Leader.Servers[1].Healthy = true }, "the leader sees server-3 alive"},
		{"the leader does not know it", func(d *cluster.DeathInput) { d.Leader.Servers = d.Leader.Servers[:1] }, "the leader's autopilot does not know server-3"},
		{"another server sees it", func(d *cluster.DeathInput) { d.MembersSeen["server-2"][1].Status = cluster.StatusAlive }, "server-2 does not see server-3 failed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := dead()
			tc.change(&d)
			got := JudgeDead("server-3", d)
			if !strings.Contains(got, tc.want) || (got == "") != (tc.want == "") {
				t.Errorf("against it speaks %q; want %q", got, tc.want)
			}
		})
	}
	if got := JudgeDead("server-9", dead()); got != "there is no server server-9" {
		t.Errorf("got %q of a server that there is not", got)
	}
}
