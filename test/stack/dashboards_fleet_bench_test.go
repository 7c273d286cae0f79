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
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/grafana"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

const (
	// ruleTarget is the share of an interval that all rules may take, and fleetTarget how long the queries of the fleet's
	// dashboard may, one after the other.
	ruleTarget  = 0.1
	fleetTarget = 2 * time.Second
)

// BenchmarkFleet measures a Prometheus with 40 clusters, each of three servers and a hundred services and watched by
// two exporters: a round of all rules, and the queries of the fleet's dashboard. See docs/performance.md.
func BenchmarkFleet(b *testing.B) {
	const size = 40
	fleet := allDashboards(b)["fleet"]
	w := watched{services: 100, exporters: 2, interval: 15 * time.Second, history: time.Hour, patient: true}
	states := []map[string]string{lostSeries, splitSeries, unknownSeries, atRiskSeries, singleSeries}
	for i := range size {
		c := &madeUp{name: fmt.Sprintf("cluster-%d", i), datacenter: "dc1"}
		if i < len(states) {
			c.series = states[i]
		}
		w.clusters = append(w.clusters, c)
	}
	for _, q := range queriesOf(fleet, false) {
		for _, s := range regexp.MustCompile(`consul_\w+`).FindAllString(q.Expr, -1) {
			w.graphed = append(w.graphed, s)
		}
	}
	prometheus := w.start(b)
	waitScraped(b, prometheus, fmt.Sprintf("count(consul_up) == %d and count(ALERTS) > 0", size*w.exporters))
	b.Run("rules", func(b *testing.B) { benchmarkRules(b, prometheus, w.interval) })
	at := time.Now()
	b.Run("open", func(b *testing.B) { benchmarkDashboard(b, prometheus, fleet, at, true) })
	b.Run("graphs", func(b *testing.B) { benchmarkDashboard(b, prometheus, fleet, at, false) })
}

// queriesOf are those of a dashboard's panels of the present, or of its graphs.
func queriesOf(d grafana.Dashboard, instant bool) (list []titled) {
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			if q.Instant == instant {
				list = append(list, titled{q, p.Title + " " + q.RefID, p.Interval})
			}
		}
	}
	return list
}

// titled is a query with its panel's title.
type titled struct {
	grafana.Target
	title, interval string
}

// ruleGroup is what Prometheus says of a group of rules.
type ruleGroup struct {
	Name           string
	EvaluationTime float64
	LastEvaluation time.Time
	Rules          []struct {
		Name           string
		EvaluationTime float64
	}
}

// benchmarkRules measures what Prometheus itself says of each round.
func benchmarkRules(b *testing.B, prometheus *harness.Exporter, interval time.Duration) {
	b.Helper()
	var rounds []time.Duration
	groups, rules := make(map[string][]time.Duration), make(map[string][]time.Duration)
	for b.Loop() {
		took := time.Duration(0)
		for _, g := range nextRound(b, prometheus, interval) {
			took += seconds(g.EvaluationTime)
			groups[g.Name] = append(groups[g.Name], seconds(g.EvaluationTime))
			for _, r := range g.Rules {
				rules[r.Name] = append(rules[r.Name], seconds(r.EvaluationTime))
			}
		}
		rounds = append(rounds, took)
	}
	b.ReportMetric(0, "ns/op")
	reportShare(b, rounds, time.Duration(ruleTarget*float64(interval)))
	for name, took := range groups {
		b.ReportMetric(harness.Milliseconds(medianOf(took)), name+"-ms")
	}
	b.Logf("the slowest rules: %s", slowest(rules, 8))
	_, text, err := prometheus.Get(b.Context(), "/metrics", 10*time.Second)
	must.Do(b, err)
	for unit, line := range map[string]string{
		"series": `(?m)^prometheus_tsdb_head_series (\S+)`, "bytes-of-memory": `(?m)^process_resident_memory_bytes (\S+)`,
	} {
		b.ReportMetric(must.Get(strconv.ParseFloat(regexp.MustCompile(line).FindStringSubmatch(text)[1], 64))(b), unit)
	}
}

// nextRound waits until all groups were evaluated once more.
func nextRound(b *testing.B, prometheus *harness.Exporter, interval time.Duration) (groups []ruleGroup) {
	b.Helper()
	start := time.Now()
	harness.WaitFor(b, 4*interval, "a round of all rules", func() string {
		groups = ask[struct{ Groups []ruleGroup }](b, prometheus, "rules", nil).Groups
		i := slices.IndexFunc(groups, func(g ruleGroup) bool { return !g.LastEvaluation.After(start) })
		return harness.Unless(i < 0, "a group was not evaluated")
	})
	return groups
}

// reportShare reports how long it takes, and which share that is of how long it may. A busy machine makes the median
// worse, and the shortest time less so.
func reportShare(b *testing.B, took []time.Duration, target time.Duration) {
	b.Helper()
	median := medianOf(took)
	b.ReportMetric(harness.Milliseconds(took[0]), "shortest-ms")
	b.ReportMetric(harness.Milliseconds(median), "ms")
	b.ReportMetric(100*took[0].Seconds()/target.Seconds(), "shortest-%-of-target")
	b.ReportMetric(100*median.Seconds()/target.Seconds(), "%-of-target")
}

// slowest names so many with the longest medians, the slowest first.
func slowest(took map[string][]time.Duration, n int) string {
	names := slices.SortedFunc(maps.Keys(took), func(a, b string) int {
		return cmp.Compare(medianOf(took[b]), medianOf(took[a]))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s (%.0f ms)", name, harness.Milliseconds(medianOf(took[name])))
	}
	return strings.Join(names[:min(n, len(names))], ", ")
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func medianOf(took []time.Duration) time.Duration {
	slices.Sort(took)
	return harness.Percentile(took, 50)
}

// benchmarkDashboard measures the queries of a dashboard one after the other, as of then.
func benchmarkDashboard(
	b *testing.B, prometheus *harness.Exporter, d grafana.Dashboard, at time.Time, instant bool,
) {
	b.Helper()
	queries := queriesOf(d, instant)
	took := make(map[string][]time.Duration)
	var rounds []time.Duration
	for b.Loop() {
		var round time.Duration
		for _, q := range queries {
			endpoint, values := asGrafana(b, d.Substitute(q.Expr, nil), at, !instant, q.interval)
			start := time.Now()
			ask[struct{}](b, prometheus, endpoint, values)
			took[q.title] = append(took[q.title], time.Since(start))
			round += took[q.title][len(took[q.title])-1]
		}
		rounds = append(rounds, round)
	}
	b.ReportMetric(0, "ns/op")
	reportShare(b, rounds, fleetTarget)
	b.Logf("%d queries; the slowest: %s", len(queries), slowest(took, 5))
}
