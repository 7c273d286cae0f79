// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// The limits of what must be known in real time: that the quorum is lost, that no further failure can be tolerated,
// and that any other server is gone.
const (
	quorumLostWithin = 2 * time.Minute
	atRiskWithin     = 5 * time.Minute
	goneWithin       = 10 * time.Minute
)

// TestAlertsRealTime breaks clusters that have Consul's default settings, and sees who is notified and when, with the
// rules, Prometheus and Alertmanager as the documentation has them. The faults last for a quarter of an hour, long
// after autopilot has removed the servers that are gone. With -update it writes docs/alerts-proven.md.
func TestAlertsRealTime(t *testing.T) { proveRealTime(t, realActs) }

// proveRealTime plays acts for as long as a proof needs, and until they are over.
func proveRealTime(t *testing.T, acts []realAct) {
	t.Helper()
	s, outages := playRealTime(t, acts, 15*time.Minute)
	harness.WaitFor(t, 25*time.Minute, "all to be over", func() string { return s.activeText(t) })
	recordReal(t, outages)
}

// realAct is an outage in real time, of a cluster without any deviation from Consul's defaults.
type realAct struct {
	// name says what goes wrong. docs/alerts-proven.md calls it so. cluster is the label of the exporters' metrics.
	name, cluster string
	// servers and clients are how many agents there are.
	servers, clients int
	// asked are the agents that exporters ask, one exporter for each, and marked those that marked exporters ask.
	asked, marked string
	// breaks makes the fault and repairs ends it.
	breaks, repairs step
	// gone are the servers that each view names for as long as they are gone.
	gone []string
	// alerts are those that must arrive, or fire and be held back. If there is none, nobody may be paged.
	alerts []realAlert
	// anew is whether the exporters are started anew right after the fault, when nothing fires yet.
	anew bool
}

// realAlert is an alert and how long after the fault it has to be there.
type realAlert struct {
	wantAlert
	within time.Duration
}

// realActs need no packet filter.
var realActs = []realAct{
	{
		// First, because it takes minutes until it is done.
		name: "all servers leave and come back, one at a time", cluster: "left", servers: 3, asked: "server-1",
		breaks: restartAll(func(w *world, a *consultest.Agent) error { return a.Leave(harness.Soon(w.t)) }),
	},
	{
		name: "a follower of three is killed", cluster: "killed-3", servers: 3, asked: "server-1",
		breaks: kill("server-3"), repairs: restart("server-3"), gone: []string{"server-3"},
		alerts: []realAlert{
			{critical("ConsulQuorumAtRisk", ""), atRiskWithin},
			{warning("ConsulServerDown", "server=server-3"), goneWithin},
		},
	},
	{
		name: "a follower of three hangs (SIGSTOP)", cluster: "hung-3", servers: 3, asked: "server-1",
		breaks: stop("server-3"), repairs: resume("server-3"), gone: []string{"server-3"},
		alerts: []realAlert{
			{critical("ConsulQuorumAtRisk", ""), atRiskWithin},
			{warning("ConsulServerHung", "server=server-3"), goneWithin},
		},
	},
	{
		name: "a follower of five is killed", cluster: "killed-5", servers: 5, asked: "server-1",
		breaks: kill("server-5"), repairs: restart("server-5"), gone: []string{"server-5"},
		alerts: []realAlert{{warning("ConsulServerDown", "server=server-5"), goneWithin}},
	},
	{
		name: "a follower of five hangs (SIGSTOP)", cluster: "hung-5", servers: 5, asked: "server-1",
		breaks: stop("server-5"), repairs: resume("server-5"), gone: []string{"server-5"},
		alerts: []realAlert{{warning("ConsulServerHung", "server=server-5"), goneWithin}},
	},
	{
		name: "two of three servers are killed", cluster: "quorum-killed", servers: 3, asked: "server-3",
		breaks: kill("server-1", "server-2"), repairs: restart("server-1", "server-2"),
		gone: []string{"server-1", "server-2"},
		alerts: []realAlert{
			{critical("ConsulQuorumLost", ""), quorumLostWithin},
			{warning("ConsulServerDown", "server=server-1"), goneWithin},
			{warning("ConsulServerDown", "server=server-2"), goneWithin},
		},
	},
	{
		name: "two of three servers hang (SIGSTOP)", cluster: "quorum-hung", servers: 3, asked: "server-3",
		breaks: together(stop("server-1"), stop("server-2")), repairs: together(resume("server-1"), resume("server-2")),
		gone: []string{"server-1", "server-2"},
		alerts: []realAlert{
			{critical("ConsulQuorumLost", ""), quorumLostWithin},
			{warning("ConsulServerHung", "server=server-1"), goneWithin},
			{warning("ConsulServerHung", "server=server-2"), goneWithin},
		},
	},
	{
		name:    "the only configured agent is killed",
		cluster: "agent", servers: 1, clients: 1, asked: "client-1",
		breaks: kill("client-1"), repairs: restart("client-1"),
		alerts: []realAlert{{critical("ConsulAgentUnreachable", ""), atRiskWithin}},
	},
	{
		name:    "all servers and the agent are killed, and the exporter restarts",
		cluster: "total", servers: 3, clients: 1, asked: "client-1",
		breaks:  kill("server-1", "server-2", "server-3", "client-1"),
		repairs: restart("server-1", "server-2", "server-3", "client-1"),
		alerts:  []realAlert{{critical("ConsulQuorumUnknown", ""), atRiskWithin}},
		anew:    true,
	},
}

