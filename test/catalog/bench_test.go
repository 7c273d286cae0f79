// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
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
			catalog := harness.CatalogOf(size.services, size.instances)
			catalog.CheckOutput = size.output
			benchmarkCatalog(b, binary, size.byService, catalog)
		})
	}
}

func benchmarkCatalog(b *testing.B, binary string, byService bool, size consultest.Catalog) {
	b.Helper()
	c := harness.StartWithCatalog(b, size)
	if byService {
		oldServer().send(b, c.Servers[0])
	}
	agent := c.Servers[0].URL()
	e := harness.StartBinary(b, binary, nil, "--consul.server="+agent)
	question := "/v1/internal/ui/nodes?stale"
	if byService { // The usual question would change the catalog.
		question = "/v1/health/state/any?stale"
	}
	// The exporter asks Consul for no compression; of the scrape what goes over the wire is wanted.
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	consul := &contestant{name: "consul", ask: func() time.Duration {
		return must.Get(get(b.Context(), client, io.Discard, agent+question, nil))(b)
	}}
	var last bytes.Buffer
	scrape := &contestant{name: "scrape", ask: func() time.Duration {
		last.Reset()
		return must.Get(get(b.Context(), client, &last, e.URL+"/metrics", prometheusHeader()))(b)
	}}
	var before scrapeContents
	compete(b, func() { before = readContents(b, last.Bytes()) }, consul, scrape)
	after := readContents(b, last.Bytes())
	b.ReportMetric(float64(harness.Percentile(scrape.took, 50))/float64(harness.Percentile(consul.took, 50)), "ratio")
	b.ReportMetric((after.requests-before.requests)/float64(len(scrape.took)), "requests/scrape")
	b.ReportMetric(after.unanswered-before.unanswered, "failed-requests")
	b.ReportMetric(float64(after.series), "series")
	b.ReportMetric(float64(last.Len()), "wire-bytes")
	b.ReportMetric(float64(after.bytes), "text-bytes")
	b.ReportMetric(harness.PeakMemory(b, e)/1e6, "exporter-peak-MB")
}

// contestant answers in turn with others, so that all see the same machine.
type contestant struct {
	name string
	// ask returns how long it took until the answer was complete.
	ask func() time.Duration
	// took is how long the answers took. In the end it is sorted.
	took []time.Duration
}

