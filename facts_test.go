// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
)

// moreRights are those that README names for keys and sessions.
const moreRights = `
key_prefix "" { policy = "read" }
session_prefix "" { policy = "read" }`

// The collectors that tell what else Consul knows agree with Consul's API, while there is a leader and after it.
func TestFacts(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3, ACL: true, Config: keepDead()})
	leader := leaderOf(t, c)
	survivor := others(c, leader)[0]
	token, err := c.NewToken(t.Context(), readmePolicy(t)+moreRights)
	must(t, err)
	for key, value := range map[string]string{"limits/count": "42", "limits/größe": "0.5", "limits/word": "yes"} {
		_, err := leader.Client().KV().Put(&api.KVPair{Key: key, Value: []byte(value)}, nil)
		must(t, err)
	}
	for range 2 {
		_, _, err := leader.Client().Session().CreateNoChecks(&api.SessionEntry{Node: survivor.Name}, nil)
		must(t, err)
	}
	e := startExporter(t, nil, "--consul.server="+survivor.URL(), "--consul.token-file="+secret(t, token), "--kv.prefix=limits/", "--collector.sessions")
	want := samples{
		"consul_sessions":                                          2,
		"consul_catalog_datacenters":                               1,
		`consul_catalog_kv{key="limits/count"}`:                    42,
		`consul_catalog_kv{key="limits/größe"}`:                    0.5,
		"consul_acl_replication_enabled":                           0,
		"consul_acl_replication_running":                           0,
		`consul_exporter_collector_supported{collector="license"}`: 0,
	}
	for _, name := range []string{"acl", "connect", "kv", "members", "peering", "sessions"} {
		want[fmt.Sprintf("consul_exporter_collector_success{collector=%q}", name)] = 1
		want[fmt.Sprintf("consul_exporter_collector_supported{collector=%q}", name)] = 1
	}
	s := e.scrapeUntil(t, 30*time.Second, "the sessions have arrived", func(s samples) bool {
		return s["consul_sessions"] == 2 && s[`consul_catalog_kv{key="limits/count"}`] == 42
	})
	hasPeering, hasMesh := peersWithOthers(t, leader), true
	if roots, _, err := survivor.Client().Agent().ConnectCARoots(nil); err == nil {
		active := fmt.Sprintf(`consul_connect_ca_root_expiry_timestamp_seconds{active="true",root=%q}`, roots.ActiveRootID)
		want[active] = float64(roots.Roots[0].NotAfter.Unix())
	} else if hasMesh = !strings.Contains(err.Error(), "must be enabled"); hasMesh { // Before 1.14 it is off by default.
		t.Errorf("roots of the mesh: %v", err)
	}
	for name, has := range map[string]bool{"connect": hasMesh, "peering": hasPeering} {
		want[fmt.Sprintf("consul_exporter_collector_success{collector=%q}", name)] = truth(has)
		want[fmt.Sprintf("consul_exporter_collector_supported{collector=%q}", name)] = truth(has)
	}
	s.expect(t, want)
	s.expectNone(t, `consul_catalog_kv{key="limits/word"`, "consul_license_", "consul_acl_replication_last_")

	t.Run("peering", func(t *testing.T) { expectPeering(t, e, leader) })

	// Without a leader, what only the leader tells is not asked for, and the rest is there.
	for _, a := range others(c, survivor) {
		must(t, a.Kill())
	}

	e.scrapeUntil(t, 60*time.Second, "no leader", func(s samples) bool { return s["consul_raft_leader"] == 0 })
	s = e.scrape(t)
	s.expect(t, samples{
		"consul_sessions":                                         2,
		`consul_catalog_kv{key="limits/count"}`:                   42,
		`consul_exporter_collector_success{collector="acl"}`:      0,
		`consul_exporter_collector_success{collector="catalog"}`:  1,
		`consul_exporter_collector_success{collector="connect"}`:  truth(hasMesh),
		`consul_exporter_collector_success{collector="kv"}`:       1,
		`consul_exporter_collector_success{collector="members"}`:  1,
		`consul_exporter_collector_success{collector="peering"}`:  0,
		`consul_exporter_collector_success{collector="sessions"}`: 1,
	})
	s.expectNone(t, "consul_acl_replication_", "consul_peering_state")
	settled := survivor.LogMark()
	for range 5 {
		e.scrape(t)
	}
	for _, line := range consultest.AtLeast(survivor.LogsSince(settled), "WARN") {
		if strings.Contains(line.Raw, "/v1/") {
			t.Errorf("%s complains about a request: %s", survivor, line)
		}
	}
}

