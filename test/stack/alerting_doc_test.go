// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// alertsProven is the document that tells what the tests of alerts have seen.
const alertsProven = "docs/alerts-proven.md"

// alertID is an alert by name and severity, which together tell the two thresholds of one name apart.
type alertID struct{ name, severity string }

// packAlerts returns for how long each alert of the pack pends. Where there are two of a name and severity it is the longer time.
func packAlerts(t *testing.T) map[alertID]time.Duration {
	t.Helper()
	pends := make(map[alertID]time.Duration)
	for _, f := range harness.PackFiles(t, nil) {
		for _, r := range harness.AlertRules(t, f) {
			d, err := model.ParseDuration(r.For)
			harness.Must(t, err)
			id := alertID{r.Alert, r.Labels["severity"]}
			pends[id] = max(pends[id], time.Duration(d))
		}
	}
	return pends
}

// pends is for how long the alert pends with the defaults.
func (a wantAlert) pends(t *testing.T) time.Duration {
	t.Helper()
	d, ok := packAlerts(t)[alertID{a.name, a.severity}]
	if !ok {
		t.Fatalf("the pack has no %s of severity %s", a.name, a.severity)
	}
	return d
}

// notSeen are the alerts that no fault here leads to.
var notSeen = map[string]bool{
	"ConsulACLReplicationFails": true,
	"ConsulEvenVoters":          true,
	"ConsulLicenseExpires":      true,
	"ConsulRaftApplyLag":        true,
	"ConsulRaftCommitSlow":      true,
	"ConsulRaftLogCorrupt":      true,
	"ConsulRaftLogTooShort":     true,
	"ConsulRaftSaturated":       true,
	"ConsulResponderFails":      true,
	"ConsulResponderRefuses":    true,
	"ConsulStaleRaftPeer":       true,
	"ConsulVersionSkew":         true,
}

// secondsToPage is how long after a fault people were told, by fault and alert, as the document has it.
type secondsToPage map[string]map[alertID]string

// provenRow is a row of the document: fault, alert, severity, whom it goes to, seconds, and the time with the pack as it is. The fault is
// in the first of its rows only.
var provenRow = regexp.MustCompile("(?m)^\\| (.*?) ?\\| `(\\w+)` \\| (\\w+) \\| ([a-z ]+) \\| (\\S*) ?\\| (\\S*) ?\\|$")

// readSeconds reads them from the document.
func readSeconds(document string) secondsToPage {
	seconds, fault := make(secondsToPage), ""
	for _, row := range provenRow.FindAllStringSubmatch(document, -1) {
		if row[1] != "" {
			fault = row[1]
			seconds[fault] = make(map[alertID]string)
		}
		if seconds[fault] != nil {
			seconds[fault][alertID{row[2], row[3]}] = row[5]
		}
	}
	return seconds
}

// provenText is the document.
func provenText(t *testing.T, seconds secondsToPage) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, `# Alerts that were seen to fire

Written by `+"`make alerts-proven`"+`, which breaks real Consul clusters and watches them with the exporter, Prometheus, the rules in
[alerts/](../alerts), and Alertmanager with [alertmanager.example.yml](../alerts/alertmanager.example.yml). A webhook is in the place of each receiver.

All times of rules and Alertmanager are divided by %d there, and Prometheus scrapes every %d seconds. The time that Consul needs to notice a fault,
and to elect a leader, is what it is. Networks are broken by a packet filter, in a network namespace.

- **to**: the receiver that was told. An alert that is *held back* fires in Prometheus, Alertmanager knows its cause, and nobody is told.
- **seconds**: from the fault to the notification, as measured.
- **unscaled**: what to expect of it with the times as they are: the alert's `+"`for`"+`, `+"`group_wait`"+` and a scrape in 15 seconds; Consul's own time comes on top.

Each fault leads to these notifications and to no others, each of them is sent once, and called resolved once the fault is mended.
`, alertTimeFactor, alertScrapeInterval/time.Second)
	b.WriteString("\n## Seen\n\n| fault | alert | severity | to | seconds | unscaled |\n|---|---|---|---|---|---|\n")
	for _, f := range alertFaults {
		provenRows(t, &b, f, seconds[f.name])
	}
	b.WriteString("\n## By promtool only\n\nThese fire in the tests of the rules, with made-up metrics. No fault here leads to them:\n\n")
	for _, name := range slices.Sorted(maps.Keys(notSeen)) {
		fmt.Fprintf(&b, "- `%s`\n", name)
	}
	return b.String()
}

