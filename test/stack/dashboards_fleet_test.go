// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// madeUp is a cluster of server-1 to server-3 that is not there: its exporter answers what one of a healthy cluster
// does, but for some series. An empty value removes one.
type madeUp struct {
	name, datacenter string
	series           map[string]string
	// gone is whether the exporter is down by now.
	gone atomic.Bool
}

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
	atRiskSeries = map[string]string{"consul_cluster_failure_margin": "0", `consul_port_up{server="server-2"`: "0"}
	singleSeries = map[string]string{"consul_cluster_failure_margin": "0", "consul_cluster_expected_voters": "1"}
)

// watchedFamilies are those that the fleet shows, and those of servers. Others have bad values in the file.
var watchedFamilies = regexp.MustCompile(`^consul_(up|cluster|port_up|server|catalog_service|exporter_scrapes)`)

// healthyExporter is what a healthy cluster's exporter answers, without what differs from scrape to scrape.
func healthyExporter(tb testing.TB) []string {
	tb.Helper()
	text := string(must.Get(os.ReadFile("collector/testdata/healthy.prom"))(tb))
	return slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool {
		return line == "" || strings.HasSuffix(line, " VALUE") || !watchedFamilies.MatchString(line)
	})
}

// serve answers with the metrics of a healthy cluster, changed.
func (c *madeUp) serve(w http.ResponseWriter, healthy []string) {
	if c.gone.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	for _, line := range healthy {
		space := strings.LastIndex(line, " ")
		series, value := line[:space], line[space+1:]
		for changed, to := range c.series {
			if series == changed || strings.HasPrefix(series, changed+"{") || strings.HasPrefix(series, changed+",") {
				value = to
			}
		}
		if value != "" {
			fmt.Fprintln(w, series, value)
		}
	}
	fmt.Fprintln(w, "process_start_time_seconds 1.7e9")
}

// watchMadeUp has a Prometheus with the exporter's rules, which need not wait, scrape the clusters.
func watchMadeUp(tb testing.TB, interval time.Duration, clusters []*madeUp) *harness.Exporter {
	tb.Helper()
	healthy := healthyExporter(tb)
	var targets []any
	mux := http.NewServeMux()
	for _, c := range clusters {
		mux.HandleFunc("/"+c.name, func(w http.ResponseWriter, _ *http.Request) { c.serve(w, healthy) })
	}
	server := httptest.NewServer(mux)
	tb.Cleanup(server.Close)
	for _, c := range clusters {
		labels := map[string]string{"__metrics_path__": "/" + c.name, "instance": c.name}
		if c.datacenter != "" {
			labels["cluster"], labels["datacenter"] = c.name, c.datacenter
		}
		targets = append(targets, map[string]any{
			"targets": []string{strings.TrimPrefix(server.URL, "http://")}, "labels": labels,
		})
	}
	dir := tb.TempDir()
	rules := pendingTimes.ReplaceAll(alerts.Join(must.Get(alerts.Pack(nil))(tb)), []byte("$1 0s"))
	file := filepath.Join(dir, "rules.yml")
	must.Do(tb, os.WriteFile(file, rules, 0o600))
	config := scrapeConfig(interval, interval, map[string]any{"static_configs": targets})
	config["rule_files"] = []string{file}
	return runPrometheus(tb, dir, config)
}

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
	prometheus, boards := watchMadeUp(t, 2*time.Second, clusters), allDashboards(t)
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
		fleetColumn("G"): {healthy.of(): 0, lost.of(): 1, split.of(): 1, gone.of(): 1},
		fleetColumn("J"): {healthy.of(): 1.7e12},
		"fleet: Alerts that fire A": {
			lost.of(`alertname="ConsulQuorumLost"`, `runbook="open"`):      4,
			gone.of(`alertname="ConsulExporterMissing"`, `runbook="open"`): 4,
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

// BenchmarkFleet measures each query of the fleet's dashboard, and a round of all rules, with 40 clusters of three
// servers in one Prometheus. See docs/performance.md.
func BenchmarkFleet(b *testing.B) {
	const size = 40
	states := []map[string]string{lostSeries, splitSeries, unknownSeries, atRiskSeries, singleSeries}
	var clusters []*madeUp
	for i := range size {
		c := &madeUp{name: fmt.Sprintf("cluster-%d", i), datacenter: "dc1"}
		if i < len(states) {
			c.series = states[i]
		}
		clusters = append(clusters, c)
	}
	prometheus := watchMadeUp(b, 5*time.Second, clusters)
	at := waitScraped(b, prometheus, fmt.Sprintf("count(consul:cluster_leaders:max) >= %d - 1", size))
	fleet := allDashboards(b)["fleet"]
	for _, p := range fleet.Panels {
		for _, q := range p.Targets {
			if q.Instant {
				b.Run(p.Title+" "+q.RefID, func(b *testing.B) {
					benchmarkQuery(b, prometheus, at, fleet.Substitute(q.Expr, nil), false, "")
				})
			}
		}
	}
	b.Run("rules", func(b *testing.B) {
		type groups struct {
			Groups []struct{ EvaluationTime float64 }
		}
		var took float64
		for b.Loop() {
			took = 0
			for _, g := range ask[groups](b, prometheus, "rules", nil).Groups {
				took += g.EvaluationTime
			}
		}
		b.ReportMetric(1000*took, "ms")
	})
}