// together takes steps one after the other.
func together(steps ...step) step {
	return func(w *world) {
		for _, s := range steps {
			s.take(w)
		}
	}
}

// allRealActs are all of them, in the order of docs/alerts-proven.md.
func allRealActs() []realAct { return slices.Concat(realActs, realFirewallActs) }

// sampleOfRealActs are those that are shortest, for the tests of each change.
func sampleOfRealActs() []realAct {
	return slices.DeleteFunc(slices.Clone(realActs), func(a realAct) bool {
		return a.cluster != "hung-3" && a.cluster != "quorum-killed"
	})
}

// realOutage is an act while it is played.
type realOutage struct {
	*realAct
	world     *world
	exporters []*watcher
	began     time.Time
	// seconds are how long after the fault each alert was there.
	seconds map[alertID]time.Duration
	// looked is how many notifications there were at the beginning.
	looked int
}

// lookEach is how often the views are looked at in real time.
const lookEach = 10 * time.Second

// playRealTime plays acts, all at once. Each fault lasts for this long. In the middle of it the exporters are killed
// and started anew.
func playRealTime(t *testing.T, acts []realAct, lasts time.Duration) (s *alertStack, outages []*realOutage) {
	t.Helper()
	s = startUnhurried(t, harness.BuildExporter(t))
	outages = make([]*realOutage, len(acts))
	for i := range acts {
		outages[i] = s.openReal(t, &acts[i])
	}
	s.waitQuiet(t, 10*time.Minute)
	for _, o := range outages {
		o.looked, o.began = len(s.pages.all()), time.Now()
		o.breaks.take(o.world)
		if o.anew {
			o.restart(t)
		}
	}
	broken := time.Now()
	s.lookOn(t, outages, broken.Add(lasts/2))
	for _, o := range outages {
		o.restart(t)
	}
	s.lookOn(t, outages, broken.Add(lasts))
	for _, o := range outages {
		o.expectAlerts(t)
		o.expectNothingResolved(t)
		o.repairs.take(o.world)
	}
	return s, outages
}

// startUnhurried starts Prometheus and Alertmanager with all times as they are shipped.
func startUnhurried(t *testing.T, binary string) *alertStack {
	t.Helper()
	s := &alertStack{pages: newPageLog(t), targetsFile: filepath.Join(t.TempDir(), "targets.json"), binary: binary}
	example := string(must.Get(os.ReadFile("alerts/alertmanager.example.yml"))(t))
	s.alertmanager = startAlertmanager(t, receiving(t, example, s.pages.url))
	s.writeTargets(t)
	const interval = 15 * time.Second // Of scrapes and rules, as docs/alerts.md has it.
	discovery := map[string]any{"files": []string{s.targetsFile}, "refresh_interval": "5s"}
	config := scrapeConfig(interval, interval, map[string]any{"file_sd_configs": []any{discovery}})
	config["alerting"] = alertingTo(s.alertmanager)
	config["rule_files"] = []string{
		harness.WriteFile(t, "rules.yml", string(alerts.Join(harness.PackFiles(t, nil)))),
	}
	s.prometheus = runPrometheus(t, t.TempDir(), config)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("notifications:\n%s", s.pages)
		}
	})
	return s
}

// openReal starts the cluster of an act, which server-1 leads, and the exporters, as a user starts them.
func (s *alertStack) openReal(t *testing.T, a *realAct) *realOutage {
	t.Helper()
	o := &realOutage{realAct: a, world: &world{t: t, alertStack: s}, seconds: make(map[alertID]time.Duration)}
	o.world.Cluster = consultest.Start(t, consultest.Options{Servers: a.servers, Clients: a.clients})
	harness.Settle(t, o.world.Cluster)
	must.Do(t, o.world.TransferLeadership(harness.Soon(t), o.world.Servers[0]))
	for i, name := range strings.Fields(a.asked + " " + a.marked) {
		var command []string
		if i >= len(strings.Fields(a.asked)) {
			command = markedCommand
		}
		o.start(t, o.world.agent(name), command)
	}
	return o
}