// compete asks all of them in rounds and reports how long that took. The first round is not measured: connections are
// made, and the exporter learns who the servers are. Begun is called after it.
func compete(b *testing.B, begun func(), all ...*contestant) {
	b.Helper()
	round := func() {
		for _, c := range all {
			c.took = append(c.took, c.ask())
		}
	}
	round()
	begun()
	for _, c := range all {
		c.took = nil
	}
	// With b.Loop the cluster is started only once; b.N would start one for each attempt at the number of rounds.
	for b.Loop() {
		round()
	}
	for len(all[0].took) < harness.MinScrapes {
		round()
	}
	b.ReportMetric(0, "ns/op") // The time of a whole round means nothing.
	for _, c := range all {
		slices.Sort(c.took)
		b.ReportMetric(harness.Milliseconds(harness.Percentile(c.took, 50)), c.name+"-ms")
		b.ReportMetric(harness.Milliseconds(harness.Percentile(c.took, 95)), c.name+"-p95-ms")
	}
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

// readContents fails if a scrape is not a whole one, whose time would say nothing.
func readContents(b *testing.B, compressed []byte) (c scrapeContents) {
	b.Helper()
	c.bytes = readScrape(b, bytes.NewReader(compressed), func(series, value []byte) {
		c.series++
		if bytes.HasPrefix(series, []byte("consul_exporter_consul_requests_total{")) {
			n := must.Get(strconv.ParseFloat(string(value), 64))(b)
			c.requests += n
			if bytes.Contains(series, []byte(`code="error"`)) {
				c.unanswered += n
			}
		}
	})
	return c
}

// BenchmarkUpstream scrapes a real cluster with a large catalog in turn with consul_exporter and with this exporter,
// which takes its place. See docs/performance.md.
func BenchmarkUpstream(b *testing.B) {
	upstream := must.Get(toolbox.Path("consul_exporter"))(b)
	binary := harness.BuildExporter(b)
	for _, size := range []struct{ services, instances int }{{100, 500}, {1000, 5000}, {5000, 20000}} {
		b.Run(fmt.Sprintf("services=%d/instances=%d", size.services, size.instances), func(b *testing.B) {
			c := harness.StartWithCatalog(b, harness.CatalogOf(size.services, size.instances))
			// The servers are instances of the service "consul".
			benchmarkUpstream(b, c, binary, upstream, size.instances+len(c.Servers))
		})
	}
}

func benchmarkUpstream(b *testing.B, c *consultest.Cluster, binary, upstream string, instances int) {
	b.Helper()
	agent := c.Servers[0].URL()
	// Its own default of 500 ms is too short for thousands of requests, and Consul refuses more than 200 connections of
	// one client.
	theirFlags := []string{"--consul.timeout=60s", "--consul.request-limit=100"}
	theirs := harness.Launch(b, upstream, nil, append(theirFlags, "--consul.server="+agent)...)
	ours := harness.StartBinary(b, binary, nil, "--consul.server="+agent)
	scraper := &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: 2 * time.Minute}
	defer scraper.CloseIdleConnections()
	scrape := func(e *harness.Exporter) time.Duration {
		var body bytes.Buffer
		took := must.Get(get(b.Context(), scraper, &body, e.URL+"/metrics", nil))(b)
		if got := bytes.Count(body.Bytes(), []byte("\nconsul_catalog_service_node_healthy{")); got != instances {
			b.Fatalf("a scrape of %s has %d service instances; want %d; its log:\n%s", e.Cmd.Path, got, instances, e.Log)
		}
		return took
	}
	consulTime := make(map[*harness.Exporter]time.Duration) // What the servers use during the scrapes.
	of := func(name string, e *harness.Exporter) *contestant {
		return &contestant{name: name, ask: func() time.Duration {
			before := processorTime(b, c.Servers)
			took := scrape(e)
			consulTime[e] += processorTime(b, c.Servers) - before
			return took
		}}
	}
	our, their := of("our", ours), of("their", theirs)
	compete(b, func() { clear(consulTime) }, our, their)
	b.ReportMetric(harness.Milliseconds(consulTime[ours])/float64(len(our.took)), "our-consul-cpu-ms")
	b.ReportMetric(harness.Milliseconds(consulTime[theirs])/float64(len(their.took)), "their-consul-cpu-ms")
	b.ReportMetric(requestsOf(b, agent, func(server string) {
		scrape(harness.StartBinary(b, binary, nil, server))
	}), "our-requests")
	b.ReportMetric(requestsOf(b, agent, func(server string) {
		scrape(harness.Launch(b, upstream, nil, append(theirFlags, server)...))
	}), "their-requests")
	b.ReportMetric(harness.PeakMemory(b, ours)/1e6, "our-peak-MB")
	b.ReportMetric(harness.PeakMemory(b, theirs)/1e6, "their-peak-MB")
}

// processorTime is what the agents have used of it so far, all of them together.
func processorTime(b *testing.B, agents []*consultest.Agent) (sum time.Duration) {
	b.Helper()
	for _, a := range agents {
		process := must.Get(procfs.NewProc(a.Pid()))(b)
		sum += time.Duration(must.Get(process.Stat())(b).CPUTime() * float64(time.Second))
	}
	return sum
}

// requestsOf counts the requests to the agent's HTTP API while it is asked under another address, which is that of
// the flag.
func requestsOf(b *testing.B, agent string, ask func(server string)) float64 {
	b.Helper()
	proxy := httputil.NewSingleHostReverseProxy(must.Get(url.Parse(agent))(b))
	var requests atomic.Int64
	port := harness.ServeOn(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		proxy.ServeHTTP(w, r)
	}))
	ask("--consul.server=http://127.0.0.1:" + port)
	return float64(requests.Load())
}
