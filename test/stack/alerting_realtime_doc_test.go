// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
)

// realHeader is before the table of docs/alerts-proven.md with what was measured in real time.
const realHeader = "| fault | servers | alert | severity | seconds | at most |\n|---|---|---|---|---|---|\n"

// realRow is a row of it. The fault is in the first of its rows only.
var realRow = regexp.MustCompile("(?m)^\\| (.*?) ?\\| (\\d*) ?\\| `(\\w+)` \\| (\\w+) \\| (\\d*) ?\\| \\w+ \\|$")

// readReal reads the seconds from the document.
func readReal(document string) secondsToPage {
	seconds, fault := make(secondsToPage), ""
	for _, row := range realRow.FindAllStringSubmatch(document, -1) {
		if row[1] != "" {
			fault = row[1]
			seconds[fault] = make(map[alertID]string)
		}
		if seconds[fault] != nil {
			seconds[fault][alertID{row[3], row[4]}] = row[5]
		}
	}
	return seconds
}

// realRows are the rows of all acts with these seconds.
func realRows(seconds secondsToPage) string {
	var b strings.Builder
	for _, act := range allRealActs() {
		name, servers := act.name, strconv.Itoa(act.servers)
		if len(act.alerts) == 0 {
			fmt.Fprintf(&b, "| %s | %s | no page | | | |\n", name, servers)
		}
		for _, a := range act.alerts {
			at := seconds[act.name][a.id()]
			cells := []string{name, servers, "`" + a.name + "`", a.severity, at, model.Duration(a.within).String()}
			for _, cell := range cells {
				b.WriteString(strings.TrimRight("| "+cell, " ") + " ")
			}
			b.WriteString("|\n")
			name, servers = "", ""
		}
	}
	return b.String()
}

// recordReal keeps how long it took, for the document.
func recordReal(t *testing.T, outages []*realOutage) {
	t.Helper()
	updateProven(t, func(document string) string {
		all := readReal(document)
		for _, o := range outages {
			all[o.name] = make(map[alertID]string)
			for _, a := range o.alerts {
				all[o.name][a.id()] = fmt.Sprintf("%.0f", o.seconds[a.id()].Seconds())
			}
		}
		before, _, after := cutTable(t, document, realHeader)
		return before + realRows(all) + after
	})
}

// Each alert of the acts in real time that was measured came within its limit. That all were is for `make proven`.
func TestStackAlertsProven_RealTime(t *testing.T) {
	document := readProven(t)
	seconds := readReal(document)
	for _, act := range allRealActs() {
		for _, a := range act.alerts {
			measured := seconds[act.name][a.id()]
			at, err := strconv.Atoi(measured)
			if measured == "" {
				continue
			}
			if err != nil || time.Duration(at)*time.Second > a.within {
				t.Errorf("%s has %q seconds of %s after: %s; want %s at most; run: make alerts-proven",
					alertsProven, measured, a.name, act.name, a.within)
			}
		}
	}
}
