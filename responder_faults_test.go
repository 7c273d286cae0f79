// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/responder"
)

// script writes a program for exec, and returns its path.
func script(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o700))
	return path
}

// voters returns the names in the Raft configuration, as this server has it.
func voters(t *testing.T, a *consultest.Agent) []string {
	t.Helper()
	config, err := a.Client().Operator().RaftGetConfiguration(&api.QueryOptions{AllowStale: true})
	must(t, err)
	var names []string
	for _, s := range config.Servers {
		names = append(names, s.Node)
	}
	slices.Sort(names)
	return names
}

// waitFailed waits until Serf calls a server failed, on all others that run.
func waitFailed(t *testing.T, c *consultest.Cluster, failed *consultest.Agent) {
	t.Helper()
	for _, a := range others(c, failed) {
		if !a.Running() {
			continue
		}
		waitTrue(t, failed.Name+" to have failed for "+a.Name, func() bool {
			members, err := a.Client().Agent().Members(false)
			return err == nil && slices.ContainsFunc(members, func(m *api.AgentMember) bool { return m.Name == failed.Name && m.Status == 4 })
		})
	}
}

// A leader that hangs cannot hand over: by the time of the alert another one leads, and the hook runs, once, with the alert in its environment only.
func TestResponder_LeaderHangs(t *testing.T) {
	c := startCalm(t, consultest.Options{Servers: 3})
	leader := leaderOf(t, c)
	proof := filepath.Join(t.TempDir(), "proof")
	hook := script(t, fmt.Sprintf(`{ echo "$# $1"; env | sort; } >> %s; kill -CONT %d; echo continued`, proof, leader.Pid()))
	r := startResponder(t, others(c, leader)[0].URL(), 3, fmt.Sprintf(`
  - name: slow-leader
    matchers: [alertname="ConsulServerHung"]
    dry_run: false
    action: {transfer-leadership: {}}
  - name: hung-leader
    matchers: [alertname="ConsulServerHung"]
    dry_run: false
    cooldown: 1s
    max_per_hour: 9
    action: {exec: {command: %s, args: ["$(reboot)"]}}
`+markerRule, hook))
	must(t, leader.Stop())
	stopped := time.Now()
	next := leaderOf(t, c)
	for _, a := range others(c, leader) {
		waitTrue(t, a.Name+" to find two servers well", func() bool {
			state, err := a.Client().Operator().AutopilotState(&api.QueryOptions{AllowStale: true})
			return err == nil && state.Servers[serverID(t, state, next.Name)].Healthy
		})
	}
	alert := firing("ConsulServerHung", stopped, "server", leader.Name, "odd", "`reboot`; $(reboot)\n\"'&&\\")
	done := r.decided(t, alert, "hung-leader", responder.ResultDone, leader.Name+" does not answer, so nothing is lost with it.")
	if done.Output != "continued\n" || done.What != "Run "+hook+` "$(reboot)"` {
		t.Errorf("output %q of %q", done.Output, done.What)
	}
	waitCalm(t, c) // The hook has woken it.
	r.deliver(t, alert)
	r.settle(t)
	content, err := os.ReadFile(proof)
	must(t, err)
	wantLines := []string{
		"1 $(reboot)", "CONSUL_RESPONDER_LABEL_odd=`reboot`; $(reboot)", "\"'&&\\", "CONSUL_RESPONDER_LABEL_server=" + leader.Name,
		"CONSUL_RESPONDER_RULE=hung-leader", "CONSUL_RESPONDER_STARTS_AT=" + stopped.Format(time.RFC3339),
	}
	lines := strings.Split(string(content), "\n")
	for _, want := range wantLines {
		if n := len(slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return l != want })); n != 1 {
			t.Errorf("%q is there %d times; want once, in:\n%s", want, n, content)
		}
	}
	for _, line := range lines {
		if name, _, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(name, "CONSUL_RESPONDER_") && !slices.Contains([]string{"PATH", "PWD", "OLDPWD", "SHLVL", "_"}, name) {
			t.Errorf("the hook has the variable %s", line)
		}
	}
	status, metrics, err := r.get(t.Context(), "/metrics", time.Second)
	must(t, err)
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, metrics)
	}
	s := parseSamples(t, metrics)
	s.expect(t, samples{
		`consul_responder_actions_total{action="exec",result="done",rule="hung-leader"}`:                1,
		`consul_responder_actions_total{action="exec",result="failed",rule="hung-leader"}`:              0,
		`consul_responder_actions_total{action="transfer-leadership",result="done",rule="slow-leader"}`: 0,
		`consul_responder_actions_total{action="exec",result="refused_by_guard",rule="marker"}`:         1,
		`consul_responder_last_action_timestamp_seconds`:                                                float64(done.Time.UnixMilli()) / 1000,
	})
}

