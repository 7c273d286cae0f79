// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/zervigo/consul_cluster_exporter/internal/grafana"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

const (
	// fleetInterval is how often the clusters are scraped and the rules evaluated.
	fleetInterval = 15 * time.Second
	// rulesTarget and fleetTarget are how much processor time all rules may take in an interval, and all queries of the
	// fleet's dashboard each time it is shown.
	rulesTarget = fleetInterval / 10
	fleetTarget = 2 * time.Second
)

// BenchmarkFleet measures a Prometheus with 40 clusters, each of three servers and a hundred services and watched by
// two exporters: a round of all rules, and the queries of the fleet's dashboard. See docs/performance.md.
//
// What Prometheus itself says of its rules is "live". Then it rests, and is asked all expressions of the rules and of
// the dashboard one after the other: its processor time does not depend on what else the machine does.
func BenchmarkFleet(b *testing.B) {
	const size = 40
	fleet := allDashboards(b)["fleet"]
	w := watched{services: 100, exporters: 2, interval: fleetInterval, history: time.Hour, patient: true}
	states := []map[string]string{lostSeries, splitSeries, unknownSeries, atRiskSeries, singleSeries}
	for i := range size {
		c := &madeUp{name: fmt.Sprintf("cluster-%d", i), datacenter: "dc1"}
		if i < len(states) {
			c.series = states[i]
		}
		w.clusters = append(w.clusters, c)
	}
	for _, q := range queriesOf(fleet, false) {
		w.graphed = append(w.graphed, regexp.MustCompile(`consul_\w+`).FindAllString(q.expr, -1)...)
	}
	prometheus := w.start(b)
	waitScraped(b, prometheus, fmt.Sprintf("count(consul_up) == %d and count(ALERTS) > 0", size*w.exporters))
	var rules []titled
	b.Run("live", func(b *testing.B) { rules = benchmarkRounds(b, prometheus) })
	at := time.Now()
	rest(b, prometheus)
	b.Run("rules", func(b *testing.B) { benchmarkQueries(b, prometheus, rules, at, rulesTarget) })
	b.Run("dashboard", func(b *testing.B) {
		benchmarkQueries(b, prometheus, queriesOf(fleet, true), at, fleetTarget)
	})
	b.Run("graphs", func(b *testing.B) {
		benchmarkQueries(b, prometheus, queriesOf(fleet, false), at, fleetTarget)
	})
}

// rest makes a Prometheus scrape nothing and evaluate nothing.
func rest(b *testing.B, prometheus *harness.Exporter) {
	b.Helper()
	i := slices.IndexFunc(prometheus.Cmd.Args, func(arg string) bool { return strings.HasPrefix(arg, "--config.file=") })
	must.Do(b, os.WriteFile(strings.TrimPrefix(prometheus.Cmd.Args[i], "--config.file="), nil, 0o600))
	must.Do(b, prometheus.Cmd.Process.Signal(syscall.SIGHUP))
	harness.WaitFor(b, 2*time.Minute, "a Prometheus that rests", func() string {
		return harness.Unless(len(ask[struct{ Groups []ruleGroup }](b, prometheus, "rules", nil).Groups) == 0, "it has rules")
	})
}

// titled is an expression and where it is.
type titled struct {
	title, expr string
	// graph is whether it is asked for the points of a graph, with this interval.
	graph    bool
	interval string
}

// queriesOf are those of a dashboard's panels of the present, or of its graphs, with all that can be chosen.
func queriesOf(d grafana.Dashboard, instant bool) (list []titled) {
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			if q.Instant == instant {
				list = append(list, titled{p.Title + " " + q.RefID, d.Substitute(q.Expr, nil), !instant, p.Interval})
			}
		}
	}
	return list
}

// ruleGroup is what Prometheus says of a group of rules.
type ruleGroup struct {
	Name           string
	EvaluationTime float64
	LastEvaluation time.Time
	Rules          []struct{ Name, Query string }
}

// benchmarkRounds measures rounds of all rules by what Prometheus itself says of them, and returns the rules.
func benchmarkRounds(b *testing.B, prometheus *harness.Exporter) (rules []titled) {
	b.Helper()
	var rounds []time.Duration
	for b.Loop() {
		took := 0.0
		rules = nil
		for _, g := range nextRound(b, prometheus) {
			took += g.EvaluationTime
			for _, r := range g.Rules {
				rules = append(rules, titled{title: r.Name, expr: r.Query})
			}
		}
		rounds = append(rounds, time.Duration(took*float64(time.Second)))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(harness.Milliseconds(medianOf(rounds)), "ms")
	_, text, err := prometheus.Get(b.Context(), "/metrics", time.Minute)
	must.Do(b, err)
	for unit, line := range map[string]string{
		"series": `(?m)^prometheus_tsdb_head_series (\S+)`, "bytes-of-memory": `(?m)^process_resident_memory_bytes (\S+)`,
	} {
		b.ReportMetric(must.Get(strconv.ParseFloat(regexp.MustCompile(line).FindStringSubmatch(text)[1], 64))(b), unit)
	}
	return rules
}

// nextRound waits until all groups were evaluated once more.
func nextRound(b *testing.B, prometheus *harness.Exporter) (groups []ruleGroup) {
	b.Helper()
	start := time.Now()
	harness.WaitFor(b, 20*fleetInterval, "a round of all rules", func() string {
		groups = ask[struct{ Groups []ruleGroup }](b, prometheus, "rules", nil).Groups
		i := slices.IndexFunc(groups, func(g ruleGroup) bool { return !g.LastEvaluation.After(start) })
		return harness.Unless(i < 0, "a group was not evaluated")
	})
	return groups
}

func medianOf(took []time.Duration) time.Duration {
	slices.Sort(took)
	return harness.Percentile(took, 50)
}

// benchmarkQueries measures queries one after the other, as of then, and what share that is of the processor time that
// they may take.
func benchmarkQueries(
	b *testing.B, prometheus *harness.Exporter, queries []titled, at time.Time, target time.Duration,
) {
	b.Helper()
	took := make(map[string][]time.Duration)
	var rounds, processor []time.Duration
	for b.Loop() {
		before := processorTime(b, prometheus)
		var round time.Duration
		for _, q := range queries {
			endpoint, values := asGrafana(b, q.expr, at, q.graph, q.interval)
			start := time.Now()
			_, _, err := prometheus.Get(b.Context(), "/api/v1/"+endpoint+"?"+values.Encode(), 2*time.Minute)
			must.Do(b, err)
			took[q.title] = append(took[q.title], time.Since(start))
			round += time.Since(start)
		}
		rounds = append(rounds, round)
		processor = append(processor, processorTime(b, prometheus)-before)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(harness.Milliseconds(medianOf(rounds)), "ms")
	b.ReportMetric(harness.Milliseconds(medianOf(processor)), "processor-ms")
	b.ReportMetric(100*medianOf(processor).Seconds()/target.Seconds(), "%-of-target")
	names := slices.SortedFunc(maps.Keys(took), func(a, b string) int {
		return cmp.Compare(medianOf(took[b]), medianOf(took[a]))
	})
	b.Logf("%d queries; the slowest:", len(queries))
	for _, name := range names[:min(len(names), 8)] {
		b.Logf("%6.1f ms %s", harness.Milliseconds(medianOf(took[name])), name)
	}
}

// processorTime is how long a process has used a processor.
func processorTime(b *testing.B, e *harness.Exporter) time.Duration {
	b.Helper()
	process := must.Get(procfs.NewProc(e.Cmd.Process.Pid))(b)
	return time.Duration(must.Get(process.Stat())(b).CPUTime() * float64(time.Second))
}