// truth is how a series tells of a condition.
func truth(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}

// peersWithOthers reports whether this Consul has cluster peering at all.
func peersWithOthers(t *testing.T, a *consultest.Agent) bool {
	t.Helper()
	_, _, err := a.Client().Peerings().List(t.Context(), nil)
	return err == nil
}

// expectPeering makes a peering that nobody has answered yet.
func expectPeering(t *testing.T, e *exporterProcess, leader *consultest.Agent) {
	t.Helper()
	if !peersWithOthers(t, leader) {
		e.scrape(t).expect(t, samples{`consul_exporter_collector_supported{collector="peering"}`: 0})
		return
	}
	_, _, err := leader.Client().Peerings().GenerateToken(t.Context(), api.PeeringGenerateTokenRequest{PeerName: "east"}, nil)
	must(t, err)
	s := e.scrape(t)
	s.expect(t, samples{
		`consul_peering_state{peer="east",state="pending"}`: 1,
		`consul_peering_state{peer="east",state="active"}`:  0,
		`consul_peering_imported_services{peer="east"}`:     0,
	})
	s.expectNone(t, "consul_peering_last_heartbeat_timestamp_seconds")
}

// On a cluster that denies by default: with no token, with README's policy and with half of the services, what can be told is told, the
// rest is said to be missing, and Consul logs nothing about it after the first scrape.
func TestRights(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 1, Clients: 1, ACL: true})
	server := c.Servers[0]
	for _, service := range []string{"api", "auth", "web"} {
		_, err := server.Client().Catalog().Register(&api.CatalogRegistration{
			Node: "worker", Address: "10.0.0.9", Service: &api.AgentService{ID: service + "-1", Service: service},
			Check: &api.AgentCheck{Node: "worker", CheckID: service + "-alive", Name: "Alive", Status: "passing", ServiceID: service + "-1"},
		}, nil)
		must(t, err)
	}
	_, err := server.Client().Catalog().Register(&api.CatalogRegistration{
		Node: "worker", Address: "10.0.0.9", Service: &api.AgentService{ID: "off-1", Service: "off"},
		Check: &api.AgentCheck{Node: "worker", CheckID: "_service_maintenance:off-1", Status: "critical", ServiceID: "off-1"},
	}, nil)
	must(t, err)
	filtered := func(endpoint string) string {
		return fmt.Sprintf("consul_exporter_query_results_filtered_by_acls{endpoint=%q}", endpoint)
	}
	summary := func(status string) string {
		return fmt.Sprintf("consul_catalog_overview_service_instances{service_name=\"off\",status=%q}", status)
	}
	told := func(s samples, status string) bool { _, told := s[summary(status)]; return told }
	half := strings.Replace(readmePolicy(t), `service_prefix ""`, `service_prefix "a"`, 1)
	for _, tc := range []struct {
		name, policy string
		services     []string
		want         samples
		maintenance  bool // Whether Consul's summary says what is in maintenance.
	}{
		{"no token", "", nil, samples{
			filtered("/v1/catalog/services"): 0, "consul_catalog_services": 0, // Consul does not tell those without a token.
			`consul_exporter_collector_supported{collector="agent"}`:     0,
			`consul_exporter_collector_supported{collector="autopilot"}`: 0,
			`consul_exporter_collector_supported{collector="telemetry"}`: 0,
			`consul_exporter_collector_supported{collector="catalog"}`:   1,
			"consul_cluster_consistent_read_success":                     1,
			"consul_cluster_failure_margin":                              0,
		}, false},
		{"the documented policy", readmePolicy(t), []string{"api", "auth", "consul", "off", "web"}, samples{
			filtered("/v1/catalog/services"): 0, filtered("/v1/agent/members"): 0, "consul_catalog_services": 5,
			summary("passing"): 0, summary("critical"): 0, summary("maintenance"): 1,
			`consul_exporter_collector_success{collector="agent"}`:     1,
			`consul_exporter_collector_success{collector="autopilot"}`: 1,
			`consul_exporter_collector_success{collector="catalog"}`:   1,
			`consul_exporter_collector_success{collector="telemetry"}`: 1,
			`consul_exporter_collector_success{collector="serf"}`:      1,
		}, true},
		{"half of the services", half, []string{"api", "auth"}, samples{
			filtered("/v1/health/state/critical"): 1, summary("passing"): 0,
			filtered("/v1/catalog/services"): 1, "consul_catalog_services": 2, "consul_catalog_nodes": 3,
			`consul_exporter_collector_success{collector="catalog"}`:   1,
			`consul_exporter_collector_supported{collector="catalog"}`: 1,
		}, false},
		{"Consul's summary only", `operator = "read"`, nil, samples{
			filtered("/v1/health/state/critical"): 1, summary("passing"): 0, "consul_catalog_overview_services": 5,
			`consul_exporter_collector_success{collector="overview"}`: 1,
		}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			flags := []string{"--consul.server=" + server.URL()}
			if tc.policy != "" {
				token, err := c.NewToken(t.Context(), tc.policy)
				must(t, err)
				flags = append(flags, "--consul.token-file="+secret(t, token))
			}
			e := startExporter(t, nil, flags...)
			s := e.scrape(t)
			if _, want := tc.want[summary("passing")]; want {
				made := func(s samples) bool { return told(s, "passing") }
				e.scrapeUntil(t, time.Minute, "Consul to have made its summary", made)
			}
			marks := make(map[*consultest.Agent]int)
			for _, a := range c.Agents() {
				marks[a] = a.LogMark()
			}
			for range 10 {
				s = e.scrape(t)
			}
			s.expect(t, tc.want)
			if got := told(s, "critical") && told(s, "maintenance"); got != tc.maintenance {
				t.Errorf("Consul's summary says what is in maintenance: %v; want %v", got, tc.maintenance)
			}
			if got := slices.Compact(s.labels("consul_catalog_service_instances", "service_name")); !slices.Equal(got, tc.services) {
				t.Errorf("services are %q; want %q", got, tc.services)
			}
			for _, a := range c.Agents() {
				expectQuiet(t, a, marks[a])
			}
		})
	}
}

