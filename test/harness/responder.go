// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
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
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/responder"
)

// Script writes a shell script, and returns its path.
func Script(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	must.Do(t, os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o700))
	return path
}

// Voters returns the names in the Raft configuration, as this server has it.
func Voters(t *testing.T, a *consultest.Agent) []string {
	t.Helper()
	config := must.Get(a.Client().Operator().RaftGetConfiguration(&api.QueryOptions{AllowStale: true}))(t)
	var names []string
	for _, s := range config.Servers {
		names = append(names, s.Node)
	}
	slices.Sort(names)
	return names
}

// WaitFailed waits until Serf calls a server failed, on all others that run.
func WaitFailed(t *testing.T, c *consultest.Cluster, failed *consultest.Agent) {
	t.Helper()
	const statusFailed = 4
	isFailed := func(m *api.AgentMember) bool { return m.Name == failed.Name && m.Status == statusFailed }
	for _, a := range Others(c, failed) {
		if a.Running() {
			WaitTrue(t, failed.Name+" to have failed for "+a.Name, func() bool {
				members, err := a.Client().Agent().Members(false)
				return err == nil && slices.ContainsFunc(members, isFailed)
			})
		}
	}
}

// RemoveRule is a rule that removes servers that were dead for 3 s.
const RemoveRule = `
  - name: dead-peer
    cluster: any
    matchers: [alertname=~"ConsulServer(Down|Hung)"]
    dry_run: false
    cooldown: 1s
    max_per_hour: 9
    action: {remove-dead-peer: {dead_for: 3s, refused_host_is_dead: true}}
`

// Kill ends the responder as a crash does.
func (r *RunningResponder) Kill(t *testing.T) {
	t.Helper()
	must.Do(t, r.Cmd.Process.Kill())
	<-r.Exited
}

// actWithin is how long a responder may take to decide and act, on a busy machine.
const actWithin = 60 * time.Second

// RunningResponder is a responder in a process of its own.
type RunningResponder struct {
	*Exporter
	History string
	// Secret is what deliveries must know; empty means nothing.
	Secret string
	// Start starts it once more, after it has ended.
	Start func() *RunningResponder
}

// StartResponder starts one with these rules, for a cluster of so many servers.
func StartResponder(t *testing.T, consul string, servers int, rules string, flags ...string) *RunningResponder {
	t.Helper()
	const format = "expected_servers: %d\nmax_per_hour: 100\nhistory: {file: history.jsonl}\nrules:\n%s"
	config := fmt.Sprintf(format, servers, rules)
	dir := WriteFiles(t, map[string]string{"responder.yml": config})
	args := append([]string{
		"responder", "--config.file=" + filepath.Join(dir, "responder.yml"), "--consul.server=" + consul,
	}, flags...)
	var start func() *RunningResponder
	start = func() *RunningResponder {
		return &RunningResponder{Launch(t, os.Args[0], nil, args...), filepath.Join(dir, "history.jsonl"), "", start}
	}
	return start()
}

// StartCalm starts a cluster whose servers can all be judged: autopilot has found them to be well.
func StartCalm(t *testing.T, options consultest.Options) *consultest.Cluster {
	t.Helper()
	options.Deviations = append(options.Deviations,
		consultest.KeepDead.Because("the responder is to remove a dead server, and autopilot would be first"))
	c := consultest.Start(t, options)
	WaitCalm(t, c)
	return c
}

// WaitCalm waits until each server that runs calls all of them well.
func WaitCalm(t *testing.T, c *consultest.Cluster) {
	t.Helper()
	for _, a := range c.Servers {
		WaitTrue(t, a.Name+" to find all servers well", func() bool {
			state, err := a.Client().Operator().AutopilotState(&api.QueryOptions{AllowStale: true})
			return err == nil && state.Healthy && len(state.Servers) == len(c.Servers)
		})
	}
}

// WaitTrue waits until a condition holds.
func WaitTrue(t *testing.T, what string, holds func() bool) {
	t.Helper()
	WaitFor(t, actWithin, what, func() string { return Unless(holds(), "it does not") })
}

// Firing is an alert as Alertmanager sends it, with labels written as name, value, name, value.
func Firing(name string, startsAt time.Time, labels ...string) map[string]any {
	set := map[string]string{"alertname": name, "severity": "critical"}
	for pair := range slices.Chunk(labels, 2) {
		set[pair[0]] = pair[1]
	}
	return map[string]any{
		"status": "firing", "labels": set, "annotations": map[string]string{}, "startsAt": startsAt, "endsAt": time.Time{},
	}
}

