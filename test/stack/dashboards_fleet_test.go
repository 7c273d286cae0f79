// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Clusters that need somebody.
var (
	lostSeries = map[string]string{
		`consul_cluster_quorum_state{state="held"}`: "0", `consul_cluster_quorum_state{state="lost"}`: "1",
		"consul_cluster_failure_margin": "-1", "consul_cluster_leaders": "0", "consul_cluster_leader_info": "",
		"consul_cluster_consistent_read_success": "0", `consul_server_raft_is_leader{server="server-1"}`: "0",
	}
	unknownSeries = map[string]string{
		`consul_cluster_quorum_state{state="held"}`: "0", `consul_cluster_quorum_state{state="unknown"}`: "1",
		"consul_cluster_failure_margin": "", "consul_cluster_leaders": "", "consul_cluster_leader_info": "",
		"consul_cluster_consistent_read_success": "",
	}
	splitSeries  = map[string]string{"consul_cluster_leaders": "2", "consul_cluster_leader_info": ""}
	atRiskSeries = map[string]string{
		"consul_cluster_failure_margin": "0", `consul_port_up{server="server-2"`: "0",
		`consul_port_probe_phase_duration_seconds{server="server-2"`: "", // It is down, and does not hang.
	}
	singleSeries = map[string]string{"consul_cluster_failure_margin": "0", "consul_cluster_expected_voters": "1"}
)

// of is a result about a cluster, with further labels.
func (c *madeUp) of(more ...string) string {
	if c.datacenter != "" {
		more = append(more, fmt.Sprintf("cluster=%q", c.name), fmt.Sprintf("datacenter=%q", c.datacenter))
	}
	return onCluster(more...)
}

// clusterLabel is that of a result about some cluster. What is not available takes the place of the name.
var clusterLabel = regexp.MustCompile(`\bcluster="([^" ]*)"`)

// link is the same with the link to the overview.
func (c *madeUp) link() string {
	name := c.name
	if c.datacenter == "" {
		name = ""
	}
	return c.of(fmt.Sprintf(`link="var-cluster=%s&var-datacenter=%s&var-job=consul"`, name, c.datacenter))
}

// The fleet has one row for each cluster, the worst first, and the dashboards of one cluster show nothing of the
// others, whose servers have the same names.
func TestStackFleet(t *testing.T) {
	t.Parallel()
	healthy, unlabeled := &madeUp{name: "healthy", datacenter: "dc1"}, &madeUp{name: "unlabeled"}
	single := &madeUp{name: "single", datacenter: "dc1", series: singleSeries}
	risk := &madeUp{name: "risk", datacenter: "dc2", series: atRiskSeries}
	lost := &madeUp{name: "lost", datacenter: "dc1", series: lostSeries}
	split := &madeUp{name: "split", datacenter: "dc1", series: splitSeries}
	gone := &madeUp{name: "gone", datacenter: "dc3"}
	unknown := &madeUp{name: "unknown", datacenter: "dc1", series: unknownSeries}
	clusters := []*madeUp{healthy, unlabeled, single, risk, lost, split, gone, unknown}
	prometheus, boards := watched{clusters: clusters, services: 5, interval: 2 * time.Second}.start(t), allDashboards(t)
	all := liveDashboards{prometheus, boards, nil}
	all.wait(t, "all clusters to be watched", shows{"fleet: Clusters A": {"{}": 8}, fleetColumn("A"): {gone.link(): 3}})
	gone.gone.Store(true)
	all.wait(t, "the fleet", shows{
		"fleet: Cannot be written to A": {"{}": 2},
		"fleet: State unknown A":        {"{}": 2},
		"fleet: No voter to spare A":    {"{}": 1},
		fleetColumn("A"): {
			healthy.link(): 3, unlabeled.link(): 3, single.link(): 3, risk.link(): 3, lost.link(): 0, split.link(): 0.2,
			gone.link(): 1, unknown.link(): 2,
		},
		fleetColumn("B"): {healthy.of(): 1, unlabeled.of(): 1, single.of(): 0.001, risk.of(): 0, lost.of(): -1},
		fleetColumn("C"): {
			healthy.of(`server="server-1"`): 1, unlabeled.of(`server="server-1"`): 1, lost.of(`server="none"`): 0,
			split.of(`server="several"`): 0,
		},
		fleetColumn("D"): {healthy.of(): 0, risk.of(): 1, lost.of(): 0},
		// An exporter that has just gone counts as one that cannot tell for a minute, which is an alert where none waits.
		fleetColumn("G"): {healthy.of(): 0, lost.of(): 1, split.of(): 1, gone.of(): 2},
		fleetColumn("J"): {healthy.of(): 1.7e12},
		"fleet: Alerts that fire A": {
			lost.of(`alertname="ConsulQuorumLost"`, `runbook="open"`):      4,
			gone.of(`alertname="ConsulExporterMissing"`, `runbook="open"`): 4,
			gone.of(`alertname="ConsulQuorumUnknown"`, `runbook="open"`):   4,
		},
	})
	rank := all.results(t, fleetColumn("K"))
	worst := slices.SortedFunc(maps.Keys(rank), func(a, b string) int { return cmp.Compare(rank[b], rank[a]) })
	if len(worst) != len(clusters) {
		t.Errorf("%d rows; want one for each of %d clusters: %v", len(worst), len(clusters), rank)
	}
	for i, of := range [][]string{{lost.of(), split.of()}, {gone.of(), unknown.of()}, {risk.of()}} {
		for range of {
			if !slices.Contains(of, worst[0]) {
				t.Errorf("rank %d of the fleet is %s; want one of %v; all: %v", i, worst[0], of, rank)
			}
			worst = worst[1:]
		}
	}

	server2 := func(c *madeUp) string { return c.of(`figure="Port 8300"`, `server="server-2"`) }
	for c, up := range map[*madeUp]float64{risk: 0, healthy: 1, unlabeled: 1} {
		one := liveDashboards{prometheus, boards, map[string]string{"job": "consul"}}
		if c.datacenter != "" {
			one.chosen["cluster"], one.chosen["datacenter"] = c.name, c.datacenter
		}
		one.wait(t, "the overview of "+c.name, shows{
			"overview: Servers A": {server2(c): up}, "overview: Leader A": {c.of(`server="server-1"`): 1},
		})
		for where := range one.expressions(t) {
			if strings.Contains(where, ": variable ") || strings.HasPrefix(where, "fleet: ") {
				continue
			}
			for labels := range one.results(t, where) {
				if name := clusterLabel.FindStringSubmatch(labels); name != nil && name[1] != c.name {
					t.Errorf("%s of %s shows another cluster: %s", where, c.name, labels)
				}
			}
		}
	}
}
