// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// expect compares a decision with what is wanted: a part of the reasons why it is refused, or nothing if it is allowed.
func (d decision) expect(t *testing.T, what, want string) {
	t.Helper()
	if got := strings.Join(d.reasons, " "); d.allowed != (want == "") || got == "" || !strings.Contains(got, want) {
		t.Errorf("%s: allowed %v, reasons %q; want %q", what, d.allowed, got, want)
	}
}

// What is unknown is a no, for each action that changes something.
func TestGuards_Unknown(t *testing.T) {
	t.Parallel()
	rpc := func(v *view) *probe.RPCResult { return &v.stop.Reports[1].RPC }
	for _, tc := range []struct {
		name   string
		change func(*view)
		want   string // Why it is refused; empty if it is allowed.
		remove string // The same where it is another for removing.
	}{
		{"all is well", func(*view) {}, "", ""},
		{"one hangs", func(v *view) { v.hang(2) }, "", ""},
		{"two of five are dead", func(v *view) { v.kill(2).kill(3) }, "and the quorum is 3", "fewer than the quorum of 3"},
		{"a part is unknown", func(v *view) { v.incomplete = errFake }, "Not everything is known: it broke.", ""},
		{"skipped", func(v *view) { rpc(v).Up, rpc(v).Skipped = false, true }, "its port 8300 could not be asked.", ""},
		{"TLS is wrong", func(v *view) { v.down(2, probe.ReasonTLS) }, "server-2 cannot be judged: it answers, and", ""},
		{"many connections", func(v *view) { v.down(2, probe.ReasonLimit) }, "it answers, and not as it should (limit).", ""},
		{"half an answer", func(v *view) { rpc(v).Raft.StatsKnown = false }, "it does not say all about Raft.", ""},
		{
			"one is missing", func(v *view) { v.stop.Topology.Servers = v.stop.Topology.Servers[:4] },
			"There are 4 servers, and 5 are expected", "",
		},
		{
			"split brain", func(v *view) { rpc(v).Raft.Leader = reporttest.Server(2).RPCAddress },
			"Several servers call themselves leader: server-1, server-2.", "",
		},
		{
			"an election", func(v *view) { rpc(v).Raft.Leader = reporttest.Server(3).RPCAddress },
			"do not agree about who leads", "",
		},
		{"two configurations", func(v *view) { rpc(v).Raft.Peers = nil }, "", "do not agree about the Raft configuration"},
	} {
		g := guards{expected: 5, require: RequireConfig{MinVoters: 3}}
		v := healthyView(5)
		tc.change(v)
		g.canLose("server-4", v).expect(t, tc.name+": lose", tc.want)
		_, exec := (&execCommand{guards: g}).judge(about("server-4"), v)
		exec.expect(t, tc.name+": exec", tc.want)
		if _, transfer := (&transferLeadership{guards: g}).judge(nil, v); transfer.allowed != (tc.want == "") {
			t.Errorf("%s: transfer: allowed %v, reasons %q", tc.name, transfer.allowed, transfer.reasons)
		}
		v = healthyView(5).kill(5)
		tc.change(v)
		g.canRemove("server-5", v).expect(t, tc.name+": remove", cmp.Or(tc.remove, tc.want))
	}
}

func TestGuards_Require(t *testing.T) {
	t.Parallel()
	g := guards{expected: 5, require: RequireConfig{Margin: 1, MinVoters: 3}}
	g.canLose("server-2", healthyView(5)).expect(t, "one of five", "")
	g.canLose("server-2", healthyView(5).hang(3)).expect(t, "one more hangs",
		"After the action 0 more may fail, and the rule wants 1.")
	g.canRemove("server-5", healthyView(5).kill(5)).expect(t, "the dead one of five", "")
	g.canRemove("server-5", healthyView(5).kill(5).hang(3)).expect(t, "while another one hangs", "the rule wants 1")
	v := healthyView(5).kill(5)
	*v.stop.MinQuorum = 5
	g.canRemove("server-5", v).expect(t, "autopilot's own bound", "fewer than 5")
	g.canLose("nobody", healthyView(5)).expect(t, "no such server", `there is no server named "nobody"`)
}

func TestTransfer_Applies(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, to, server string
		view             *view
		want             string
	}{
		{"the leader", "", "server-1", healthyView(3), ""},
		{"no server", "", "", healthyView(3), ""},
		{"a follower", "", "server-2", healthyView(3), "The alert is about server-2, and server-1 leads."},
		{
			"the leader hangs", "", "server-1", healthyView(3).hang(1),
			"There is no leader that could hand over: there are 0 servers that answer and lead.",
		},
		{"to itself", "server-1", "", healthyView(3), "server-1 is to lead, and does."},
	} {
		action := &transferLeadership{TransferConfig: TransferConfig{tc.to}}
		if got := action.applies(about(tc.server), tc.view); got != tc.want {
			t.Errorf("%s: %q; want %q", tc.name, got, tc.want)
		}
	}
}