// telemetryInterval is how long Consul measures before it tells.
const telemetryInterval = 10 * time.Second

// The rates of RPC are those of what clients do, whichever agent is asked and whether or not gauges carry the host's name.
func TestTelemetry(t *testing.T) {
	for _, hostname := range []bool{true, false} {
		t.Run(fmt.Sprintf("host name %v", hostname), func(t *testing.T) {
			t.Parallel()
			c := consultest.Start(t, consultest.Options{Servers: 1, Clients: 1, Config: map[string]any{
				"telemetry": map[string]any{"disable_hostname": !hostname},
			}})
			server := startExporter(t, nil, "--consul.server="+c.Servers[0].URL())
			client := startExporter(t, nil, "--consul.server="+c.Clients[0].URL())
			const perSecond, blocking = 20, 5
			load(t, c.Clients[0], perSecond, blocking)
			s := server.scrapeUntil(t, 6*telemetryInterval, "the server has measured the load", func(s samples) bool {
				rate := s[`consul_agent_rpc_requests_per_second{server="server-1"}`]
				return rate > 0.9*perSecond && s[`consul_agent_rpc_queries_blocking{server="server-1"}`] >= blocking
			})
			s.expect(t, samples{
				`consul_agent_rpc_request_errors_per_second{server="server-1"}`:      0,
				`consul_agent_rpc_rate_limit_exceeded_per_second{server="server-1"}`: 0,
				`consul_agent_client_rpc_failed_per_second{server="server-1"}`:       0,
			})
			for _, family := range []string{"memory_alloc_bytes", "memory_sys_bytes", "goroutines", "gc_pause_seconds_total"} {
				if v := s[`consul_agent_`+family+`{server="server-1"}`]; v <= 0 || math.IsNaN(v) {
					t.Errorf("consul_agent_%s = %v; want more than 0", family, v)
				}
			}
			s = client.scrapeUntil(t, 6*telemetryInterval, "the client has measured the load", func(s samples) bool {
				return s[`consul_agent_client_rpc_per_second{server="client-1"}`] > 0.9*perSecond
			})
			s.expectNone(t, "consul_agent_rpc_", "consul_agent_raft_")
		})
	}
}

// load reads from an agent until the test ends: so many requests per second, and so many blocking queries that begin anew all the time.
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
	done := make(chan struct{})
	for range blocking + 1 { // Of these one is always between two queries.
		go func() {
			for t.Context().Err() == nil {
				get("/v1/catalog/nodes?index=1000000&wait=2s")
			}
			done <- struct{}{}
		}()
	}
	go func() {
		ticker := time.NewTicker(time.Second / time.Duration(perSecond))
		defer ticker.Stop()
		for t.Context().Err() == nil {
			<-ticker.C
			get("/v1/catalog/services")
		}
		done <- struct{}{}
	}()
	t.Cleanup(func() { // By then the context has ended.
		for range blocking + 2 {
			<-done
		}
	})
}
