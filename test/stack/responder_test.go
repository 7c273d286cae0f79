// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/responder"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// respondWithin is how long it may take from a fault until the responder has acted, on a busy machine.
const respondWithin = 3 * time.Minute

// responderBlocks are the route and the receiver of the responder, which are comments in the example.
var responderBlocks = regexp.MustCompile(`(?m)^ +# - (?:matchers:|name: responder).*(?:\n +# .*)*`)

// responderReceiver is the example's configuration of Alertmanager with the responder's route and receiver, at this
// address.
func responderReceiver(t *testing.T, pages, url, secretFile string) string {
	t.Helper()
	config := responderBlocks.ReplaceAllStringFunc(scaledAlertmanager(t, pages), func(block string) string {
		return strings.ReplaceAll(block, "# ", "")
	})
	config = strings.NewReplacer("http://localhost:9108", url, "/etc/alertmanager/responder-secret", secretFile,
		`ConsulPortSlow|ConsulRaftCommitSlow"`, `ConsulPortSlow|ConsulRaftCommitSlow|LeaderSlow"`).Replace(config)
	for _, once := range []string{url, secretFile, "receiver: responder"} {
		if strings.Count(config, once) != 1 {
			t.Fatalf("the example with a responder does not have %s once:\n%s", once, config)
		}
	}
	return config
}

// respondedStack is a cluster of three whose alerts go from Prometheus by two Alertmanagers to a responder.
type respondedStack struct {
	*consultest.Cluster
	leader     *consultest.Agent
	responder  *harness.RunningResponder
	prometheus *alertStack
	// exporter knows of the responder.
	exporter *harness.Exporter
	// hook is the file that the hook writes to.
	hook string
}

func keepDead() []consultest.Deviation {
	return []consultest.Deviation{
		consultest.KeepDead.Because("a leader that hangs is the responder's, and autopilot would remove it meanwhile"),
	}
}

// startResponded starts all of them. The rules get the leader and the file that a hook writes to; own are alerts in
// addition to those of the pack.
func startResponded(
	t *testing.T, deviations []consultest.Deviation, own string, rules func(leader *consultest.Agent, hook string) string,
) *respondedStack {
	t.Helper()
	c := consultest.Start(t, consultest.Options{Servers: 3, Deviations: deviations})
	harness.WaitCalm(t, c)
	s := &respondedStack{Cluster: c, leader: harness.LeaderOf(t, c), hook: filepath.Join(t.TempDir(), "hook-ran")}
	asked := harness.Others(c, s.leader)[0]
	secretFile := harness.Secret(t, "s3cret")
	s.responder = harness.StartResponder(t, asked.URL(), 3, rules(s.leader, s.hook)+"secret_file: "+secretFile+"\n")
	s.responder.Secret = "s3cret"
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("history:\n%+v", s.responder.Records(t))
		}
	})
	s.exporter = harness.Launch(t, os.Args[0], nil, "--probe.timeout=1s", "--web.scrape-timeout-offset=100ms",
		"--consul.server="+asked.URL(), "--responder.url="+s.responder.URL, "--responder.secret-file="+secretFile)
	receiver := responderReceiver(t, newPageLog(t).url, s.responder.URL, secretFile)
	prometheus := scrapeConfig(2*time.Second, alertInterval, static(s.exporter, s.responder.Exporter))
	// Both deliver everything.
	prometheus["alerting"] = alertingTo(startAlertmanager(t, receiver), startAlertmanager(t, receiver))
	s.prometheus = &alertStack{watchers: make([]*watcher, 2)}
	s.prometheus.prometheus = startRules(t, prometheus, scaledPack(t, nil), own)
	s.prometheus.waitQuiet(t, settleWithin)
	return s
}

// waitDone waits until a rule has acted.
func (s *respondedStack) waitDone(t *testing.T, rule string) responder.Record {
	t.Helper()
	var done responder.Record
	harness.WaitFor(t, respondWithin, "the rule "+rule+" to act", func() string {
		records := s.responder.Records(t, "rule", rule, "result", "done")
		if len(records) == 0 {
			return "it has not"
		}
		done = records[0]
		return ""
	})
	return done
}

// waitOver waits until nothing fires any more.
func (s *respondedStack) waitOver(t *testing.T) {
	t.Helper()
	harness.WaitFor(t, healWithin, "all to be over", func() string { return s.prometheus.activeText(t) })
}

