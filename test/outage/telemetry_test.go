// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"math"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// The rates of RPC are those of what clients do, whichever agent is queried, and whether gauges carry the host's
// name, as by default on the server, or not, as on the client.
func TestTelemetry(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{
		Servers: 1, Clients: 1, Config: asShipped(nil),
		AgentConfig: func(role string, _ int) map[string]any {
			return map[string]any{"telemetry": map[string]any{"disable_hostname": role == "client"}}
		},
	})
	server := harness.StartExporter(t, nil, serverFlag(c.Servers[0]))
	client := harness.StartExporter(t, nil, serverFlag(c.Clients[0]))
	const perSecond, blocking = 20, 5
	load(t, c.Clients[0], perSecond, blocking)
	measured := "the server has measured the load"
	atServer := server.ScrapeUntil(t, 6*harness.TelemetryInterval, measured, func(s harness.Samples) bool {
		rate := s[`consul_agent_rpc_requests_per_second{server="server-1"}`]
		return rate > 0.9*perSecond && s[`consul_agent_rpc_queries_blocking{server="server-1"}`] >= blocking
	})
	atServer.Expect(t, harness.Samples{
		`consul_agent_rpc_request_errors_per_second{server="server-1"}`:      0,
		`consul_agent_rpc_rate_limit_exceeded_per_second{server="server-1"}`: 0,
		`consul_agent_client_rpc_failed_per_second{server="server-1"}`:       0,
	})
	measured = "the client has measured the load"
	atClient := client.ScrapeUntil(t, 6*harness.TelemetryInterval, measured, func(s harness.Samples) bool {
		return s[`consul_agent_client_rpc_per_second{server="client-1"}`] > 0.9*perSecond
	})
	atClient.ExpectNone(t, "consul_agent_rpc_", "consul_agent_raft_")
	for _, family := range []string{"memory_alloc_bytes", "memory_sys_bytes", "goroutines", "gc_pause_seconds_total"} {
		gauge := "consul_agent_" + family
		for _, v := range []float64{atServer[gauge+`{server="server-1"}`], atClient[gauge+`{server="client-1"}`]} {
			if v <= 0 || math.IsNaN(v) {
				t.Errorf("%s = %v; want more than 0", gauge, v)
			}
		}
	}
}

// load reads from an agent until the test ends: so many requests per second, and as many blocking queries that start
// again all the time.
func load(t *testing.T, a *consultest.Agent, perSecond, blocking int) {
	t.Helper()
	get := func(query string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.URL()+query, http.NoBody)
		if err != nil {
			return
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	}
	var readers sync.WaitGroup
	t.Cleanup(readers.Wait)  // By then the context has ended.
	for range blocking + 1 { // Of these one is always between two queries.
		readers.Go(func() {
			for t.Context().Err() == nil {
				get("/v1/catalog/nodes?index=1000000&wait=2s")
			}
		})
	}
	readers.Go(func() {
		ticker := time.NewTicker(time.Second / time.Duration(perSecond))
		defer ticker.Stop()
		for t.Context().Err() == nil {
			<-ticker.C
			get("/v1/catalog/services")
		}
	})
}