// Deliver sends alerts as Alertmanager does.
func (r *RunningResponder) Deliver(t *testing.T, alerts ...map[string]any) {
	t.Helper()
	delivery := map[string]any{"version": "4", "status": "firing", "receiver": "responder", "alerts": alerts}
	body := must.Get(json.Marshal(delivery))(t)
	if status, answer := r.request(t, http.MethodPost, "/alerts", body); status != http.StatusOK {
		t.Fatalf("delivery: status %d: %s", status, answer)
	}
}

// request makes a request with the secret, if it is not empty.
func (r *RunningResponder) request(t *testing.T, method, path string, body []byte) (status int, answer string) {
	t.Helper()
	req := must.Get(http.NewRequestWithContext(t.Context(), method, r.URL+path, bytes.NewReader(body)))(t)
	req.Header.Set("Content-Type", "application/json")
	if r.Secret != "" {
		req.Header.Set("Authorization", "Bearer "+r.Secret)
	}
	status, _, answer = Send(t, req)
	return status, answer
}

// Records returns the history, newest first.
func (r *RunningResponder) Records(t *testing.T, filters ...string) []responder.Record {
	t.Helper()
	query := url.Values{}
	for pair := range slices.Chunk(filters, 2) {
		query.Set(pair[0], pair[1])
	}
	status, body := r.request(t, http.MethodGet, "/history?"+query.Encode(), nil)
	var page struct{ Records []responder.Record }
	if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK {
		t.Fatalf("history: status %d, %v: %s", status, err, body)
	}
	return page.Records
}

// WaitDecision waits until a decision about an alert has ended, and returns it.
func (r *RunningResponder) WaitDecision(t *testing.T, filters ...string) responder.Record {
	t.Helper()
	var decided responder.Record
	WaitFor(t, actWithin, fmt.Sprintf("a decision about %v", filters), func() string {
		records := r.Records(t, filters...)
		if len(records) > 0 && records[0].Result != responder.ResultStarted {
			decided = records[0]
			return ""
		}
		return fmt.Sprintf("the history is %+v", r.Records(t))
	})
	return decided
}

// Settle delivers an alert that leads to nothing but a refusal, and waits for that: all that was delivered before is
// decided on then.
func (r *RunningResponder) Settle(t *testing.T) {
	t.Helper()
	name := fmt.Sprintf("Marker%d", time.Now().UnixNano())
	r.Deliver(t, Firing(name, time.Now(), "marker", "yes"))
	r.WaitDecision(t, "alertname", name)
}

// MarkerRule is the rule for settle.
const MarkerRule = `
  - name: marker
    cluster: any
    matchers: [marker="yes"]
    action: {exec: {command: /bin/true}}
`

// ExpectDecision compares what a decision has of it.
func ExpectDecision(t *testing.T, r responder.Record, rule string, result responder.Result, reason string) {
	t.Helper()
	if r.Rule != rule || !isDecision(r, result, reason) {
		t.Errorf("decision: rule %s, result %s, reasons %q, error %q; want rule %s, result %s, and as a reason %q",
			r.Rule, r.Result, r.Reasons, r.Error, rule, result, reason)
	}
}

func isDecision(r responder.Record, result responder.Result, reason string) bool {
	return r.Result == result && strings.Contains(strings.Join(append(r.Reasons, r.Error), " "), reason)
}

// Decided delivers an alert, again and again as Alertmanager does, until the rule's decision is this one for this
// reason: on a busy machine a server may not answer in time, and then it is another one.
func (r *RunningResponder) Decided(
	t *testing.T, alert map[string]any, rule string, result responder.Result, reason string,
) (last responder.Record) {
	t.Helper()
	acted := []responder.Result{
		responder.ResultDone, responder.ResultFailed, responder.ResultTimeout, responder.ResultDryRun,
	}
	WaitFor(t, actWithin, fmt.Sprintf("rule %s decides %s (%s)", rule, result, reason), func() string {
		r.Deliver(t, alert)
		records := r.Records(t, "rule", rule, "limit", "1")
		if len(records) > 0 {
			last = records[0]
			if isDecision(last, result, reason) {
				return ""
			}
			if slices.Contains(acted, last.Result) {
				ExpectDecision(t, last, rule, result, reason)
				t.FailNow()
			}
		}
		return fmt.Sprintf("the history is %+v", records)
	})
	return last
}