// A leader that hangs leads to one run of the hook, which wakes it, although two Alertmanagers deliver the alert.
func TestStackResponderHungLeader(t *testing.T) {
	t.Parallel()
	const fault = "the leader hangs (SIGSTOP)"
	s := startResponded(t, keepDead(), "groups: []", func(leader *consultest.Agent, hook string) string {
		return fmt.Sprintf(`
  - name: slow-leader
    cluster: any
    matchers: [alertname=~"ConsulServerHung|ConsulPortSlow"]
    dry_run: false
    action: {transfer-leadership: {}}
  - name: hung-server
    cluster: any
    matchers: [alertname="ConsulServerHung"]
    dry_run: false
    action: {exec: {command: %s}}
`, harness.Script(t, fmt.Sprintf("echo $CONSUL_RESPONDER_LABEL_server >> %s; kill -CONT %d", hook, leader.Pid())))
	})
	must.Do(t, s.leader.Stop())
	began := time.Now()
	done := s.waitDone(t, "hung-server")
	harness.ExpectDecision(t, done, "hung-server", responder.ResultDone,
		s.leader.Name+" does not answer, so nothing is lost with it.")
	fired := done.Alert.StartsAt
	if done.Alert.Labels["alertname"] != "ConsulServerHung" || fired.Before(began) || done.Time.Before(fired) {
		t.Errorf("the history has %+v; want the alert, and when it began", done)
	}
	live := liveDashboards{s.prometheus.prometheus, allDashboards(t), chosen}
	harness.WaitFor(t, noticeWithin, "the panel about recovery to show it", func() string {
		results := live.results(t, "overview: Recovery actions A")
		return harness.Unless(results[`{result="done"}`] > 0, "%v", results)
	})
	harness.WaitCalm(t, s.Cluster)
	s.waitOver(t)
	harness.WaitFor(t, respondWithin, "both Alertmanagers to deliver it, firing and resolved", func() string {
		_, metrics, err := s.responder.Get(t.Context(), "/metrics", time.Second)
		must.Do(t, err)
		n := harness.ParseSamples(t, metrics)["consul_responder_alerts_received_total"]
		return harness.Unless(n >= 4, "%v alerts received", n)
	})
	if servers := string(must.Get(os.ReadFile(s.hook))(t)); servers != s.leader.Name+"\n" {
		t.Errorf("the hook ran for %q; want once, for %s", servers, s.leader.Name)
	}
	const actions = `sum(consul_responder_actions_total{result="done"})`
	if n := s.prometheus.query(t, actions); len(n) != 1 || n[0].Value != 1 {
		t.Errorf("Prometheus has %v actions; want 1", n)
	}
	const row = `<bdi>hung-server</bdi></td><td role="cell" data-column="Result">done</td>`
	if page := s.exporter.Page(t, "/", 200); !strings.Contains(page, row) {
		t.Errorf("the status page does not have the action:\n%s", page)
	}
	recordAction(t, fault, "`exec`, which wakes it", "ConsulServerHung", done.Ended.Sub(began))
}

// slowLeader is an operator's own alert: the leader's port 8300 takes long on average.
const slowLeader = `groups:
  - name: own
    rules:
      - alert: LeaderSlow
        expr: |-
          avg by (server) (avg_over_time(consul_port_probe_duration_seconds{protocol="rpc"}[10s])) > 0.1
            and on (server)
          consul_server_raft_is_leader == 1
        for: 3s
        labels: {severity: warning}
`

// A leader that is slow hands over, once.
func TestStackResponderSlowLeader(t *testing.T) {
	t.Parallel()
	const fault = "the leader is stopped for 0.7 s in each second"
	patient := append(keepDead(), consultest.SlowElections.Because(
		"a leader that is stopped for most of each second is to hand over, and nobody to call an election"))
	s := startResponded(t, patient, slowLeader, func(*consultest.Agent, string) string {
		return `
  - name: slow-leader
    cluster: any
    matchers: [alertname="LeaderSlow"]
    dry_run: false
    action: {transfer-leadership: {}}
`
	})
	stop := make(chan struct{})
	t.Cleanup(func() { must.Do(t, s.leader.Continue()) })
	pulses := make(chan error, 1)
	began := time.Now()
	go func() { pulses <- pulse(s.leader, stop) }()
	done := s.waitDone(t, "slow-leader")
	close(stop)
	must.Do(t, <-pulses)
	next := harness.LeaderOf(t, s.Cluster)
	if next == s.leader || done.Output != next.Name+" leads." || done.Alert.Labels["server"] != s.leader.Name {
		t.Errorf("%s leads after %s, and the history has %+v", next.Name, s.leader.Name, done)
	}
	s.waitOver(t)
	if records := s.responder.Records(t, "result", "done"); len(records) != 1 {
		t.Errorf("%d actions: %+v; want one", len(records), records)
	}
	recordAction(t, fault, "`transfer-leadership`", "LeaderSlow, of the operator's own", done.Ended.Sub(began))
}

// pulse stops an agent for most of the time, until stop is closed.
func pulse(a *consultest.Agent, stop <-chan struct{}) error {
	for {
		if err := a.Stop(); err != nil {
			return err
		}
		time.Sleep(700 * time.Millisecond) //nolint:forbidigo // The disk is slow.
		if err := a.Continue(); err != nil {
			return err
		}
		select {
		case <-stop:
			return nil
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// recordAction keeps how long it took from a fault to the action, for the document.
func recordAction(t *testing.T, fault, action, alert string, took time.Duration) {
	t.Helper()
	t.Logf("%s: acted on after %.1f s", fault, took.Seconds())
	updateProven(t, func(document string) string {
		before, rows, after := cutTable(t, document, actedHeader)
		old := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(fault) + ` \|.*\n`)
		row := fmt.Sprintf("| %s | %s | %s | %.0f |\n", fault, alert, action, took.Seconds())
		if !old.MatchString(rows) {
			return before + rows + row + after
		}
		return before + old.ReplaceAllLiteralString(rows, row) + after
	})
}

// The document has the actions for both faults here, and how long they took.
func TestStackResponderProven(t *testing.T) {
	_, rows, _ := cutTable(t, readProven(t), actedHeader)
	if !regexp.MustCompile(`^(\| the leader [^|]+ \| [^|]+ \| [^|]+ \| \d+ \|\n){2}$`).MatchString(rows) {
		t.Errorf("%s does not have the two faults; run: make alerts-proven:\n%s", alertsProven, rows)
	}
}
