// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// BenchmarkUpstream scrapes a real cluster with a large catalog in turn with consul_exporter and with this exporter,
// which takes its place. See docs/performance.md.
func BenchmarkUpstream(b *testing.B) {
	upstream := must.Get(toolbox.Path("consul_exporter"))(b)
	binary := harness.BuildExporter(b)
	for _, size := range []struct{ services, instances int }{{100, 500}, {1000, 5000}, {5000, 20000}} {
		b.Run(fmt.Sprintf("services=%d/instances=%d", size.services, size.instances), func(b *testing.B) {
			c := startWithCatalog(b, catalogOf(size.services, size.instances))
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
		took := timeGet(b, scraper, &body, e.URL+"/metrics", nil)
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

// catalogOf is a catalog on as many nodes as is usual.
func catalogOf(services, instances int) consultest.Catalog {
	return consultest.Catalog{Nodes: instances / harness.InstancesPerNode, Services: services, Instances: instances}
}

// startWithCatalog starts three servers with this in their catalog, and with Consul's own Raft timing: loading it keeps
// two cores busy.
func startWithCatalog(tb testing.TB, size consultest.Catalog) *consultest.Cluster {
	tb.Helper()
	c := consultest.Start(tb, consultest.Options{Servers: 3, Config: harness.Patient(map[string]any{})})
	ctx, cancel := context.WithTimeout(tb.Context(), 5*time.Minute)
	defer cancel()
	must.Do(tb, c.LoadCatalog(ctx, size))
	must.Do(tb, c.WaitSynced(ctx)) // So that the agents do not do so later.
	return c
}