// provenRows writes the rows of a fault: one for each alert, however many servers or ports it is about.
func provenRows(t *testing.T, b *strings.Builder, f alertFault, seconds map[alertID]string) {
	t.Helper()
	const groupWait, scrape = 30 * time.Second, 15 * time.Second
	if len(f.alerts) == 0 {
		fmt.Fprintf(b, "| %s | none | | | | |\n", f.name)
	}
	name := f.name
	seen := make(map[alertID]bool)
	for _, a := range f.alerts {
		id := alertID{a.name, a.severity}
		if seen[id] {
			continue
		}
		seen[id] = true
		to, unscaled := "held back", ""
		if !a.held {
			to, unscaled = receivers[a.severity], model.Duration(a.pends(t)+groupWait+scrape).String()
		}
		row := fmt.Sprintf("| %s | `%s` | %s | %s | %s | %s |", name, a.name, a.severity, to, seconds[id], unscaled)
		b.WriteString(strings.NewReplacer("|  |", "| |").Replace(strings.NewReplacer("|  |", "| |").Replace(row)) + "\n")
		name = ""
	}
}

// provenFile is held while the document is written.
var provenFile sync.Mutex

// record keeps how long it took until people were told, for the document.
func (p *observation) record(t *testing.T, o outage) {
	t.Helper()
	seconds := make(map[alertID]string)
	for _, a := range p.expected {
		if a.fault != o.fault || a.held {
			continue
		}
		at, _ := p.arrived(a)
		id := alertID{a.name, a.severity}
		took := fmt.Sprintf("%.0f", at.Sub(p.began[o.fault]).Seconds())
		t.Logf("%s: %s after %s s", o.fault, a, took)
		if seconds[id] == "" {
			seconds[id] = took
		}
	}
	if !*harness.Update || t.Failed() {
		return
	}
	provenFile.Lock()
	defer provenFile.Unlock()
	content, err := os.ReadFile(alertsProven)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	_, actions := splitActions(string(content))
	all := readSeconds(string(content))
	all[o.fault] = seconds
	harness.Must(t, os.WriteFile(alertsProven, []byte(provenText(t, all)+actions), 0o644))
}

// The document has each fault of the tests and its alerts, no other, and has seen all of them.
func TestStackAlertsProven(t *testing.T) {
	content, err := os.ReadFile(alertsProven)
	harness.Must(t, err)
	seconds := readSeconds(string(content))
	document, _ := splitActions(string(content)) // The actions have a test of their own.
	if diff := cmp.Diff(provenText(t, seconds), document); diff != "" {
		t.Errorf("%s is not about the faults that the tests make; run: make alerts-proven (-tests +document)\n%s", alertsProven, diff)
	}
	for _, f := range alertFaults {
		for _, a := range f.alerts {
			if !a.held && seconds[f.name][alertID{a.name, a.severity}] == "" {
				t.Errorf("%s does not say how long %s takes after this: %s; run: make alerts-proven", alertsProven, a.name, f.name)
			}
		}
	}
}

// Each alert of the pack was seen to fire, or is among those that were not.
func TestStackAlertsProven_All(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range alertFaults {
		for _, a := range f.alerts {
			a.pends(t)
			seen[a.name] = true
		}
	}
	for id := range packAlerts(t) {
		if notSeen[id.name] == seen[id.name] {
			t.Errorf("%s is seen: %v, and among those that are not: %v; want one of the two", id.name, seen[id.name], notSeen[id.name])
		}
	}
	for name := range notSeen {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(packAlerts(t))), func(id alertID) bool { return id.name == name }) {
			t.Errorf("the pack has no %s", name)
		}
	}
}
