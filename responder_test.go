// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/responder"
)

// actWithin is how long a responder may take to decide and act, on a busy machine.
const actWithin = 60 * time.Second

// runningResponder is a responder in a process of its own.
type runningResponder struct {
	*exporterProcess
	history string
	// secret is what deliveries must know; empty means nothing.
	secret string
	// start starts it once more, after it has ended.
	start func() *runningResponder
}

// startResponder starts one with these rules, for a cluster of so many servers.
func startResponder(t *testing.T, consul string, servers int, rules string, flags ...string) *runningResponder {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "responder.yml")
	history := filepath.Join(dir, "history.jsonl")
	must(t, os.WriteFile(file, fmt.Appendf(nil, "expected_servers: %d\nmax_per_hour: 100\nhistory: {file: history.jsonl}\nrules:\n%s", servers, rules), 0o600))
	args := append([]string{"responder", "--config.file=" + file, "--consul.server=" + consul}, flags...)
	var start func() *runningResponder
	start = func() *runningResponder {
		return &runningResponder{launch(t, os.Args[0], nil, args...), history, "", start}
	}
	return start()
}

// startCalm starts a cluster whose servers can all be judged: autopilot has found them to be well.
func startCalm(t *testing.T, options consultest.Options) *consultest.Cluster {
	t.Helper()
	options.Config = keepDead()
	c := consultest.Start(t, options)
	waitCalm(t, c)
	return c
}

// waitCalm waits until each server that runs calls all of them well.
func waitCalm(t *testing.T, c *consultest.Cluster) {
	t.Helper()
	for _, a := range c.Servers {
		waitTrue(t, a.Name+" to find all servers well", func() bool {
			state, err := a.Client().Operator().AutopilotState(&api.QueryOptions{AllowStale: true})
			return err == nil && state.Healthy && len(state.Servers) == len(c.Servers)
		})
	}
}

// waitTrue waits until a condition holds.
func waitTrue(t *testing.T, what string, holds func() bool) {
	t.Helper()
	waitFor(t, actWithin, what, func() string {
		if holds() {
			return ""
		}
		return "it does not"
	})
}

// firing is an alert as Alertmanager sends it, with labels written as name, value, name, value.
func firing(name string, startsAt time.Time, labels ...string) map[string]any {
	set := map[string]string{"alertname": name, "severity": "critical"}
	for pair := range slices.Chunk(labels, 2) {
		set[pair[0]] = pair[1]
	}
	return map[string]any{"status": "firing", "labels": set, "annotations": map[string]string{}, "startsAt": startsAt, "endsAt": time.Time{}}
}

// resolved is the same alert when it is over.
func resolved(alert map[string]any, endsAt time.Time) map[string]any {
	over := map[string]any{"status": "resolved", "endsAt": endsAt}
	for _, key := range []string{"labels", "annotations", "startsAt"} {
		over[key] = alert[key]
	}
	return over
}

// deliver sends alerts as Alertmanager does.
func (r *runningResponder) deliver(t *testing.T, alerts ...map[string]any) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"version": "4", "status": "firing", "receiver": "responder", "alerts": alerts})
	must(t, err)
	if status, answer := r.post(t, "application/json", r.secret, body); status != http.StatusOK {
		t.Fatalf("delivery: status %d: %s", status, answer)
	}
}

// post sends a body to where Alertmanager delivers.
func (r *runningResponder) post(t *testing.T, contentType, secret string, body []byte) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/alerts", bytes.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", contentType)
	return r.do(t, req, secret)
}

// do makes a request with the secret, if it is not empty.
func (*runningResponder) do(t *testing.T, req *http.Request, secret string) (status int, answer string) {
	t.Helper()
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(content)
}

