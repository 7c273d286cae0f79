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
	"github.com/zervigo/consul_cluster_exporter/internal/grafana"
	"github.com/zervigo/consul_cluster_exporter/responder"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// respondWithin is how long it may take from a fault until the responder has acted, on a busy machine.
const respondWithin = 3 * time.Minute

// responderReceiver is the example's configuration of Alertmanager with what is commented out for a responder, at this address.
func responderReceiver(t *testing.T, pages, url, secretFile string) string {
	t.Helper()
	config := scaledAlertmanager(t, pages)
	commented := regexp.MustCompile(`(?m)^( +)# (.*)$`)
	var lines []string
	inside := false
	for line := range strings.Lines(config) {
		line = strings.TrimSuffix(line, "\n")
		m := commented.FindStringSubmatch(line)
		// The route ends with the next line that is no comment, and so does the receiver.
		switch {
		case m == nil:
			inside = false
		case strings.HasPrefix(m[2], "- matchers:") || m[2] == "- name: responder":
			inside = true
		}
		if inside {
			line = m[1] + m[2]
		}
		lines = append(lines, line)
	}
	config = strings.Join(lines, "\n")
	replaced := strings.NewReplacer("http://localhost:9108", url, "/etc/alertmanager/responder-secret", secretFile,
		`ConsulPortSlow|ConsulRaftCommitSlow"`, `ConsulPortSlow|ConsulRaftCommitSlow|LeaderSlow"`).Replace(config)
	if strings.Count(replaced, url) != 1 || strings.Count(replaced, secretFile) != 1 || strings.Count(replaced, "receiver: responder") != 1 {
		t.Fatalf("the example has no responder to put this one in the place of:\n%s", replaced)
	}
	return replaced
}

// respondedStack is a cluster of three whose alerts go from Prometheus by two Alertmanagers to a responder.
type respondedStack struct {
	*consultest.Cluster
	leader     *consultest.Agent
	responder  *harness.RunningResponder
	prometheus *alertStack
	// page is the exporter, which knows of the responder.
	page *harness.Exporter
	// hook is the file that the hook writes to.
	hook string
}

// startResponded starts all of them. The rules get the leader and the file that a hook writes to; own are alerts besides those of the pack.
func startResponded(t *testing.T, config map[string]any, own string, rules func(leader *consultest.Agent, hook string) string) *respondedStack {
	t.Helper()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		harness.Must(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	s := &respondedStack{Cluster: consultest.Start(t, consultest.Options{Servers: 3, Config: config}), hook: filepath.Join(dir, "hook-ran")}
	harness.WaitCalm(t, s.Cluster)
	s.leader = harness.LeaderOf(t, s.Cluster)
	asked := harness.Others(s.Cluster, s.leader)[0]
	secretFile := harness.Secret(t, "s3cret")
	s.responder = harness.StartResponder(t, asked.URL(), 3, rules(s.leader, s.hook)+"secret_file: "+secretFile+"\n")
	s.responder.Secret = "s3cret"
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("history:\n%+v", s.responder.Records(t))
		}
	})
	alertmanagerConfig := responderReceiver(t, newPageLog(t).url, s.responder.URL, secretFile)
	var alertmanagers []string
	for range 2 { // Both deliver everything.
		alertmanagers = append(alertmanagers, startAlertmanager(t, alertmanagerConfig).HostPort())
	}
	exporter := harness.Launch(t, os.Args[0], nil, "--probe.timeout=1s", "--web.scrape-timeout-offset=100ms", "--consul.server="+asked.URL(),
		"--responder.url="+s.responder.URL, "--responder.secret-file="+secretFile)
	s.page = exporter
	s.prometheus = &alertStack{targets: make([]alertTarget, 2)}
	s.prometheus.prometheus = startTool(t, "prometheus", "--storage.tsdb.path="+filepath.Join(dir, "prometheus"), "--rules.alert.resend-delay="+scaled(time.Minute).String(),
		"--config.file="+file("prometheus.yml", fmt.Sprintf(`global: {scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}
rule_files: [%q, %q]
alerting:
  alertmanagers:
    - static_configs: [{targets: [%q, %q]}]
scrape_configs:
  - job_name: consul
    static_configs: [{targets: [%q, %q]}]
`, file("rules.yml", scaledPack(t, nil)), file("own.yml", own), alertmanagers[0], alertmanagers[1],
			exporter.HostPort(), s.responder.HostPort())))
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

// waitPanel waits until the dashboard shows a decision.
func (s *respondedStack) waitPanel(t *testing.T, decision string) {
	t.Helper()
	content, err := os.ReadFile("dashboards/overview.json")
	harness.Must(t, err)
	overview, err := grafana.Parse(content)
	harness.Must(t, err)
	live := liveDashboards{s.prometheus.prometheus.URL, map[string]grafana.Dashboard{"overview": overview}}
	harness.WaitFor(t, noticeWithin, "the panel about recovery to show it", func() string {
		results := live.results(t, "overview: Recovery actions A")
		if results[fmt.Sprintf("{what=%q}", decision)] > 0 {
			return ""
		}
		return fmt.Sprint(results)
	})
}

// waitOver waits until nothing fires any more.
func (s *respondedStack) waitOver(t *testing.T) {
	t.Helper()
	harness.WaitFor(t, healWithin, "all to be over", func() string { return s.prometheus.activeText(t) })
}

