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

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// alertsProven is the document with what the tests of alerts have seen.
const alertsProven = "docs/alerts-proven.md"

// alertID is an alert by name and severity, which together distinguish the two thresholds of one name.
type alertID struct{ name, severity string }

func (a wantAlert) id() alertID { return alertID{a.name, a.severity} }

// packAlerts returns how long each alert of the pack pends. Where there are two of a name and severity it is the
// longer time.
func packAlerts(t *testing.T) map[alertID]time.Duration {
	t.Helper()
	pends := make(map[alertID]time.Duration)
	for _, f := range harness.PackFiles(t, nil) {
		for _, r := range harness.AlertRules(t, f) {
			id := alertID{r.Alert, r.Labels["severity"]}
			pends[id] = max(pends[id], time.Duration(must.Get(model.ParseDuration(r.For))(t)))
		}
	}
	return pends
}

// pends is how long the alert pends with the defaults.
func (a wantAlert) pends(t *testing.T) time.Duration {
	t.Helper()
	d, ok := packAlerts(t)[a.id()]
	if !ok {
		t.Fatalf("the pack has no %s of severity %s", a.name, a.severity)
	}
	return d
}

// notSeen are the alerts that no fault here leads to.
var notSeen = []string{
	"ConsulACLReplicationFails", "ConsulCatalogShrinks", "ConsulDNSErrors", "ConsulDatacenterGone",
	"ConsulEvenVoters", "ConsulExporterCertificateExpires", "ConsulExporterCutOff", "ConsulLicenseExpires",
	"ConsulManyMembersFailed", "ConsulNodeGone", "ConsulRPCErrors", "ConsulRaftApplyLag", "ConsulRaftCommitSlow",
	"ConsulRaftLogCorrupt", "ConsulRaftLogTooShort", "ConsulRaftSaturated", "ConsulRateLimited",
	"ConsulResponderFails", "ConsulResponderRefuses", "ConsulServerWANMissing", "ConsulServerWithoutVote",
	"ConsulServersDisagree", "ConsulServiceVanished", "ConsulSplitBrain", "ConsulStaleRaftPeer", "ConsulVersionSkew",
}

// secondsToPage is how long after a fault the notification came, by fault and alert, as the document has it.
type secondsToPage map[string]map[alertID]string

// provenRow is a row of the document: fault, alert, severity, whom it goes to, and seconds. The fault is in the first
// of its rows only.
var provenRow = regexp.MustCompile("(?m)^\\| (.*?) ?\\| `(\\w+)` \\| (\\w+) \\| ([a-z ]+) \\| (\\S*) ?\\|$")

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

// The tables and the list of the document begin after these.
const (
	seenHeader    = "| fault | alert | severity | to | seconds |\n|---|---|---|---|---|\n"
	notSeenHeader = "No fault here leads to them:\n\n"
	actedHeader   = "| fault | alert | action | seconds from the fault to the end of the action |\n|---|---|---|---|\n"
)

// cutTable cuts a document before and after the lines that follow a header.
func cutTable(t *testing.T, document, header string) (before, lines, after string) {
	t.Helper()
	before, rest, ok := strings.Cut(document, header)
	if !ok {
		t.Fatalf("%s does not have %q", alertsProven, header)
	}
	lines, after, found := strings.Cut(rest, "\n\n")
	if found {
		lines, after = lines+"\n", "\n"+after
	}
	return before + header, lines, after
}

// withSeen is the document with these seconds, and with all faults and alerts.
func withSeen(t *testing.T, document string, seconds secondsToPage) string {
	t.Helper()
	var seen, notSeenLines strings.Builder
	for _, f := range allFaults() {
		provenRows(t, &seen, f, seconds[f.name])
	}
	for _, name := range notSeen {
		fmt.Fprintf(&notSeenLines, "- `%s`\n", name)
	}
	before, _, after := cutTable(t, document, seenHeader)
	before, _, after = cutTable(t, before+seen.String()+after, realHeader)
	before, _, after = cutTable(t, before+realRows(readReal(document))+after, notSeenHeader)
	return before + notSeenLines.String() + after
}