// records returns the history, newest first.
func (r *runningResponder) records(t *testing.T, filters ...string) []responder.Record {
	t.Helper()
	query := url.Values{}
	for pair := range slices.Chunk(filters, 2) {
		query.Set(pair[0], pair[1])
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/history?"+query.Encode(), http.NoBody)
	must(t, err)
	status, body := r.do(t, req, r.secret)
	var page struct{ Records []responder.Record }
	if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK {
		t.Fatalf("history: status %d, %v: %s", status, err, body)
	}
	return page.Records
}

// waitDecision waits until a decision about an alert has ended, and returns it.
func (r *runningResponder) waitDecision(t *testing.T, filters ...string) responder.Record {
	t.Helper()
	var decided responder.Record
	waitFor(t, actWithin, fmt.Sprintf("a decision about %v", filters), func() string {
		records := r.records(t, filters...)
		if len(records) > 0 && records[0].Result != responder.ResultStarted {
			decided = records[0]
			return ""
		}
		return fmt.Sprintf("the history is %+v", r.records(t))
	})
	return decided
}

// settle delivers an alert that leads to nothing but a refusal, and waits for that: all that was delivered before is decided on then.
func (r *runningResponder) settle(t *testing.T) {
	t.Helper()
	name := fmt.Sprintf("Marker%d", time.Now().UnixNano())
	r.deliver(t, firing(name, time.Now(), "marker", "yes"))
	r.waitDecision(t, "alertname", name)
}

// markerRule is the rule for settle.
const markerRule = `
  - name: marker
    matchers: [marker="yes"]
    action: {exec: {command: /bin/true}}
`

// expectDecision compares what a decision has of it.
func expectDecision(t *testing.T, r responder.Record, rule string, result responder.Result, reason string) {
	t.Helper()
	if r.Rule != rule || r.Result != result || !strings.Contains(strings.Join(append(r.Reasons, r.Error), " "), reason) {
		t.Errorf("decision: rule %s, result %s, reasons %q, error %q; want rule %s, result %s, and as a reason %q",
			r.Rule, r.Result, r.Reasons, r.Error, rule, result, reason)
	}
}

// decided delivers an alert, again and again as Alertmanager does, until the rule's decision is this one for this reason: on a busy machine a server
// may not answer in time, and then it is another one.
func (r *runningResponder) decided(t *testing.T, alert map[string]any, rule string, result responder.Result, reason string) responder.Record {
	t.Helper()
	var last responder.Record
	waitFor(t, actWithin, fmt.Sprintf("rule %s decides %s (%s)", rule, result, reason), func() string {
		r.deliver(t, alert)
		records := r.records(t, "rule", rule, "limit", "1")
		if len(records) > 0 {
			last = records[0]
			if last.Result == result && strings.Contains(strings.Join(append(last.Reasons, last.Error), " "), reason) {
				return ""
			}
			if acted := []responder.Result{responder.ResultDone, responder.ResultFailed, responder.ResultTimeout, responder.ResultDryRun}; slices.Contains(acted, last.Result) {
				expectDecision(t, last, rule, result, reason)
				t.FailNow()
			}
		}
		return fmt.Sprintf("the history is %+v", records)
	})
	return last
}

// The leader hands over once, however often and in which order the alert is delivered.
func TestResponder_Transfer(t *testing.T) {
	c := startCalm(t, consultest.Options{Servers: 3})
	leader := leaderOf(t, c)
	r := startResponder(t, c.Servers[0].URL(), 3, `
  - name: slow-leader
    matchers: [alertname="ConsulPortSlow", severity="critical"]
    dry_run: false
    cooldown: 1s
    max_per_hour: 10
    action: {transfer-leadership: {}}
`+markerRule)
	began := time.Now()
	alert := firing("ConsulPortSlow", began.Add(-time.Minute), "server", leader.Name)
	done := r.decided(t, alert, "slow-leader", responder.ResultDone, "Without "+leader.Name+" 2 of 3 voters can be counted on, and the quorum is 2")
	if done.Time.Before(began.Truncate(time.Millisecond)) || done.Ended == nil || done.Ended.Before(done.Time) || done.What != "Transfer the leadership from "+leader.Name+
		" to the voter that Raft finds best: POST /v1/operator/raft/transfer-leader" {
		t.Errorf("the history has %+v", done)
	}
	next := leaderOf(t, c)
	if next == leader || done.Output != next.Name+" leads." {
		t.Errorf("%s leads, and the history says %q; want another one than %s", next.Name, done.Output, leader.Name)
	}
	time.Sleep(1100 * time.Millisecond) //nolint:forbidigo // The cooldown is not what is tested.
	for i := range 10 {
		if i == 5 {
			r.deliver(t, resolved(alert, time.Now()))
		}
		r.deliver(t, alert)
		r.settle(t)
	}
	// Another Prometheus saw it begin somewhat later.
	r.deliver(t, firing("ConsulPortSlow", began.Add(-59*time.Second), "server", leader.Name))
	r.settle(t)
	if records := r.records(t, "rule", "slow-leader", "result", "done"); len(records) != 1 {
		t.Errorf("%d actions: %+v; want one", len(records), records)
	}
	if now := leaderOf(t, c); now != next {
		t.Errorf("%s leads now, after %s; want one change", now.Name, next.Name)
	}
	// The next time it is about a server that does not lead.
	r.deliver(t, firing("ConsulPortSlow", time.Now(), "server", leader.Name))
	r.settle(t)
	expectDecision(t, r.records(t, "rule", "slow-leader")[0], "slow-leader", responder.ResultRefused, "The alert is about "+leader.Name+", and "+next.Name+" leads.")
}
