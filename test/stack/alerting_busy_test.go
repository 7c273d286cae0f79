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

// slowScrape is how long a scrape takes that is near its deadline: ports and agents that do not answer are given up
// before.
const slowScrape = alertScrapeInterval - 200*time.Millisecond

// aboutMachine reports whether an alert is about how long things take. On a machine with many clusters these fire
// with any fault and without one, and they are right: where the table has none of them, they are logged. promtool
// tests them.
//
// All others are about what is there and what is not, which a busy machine does not change for as long as they pend.
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