func (o *realOutage) start(t *testing.T, asked *consultest.Agent, command []string) {
	t.Helper()
	state := filepath.Join(t.TempDir(), "state.json")
	own := append(slices.Clone(command), o.world.binary, "--consul.server="+asked.URL(), "--state.file="+state)
	w := &watcher{Exporter: harness.Launch(t, own[0], nil, own[1:]...), cluster: o.cluster}
	w.check = []string{
		o.world.binary, "check", "--output=json", "--consul.server=" + asked.URL(), "--exporter=" + w.URL,
	}
	o.exporters = append(o.exporters, w)
	o.world.watch(t, w)
}

// restart kills the exporters, as a crash does, and starts them again at the same address.
func (o *realOutage) restart(t *testing.T) {
	t.Helper()
	for _, w := range o.exporters {
		w.Exporter = w.Relaunch(t)
	}
}

// lookOn looks at all outages again and again until a moment.
func (s *alertStack) lookOn(t *testing.T, outages []*realOutage, end time.Time) {
	t.Helper()
	for time.Now().Before(end) {
		for _, o := range outages {
			o.note(t)
			o.expectNamed(t)
		}
		time.Sleep(lookEach) //nolint:forbidigo // The time is what is tested.
	}
}

// note keeps how long it took until each alert was notified of, or fired and was held back.
func (o *realOutage) note(t *testing.T) {
	t.Helper()
	p := &observation{alertStack: o.world.alertStack}
	for _, a := range o.alerts {
		expected := expectedAlert{a.wantAlert, &outage{cluster: o.cluster}}
		if o.seconds[a.id()] > 0 {
			continue
		}
		if at, ok := p.arrived(expected); ok && !a.held && at.After(o.began) {
			o.seconds[a.id()] = at.Sub(o.began)
		}
		if a.held && p.fires(t, expected) {
			o.seconds[a.id()] = time.Since(o.began)
		}
	}
}

// fires reports whether an alert fires in Prometheus.
func (s *alertStack) fires(t *testing.T, a expectedAlert) bool {
	t.Helper()
	return slices.ContainsFunc(s.active(t), func(r ruledAlert) bool { return r.State == "firing" && a.matches(r.Labels) })
}

// expectNamed fails for each view that does not name a server that is gone, once the alert about it has arrived.
func (o *realOutage) expectNamed(t *testing.T) {
	t.Helper()
	for _, a := range o.alerts {
		if o.seconds[a.id()] == 0 {
			return
		}
	}
	after := time.Since(o.began).Round(time.Second)
	for _, server := range o.gone {
		for view, read := range views {
			if lacks := o.lacks(t.Context(), view, read, server); lacks != "" {
				t.Errorf("%s, %s after: %s does not name %s: %s", o.name, after, view, server, lacks)
			}
		}
		firing := fmt.Sprintf(`ALERTS{alertstate="firing", cluster=%q, server=%q, alertname=~"ConsulServer(Down|Hung)"}`,
			o.cluster, server)
		if len(o.world.query(t, firing)) == 0 {
			t.Errorf("%s, %s after: no alert about %s fires", o.name, after, server)
		}
	}
}

// lacks says how a view of the first exporter fails to show that a server is gone.
func (o *realOutage) lacks(
	ctx context.Context, view string, read func(context.Context, *watcher) ([]problem, error), server string,
) string {
	problems, err := read(ctx, o.exporters[0])
	names := slices.ContainsFunc(problems, func(p problem) bool {
		down := p.alert == "ConsulServerDown" || p.alert == "ConsulServerHung"
		return down && (p.server == server || view == "page")
	})
	return harness.Unless(err == nil && names, "%v, %v", problems, err)
}

// expectAlerts fails for each alert that is late or missing, and for each page if there must be none.
func (o *realOutage) expectAlerts(t *testing.T) {
	t.Helper()
	for _, a := range o.alerts {
		took, ok := o.seconds[a.id()]
		if !ok || took > a.within {
			t.Errorf("%s: %s after %s, there: %v; want it within %s", o.name, a.name, took, ok, a.within)
		}
	}
	for _, page := range o.pagesSince() {
		if len(o.alerts) == 0 && page.receiver == receivers["critical"] {
			t.Errorf("%s: a page, %s; want none", o.name, alertText(page.Alerts[0].Labels))
		}
	}
}

// expectNothingResolved fails for each alert about the outage that was called resolved while it went on.
func (o *realOutage) expectNothingResolved(t *testing.T) {
	t.Helper()
	for _, page := range o.pagesSince() {
		for _, alert := range page.Alerts {
			wanted := slices.ContainsFunc(o.alerts, func(a realAlert) bool {
				return expectedAlert{a.wantAlert, &outage{cluster: o.cluster}}.matches(alert.Labels)
			})
			if wanted && alert.Status == "resolved" {
				t.Errorf("%s: %s was called resolved at %s, while it went on", o.name, alertText(alert.Labels), page.at)
			}
		}
	}
}

// pagesSince are the notifications about the cluster since the fault.
func (o *realOutage) pagesSince() []page {
	return slices.DeleteFunc(o.world.pages.all()[o.looked:], func(p page) bool {
		return p.GroupLabels["cluster"] != o.cluster
	})
}
