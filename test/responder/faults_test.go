// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder_test

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
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// A leader that hangs cannot hand over: by the time of the alert another one leads, and the hook runs, once, with the
// alert in its environment only.
func TestResponder_LeaderHangs(t *testing.T) {
	t.Parallel()
	c := harness.StartCalm(t, consultest.Options{Servers: 3})
	leader := harness.LeaderOf(t, c)
	proof := filepath.Join(t.TempDir(), "proof")
	hook := harness.Script(t, fmt.Sprintf(`{ echo "$# $1"; env | sort; } >> %s; kill -CONT %d; echo continued`, proof, leader.Pid()))
	r := harness.StartResponder(t, harness.Others(c, leader)[0].URL(), 3, fmt.Sprintf(`
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
`+harness.MarkerRule, hook))
	harness.Must(t, leader.Stop())
	stopped := time.Now()
	next := harness.LeaderOf(t, c)
	for _, a := range harness.Others(c, leader) {
		harness.WaitTrue(t, a.Name+" to find two servers well", func() bool {
			state, err := a.Client().Operator().AutopilotState(&api.QueryOptions{AllowStale: true})
			return err == nil && state.Servers[serverID(t, state, next.Name)].Healthy
		})
	}
	alert := harness.Firing("ConsulServerHung", stopped, "server", leader.Name, "odd", "`reboot`; $(reboot)\n\"'&&\\")
	done := r.Decided(t, alert, "hung-leader", responder.ResultDone, leader.Name+" does not answer, so nothing is lost with it.")
	if done.Output != "continued\n" || done.What != "Run "+hook+` "$(reboot)"` {
		t.Errorf("output %q of %q", done.Output, done.What)
	}
	harness.WaitCalm(t, c) // The hook has woken it.
	r.Deliver(t, alert)
	r.Settle(t)
	content, err := os.ReadFile(proof)
	harness.Must(t, err)
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
	status, metrics, err := r.Get(t.Context(), "/metrics", time.Second)
	harness.Must(t, err)
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, metrics)
	}
	s := harness.ParseSamples(t, metrics)
	s.Expect(t, harness.Samples{
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

// In a cluster of five a dead server's peer is removed once, and one that hangs is not.
func TestResponder_RemoveDeadPeer(t *testing.T) {
	t.Parallel()
	c := harness.StartCalm(t, consultest.Options{Servers: 5})
	leader := harness.LeaderOf(t, c)
	followers := harness.Others(c, leader)
	dead, hung, asked := followers[0], followers[1], followers[2]
	r := harness.StartResponder(t, asked.URL(), 5, harness.RemoveRule+harness.MarkerRule)

	alive := harness.Firing("ConsulServerDown", time.Now(), "server", dead.Name)
	r.Decided(t, alive, "dead-peer", responder.ResultRefused, "It does not count as dead: "+dead.Name+" is alive in Serf.")

	harness.Must(t, dead.Kill())
	alert := harness.Firing("ConsulServerDown", time.Now(), "server", dead.Name)
	harness.WaitFailed(t, c, dead)
	harness.WaitTrue(t, dead.Name+" to be removed", func() bool {
		r.Deliver(t, alert)
		r.Settle(t)
		return len(r.Records(t, "server", dead.Name, "result", "done")) > 0
	})
	want := []string{}
	for _, a := range harness.Others(c, dead) {
		want = append(want, a.Name)
	}
	if got := harness.Voters(t, leader); !slices.Equal(got, want) {
		t.Errorf("the voters are %v; want %v", got, want)
	}
	done := r.Records(t, "server", dead.Name, "result", "done")[0]
	harness.ExpectDecision(t, done, "dead-peer", responder.ResultDone, "Without "+dead.Name+" there are 4 voters, of which 4 can be counted on, and the quorum is 3: 1 more may fail.")
	if q := done.Quorum; q == nil || *q != (responder.QuorumRecord{VotersBefore: 5, VotersAfter: 4, NeededBefore: 3, NeededAfter: 3, Before: 4, After: 4}) {
		t.Errorf("the quorum in the history is %+v", q)
	}
	refused := r.Records(t, "server", dead.Name, "result", "refused_by_guard")
	if !slices.ContainsFunc(refused, func(d responder.Record) bool {
		return strings.Contains(strings.Join(d.Reasons, " "), "and is removed after 3s")
	}) {
		t.Errorf("it was not refused for being dead for too short: %+v", refused)
	}
	for range 3 {
		r.Deliver(t, alert)
	}
	r.Settle(t)
	if n := len(r.Records(t, "server", dead.Name, "result", "done")); n != 1 {
		t.Errorf("%d removals; want one", n)
	}

	harness.Must(t, hung.Stop())
	harness.WaitFailed(t, c, hung)
	r.Deliver(t, harness.Firing("ConsulServerHung", time.Now(), "server", hung.Name))
	decision := r.WaitDecision(t, "server", hung.Name)
	if decision.Result != responder.ResultRefused || decision.Output != "" {
		t.Errorf("a server that hangs: %+v; want it to be refused", decision)
	}
	if got := harness.Voters(t, leader); !slices.Equal(got, want) {
		t.Errorf("the voters are %v; want %v still", got, want)
	}
}

// In a cluster of three with one down nothing is done that lowers the quorum, and each refusal is recorded and counted.
func TestResponder_ThreeWithOneDown(t *testing.T) {
	t.Parallel()
	c := harness.StartCalm(t, consultest.Options{Servers: 3})
	leader := harness.LeaderOf(t, c)
	dead := harness.Others(c, leader)[0]
	other := harness.Others(c, leader, dead)[0]
	hookRan := filepath.Join(t.TempDir(), "ran")
	r := harness.StartResponder(t, leader.URL(), 3, fmt.Sprintf(`
  - name: transfer
    matchers: [alertname="Transfer"]
    dry_run: false
    action: {transfer-leadership: {to: %s}}
  - name: stop
    matchers: [alertname="Stop"]
    dry_run: false
    action: {exec: {command: %s}}
`, other.Name, harness.Script(t, "touch "+hookRan))+harness.RemoveRule+harness.MarkerRule)
	before := harness.Voters(t, leader)
	harness.Must(t, dead.Kill())
	harness.WaitFailed(t, c, dead)
	r.Decided(t, harness.Firing("ConsulServerDown", time.Now(), "server", dead.Name), "dead-peer", responder.ResultRefused,
		"Without "+dead.Name+" there are 2 voters left, fewer than 3: none of them could fail then.")
	r.Decided(t, harness.Firing("Transfer", time.Now(), "server", leader.Name), "transfer", responder.ResultRefused, "Without "+leader.Name+" 1 of 3 voters can be counted on, and the quorum is 2.")
	r.Decided(t, harness.Firing("Stop", time.Now(), "server", other.Name), "stop", responder.ResultRefused, "Without "+other.Name+" 1 of 3 voters can be counted on, and the quorum is 2.")
	if got := harness.Voters(t, leader); !slices.Equal(got, before) {
		t.Errorf("the voters are %v; want %v", got, before)
	}
	if now := harness.LeaderOf(t, c); now != leader {
		t.Errorf("%s leads; want %s still", now.Name, leader.Name)
	}
	if _, err := os.Stat(hookRan); err == nil {
		t.Error("the hook ran")
	}
	r.Settle(t) // All that was delivered is decided on.
	_, metrics, err := r.Get(t.Context(), "/metrics", time.Second)
	harness.Must(t, err)
	s := harness.ParseSamples(t, metrics)
	for _, rule := range []struct{ name, action string }{{"dead-peer", "remove-dead-peer"}, {"transfer", "transfer-leadership"}, {"stop", "exec"}} {
		series := fmt.Sprintf(`consul_responder_actions_total{action=%q,result="refused_by_guard",rule=%q}`, rule.action, rule.name)
		if n := len(r.Records(t, "rule", rule.name, "result", "refused_by_guard")); n == 0 || s[series] != float64(n) {
			t.Errorf("%s = %v; want the %d refusals in the history", series, s[series], n)
		}
	}
	s.ExpectNone(t, "consul_responder_last_action_timestamp_seconds")
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
	harness.Must(t, err)
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
	t.Parallel()
	c := harness.StartCalm(t, consultest.Options{Servers: 3})
	leader := harness.LeaderOf(t, c)
	next := harness.Others(c, leader)[0]
	requests := logRequests(t, leader)
	rules := func(dryRun string) string {
		return fmt.Sprintf(`
  - name: transfer
    matchers: [alertname="Transfer"]
    %s
    action: {transfer-leadership: {to: %s}}
`, dryRun, next.Name)
	}
	dry := harness.StartResponder(t, requests.URL, 3, rules("cooldown: 1s")) // The default.
	would := dry.Decided(t, harness.Firing("Transfer", time.Now()), "transfer", responder.ResultDryRun, "Without "+leader.Name+" 2 of 3 voters can be counted on")
	if writes := requests.writes(); len(writes) > 0 {
		t.Errorf("a dry run asked %v of Consul", writes)
	}
	if now := harness.LeaderOf(t, c); now != leader {
		t.Errorf("%s leads after a dry run; want %s still", now.Name, leader.Name)
	}
	live := harness.StartResponder(t, requests.URL, 3, rules("dry_run: false"))
	did := live.Decided(t, harness.Firing("Transfer", time.Now()), "transfer", responder.ResultDone, "Without "+leader.Name+" 2 of 3 voters can be counted on")
	_, asked, _ := strings.Cut(would.What, ": ")
	if did.What != would.What || !slices.Equal(requests.writes(), []string{asked}) || !strings.Contains(asked, "?id=") {
		t.Errorf("the dry run says %q, it was done %q, and Consul was asked %q; want the same", would.What, did.What, requests.writes())
	}
	if now := harness.LeaderOf(t, c); now != next || did.Output != next.Name+" leads." {
		t.Errorf("%s leads, and the history says %q; want %s", now.Name, did.Output, next.Name)
	}
}
