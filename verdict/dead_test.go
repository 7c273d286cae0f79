// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// A server is dead only if everything says so, each on its own account.
func TestJudgeDead(t *testing.T) {
	t.Parallel()
	failed := reporttest.Server(3)
	failed.Status = cluster.StatusFailed
	connecting := []probe.PhaseDuration{{Phase: probe.PhaseConnect}}
	requesting := []probe.PhaseDuration{{Phase: probe.PhaseConnect}, {Phase: probe.PhaseRequest}}
	alive := func(id string) cluster.Member { return cluster.Member{ID: id, Status: cluster.StatusAlive} }
	type input = inputs.Death
	dead := func() input {
		return input{
			Topology: cluster.Topology{
				MembersKnown: true, RaftKnown: true, Servers: []cluster.Server{reporttest.Server(2)},
				Peers: []cluster.RaftPeer{
					{ID: "id-1", Address: reporttest.Server(1).RPCAddress, Voter: true},
					{ID: "id-2", Address: reporttest.Server(2).RPCAddress, Voter: true},
					{ID: "id-3", Address: failed.RPCAddress, Voter: true},
				},
			},
			Reports: []cluster.Report{reporttest.Says(reporttest.Server(1), 1, 3, 1000), {Server: failed, RPC: probe.RPCResult{
				Result: probe.Result{Reason: probe.ReasonRefused, Phases: connecting},
			}}},
			Leader: cluster.AutopilotState{Servers: []cluster.AutopilotServer{
				{ID: "id-1", Healthy: true, Alive: true}, {ID: "id-3"},
			}},
			MembersSeen: map[string][]cluster.Member{
				"id-1": {alive("id-1"), alive("id-2"), {ID: "id-3", Status: cluster.StatusFailed}},
				"id-2": {alive("id-1"), alive("id-2"), {ID: "id-3", Status: cluster.StatusLeft}},
			},
			Contacts: map[string]bool{"id-2": true}, RefusedHostIsDead: true,
		}
	}
	inSerf := func(s cluster.MemberStatus) func(*input) { return func(d *input) { d.Reports[1].Server.Status = s } }
	rpc := func(r probe.Result) func(*input) { return func(d *input) { d.Reports[1].RPC.Result = r } }
	fails := func(r probe.Reason, phases []probe.PhaseDuration) func(*input) {
		return rpc(probe.Result{Reason: r, Phases: phases})
	}
	silent := fails(probe.ReasonTimeout, connecting)
	hangs := fails(probe.ReasonTimeout, requesting)
	for _, tc := range []struct {
		name   string
		change func(*input)
		want   string // Part of what speaks against it; empty if nothing does.
	}{
		{"dead", func(*input) {}, ""},
		{"no member any more", inSerf(cluster.StatusNone), ""},
		{"unknown to another server", func(d *input) { d.MembersSeen["id-2"] = d.MembersSeen["id-2"][:2] }, ""},
		{
			"another server tells of nobody", func(d *input) { d.MembersSeen["id-2"] = nil },
			"of 3 voters 1 let their own members be read, and it takes 2, and the leader among them",
		},
		{
			"the leader does not tell", func(d *input) { delete(d.MembersSeen, "id-1") },
			"of 3 voters 1 let their own members be read",
		},
		{
			"a majority without the leader", func(d *input) {
				d.Topology.Peers = append(d.Topology.Peers[:3:3], cluster.RaftPeer{ID: "id-4"})
				d.MembersSeen["id-3"] = d.MembersSeen["id-2"]
				delete(d.MembersSeen, "id-1")
			}, "of 3 voters 2 let their own members be read",
		},
		{
			"it answers heartbeats", func(d *input) { d.Contacts["id-3"] = true },
			"server-3 answers the leader's heartbeats",
		},
		{"nobody answers heartbeats", func(d *input) { d.Contacts = nil }, "the leader does not tell which servers answer"},
		{
			"a host that refuses", func(d *input) { d.RefusedHostIsDead = false },
			"its host says that nothing listens on port 8300, which is also how it looks behind a firewall",
		},
		{"alive in Serf", inSerf(cluster.StatusAlive), "server-3 is alive in Serf"},
		{"leaving in Serf", inSerf(cluster.StatusLeaving), "server-3 is leaving in Serf"},
		{"members unknown", func(d *input) { d.Topology.MembersKnown = false }, "the members of Serf are not known"},
		{"no peer", func(d *input) { d.Topology.Peers = d.Topology.Peers[:2] }, "server-3 is not in the Raft configuration"},
		{"answers", rpc(probe.Result{Up: true}), "its port 8300 answers"},
		{"hangs", hangs, "something is on its port 8300 (timeout)"},
		{"another program", fails(probe.ReasonProtocol, requesting), "something is on its port 8300 (protocol)"},
		{"not asked", rpc(probe.Result{Skipped: true}), "could not be asked"},
		{
			"a silent host", silent,
			"its host says nothing on port 8300 (timeout), which is also how it looks behind a firewall or from outside a " +
				"partition",
		},
		{"no route", fails(probe.ReasonUnreachable, connecting), "(unreachable), which is also how it looks"},
		{"a silent host, which is to count", func(d *input) { silent(d); d.SilentHostIsDead = true }, ""},
		{"hangs, silence counts", func(d *input) { hangs(d); d.SilentHostIsDead = true }, "something is on its port 8300"},
		{"the leader sees it", func(d *input) { d.Leader.Servers[1].Alive = true }, "the leader sees server-3 alive"},
		{"healthy to autopilot", func(d *input) { d.Leader.Servers[1].Healthy = true }, "the leader sees server-3 alive"},
		{
			"the leader does not know it", func(d *input) { d.Leader.Servers = d.Leader.Servers[:1] },
			"the leader's autopilot does not know server-3",
		},
		{
			"another server sees it", func(d *input) { d.MembersSeen["id-2"][2].Status = cluster.StatusAlive },
			"server-2 sees server-3 alive",
		},
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
