// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// What cannot be found out is a no, for each action that changes something.
func TestGuards_Unknown(t *testing.T) {
	t.Parallel()
	answer := func(v *view, i int, change func(*probe.RPCResult)) { change(&v.stop.Reports[i-1].RPC) }
	for _, tc := range []struct {
		name   string
		change func(*view)
		want   string // Part of the reasons; empty if it is allowed.
	}{
		{"all is well", func(*view) {}, ""},
		{"a part is not known", func(v *view) { v.incomplete = errors.New("no time") }, "Not all can be found out: no time."},
		{"a server is missing", func(v *view) { v.stop.Topology.Servers = v.stop.Topology.Servers[:4] }, "There are 4 servers, and 5 are expected"},
		{"a port was not asked", func(v *view) {
			answer(v, 2, func(r *probe.RPCResult) { *r = probe.RPCResult{Result: probe.Result{Skipped: true}} })
		}, "server-2 cannot be judged: its port 8300 could not be asked."},
		{"TLS is wrong", func(v *view) {
			answer(v, 2, func(r *probe.RPCResult) { *r = probe.RPCResult{Result: probe.Result{Reason: probe.ReasonTLS}} })
		}, "server-2 cannot be judged: it answers, and not as it should (tls)."},
		{"too many connections", func(v *view) {
			answer(v, 2, func(r *probe.RPCResult) { *r = probe.RPCResult{Result: probe.Result{Reason: probe.ReasonLimit}} })
		}, "server-2 cannot be judged: it answers, and not as it should (limit)."},
		{"half an answer", func(v *view) { answer(v, 2, func(r *probe.RPCResult) { r.Raft.StatsKnown = false }) }, "server-2 cannot be judged: it does not say all about Raft."},
		{"split brain", func(v *view) { answer(v, 2, func(r *probe.RPCResult) { r.Raft.Leader = fakeServer(2).RPCAddress }) }, "Split brain: server-1, server-2 all call themselves leader."},
		{"an election", func(v *view) { answer(v, 2, func(r *probe.RPCResult) { r.Raft.Leader = fakeServer(3).RPCAddress }) }, "do not agree about who leads"},
		{"two configurations", func(v *view) { answer(v, 2, func(r *probe.RPCResult) { r.Raft.Peers = r.Raft.Peers[1:] }) }, "do not agree about the Raft configuration"},
		{"two of five are dead", func(v *view) { v.kill(2).kill(3) }, "and the quorum is 3"},
		{"one hangs", func(v *view) { v.hang(2) }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := guards{expected: 5, require: RequireConfig{MinVoters: 3}}
			for name, judge := range map[string]func(*view) ruling{
				"lose":     func(v *view) ruling { return g.canLose("server-4", v) },
				"transfer": func(v *view) ruling { _, r := (&transferLeadership{guards: g}).judge(nil, v); return r },
				"exec": func(v *view) ruling {
					_, r := (&execCommand{guards: g}).judge(&Alert{Labels: map[string]string{"server": "server-4"}}, v)
					return r
				},
			} {
				v := healthyView(5)
				tc.change(v)
				r := judge(v)
				if r.allowed != (tc.want == "") || name != "transfer" && !strings.Contains(strings.Join(r.reasons, " "), tc.want) || len(r.reasons) == 0 {
					t.Errorf("%s: allowed %v, reasons %q; want %q", name, r.allowed, r.reasons, tc.want)
				}
			}
			v := healthyView(5).kill(5)
			tc.change(v)
			allowed := tc.want == "" || tc.name == "two of five are dead"
			if tc.name == "one hangs" || tc.name == "two of five are dead" {
				allowed = tc.name == "one hangs" // Three of five are left, which is the quorum.
			}
			if r := g.canRemove("server-5", v); r.allowed != allowed {
				t.Errorf("remove: allowed %v, reasons %q; want %v", r.allowed, r.reasons, allowed)
			}
		})
	}
}

func TestGuards_Require(t *testing.T) {
	t.Parallel()
	g := guards{expected: 5, require: RequireConfig{Margin: 1, MinVoters: 3}}
	if r := g.canLose("server-2", healthyView(5)); !r.allowed {
		t.Errorf("one of five may be lost with a margin of 1: %q", r.reasons)
	}
	if r := g.canLose("server-2", healthyView(5).hang(3)); r.allowed || !slices.Contains(r.reasons, "After the action 0 more may fail, and the rule wants 1.") {
		t.Errorf("allowed %v, reasons %q; want that the margin is too small", r.allowed, r.reasons)
	}
	if r := g.canRemove("server-5", healthyView(5).kill(5)); !r.allowed {
		t.Errorf("the dead one of five may be removed with a margin of 1: %q", r.reasons)
	}
	if r := g.canRemove("server-5", healthyView(5).kill(5).hang(3)); r.allowed {
		t.Error("the dead one of five may be removed with a margin of 1 while another one hangs")
	}
	v := healthyView(5).kill(5)
	v.minQuorum = 5
	if r := g.canRemove("server-5", v); r.allowed || !strings.Contains(strings.Join(r.reasons, " "), "fewer than 5") {
		t.Errorf("allowed %v, reasons %q; want that autopilot's own bound holds", r.allowed, r.reasons)
	}
	if r := g.canLose("nobody", healthyView(5)); r.allowed || !strings.Contains(r.reasons[0], `no such server: "nobody"`) {
		t.Errorf("allowed %v, reasons %q; want that there is no such server", r.allowed, r.reasons)
	}
}

