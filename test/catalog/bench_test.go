// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// BenchmarkCatalog compares a scrape of a real cluster with a large catalog with the time that Consul itself takes to
// tell what is in that catalog, and says what the scrape consists of. See docs/performance.md.
func BenchmarkCatalog(b *testing.B) {
	binary := harness.BuildExporter(b)
	for _, size := range []struct {
		services, instances, output int
		byService                   bool
	}{
		{1000, 5000, 0, false},
		{2000, 5000, 0, false},
		{2000, 10000, 0, false},
		{5000, 20000, 0, false},
		{5000, 24000, 0, false},
		// Outputs of checks, which Consul cuts off at 4,096 bytes.
		{1000, 5000, 1000, false},
		{1000, 5000, 4000, false},
		// A node like those of old servers makes it unsafe to read all at once.
		{100, 5000, 0, true},
		{1000, 5000, 0, true},
	} {
		name := fmt.Sprintf("services=%d/instances=%d", size.services, size.instances)
		if size.output > 0 {
			name += fmt.Sprintf("/output=%d", size.output)
		}
		if size.byService {
			name += "/by-service"
		}
		b.Run(name, func(b *testing.B) {
			catalog := catalogOf(size.services, size.instances)
			catalog.CheckOutput = size.output
			benchmarkCatalog(b, binary, size.byService, catalog)
		})
	}
}

func benchmarkCatalog(b *testing.B, binary string, byService bool, size consultest.Catalog) {
	b.Helper()
	c := startWithCatalog(b, size)
	if byService {
		oldServer().send(b, c.Servers[0])
	}
	agent := c.Servers[0].URL()
	d := newDuel(agent, harness.StartBinary(b, binary, nil, "--consul.server="+agent))
	defer d.client.CloseIdleConnections()
	if byService { // The usual question would change the catalog.
		d.question = "/v1/health/state/any?stale"
	}

	// The first round is not measured: connections are made, and the exporter learns who the servers are.
	d.round(b)
	before := d.contents(b)
	d.consul, d.scrape = nil, nil
	// With b.Loop the cluster is started only once; b.N would start one for each attempt at the number of rounds.
	for b.Loop() {
		d.round(b)
	}
	for len(d.scrape) < harness.MinScrapes {
		d.round(b)
	}
	d.report(b, before)
}

// A duel lets Consul and the exporter answer in turn, so that both see the same machine.
type duel struct {
	client   *http.Client
	agent    string
	exporter *harness.Exporter
	// question is what Consul is asked.
	question string
	// consul and scrape are how long each answer took, in the order of the rounds.
	consul, scrape []time.Duration
	// last is the body of the latest scrape, compressed.
	last bytes.Buffer
}

func newDuel(agent string, e *harness.Exporter) *duel {
	return &duel{
		// The exporter asks Consul for no compression; of the scrape what goes over the wire is wanted.
		client:   &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: 10 * time.Second},
		agent:    agent,
		exporter: e,
		question: "/v1/internal/ui/nodes?stale",
	}
}

// round asks each once and notes how long it took until the answer was complete.
func (d *duel) round(b *testing.B) {
	b.Helper()
	consul, err := timeGet(b.Context(), d.client, io.Discard, d.agent+d.question, nil)
	harness.Must(b, err)
	d.last.Reset()
	scrape, err := timeGet(b.Context(), d.client, &d.last, d.exporter.URL+"/metrics", prometheusHeader())
	harness.Must(b, err)
	d.consul, d.scrape = append(d.consul, consul), append(d.scrape, scrape)
}

// report says what was measured. The time of a whole round, ns/op, means nothing and is left out.
func (d *duel) report(b *testing.B, before scrapeContents) {
	b.Helper()
	after := d.contents(b)
	slices.Sort(d.consul)
	slices.Sort(d.scrape)
	b.ReportMetric(0, "ns/op")
	for name, took := range map[string][]time.Duration{"consul": d.consul, "scrape": d.scrape} {
		b.ReportMetric(harness.Milliseconds(harness.Percentile(took, 50)), name+"-ms")
		b.ReportMetric(harness.Milliseconds(harness.Percentile(took, 95)), name+"-p95-ms")
	}
	b.ReportMetric(float64(harness.Percentile(d.scrape, 50))/float64(harness.Percentile(d.consul, 50)), "ratio")
	b.ReportMetric((after.requests-before.requests)/float64(len(d.scrape)), "requests/scrape")
	b.ReportMetric(after.unanswered-before.unanswered, "failed-requests")
	b.ReportMetric(float64(after.series), "series")
	b.ReportMetric(float64(d.last.Len()), "wire-bytes")
	b.ReportMetric(float64(after.bytes), "text-bytes")
	b.ReportMetric(harness.PeakMemory(b, d.exporter)/1e6, "exporter-peak-MB")
}

// scrapeContents are what the text of a scrape holds.
type scrapeContents struct {
	// bytes is the length of the text.
	bytes int
	// series is how many series about Consul there are, and about how the exporter collected them.
	series int
	// requests is how many requests the exporter has sent to Consul since it started, and unanswered how many of them
	// had no complete answer in time.
	requests, unanswered float64
}

// contents reads the latest scrape. It fails if that is not a whole one, whose time would say nothing.
func (d *duel) contents(b *testing.B) (c scrapeContents) {
	b.Helper()
	c.bytes = readScrape(b, bytes.NewReader(d.last.Bytes()), func(series, value []byte) {
		c.series++
		if bytes.HasPrefix(series, []byte("consul_exporter_consul_requests_total{")) {
			n, err := strconv.ParseFloat(string(value), 64)
			harness.Must(b, err)
			c.requests += n
			if bytes.Contains(series, []byte(`code="error"`)) {
				c.unanswered += n
			}
		}
	})
	return c
}
