// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

const (
	// scrapeInterval is how often Prometheus scrapes, and has scraped in the hour before it began.
	scrapeInterval = 30 * time.Second
	// graphStep is the time between two points of a graph of an hour that Grafana draws on half the width of a screen, unless the panel asks
	// for fewer.
	graphStep = 15 * time.Second
	// graphedFamily is the one of the catalog that the dashboard of services draws graphs of.
	graphedFamily = "consul_catalog_service_instances{"
)

// BenchmarkCatalogQueries measures the queries of dashboards that read the services and checks in the catalog, as Grafana sends them for the last hour, on a Prometheus that
// scrapes a catalog with 24,000 instances. See docs/performance.md.
func BenchmarkCatalogQueries(b *testing.B) {
	c := consultest.Start(b, consultest.Options{Config: steady()})
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	const instances = 24000
	harness.Must(b, c.LoadCatalog(ctx, consultest.Catalog{Nodes: instances / harness.InstancesPerNode, Services: 5000, Instances: instances}))
	harness.Must(b, c.WaitSynced(ctx)) // So that the agents do not do so later.
	e := harness.StartBinary(b, harness.BuildExporter(b), nil, "--consul.server="+c.Servers[0].URL())
	dir := b.TempDir()
	writeHistory(ctx, b, e, dir)
	prometheus := startPrometheus(b, dir, filepath.Join(dir, "no-rules.yml"), scrapeInterval, e)
	at := waitScraped(ctx, b, prometheus.URL, "count(consul_health_service_status) >= 4 * "+strconv.Itoa(instances))
	boards := allDashboards(b)
	for _, name := range []string{"overview", "services"} {
		for _, p := range boards[name].Panels {
			for _, q := range p.Targets {
				// The totals are a single series each.
				if strings.Contains(q.Expr, graphedFamily) || strings.Contains(q.Expr, "consul_health_") {
					b.Run(name+"/"+p.Title, func(b *testing.B) {
						benchmarkQuery(b, prometheus.URL, at, boards[name].Substitute(q.Expr), q.Range, p.Interval)
					})
				}
			}
		}
	}
}

// waitScraped waits until an expression has a result and returns when that was: a machine that is busy may not get a later scrape in time.
func waitScraped(ctx context.Context, b *testing.B, prometheus, expr string) time.Time {
	b.Helper()
	for {
		at := time.Now()
		if countResults(b, prometheus, "query", url.Values{"query": {expr}, "time": {unix(at)}}) > 0 { //nolint:contextcheck // Its context is that of b.
			return at
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			b.Fatal("Prometheus does not get the whole catalog")
		}
	}
}

// benchmarkQuery asks for that moment, or for the points of a graph of the hour before it.
func benchmarkQuery(b *testing.B, prometheus string, at time.Time, expr string, graph bool, interval string) {
	b.Helper()
	step := graphStep
	if interval != "" {
		var err error
		step, err = time.ParseDuration(interval)
		harness.Must(b, err)
	}
	var took []time.Duration
	results := 0
	for b.Loop() {
		endpoint, values := "query", url.Values{"query": {expr}, "time": {unix(at)}}
		if graph {
			end := at.Truncate(step)
			endpoint, values = "query_range", url.Values{"query": {expr}, "start": {unix(end.Add(-time.Hour))}, "end": {unix(end)}, "step": {step.String()}}
		}
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

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// countResults returns how many results a query has.
func countResults(b *testing.B, prometheus, endpoint string, values url.Values) int {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, prometheus+"/api/v1/"+endpoint+"?"+values.Encode(), http.NoBody)
	harness.Must(b, err)
	resp, err := http.DefaultClient.Do(req)
	harness.Must(b, err)
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result []json.RawMessage }
	}
	harness.Must(b, json.NewDecoder(resp.Body).Decode(&answer))
	if answer.Error != "" {
		b.Fatalf("%s: %s", values.Get("query"), answer.Error)
	}
	return len(answer.Data.Result)
}

// writeHistory writes the data of a Prometheus that has scraped the exporter in the last hour, of the family that there are graphs of. In
// each scrape some services have an instance less that passes.
func writeHistory(ctx context.Context, b *testing.B, e *harness.Exporter, dir string) {
	b.Helper()
	_, text, err := e.Get(ctx, "/metrics", 10*time.Second)
	harness.Must(b, err)
	path := filepath.Join(dir, "history.om")
	file, err := os.Create(path)
	harness.Must(b, err)
	w := bufio.NewWriter(file)
	fmt.Fprintln(w, "# TYPE consul_catalog_service_instances gauge")
	start := time.Now().Add(-time.Hour)
	series := 0
	for line := range strings.Lines(text) {
		labels, ok := strings.CutPrefix(line, graphedFamily)
		if !ok {
			continue
		}
		labels, _, _ = strings.Cut(labels, "}")
		series++
		for i := range int(time.Hour / scrapeInterval) {
			value := harness.SampleValue(b, line)
			if value > 0 && (series+i)%1000 == 0 {
				value--
			}
			fmt.Fprintf(w, "%sinstance=%q,job=\"consul\",%s} %v %d\n", graphedFamily, e.HostPort(), labels, value, start.Add(time.Duration(i)*scrapeInterval).Unix())
		}
	}
	fmt.Fprintln(w, "# EOF")
	harness.Must(b, w.Flush())
	harness.Must(b, file.Close())
	if series < 4*5000 {
		b.Fatalf("%d series to write the history of; want four of each service", series)
	}
	promtool, err := toolbox.Path("promtool")
	harness.Must(b, err)
	if out, err := exec.CommandContext(ctx, promtool, "tsdb", "create-blocks-from", "openmetrics", path, filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		b.Fatalf("promtool: %v: %s", err, out)
	}
	harness.Must(b, os.Remove(path))
}
