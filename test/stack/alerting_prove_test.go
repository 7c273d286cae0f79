// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// How long the stack may take for what does not depend on the pack's times: for a cluster to come to rest, for Consul to notice a
// fault, and for a cluster to heal.
const (
	settleWithin = 150 * time.Second
	noticeWithin = 150 * time.Second
	healWithin   = 240 * time.Second
)

// outage is a fault of the table in one cluster.
type outage struct {
	cluster string
	fault   string
	// strike makes it, and mend undoes it.
	strike, mend func()
}

// waitQuiet waits until Prometheus scrapes all exporters, all their agents answer, and no alert fires or pends.
func (s *alertStack) waitQuiet(t *testing.T, within time.Duration) {
	t.Helper()
	var since time.Time
	harness.WaitFor(t, within, "nothing to be wrong", func() string {
		var missing string
		if up := s.value(t, "count(up == 1)"); up != fmt.Sprint(len(s.targets)) {
			missing = fmt.Sprintf("%s of %d exporters are up", up, len(s.targets))
		} else {
			missing = s.activeText(t)
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

// activeText says what pends and fires, but for what is about the machine.
func (s *alertStack) activeText(t *testing.T) string {
	t.Helper()
	var lines []string
	for _, a := range s.active(t) {
		if !aboutMachine(a.Labels) {
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

// expectCalm waits for a while and fails for each alert about a cluster that fired in that time, held back or not. What pends and goes
// away is what the time is for that alerts pend.
func (s *alertStack) expectCalm(t *testing.T, cluster string, d time.Duration) {
	t.Helper()
	time.Sleep(d) //nolint:forbidigo // The time is what is tested.
	expression := fmt.Sprintf(`max by (alertname, server, severity) (max_over_time(ALERTS{cluster=%q, alertstate="firing"}[%s]))`, cluster, d)
	for _, found := range s.query(t, expression) {
		if aboutMachine(found.Metric) {
			continue
		}
		t.Errorf("%s; want no alert at all", alertText(found.Metric))
	}
}

// prove makes faults, all at once, and sees who is told: all that the table says and nothing else, and that it is over once the faults are
// mended.
func (s *alertStack) prove(t *testing.T, outages ...outage) {
	t.Helper()
	s.waitQuiet(t, settleWithin)
	p := &observation{alertStack: s, began: make(map[string]time.Time)}
	for _, o := range outages {
		p.expect(t, o)
	}
	for _, o := range outages {
		p.began[o.fault] = time.Now()
		o.strike()
	}
	longest := time.Duration(0)
	for _, o := range outages {
		for _, a := range faultNamed(t, o.fault).alerts {
			longest = max(longest, scaled(a.pends(t)))
		}
	}
	harness.WaitFor(t, longest+noticeWithin, "the alerts", func() string { return p.missing(t) })
	p.watch(t, scaled(5*time.Minute)) // As long as most warnings pend.
	p.logHeld(t)

	for _, o := range outages {
		o.mend()
	}
	harness.WaitFor(t, healWithin, "all to be over", func() string {
		p.check(t)
		if active := s.activeText(t); active != "" {
			return active
		}
		return p.unresolved()
	})
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

// observation is what is seen while faults are made.
type observation struct {
	*alertStack
	expected []expectedAlert
	// began is when a fault was made.
	began map[string]time.Time
	// looked is how many notifications check has looked at.
	looked int
}

// expectedAlert is one that the fault of a cluster leads to.
type expectedAlert struct {
	wantAlert
	cluster, fault string
}

func (p *observation) expect(t *testing.T, o outage) {
	t.Helper()
	for _, a := range faultNamed(t, o.fault).alerts {
		p.expected = append(p.expected, expectedAlert{a, o.cluster, o.fault})
	}
}

// matches says whether an alert in Prometheus, Alertmanager or a notification is this one.
func (a expectedAlert) matches(labels map[string]string) bool {
	if labels["alertname"] != a.name || labels["severity"] != a.severity || labels["cluster"] != a.cluster {
		return false
	}
	if a.labels == nil {
		return true
	}
	own := maps.Clone(labels)
	maps.DeleteFunc(own, func(name, _ string) bool {
		return slices.Contains([]string{"alertname", "severity", "cluster", "job"}, name)
	})
	return maps.Equal(own, a.labels)
}

func (a expectedAlert) String() string {
	labels := maps.Clone(a.labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels["alertname"], labels["severity"], labels["cluster"] = a.name, a.severity, a.cluster
	return alertText(labels)
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

// missing says which of the expected alerts have not arrived, or are not held back.
func (p *observation) missing(t *testing.T) string {
	t.Helper()
	p.check(t)
	active, routed := p.active(t), p.routed(t)
	var missing []string
	for _, a := range p.expected {
		if _, arrived := p.arrived(a); !a.held && !arrived {
			missing = append(missing, a.String()+" has not arrived")
		}
		if a.held && !slices.ContainsFunc(active, func(r ruledAlert) bool { return r.State == "firing" && a.matches(r.Labels) }) {
			missing = append(missing, a.String()+" does not fire")
		} else if a.held && !slices.ContainsFunc(routed, func(r routedAlert) bool {
			return r.Status.State == "suppressed" && len(r.Status.InhibitedBy) > 0 && a.matches(r.Labels)
		}) {
			missing = append(missing, a.String()+" is not held back")
		}
	}
	return strings.Join(missing, ", ")
}

// check fails for each alert that has arrived since it looked last and was not to, or not there.
func (p *observation) check(t *testing.T) {
	t.Helper()
	pages := p.pages.all()
	for _, page := range pages[p.looked:] {
		for _, alert := range page.Alerts {
			text := alertText(alert.Labels)
			switch {
			case slices.ContainsFunc(p.expected, func(a expectedAlert) bool {
				// With others of its group Alertmanager also calls those resolved that it held back.
				return (!a.held || alert.Status == "resolved") && a.matches(alert.Labels)
			}):
			case aboutMachine(alert.Labels):
				t.Logf("%s is %s, which the machine's being busy may be why: %s", text, alert.Status, alert.Annotations["description"])
			default:
				t.Errorf("%s is %s, which is not expected: %s", text, alert.Status, alert.Annotations["description"])
			}
			if want := receivers[alert.Labels["severity"]]; page.receiver != want {
				t.Errorf("%s went to %s; want it to go to %s", text, page.receiver, want)
			}
			for _, name := range []string{"summary", "description", "runbook_url"} {
				annotation := alert.Annotations[name]
				if annotation == "" || strings.Contains(annotation, "<no value>") || strings.Contains(annotation, "%!") || strings.Contains(annotation, "error") {
					t.Errorf("%s has the %s %q", text, name, annotation)
				}
			}
		}
	}
	p.looked = len(pages)
}

// watch looks on for a while, in which nothing else may arrive.
func (p *observation) watch(t *testing.T, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(alertInterval / 2) { //nolint:forbidigo // The time is what is tested.
		p.check(t)
	}
}

// logHeld notes what is held back beyond what the table says, for whoever writes it.
func (p *observation) logHeld(t *testing.T) {
	t.Helper()
	for _, r := range p.routed(t) {
		if r.Status.State == "suppressed" && !slices.ContainsFunc(p.expected, func(a expectedAlert) bool { return a.matches(r.Labels) }) {
			t.Logf("held back, too: %s", alertText(r.Labels))
		}
	}
}

// unresolved says which of the alerts that arrived were not called resolved since.
func (p *observation) unresolved() string {
	last := make(map[string]string)
	for _, page := range p.pages.all() {
		for _, alert := range page.Alerts {
			if !aboutMachine(alert.Labels) {
				last[alertText(alert.Labels)] = alert.Status
			}
		}
	}
	maps.DeleteFunc(last, func(_, status string) bool { return status == "resolved" })
	return strings.Join(slices.Sorted(maps.Keys(last)), ", ")
}