// Followers that hear of the leader late are no reason to keep it: autopilot calls them unhealthy for that. A program,
// which may stop the leader, is refused.
func TestTransfer_SlowLeader(t *testing.T) {
	t.Parallel()
	v := healthyView(3)
	v.stop.Autopilot = &cluster.AutopilotState{
		Servers: []cluster.AutopilotServer{{ID: "id-1", Healthy: true}, {ID: "id-2"}, {ID: "id-3"}},
	}
	g := guards{expected: 3}
	for _, to := range []string{"", "server-2"} {
		_, d := (&transferLeadership{guards: g, TransferConfig: TransferConfig{to}}).judge(nil, v)
		d.expect(t, "transfer to "+to, "")
	}
	_, d := (&execCommand{guards: g}).judge(about("server-1"), v)
	d.expect(t, "exec", "cannot be counted on")
}

// A server that is named to lead must be able to.
func TestTransfer_To(t *testing.T) {
	t.Parallel()
	lagging, voteless, twoPeers := healthyView(5), healthyView(5), healthyView(5)
	lagging.stop.Reports[1].RPC.Raft.LastLogIndex = 1
	voteless.stop.Topology.Peers[1].Voter = false
	old := cluster.RaftPeer{ID: "id-old", Address: reporttest.Server(2).RPCAddress}
	twoPeers.stop.Topology.Peers = append(twoPeers.stop.Topology.Peers, old)
	const transfer = "POST /v1/operator/raft/transfer-leader"
	for _, tc := range []struct {
		to   string
		view *view
		want string // What is done, or the reason.
	}{
		{"server-2", healthyView(5), "Transfer the leadership from server-1 to server-2: " + transfer + "?id=id-2"},
		{"", healthyView(5), "Transfer the leadership from server-1 to the voter that Raft finds best: " + transfer},
		{
			"server-2", healthyView(5).hang(2),
			"server-2 cannot lead: it cannot be counted on: port 8300 does not answer (timeout).",
		},
		{"server-2", lagging, "server-2 cannot lead: it cannot be counted on: its log is 999 entries behind, more than 250."},
		{"server-2", voteless, "server-2 cannot lead: server-2 has no vote."},
		{
			"server-2", twoPeers, "server-2 cannot lead: server-2 has the node ID id-2, and the peer at its address " +
				"10.0.0.2:8300 has id-old.",
		},
		{"server-9", healthyView(5), `server-9 cannot lead: there is no such server: "server-9".`},
	} {
		p, d := (&transferLeadership{guards{expected: 5}, TransferConfig{tc.to}, &operator{}}).judge(nil, tc.view)
		if p.what != tc.want && !slices.Contains(d.reasons, tc.want) || d.allowed != strings.HasPrefix(tc.want, "Transfer") {
			t.Errorf("to %q: %q, allowed %v, reasons %q; want %q", tc.to, p.what, d.allowed, d.reasons, tc.want)
		}
	}
}

// A server is removed only after it was dead at each look for as long as the rule says.
func TestRemove_DeadFor(t *testing.T) {
	t.Parallel()
	dead, alive, unknown := healthyView(5).kill(5), healthyView(5), healthyView(5).kill(5)
	twoPeers := healthyView(5).kill(5)
	old := cluster.RaftPeer{ID: "id-old", Address: reporttest.Server(5).RPCAddress}
	twoPeers.stop.Topology.Peers = append(twoPeers.stop.Topology.Peers, old)
	twoPeers.death.Topology = twoPeers.stop.Topology
	unknown.deathUnknown = errors.New("no leader")
	var p plan
	for _, tc := range []struct {
		name  string
		looks map[int]*view // By how many seconds ago; nil is a look that failed.
		now   *view
		want  string
	}{
		{"alive", nil, alive, "It does not count as dead: server-5 is alive in Serf."},
		{"never looked", nil, dead, "It has been dead for 0s as far as was watched, and is removed after 1m0s."},
		{"it was back", map[int]*view{90: dead, 60: alive, 30: dead}, dead, "It has been dead for 30s as far as was watched"},
		{"nobody looked meanwhile", map[int]*view{600: dead}, dead, "It has been dead for 0s"},
		{"a look failed", map[int]*view{90: dead, 30: nil}, dead, "It has been dead for 0s"},
		{"unknown", map[int]*view{90: dead, 0: dead}, unknown, "There is no telling whether it is dead: no leader."},
		{"two peers", map[int]*view{90: twoPeers}, twoPeers, "server-5 has the node ID id-5, and the peer at its address"},
		{"dead for long", map[int]*view{90: dead, 30: dead}, dead, ""},
	} {
		r := &removeDeadPeer{guards: guards{expected: 5, require: RequireConfig{MinVoters: 3}}, operator: &operator{}}
		r.DeadFor, r.RefusedHostIsDead = time.Minute, true
		for _, ago := range slices.Backward(slices.Sorted(maps.Keys(tc.looks))) {
			if v := tc.looks[ago]; v != nil {
				r.observe(v.death, time.Now().Add(-time.Duration(ago)*time.Second))
			} else {
				r.blind()
			}
		}
		var d decision
		p, d = r.judge(about("server-5"), tc.now)
		d.expect(t, tc.name, tc.want)
		if (p.what != "") != d.allowed {
			t.Errorf("%s: the plan is %q", tc.name, p.what)
		}
	}
	const remove = "Remove server-5 (10.0.0.5:8300) from the Raft configuration: DELETE /v1/operator/raft/peer?id=id-5"
	if p.what != remove {
		t.Errorf("the plan is %q; want %q", p.what, remove)
	}
	if got := (&removeDeadPeer{}).applies(about(""), nil); !strings.Contains(got, "no label server") {
		t.Errorf("an alert without a server applies (%q)", got)
	}
}
