// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/responder"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// In a cluster of three with one down nothing is done that lowers the quorum, and each refusal is recorded and counted.
func oneOfThreeDown(t *testing.T, c *consultest.Cluster, flags ...string) {
	t.Helper()
	leader := harness.LeaderOf(t, c)
	dead := harness.Others(c, leader)[0]
	other := harness.Others(c, leader, dead)[0]
	ran := filepath.Join(t.TempDir(), "ran")
	r := harness.StartResponder(t, leader.URL(), 3, fmt.Sprintf(`
  - name: transfer
    cluster: any
    matchers: [alertname="Transfer"]
    dry_run: false
    action: {transfer-leadership: {to: %s}}
  - name: stop
    cluster: any
    matchers: [alertname="Stop"]
    dry_run: false
    action: {exec: {command: %s}}
`, other.Name, harness.Script(t, "touch "+ran))+harness.RemoveRule+harness.MarkerRule, flags...)
	before := harness.Voters(t, leader)
	must.Do(t, dead.Kill())
	harness.WaitFailed(t, c, dead)
	const tooFew = "1 of 3 voters can be counted on, and the quorum is 2."
	rules := []struct {
		name, action, alert string
		server              *consultest.Agent
		reason              string
	}{
		{"dead-peer", "remove-dead-peer", "ConsulServerDown", dead, "there are 2 voters left, fewer than 3: none of them"},
		{"transfer", "transfer-leadership", "Transfer", leader, tooFew},
		{"stop", "exec", "Stop", other, tooFew},
	}
	for _, rule := range rules {
		r.Decided(t, harness.Firing(rule.alert, time.Now(), "server", rule.server.Name), rule.name, responder.ResultRefused,
			"Without "+rule.server.Name+" "+rule.reason)
	}
	if got := harness.Voters(t, leader); !slices.Equal(got, before) {
		t.Errorf("the voters are %v; want %v", got, before)
	}
	expectLeader(t, c, "with one down", leader)
	if _, err := os.Stat(ran); err == nil {
		t.Error("the hook ran")
	}
	r.Settle(t) // All that was delivered is decided on.
	s := r.Scrape(t)
	for _, rule := range rules {
		counted := s[fmt.Sprintf("consul_responder_actions_total{action=%q,result=\"refused_by_guard\",rule=%q}",
			rule.action, rule.name)]
		if n := len(r.Records(t, "rule", rule.name, "result", "refused_by_guard")); n == 0 || counted != float64(n) {
			t.Errorf("%s: %v refusals are counted; want the %d in the history", rule.name, counted, n)
		}
	}
	s.ExpectNone(t, "consul_responder_last_action_timestamp_seconds")
}

// In a cluster of five a dead server's peer is removed once, and one that hangs is not.
func TestResponder_RemoveDeadPeer(t *testing.T) {
	t.Parallel()
	c := harness.StartCalm(t, consultest.Options{Servers: 5})
	leader := harness.LeaderOf(t, c)
	followers := harness.Others(c, leader)
	dead, hung, asked := followers[0], followers[1], followers[2]
	r := harness.StartResponder(t, asked.URL(), 5, harness.RemoveRule+harness.MarkerRule)
	expectVoters := func(agents []*consultest.Agent) {
		t.Helper()
		var want []string
		for _, a := range agents {
			want = append(want, a.Name)
		}
		if got := harness.Voters(t, leader); !slices.Equal(got, want) {
			t.Errorf("the voters are %v; want %v", got, want)
		}
	}

	alert := harness.Firing("ConsulServerDown", time.Now(), "server", dead.Name)
	r.Decided(t, alert, "dead-peer", responder.ResultRefused, "It does not count as dead: "+dead.Name+" is alive in Serf.")

	must.Do(t, dead.Kill())
	alert = harness.Firing("ConsulServerDown", time.Now(), "server", dead.Name)
	harness.WaitFailed(t, c, dead)
	removals := func() []responder.Record { return r.Records(t, "server", dead.Name, "result", "done") }
	harness.WaitTrue(t, dead.Name+" to be removed", func() bool {
		r.Deliver(t, alert)
		r.Settle(t)
		return len(removals()) > 0
	})
	expectVoters(harness.Others(c, dead))
	done := removals()[0]
	harness.ExpectDecision(t, done, "dead-peer", responder.ResultDone, "Without "+dead.Name+
		" there are 4 voters, of which 4 can be counted on, and the quorum is 3: one more failure can be tolerated.")
	want := responder.QuorumRecord{VotersBefore: 5, VotersAfter: 4, NeededBefore: 3, NeededAfter: 3, Before: 4, After: 4}
	if q := done.Quorum; q == nil || *q != want {
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
	if n := len(removals()); n != 1 {
		t.Errorf("%d removals; want one", n)
	}

	must.Do(t, hung.Stop())
	harness.WaitFailed(t, c, hung)
	r.Deliver(t, harness.Firing("ConsulServerHung", time.Now(), "server", hung.Name))
	decision := r.WaitDecision(t, "server", hung.Name)
	if decision.Result != responder.ResultRefused || decision.Output != "" {
		t.Errorf("a server that hangs: %+v; want it to be refused", decision)
	}
	expectVoters(harness.Others(c, dead))
}
