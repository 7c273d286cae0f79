// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// What is no fault of rules, but of a machine with many clusters and little time for each, is kept out of the verdict here.

// slowScrape is what a scrape takes that is near its deadline: ports and agents that do not answer are given up before.
const slowScrape = alertScrapeInterval - 200*time.Millisecond

// aboutMachine says whether an alert is about how long things take. On a busy machine these come with any fault and without one, and rightly
// so: where the table has none of them, they are noted and not held against the rules. What they say at which thresholds is for promtool.
//
// All others are about what is there and what is not, which a busy machine changes for a moment only, and not for as long as they pend.
func aboutMachine(labels map[string]string) bool {
	return slices.Contains([]string{
		"ConsulScrapeSlow", "ConsulPortSlow", // Scrapes and probes wait for the processor.
		"ConsulPortErrors",                                  // One probe in thirty seconds that is given up is enough.
		"ConsulRaftLastContact", "ConsulLeaderChangesOften", // Heartbeats wait, and then servers call elections.
		"ConsulRaftSaturated",    // Threads that wait count as busy.
		"ConsulRaftCommitSlow",   // Writes wait for the disk.
		"ConsulGossipHealthPoor", // Consul's own measure of how busy the machine is.
	}, labels["alertname"])
}

// expectOnce fails for each problem that people were told of more than once. Where a scrape of the cluster was given up because the machine was
// busy, an alert may have ended and begun again.
func (p *observation) expectOnce(t *testing.T) {
	t.Helper()
	slow := make(map[string]bool)
	for _, s := range p.query(t, fmt.Sprintf("max by (cluster) (max_over_time(scrape_duration_seconds[15m])) > %v", slowScrape.Seconds())) {
		slow[s.Metric["cluster"]] = true
	}
	told := make(map[string]int)
	for _, page := range p.pages.all() {
		if page.Status == "firing" && !slow[page.GroupLabels["cluster"]] && !aboutMachine(page.GroupLabels) {
			told[page.receiver+" of "+alertText(page.GroupLabels)]++
		}
	}
	for group, n := range told {
		if n > 1 {
			t.Errorf("%d notifications to %s; want one", n, group)
		}
	}
}
