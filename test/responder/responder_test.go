// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder_test

import (
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/responder"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// resolved is the same alert when it is over.
func resolved(alert map[string]any, endsAt time.Time) map[string]any {
	over := map[string]any{"status": "resolved", "endsAt": endsAt}
	for _, key := range []string{"labels", "annotations", "startsAt"} {
		over[key] = alert[key]
	}
	return over
}

// The leader hands over once, however often and in which order the alert is delivered.
func TestResponder_Transfer(t *testing.T) {
	t.Parallel()
	c := harness.StartCalm(t, consultest.Options{Servers: 3})
	leader := harness.LeaderOf(t, c)
	r := harness.StartResponder(t, c.Servers[0].URL(), 3, `
  - name: slow-leader
    matchers: [alertname="ConsulPortSlow", severity="critical"]
    dry_run: false
    cooldown: 1s
    max_per_hour: 10
    action: {transfer-leadership: {}}
`+harness.MarkerRule)
	began := time.Now()
	alert := harness.Firing("ConsulPortSlow", began.Add(-time.Minute), "server", leader.Name)
	done := r.Decided(t, alert, "slow-leader", responder.ResultDone, "Without "+leader.Name+" 2 of 3 voters can be counted on, and the quorum is 2")
	if done.Time.Before(began.Truncate(time.Millisecond)) || done.Ended == nil || done.Ended.Before(done.Time) || done.What != "Transfer the leadership from "+leader.Name+
		" to the voter that Raft finds best: POST /v1/operator/raft/transfer-leader" {
		t.Errorf("the history has %+v", done)
	}
	next := harness.LeaderOf(t, c)
	if next == leader || done.Output != next.Name+" leads." {
		t.Errorf("%s leads, and the history says %q; want another one than %s", next.Name, done.Output, leader.Name)
	}
	time.Sleep(1100 * time.Millisecond) //nolint:forbidigo // The cooldown is not what is tested.
	for i := range 10 {
		if i == 5 {
			r.Deliver(t, resolved(alert, time.Now()))
		}
		r.Deliver(t, alert)
		r.Settle(t)
	}
	// Another Prometheus saw it begin somewhat later.
	r.Deliver(t, harness.Firing("ConsulPortSlow", began.Add(-59*time.Second), "server", leader.Name))
	r.Settle(t)
	if records := r.Records(t, "rule", "slow-leader", "result", "done"); len(records) != 1 {
		t.Errorf("%d actions: %+v; want one", len(records), records)
	}
	if now := harness.LeaderOf(t, c); now != next {
		t.Errorf("%s leads now, after %s; want one change", now.Name, next.Name)
	}
	// The next time it is about a server that does not lead.
	r.Deliver(t, harness.Firing("ConsulPortSlow", time.Now(), "server", leader.Name))
	r.Settle(t)
	harness.ExpectDecision(t, r.Records(t, "rule", "slow-leader")[0], "slow-leader", responder.ResultRefused, "The alert is about "+leader.Name+", and "+next.Name+" leads.")
}