func serverID(t *testing.T, state *api.AutopilotState, name string) string {
	t.Helper()
	for id, s := range state.Servers {
		if s.Name == name {
			return id
		}
	}
	t.Fatalf("autopilot does not know %s", name)
	return ""
}

// removeRule is a rule that removes servers that were dead for 3 s.
const removeRule = `
  - name: dead-peer
    matchers: [alertname=~"ConsulServer(Down|Hung)"]
    dry_run: false
    cooldown: 1s
    max_per_hour: 9
    action: {remove-dead-peer: {dead_for: 3s}}
`

// In a cluster of five a dead server's peer is removed once, and one that hangs is not.
func TestResponder_RemoveDeadPeer(t *testing.T) {
	c := startCalm(t, consultest.Options{Servers: 5})
	leader := leaderOf(t, c)
	followers := others(c, leader)
	dead, hung, asked := followers[0], followers[1], followers[2]
	r := startResponder(t, asked.URL(), 5, removeRule+markerRule)

	alive := firing("ConsulServerDown", time.Now(), "server", dead.Name)
	r.decided(t, alive, "dead-peer", responder.ResultRefused, "It does not count as dead: "+dead.Name+" is alive in Serf.")

	must(t, dead.Kill())
	alert := firing("ConsulServerDown", time.Now(), "server", dead.Name)
	waitFailed(t, c, dead)
	waitTrue(t, dead.Name+" to be removed", func() bool {
		r.deliver(t, alert)
		r.settle(t)
		return len(r.records(t, "server", dead.Name, "result", "done")) > 0
	})
	want := []string{}
	for _, a := range others(c, dead) {
		want = append(want, a.Name)
	}
	if got := voters(t, leader); !slices.Equal(got, want) {
		t.Errorf("the voters are %v; want %v", got, want)
	}
	done := r.records(t, "server", dead.Name, "result", "done")[0]
	expectDecision(t, done, "dead-peer", responder.ResultDone, "Without "+dead.Name+" there are 4 voters, of which 4 can be counted on, and the quorum is 3: 1 more may fail.")
	if q := done.Quorum; q == nil || *q != (responder.QuorumRecord{VotersBefore: 5, VotersAfter: 4, NeededBefore: 3, NeededAfter: 3, Before: 4, After: 4}) {
		t.Errorf("the quorum in the history is %+v", q)
	}
	refused := r.records(t, "server", dead.Name, "result", "refused_by_guard")
	if !slices.ContainsFunc(refused, func(d responder.Record) bool {
		return strings.Contains(strings.Join(d.Reasons, " "), "and is removed after 3s")
	}) {
		t.Errorf("it was not refused for being dead for too short: %+v", refused)
	}
	for range 3 {
		r.deliver(t, alert)
	}
	r.settle(t)
	if n := len(r.records(t, "server", dead.Name, "result", "done")); n != 1 {
		t.Errorf("%d removals; want one", n)
	}

	must(t, hung.Stop())
	waitFailed(t, c, hung)
	r.deliver(t, firing("ConsulServerHung", time.Now(), "server", hung.Name))
	decision := r.waitDecision(t, "server", hung.Name)
	if decision.Result != responder.ResultRefused || decision.Output != "" {
		t.Errorf("a server that hangs: %+v; want it to be refused", decision)
	}
	if got := voters(t, leader); !slices.Equal(got, want) {
		t.Errorf("the voters are %v; want %v still", got, want)
	}
}

