// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// How long the stack may take for what does not depend on the pack's times: for a cluster to settle, for Consul to
// notice a fault, and for a cluster to recover.
const (
	settleWithin = 150 * time.Second
	noticeWithin = 150 * time.Second
	healWithin   = 240 * time.Second
)

// outage is a fault while it is played.
type outage struct {
	*fault
	world *world
	// cluster is the label of the exporters that see it.
	cluster string
	began   time.Time
}

// waitQuiet waits until Prometheus scrapes all exporters, all their agents answer, and no alert fires or pends.
func (s *alertStack) waitQuiet(t *testing.T, within time.Duration) {
	t.Helper()
	var since time.Time
	harness.WaitFor(t, within, "nothing to be wrong", func() string {
		missing := s.activeText(t)
		if up := len(s.query(t, "up == 1")); up != len(s.watchers) {
			missing = fmt.Sprintf("%d of %d exporters are up", up, len(s.watchers))
		}
		if missing != "" {
			since = time.Time{}
			return missing
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) < 3*alertInterval {
			return "not for three evaluations yet"
		}
		return ""
	})
}

// activeText lists what pends and fires, except for what a busy machine leads to.
func (s *alertStack) activeText(t *testing.T) string {
	t.Helper()
	var lines []string
	for _, a := range s.active(t) {
		if !aboutMachine(a.Labels["alertname"]) {
			lines = append(lines, a.State+" "+alertText(a.Labels))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

// alertText is an alert with its labels in order.
func alertText(labels map[string]string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if name != "alertname" {
			pairs = append(pairs, fmt.Sprintf("%s=%q", name, labels[name]))
		}
	}
	return labels["alertname"] + "{" + strings.Join(pairs, ",") + "}"
}

// expectCalm waits for a while and fails for each alert about a cluster that fired in that time, held back or not. What
// pends and goes away is why alerts pend.
func (s *alertStack) expectCalm(t *testing.T, cluster string, d time.Duration) {
	t.Helper()
	time.Sleep(d) //nolint:forbidigo // The time is what is tested.
	firing := fmt.Sprintf(`max_over_time(ALERTS{cluster=%q, alertstate="firing"}[%s])`, cluster, d)
	for _, found := range s.query(t, "max by (alertname, server, severity) ("+firing+")") {
		if !aboutMachine(string(found.Metric["alertname"])) {
			t.Errorf("%s; want no alert at all", found.Metric)
		}
	}
}

// prove makes faults, all at once, and sees who is notified: of all that the table has and of nothing else, and that it
// is over once the faults are repaired. Pages and check show the same.
func (s *alertStack) prove(t *testing.T, outages []*outage) {
	t.Helper()
	s.waitQuiet(t, settleWithin)
	harness.WaitFor(t, settleWithin, "what was sent while things started to be resolved", s.unresolved)
	p := &observation{alertStack: s, looked: len(s.pages.all())} // Before, nothing watched clusters that start slowly.
	longest := time.Duration(0)
	for _, o := range outages {
		for _, a := range o.alerts {
			p.expected = append(p.expected, expectedAlert{a, o})
			longest = max(longest, scaled(a.pends(t)))
		}
	}
	for _, o := range outages {
		o.began = time.Now()
		o.breaks.take(o.world)
	}
	harness.WaitFor(t, longest+noticeWithin, "the alerts", func() string { return p.missing(t) })
	p.watchOn(t, scaled(5*time.Minute)) // As long as most warnings pend.
	p.waitAgreement(t, outages)
	p.restart(t, outages)

	for _, o := range outages {
		o.repairs.take(o.world)
	}
	harness.WaitFor(t, healWithin, "all to be over", func() string {
		p.expectNotifications(t)
		if active := s.activeText(t); active != "" {
			return active
		}
		return p.unresolved()
	})
	p.waitAgreement(t, nil)
	for series, n := range s.prometheus.Scrape(t) {
		if strings.HasPrefix(series, "prometheus_rule_evaluation_failures_total") && n > 0 {
			t.Errorf("%s is %v; want each evaluation of rules to succeed", series, n)
		}
	}
	p.expectOnce(t)
	for _, o := range outages {
		p.record(t, o)
	}
}

// isRestarted is whether the exporters of a fault are killed and started anew while it lasts. Those that are themselves
// what is broken would be repaired by that.
func (f *fault) isRestarted() bool { return f.act != "exporters and agents" }

// restart kills exporters and starts them anew while the faults go on, which resolves nothing that fires.
func (p *observation) restart(t *testing.T, outages []*outage) {
	t.Helper()
	sent := len(p.pages.all())
	for _, w := range p.watchers {
		restarted := slices.ContainsFunc(outages, func(o *outage) bool {
			return o.cluster == w.cluster && o.world.first.isRestarted()
		})
		if restarted && w.running() {
			w.Exporter = w.Relaunch(t)
		}
	}
	p.watchOn(t, scaled(2*time.Minute))
	for _, page := range p.pages.all()[sent:] {
		for _, alert := range page.Alerts {
			if alert.Status == "resolved" && p.isExpected(alert.Labels, true) {
				t.Errorf("%s is resolved because the exporter was started anew", alertText(alert.Labels))
			}
		}
	}
}

// observation keeps what is seen while faults are made.
type observation struct {
	*alertStack
	expected []expectedAlert
	// looked is how many notifications were looked at.
	looked int
}

// expectedAlert is one that an outage leads to.
type expectedAlert struct {
	wantAlert
	outage *outage
}

// matches reports whether an alert in Prometheus, Alertmanager or a notification is this one.
func (a expectedAlert) matches(labels map[string]string) bool {
	if labels["alertname"] != a.name || labels["severity"] != a.severity || labels["cluster"] != a.outage.cluster {
		return false
	}
	own := maps.Clone(labels)
	for _, name := range []string{"alertname", "severity", "cluster", "job"} {
		delete(own, name)
	}
	return a.labels == nil || maps.Equal(own, a.labels)
}

func (a expectedAlert) String() string {
	labels := map[string]string{"alertname": a.name, "severity": a.severity, "cluster": a.outage.cluster}
	maps.Copy(labels, a.labels)
	return alertText(labels)
}

// isExpected reports whether an alert may be there; if it was notified of, it must not be one that is held back.
func (p *observation) isExpected(labels map[string]string, notified bool) bool {
	return slices.ContainsFunc(p.expected, func(a expectedAlert) bool {
		return (!notified || !a.held) && a.matches(labels)
	})
}

// arrived is when an alert was first in a notification.
func (p *observation) arrived(a expectedAlert) (time.Time, bool) {
	for _, page := range p.pages.all() {
		for _, alert := range page.Alerts {
			if a.matches(alert.Labels) {
				return page.at, true
			}
		}
	}
	return time.Time{}, false
}

// missing lists the expected alerts that have not arrived, or are not held back.
func (p *observation) missing(t *testing.T) string {
	t.Helper()
	p.expectNotifications(t)
	active, routed := p.active(t), p.routed(t)
	var missing []string
	for _, a := range p.expected {
		_, arrived := p.arrived(a)
		switch {
		case !a.held && !arrived:
			missing = append(missing, a.String()+" has not arrived")
		case !a.held:
		case !slices.ContainsFunc(active, func(r ruledAlert) bool { return r.State == "firing" && a.matches(r.Labels) }):
			missing = append(missing, a.String()+" does not fire")
		case !slices.ContainsFunc(routed, func(r routedAlert) bool { return r.heldBack() && a.matches(r.Labels) }):
			missing = append(missing, a.String()+" is not held back")
		}
	}
	return strings.Join(missing, ", ")
}

// heldBack reports whether another alert is why nobody is notified.
func (r routedAlert) heldBack() bool {
	return r.Status.State == "suppressed" && len(r.Status.InhibitedBy) > 0
}

// expectNotifications fails for each alert that has arrived since it was last called and was not expected, or not
// there.
func (p *observation) expectNotifications(t *testing.T) {
	t.Helper()
	pages := p.pages.all()
	for _, page := range pages[p.looked:] {
		for _, alert := range page.Alerts {
			text := alertText(alert.Labels)
			switch {
			// With others of its group Alertmanager also calls those resolved that it held back.
			case p.isExpected(alert.Labels, alert.Status != "resolved"):
			case aboutMachine(alert.Labels["alertname"]):
				t.Logf("%s is %s, maybe because the machine is busy: %s", text, alert.Status, alert.Annotations["description"])
			default:
				t.Errorf("%s is %s, which is not expected: %s", text, alert.Status, alert.Annotations["description"])
			}
			if want := receiverOf(alert.Labels["severity"], alert.Labels); page.receiver != want {
				t.Errorf("%s went to %s; want it to go to %s", text, page.receiver, want)
			}
			for _, name := range []string{"summary", "description", "runbook_url"} {
				if a := alert.Annotations[name]; a == "" || badAnnotation.MatchString(a) {
					t.Errorf("%s has the %s %q", text, name, a)
				}
			}
		}
	}
	p.looked = len(pages)
}

// badAnnotation matches what templates of Prometheus leave when they fail.
var badAnnotation = regexp.MustCompile(`<no value>|%!|error`)

// watchOn looks on for a while, in which nothing else may arrive.
func (p *observation) watchOn(t *testing.T, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		p.expectNotifications(t)
		time.Sleep(alertInterval / 2) //nolint:forbidigo // The time is what is tested.
	}
}

// unresolved lists the alerts that arrived and were not called resolved since.
func (s *alertStack) unresolved() string {
	last := make(map[string]string)
	for _, page := range s.pages.all() {
		for _, alert := range page.Alerts {
			if !aboutMachine(alert.Labels["alertname"]) {
				last[alertText(alert.Labels)] = alert.Status
			}
		}
	}
	maps.DeleteFunc(last, func(_, status string) bool { return status == "resolved" })
	return strings.Join(slices.Sorted(maps.Keys(last)), ", ")
}

// slowScrape is how long a scrape takes that is near its deadline: ports and agents that do not answer are given up
// before.
const slowScrape = alertScrapeInterval - 200*time.Millisecond

// aboutMachine reports whether an alert is about how long things take. On a machine with many clusters these fire
// with any fault and without one, and they are right: where the table has none of them, they are logged. promtool
// tests them.
//
// All others are about whether something is there, which a busy machine does not change for as long as they pend.
func aboutMachine(alert string) bool {
	return slices.Contains([]string{
		"ConsulScrapeSlow", "ConsulPortSlow", // Scrapes and probes wait for the processor.
		"ConsulPortErrors",                                  // One probe in thirty seconds that is given up is enough.
		"ConsulRaftLastContact", "ConsulLeaderChangesOften", // Heartbeats wait, and then servers call elections.
		"ConsulRaftSaturated",    // Threads that wait count as busy.
		"ConsulRaftCommitSlow",   // Writes wait for the disk.
		"ConsulGossipHealthPoor", // Consul's own measure of how busy the machine is.
	}, alert)
}

// expectOnce fails for each group that was notified of more than once. Where a scrape of the cluster was given up
// because the machine was busy, an alert may have ended and begun again.
func (p *observation) expectOnce(t *testing.T) {
	t.Helper()
	slow := make(map[string]bool)
	duration := "max by (cluster) (max_over_time(scrape_duration_seconds[15m]))"
	for _, s := range p.query(t, fmt.Sprintf("%s > %v", duration, slowScrape.Seconds())) {
		slow[string(s.Metric["cluster"])] = true
	}
	sent := make(map[string]int)
	for _, page := range p.pages.all() {
		if page.Status == "firing" && !slow[page.GroupLabels["cluster"]] && !aboutMachine(page.GroupLabels["alertname"]) {
			sent[page.receiver+" of "+alertText(page.GroupLabels)]++
		}
	}
	for group, n := range sent {
		if n > 1 {
			t.Errorf("%d notifications to %s; want one", n, group)
		}
	}
}