func TestTransfer_Applies(t *testing.T) {
	t.Parallel()
	about := func(server string) *Alert { return &Alert{Labels: map[string]string{"server": server}} }
	for _, tc := range []struct {
		name  string
		to    string
		alert *Alert
		view  *view
		want  string
	}{
		{"the leader", "", about("server-1"), healthyView(3), ""},
		{"no server", "", about(""), healthyView(3), ""},
		{"a follower", "", about("server-2"), healthyView(3), "The alert is about server-2, and server-1 leads."},
		{"the leader hangs", "", about("server-1"), healthyView(3).hang(1), "There is no leader that could hand over: there are 0 servers that answer and lead."},
		{"to itself", "server-1", about(""), healthyView(3), "server-1 is to lead, and does."},
	} {
		if got := (&transferLeadership{to: tc.to}).applies(tc.alert, tc.view); got != tc.want {
			t.Errorf("%s: %q; want %q", tc.name, got, tc.want)
		}
	}
}

// Followers that hear of the leader late are no reason to keep it: autopilot calls them unhealthy for that.
func TestTransfer_SlowLeader(t *testing.T) {
	t.Parallel()
	v := healthyView(3)
	v.stop.Autopilot = &cluster.AutopilotState{Servers: []cluster.AutopilotServer{{Name: "server-1", Healthy: true}, {Name: "server-2"}, {Name: "server-3"}}}
	for _, to := range []string{"", "server-2"} {
		if _, r := (&transferLeadership{guards: guards{expected: 3}, to: to}).judge(nil, v); !r.allowed {
			t.Errorf("to %q: it is refused: %q", to, r.reasons)
		}
	}
	exec := &execCommand{guards: guards{expected: 3}}
	if _, r := exec.judge(&Alert{Labels: map[string]string{"server": "server-1"}}, v); r.allowed {
		t.Errorf("a program may stop the leader while autopilot calls the others unhealthy: %q", r.reasons)
	}
}

// A server that is named to lead must be able to.
func TestTransfer_To(t *testing.T) {
	t.Parallel()
	lagging := healthyView(5)
	lagging.stop.Reports[1].RPC.Raft.LastLogIndex = 1
	voteless := healthyView(5)
	voteless.stop.Topology.Peers[1].Voter = false
	for _, tc := range []struct {
		to   string
		view *view
		want string // Part of what is done, or of the reason.
	}{
		{"server-2", healthyView(5), "Transfer the leadership from server-1 to server-2: POST /v1/operator/raft/transfer-leader?id=id-2"},
		{"", healthyView(5), "Transfer the leadership from server-1 to the voter that Raft finds best: POST /v1/operator/raft/transfer-leader"},
		{"server-2", healthyView(5).hang(2), "server-2 cannot lead: it cannot be counted on: port 8300 does not answer (timeout)."},
		{"server-2", lagging, "server-2 cannot lead: it cannot be counted on: its log is 999 entries behind, more than 250."},
		{"server-2", voteless, "server-2 cannot lead: server-2 has no vote."},
		{"server-9", healthyView(5), `server-9 cannot lead: there is no such server: "server-9".`},
	} {
		p, r := (&transferLeadership{guards: guards{expected: 5}, to: tc.to}).judge(nil, tc.view)
		if got := p.what; got != tc.want && !slices.Contains(r.reasons, tc.want) || r.allowed != strings.HasPrefix(tc.want, "Transfer") {
			t.Errorf("to %q: %q, allowed %v, reasons %q; want %q", tc.to, got, r.allowed, r.reasons, tc.want)
		}
	}
}

// A server is removed only after it was dead at each look for as long as the rule says.
func TestRemove_DeadFor(t *testing.T) {
	t.Parallel()
	r := &removeDeadPeer{guards: guards{expected: 5, require: RequireConfig{MinVoters: 3}}, deadFor: time.Minute}
	about := &Alert{Labels: map[string]string{"server": "server-5"}}
	expect := func(v *view, want string) {
		t.Helper()
		p, ruling := r.judge(about, v)
		if ruling.allowed != (want == "") || !strings.Contains(strings.Join(ruling.reasons, " "), want) || (p.what != "") != ruling.allowed {
			t.Errorf("allowed %v, reasons %q; want %q", ruling.allowed, ruling.reasons, want)
		}
	}
	dead := func() *view { return healthyView(5).kill(5) }
	watch := func(v *view, ago time.Duration) { r.observe(v.death, time.Now().Add(-ago)) }
	expect(healthyView(5), "It does not count as dead: server-5 is alive in Serf.")
	expect(dead(), "It has been dead for 0s as far as was watched, and is removed after 1m0s.")
	r.blind()
	watch(dead(), 90*time.Second)
	watch(dead(), 30*time.Second)
	expect(dead(), "")
	r.blind()
	expect(dead(), "It has been dead for 0s")
	r.blind()
	watch(dead(), 90*time.Second)
	watch(healthyView(5), 60*time.Second) // It was back.
	watch(dead(), 30*time.Second)
	expect(dead(), "It has been dead for 30s as far as was watched")
	r.blind()
	watch(dead(), 10*time.Minute) // Nobody looked meanwhile.
	expect(dead(), "It has been dead for 0s")

	unknown := dead()
	unknown.deathUnknown = errors.New("no leader")
	expect(unknown, "There is no telling whether it is dead: no leader.")
	r.blind()
	watch(dead(), 90*time.Second)
	watch(dead(), 0)
	p, _ := r.judge(about, dead())
	if want := "Remove server-5 (10.0.0.5:8300) from the Raft configuration: DELETE /v1/operator/raft/peer?id=id-5"; p.what != want {
		t.Errorf("the plan is %q; want %q", p.what, want)
	}
	if got := r.applies(&Alert{Labels: map[string]string{}}, nil); !strings.Contains(got, "no label server") {
		t.Errorf("an alert without a server applies (%q)", got)
	}
}