// In a cluster of three with one down nothing is done that lowers the quorum, and each refusal is recorded and counted.
func TestResponder_ThreeWithOneDown(t *testing.T) {
	c := startCalm(t, consultest.Options{Servers: 3})
	leader := leaderOf(t, c)
	dead := others(c, leader)[0]
	other := others(c, leader, dead)[0]
	hookRan := filepath.Join(t.TempDir(), "ran")
	r := startResponder(t, leader.URL(), 3, fmt.Sprintf(`
  - name: transfer
    matchers: [alertname="Transfer"]
    dry_run: false
    action: {transfer-leadership: {to: %s}}
  - name: stop
    matchers: [alertname="Stop"]
    dry_run: false
    action: {exec: {command: %s}}
`, other.Name, script(t, "touch "+hookRan))+removeRule+markerRule)
	before := voters(t, leader)
	must(t, dead.Kill())
	waitFailed(t, c, dead)
	r.decided(t, firing("ConsulServerDown", time.Now(), "server", dead.Name), "dead-peer", responder.ResultRefused,
		"Without "+dead.Name+" there are 2 voters left, fewer than 3: none of them could fail then.")
	r.decided(t, firing("Transfer", time.Now(), "server", leader.Name), "transfer", responder.ResultRefused, "Without "+leader.Name+" 1 of 3 voters can be counted on, and the quorum is 2.")
	r.decided(t, firing("Stop", time.Now(), "server", other.Name), "stop", responder.ResultRefused, "Without "+other.Name+" 1 of 3 voters can be counted on, and the quorum is 2.")
	if got := voters(t, leader); !slices.Equal(got, before) {
		t.Errorf("the voters are %v; want %v", got, before)
	}
	if now := leaderOf(t, c); now != leader {
		t.Errorf("%s leads; want %s still", now.Name, leader.Name)
	}
	if _, err := os.Stat(hookRan); err == nil {
		t.Error("the hook ran")
	}
	r.settle(t) // All that was delivered is decided on.
	_, metrics, err := r.get(t.Context(), "/metrics", time.Second)
	must(t, err)
	s := parseSamples(t, metrics)
	for _, rule := range []struct{ name, action string }{{"dead-peer", "remove-dead-peer"}, {"transfer", "transfer-leadership"}, {"stop", "exec"}} {
		series := fmt.Sprintf(`consul_responder_actions_total{action=%q,result="refused_by_guard",rule=%q}`, rule.action, rule.name)
		if n := len(r.records(t, "rule", rule.name, "result", "refused_by_guard")); n == 0 || s[series] != float64(n) {
			t.Errorf("%s = %v; want the %d refusals in the history", series, s[series], n)
		}
	}
	s.expectNone(t, "consul_responder_last_action_timestamp_seconds")
}

// requestLog is a proxy in front of an agent that keeps what was asked for.
type requestLog struct {
	*httptest.Server

	mu       sync.Mutex
	requests []string // Guarded by mu.
}

func logRequests(t *testing.T, a *consultest.Agent) *requestLog {
	t.Helper()
	target, err := url.Parse(a.URL())
	must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	l := &requestLog{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		l.requests = append(l.requests, r.Method+" "+r.URL.RequestURI())
		l.mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(l.Close)
	return l
}

// writes returns the requests that are no reads.
func (l *requestLog) writes() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.requests), func(r string) bool { return strings.HasPrefix(r, http.MethodGet+" ") })
}

// A dry run says exactly what is done without it, and asks nothing of Consul.
func TestResponder_DryRun(t *testing.T) {
	c := startCalm(t, consultest.Options{Servers: 3})
	leader := leaderOf(t, c)
	next := others(c, leader)[0]
	requests := logRequests(t, leader)
	rules := func(dryRun string) string {
		return fmt.Sprintf(`
  - name: transfer
    matchers: [alertname="Transfer"]
    %s
    action: {transfer-leadership: {to: %s}}
`, dryRun, next.Name)
	}
	dry := startResponder(t, requests.URL, 3, rules("cooldown: 1s")) // The default.
	would := dry.decided(t, firing("Transfer", time.Now()), "transfer", responder.ResultDryRun, "Without "+leader.Name+" 2 of 3 voters can be counted on")
	if writes := requests.writes(); len(writes) > 0 {
		t.Errorf("a dry run asked %v of Consul", writes)
	}
	if now := leaderOf(t, c); now != leader {
		t.Errorf("%s leads after a dry run; want %s still", now.Name, leader.Name)
	}
	live := startResponder(t, requests.URL, 3, rules("dry_run: false"))
	did := live.decided(t, firing("Transfer", time.Now()), "transfer", responder.ResultDone, "Without "+leader.Name+" 2 of 3 voters can be counted on")
	_, asked, _ := strings.Cut(would.What, ": ")
	if did.What != would.What || !slices.Equal(requests.writes(), []string{asked}) || !strings.Contains(asked, "?id=") {
		t.Errorf("the dry run says %q, it was done %q, and Consul was asked %q; want the same", would.What, did.What, requests.writes())
	}
	if now := leaderOf(t, c); now != next || did.Output != next.Name+" leads." {
		t.Errorf("%s leads, and the history says %q; want %s", now.Name, did.Output, next.Name)
	}
}
