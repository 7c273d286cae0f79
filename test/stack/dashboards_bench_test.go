// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

const (
	// scrapeInterval is how often Prometheus scrapes, and has scraped in the hour before it began.
	scrapeInterval = 30 * time.Second
	// graphStep is the time between two points of a graph of an hour that Grafana draws on half the width of a screen,
	// unless the panel asks for fewer.
	graphStep = "15s"
	// graphedFamily is the one of the catalog that the dashboard of services draws graphs of.
	graphedFamily = "consul_catalog_service_instances{"
)

// BenchmarkCatalogQueries measures the queries of dashboards that read the services and checks in the catalog, as
// Grafana sends them for the last hour, on a Prometheus that scrapes a catalog with 24,000 instances. See
// docs/performance.md.
func BenchmarkCatalogQueries(b *testing.B) {
	const instances = 24000
	c := harness.StartWithCatalog(b, harness.CatalogOf(5000, instances))
	e := harness.StartBinary(b, harness.BuildExporter(b), nil, "--consul.server="+c.Servers[0].URL())
	dir := b.TempDir()
	writeHistory(b, e, dir)
	prometheus := runPrometheus(b, dir, scrapeConfig(scrapeInterval, scrapeInterval, static(e)))
	at := waitScraped(b, prometheus, fmt.Sprintf("count(consul_health_service_status) >= %d", 4*instances))
	boards := allDashboards(b)
	for _, name := range []string{"overview", "services"} {
		for _, p := range boards[name].Panels {
			for _, q := range p.Targets {
				// The totals are a single series each.
				if strings.Contains(q.Expr, graphedFamily) || strings.Contains(q.Expr, "consul_health_") {
					b.Run(name+"/"+p.Title, func(b *testing.B) {
						benchmarkQuery(b, prometheus, at, boards[name].Substitute(q.Expr, chosen), q.Range, p.Interval)
					})
				}
			}
		}
	}
}

// waitScraped waits until an expression has a result and returns when that was: a busy machine may miss a later scrape.
func waitScraped(b *testing.B, prometheus *harness.Exporter, expr string) (at time.Time) {
	b.Helper()
	harness.WaitFor(b, 5*time.Minute, "Prometheus to have the whole catalog", func() string {
		at = time.Now()
		results := countResults(b, prometheus, "query", url.Values{"query": {expr}, "time": {unix(at)}})
		return harness.Unless(results > 0, "it does not")
	})
	return at
}

// benchmarkQuery asks as Grafana does.
func benchmarkQuery(
	b *testing.B, prometheus *harness.Exporter, at time.Time, expr string, graph bool, interval string,
) {
	b.Helper()
	endpoint, values := asGrafana(b, expr, at, graph, interval)
	var took []time.Duration
	results := 0
	for b.Loop() {
		start := time.Now()
		results = countResults(b, prometheus, endpoint, values)
		took = append(took, time.Since(start))
	}
	if results == 0 {
		b.Errorf("no result: %s", expr)
	}
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(harness.Milliseconds(took[0]), "shortest-ms")
	b.ReportMetric(harness.Milliseconds(harness.Percentile(took, 50)), "ms")
	b.ReportMetric(float64(results), "results")
}

// asGrafana is the query for that moment, or for the points of a graph of the hour before it.
func asGrafana(
	b *testing.B, expr string, at time.Time, graph bool, interval string,
) (endpoint string, values url.Values) {
	b.Helper()
	if !graph {
		return "query", url.Values{"query": {expr}, "time": {unix(at)}}
	}
	step := must.Get(time.ParseDuration(cmp.Or(interval, graphStep)))(b)
	end := at.Truncate(step)
	return "query_range", url.Values{
		"query": {expr}, "start": {unix(end.Add(-time.Hour))}, "end": {unix(end)}, "step": {step.String()},
	}
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// countResults returns how many results a query has.
func countResults(b *testing.B, prometheus *harness.Exporter, endpoint string, values url.Values) int {
	b.Helper()
	return len(ask[struct{ Result []json.RawMessage }](b, prometheus, endpoint, values).Result)
}

// writeHistory writes the data of a Prometheus that has scraped the exporter in the last hour, of the family that
// there are graphs of. In each scrape some services have one instance fewer that passes.
func writeHistory(b *testing.B, e *harness.Exporter, dir string) {
	b.Helper()
	_, text, err := e.Get(b.Context(), "/metrics", 10*time.Second)
	must.Do(b, err)
	path := filepath.Join(dir, "history.om")
	file := must.Get(os.Create(path))(b)
	w := bufio.NewWriter(file)
	fmt.Fprintln(w, "# TYPE consul_catalog_service_instances gauge")
	start := time.Now().Add(-time.Hour)
	series := 0
	for line := range strings.Lines(text) {
		labels, ok := strings.CutPrefix(line, graphedFamily)
		if !ok {
			continue
		}
		labels, last, _ := strings.Cut(labels, "}")
		series++
		for i := range int(time.Hour / scrapeInterval) {
			value := must.Get(strconv.ParseFloat(strings.TrimSpace(last), 64))(b)
			if value > 0 && (series+i)%1000 == 0 {
				value--
			}
			at := unix(start.Add(time.Duration(i) * scrapeInterval))
			fmt.Fprintf(w, "%sinstance=%q,job=\"consul\",%s} %v %s\n", graphedFamily, e.HostPort(), labels, value, at)
		}
	}
	fmt.Fprintln(w, "# EOF")
	must.Do(b, w.Flush())
	must.Do(b, file.Close())
	if series < 4*5000 {
		b.Fatalf("%d series to write the history of; want four of each service", series)
	}
	harness.RunTool(b, "promtool", "tsdb", "create-blocks-from", "openmetrics", path, filepath.Join(dir, "data"))
	must.Do(b, os.Remove(path))
}