// provenRows writes the rows of a fault: one for each alert, however many servers or ports it is about.
func provenRows(t *testing.T, b *strings.Builder, f fault, seconds map[alertID]string) {
	t.Helper()
	if len(f.alerts) == 0 {
		fmt.Fprintf(b, "| %s | none | | | |\n", f.name)
	}
	name := f.name
	written := make(map[alertID]bool)
	for _, a := range f.alerts {
		if written[a.id()] {
			continue
		}
		written[a.id()] = true
		cells := []string{name, "`" + a.name + "`", a.severity, "held back", seconds[a.id()]}
		if !a.held {
			cells[3] = receiverOf(a.severity, a.labels)
		}
		for _, cell := range cells {
			b.WriteString(strings.TrimRight("| "+cell, " ") + " ")
		}
		b.WriteString("|\n")
		name = ""
	}
}

// provenFile is held while the document is written.
var provenFile sync.Mutex

// updateProven changes the document if the test is to update it.
func updateProven(t *testing.T, change func(document string) string) {
	t.Helper()
	if !*harness.Update || t.Failed() {
		return
	}
	provenFile.Lock()
	defer provenFile.Unlock()
	must.Do(t, os.WriteFile(alertsProven, []byte(change(readProven(t))), 0o644))
}

func readProven(t *testing.T) string {
	t.Helper()
	return string(must.Get(os.ReadFile(alertsProven))(t))
}

// record keeps how long it took until the notifications came, for the document.
func (p *observation) record(t *testing.T, o *outage) {
	t.Helper()
	seconds := make(map[alertID]string)
	for _, a := range p.expected {
		if a.outage.name != o.name || a.held {
			continue
		}
		at, _ := p.arrived(a)
		took := fmt.Sprintf("%.0f", at.Sub(a.outage.began).Seconds())
		t.Logf("%s: %s after %s s", o.name, a, took)
		if seconds[a.id()] == "" {
			seconds[a.id()] = took
		}
	}
	updateProven(t, func(document string) string {
		all := readSeconds(document)
		all[o.name] = seconds
		return withSeen(t, document, all)
	})
}

// The document has each fault of the tests and its alerts, no other, and has seen all of them. Each alert of the pack
// was seen to fire, or is listed as one that was not. The names in lists of exceptions are of the pack.
func TestStackAlertsProven(t *testing.T) {
	document := readProven(t)
	seconds := readSeconds(document)
	if diff := cmp.Diff(withSeen(t, document, seconds), document); diff != "" {
		t.Errorf("%s does not have the faults here; run: make alerts-proven (-tests +document)\n%s", alertsProven, diff)
	}
	seen := make(map[string]bool)
	for _, f := range allFaults() {
		for _, a := range f.alerts {
			if !a.held && seconds[f.name][a.id()] == "" {
				t.Errorf("%s does not have the seconds of %s after: %s; run: make alerts-proven", alertsProven, a.name, f.name)
			}
			a.pends(t)
			seen[a.name] = true
		}
	}
	for _, act := range allRealActs() {
		for _, a := range act.alerts {
			a.pends(t)
			seen[a.name] = true
		}
	}
	pack := make(map[string]bool)
	for id := range packAlerts(t) {
		pack[id.name] = true
		if listed := slices.Contains(notSeen, id.name); listed == seen[id.name] {
			t.Errorf("%s is seen: %v, and listed as not seen: %v; want one of the two", id.name, seen[id.name], listed)
		}
	}
	for _, name := range slices.Concat(notSeen, slices.Collect(maps.Keys(notOnPages))) {
		if !pack[name] {
			t.Errorf("the pack has no %s", name)
		}
	}
}