// A leader that hangs leads to one run of the hook, which wakes it, though two Alertmanagers deliver the alert.
func TestStackResponderHungLeader(t *testing.T) {
	const fault = "the leader hangs (SIGSTOP)"
	s := startResponded(t, harness.KeepDead(), "groups: []", func(leader *consultest.Agent, hook string) string {
		return fmt.Sprintf(`
  - name: slow-leader
    matchers: [alertname=~"ConsulServerHung|ConsulPortSlow"]
    dry_run: false
    action: {transfer-leadership: {}}
  - name: hung-server
    matchers: [alertname="ConsulServerHung"]
    dry_run: false
    action: {exec: {command: %s}}
`, harness.Script(t, fmt.Sprintf("echo $CONSUL_RESPONDER_LABEL_server >> %s; kill -CONT %d", hook, leader.Pid())))
	})
	harness.Must(t, s.leader.Stop())
	began := time.Now()
	done := s.waitDone(t, "hung-server")
	harness.ExpectDecision(t, done, "hung-server", responder.ResultDone, s.leader.Name+" does not answer, so nothing is lost with it.")
	if done.Alert.Labels["alertname"] != "ConsulServerHung" || done.Alert.StartsAt.Before(began) || done.Time.Before(done.Alert.StartsAt) {
		t.Errorf("the history has %+v; want the alert, and when it began", done)
	}
	s.waitPanel(t, "exec: done")
	harness.WaitCalm(t, s.Cluster)
	s.waitOver(t)
	harness.WaitFor(t, respondWithin, "both Alertmanagers to deliver it, firing and resolved", func() string {
		_, metrics, err := s.responder.Get(t.Context(), "/metrics", time.Second)
		harness.Must(t, err)
		if n := harness.ParseSamples(t, metrics)["consul_responder_alerts_received_total"]; n < 4 {
			return fmt.Sprintf("%v alerts received", n)
		}
		return ""
	})
	content, err := os.ReadFile(s.hook)
	harness.Must(t, err)
	if string(content) != s.leader.Name+"\n" {
		t.Errorf("the hook ran for %q; want once, for %s", content, s.leader.Name)
	}
	if n := s.prometheus.value(t, `sum(consul_responder_actions_total{result="done"})`); n != "1" {
		t.Errorf("Prometheus has %s actions; want 1", n)
	}
	_, page, err := s.page.Get(t.Context(), "/", time.Second)
	harness.Must(t, err)
	if !strings.Contains(page, "hung-server</td><td>exec</td><td>done</td>") {
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
	const fault = "the leader is stopped for 0.7 s in each second"
	config := harness.KeepDead()
	config["performance"] = map[string]any{"raft_multiplier": 10} // So that nobody calls an election.
	s := startResponded(t, config, slowLeader, func(*consultest.Agent, string) string {
		return `
  - name: slow-leader
    matchers: [alertname="LeaderSlow"]
    dry_run: false
    action: {transfer-leadership: {}}
`
	})
	stop := make(chan struct{})
	t.Cleanup(func() { harness.Must(t, s.leader.Continue()) })
	pulses := make(chan error, 1)
	began := time.Now()
	go func() { pulses <- pulse(s.leader, stop) }()
	done := s.waitDone(t, "slow-leader")
	close(stop)
	harness.Must(t, <-pulses)
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

// pulse stops an agent for most of the time, until it is told to end.
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

// actionsSection begins the part of docs/alerts-proven.md about actions.
const actionsSection = "\n## Acted on\n"

// actedIntro is what is before the rows.
const actedIntro = actionsSection + `
With [the responder](recovery.md) and two Alertmanagers, each of which delivers every alert. Each fault leads to one action. Times are shortened as above:
as they are, ` + "`ConsulServerHung`" + ` pends for a minute, and then Alertmanager's route for the responder waits for nothing.

| fault | alert | action | seconds from the fault to the end of the action |
|---|---|---|---|
`

// splitActions cuts the document into the part about alerts and that about actions.
func splitActions(document string) (alerts, actions string) {
	if i := strings.Index(document, actionsSection); i >= 0 {
		return document[:i], document[i:]
	}
	return document, actedIntro
}

// recordAction keeps how long it took from a fault to the action, for the document.
func recordAction(t *testing.T, fault, action, alert string, took time.Duration) {
	t.Helper()
	t.Logf("%s: acted on after %.1f s", fault, took.Seconds())
	if !*harness.Update || t.Failed() {
		return
	}
	provenFile.Lock()
	defer provenFile.Unlock()
	content, err := os.ReadFile(alertsProven)
	harness.Must(t, err)
	alerts, actions := splitActions(string(content))
	row := fmt.Sprintf("| %s | %s | %s | %.0f |\n", fault, alert, action, took.Seconds())
	old := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(fault) + ` \|.*\n`)
	if actions = old.ReplaceAllLiteralString(actions, row); !strings.Contains(actions, row) {
		actions += row
	}
	harness.Must(t, os.WriteFile(alertsProven, []byte(alerts+actions), 0o644))
}

// The document tells of the actions for all faults here, and how long they took.
func TestStackResponderProven(t *testing.T) {
	content, err := os.ReadFile(alertsProven)
	harness.Must(t, err)
	_, actions := splitActions(string(content))
	rows, ok := strings.CutPrefix(actions, actedIntro)
	if found := regexp.MustCompile(`(?m)^\| the leader [^|]+ \| [^|]+ \| [^|]+ \| \d+ \|$`).FindAllString(rows, -1); !ok || len(found) != 2 || strings.Count(rows, "\n") != 2 {
		t.Errorf("%s does not tell of the two faults; run: make alerts-proven:\n%s", alertsProven, actions)
	}
}
