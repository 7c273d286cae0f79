// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// moreRights are those that README names for keys and sessions.
const moreRights = `
key_prefix "" { policy = "read" }
session_prefix "" { policy = "read" }`

// TestRights is about a cluster that allows nothing without a token. What can be read is there, the rest is said to
// be missing, and Consul logs nothing about it.
func TestRights(t *testing.T) {
	t.Parallel()
	c := startDenied(t)
	readme := harness.ReadmePolicy(t)
	half := strings.Replace(readme, `service_prefix ""`, `service_prefix "a"`, 1)
	facts, mesh := []string{"--kv.prefix=limits/", "--collector.sessions"}, zeroOrOne(hasMesh(t, c.Servers[0]))
	playAll(t, c, []scene{
		noToken,
		{name: "a token that Consul does not know", then: (*play).expectUnknownToken},
		{
			name: "the documented policy", policy: readme,
			want: func(p *play) outlook {
				want := healthy(p)
				want.metrics = complete("agent", "autopilot", "catalog", "consistent", "serf", "telemetry").With(harness.Samples{
					filtered("/v1/catalog/services"): 0, filtered("/v1/agent/members"): 0, "consul_catalog_services": 5,
					maintained("passing"): 0, maintained("critical"): 0, maintained("maintenance"): 1,
				})
				return want
			},
			then: func(p *play) {
				p.expectServices("api", "auth", "consul", "off", "web")
				p.expectStop(p.agent.Name, cli.ExitSafe, "the quorum is 2")
			},
		},
		{name: "half of the services", policy: half, then: func(p *play) {
			p.e.Await(p.T, complete("catalog").With(harness.Samples{
				filtered("/v1/health/state/critical"): 1, maintained("passing"): 0,
				filtered("/v1/catalog/services"): 1, "consul_catalog_services": 2, "consul_catalog_nodes": 5,
			}), maintained("critical"), maintained("maintenance"))
			p.expectServices("api", "auth")
		}},
		{name: "Consul's summary only", policy: `operator = "read"`, then: func(p *play) {
			p.e.Await(p.T, harness.Samples{
				filtered("/v1/health/state/critical"): 1, maintained("passing"): 0, "consul_catalog_overview_services": 5,
				collectorSuccess("overview"): 1,
			}, maintained("critical"), maintained("maintenance"))
			p.expectServices()
		}},
		{name: "another token", policy: readme, then: (*play).expectTokenChanges},
		{name: "facts", policy: readme + moreRights, flags: facts, then: func(p *play) { p.expectFacts(mesh) }},
		{
			name: "facts without a leader", policy: readme + moreRights, flags: facts,
			breaks: func(p *play) {
				p.e.Await(p.T, harness.Samples{"consul_sessions": 2, `consul_catalog_kv{key="limits/count"}`: 42})
				p.kill(p.others()...)
			},
			then: func(p *play) { p.expectFactsWithoutLeader(mesh) },
		},
	}, (*play).look)
}

// startDenied starts a cluster that denies by default, with a worker with services, one of them in maintenance, keys,
// sessions, and a peering that nobody has answered yet. Every port is on.
func startDenied(t *testing.T) *consultest.Cluster {
	t.Helper()
	c := consultest.Start(t, consultest.Options{
		Servers: 3, Clients: 1, ACL: true, Config: withGRPC(nil),
		Deviations: []consultest.Deviation{
			consultest.KeepDead.Because(
				"what a token may read is compared before and after, and autopilot would change the rest"),
		},
	})
	leader := harness.LeaderOf(t, c)
	checks := map[string]*api.AgentCheck{"off": {CheckID: "_service_maintenance:off-1", Status: "critical"}}
	for _, service := range []string{"api", "auth", "web"} {
		checks[service] = &api.AgentCheck{CheckID: service + "-alive", Name: "Alive", Status: "passing"}
	}
	for service, check := range checks {
		check.Node, check.ServiceID = "worker", service+"-1"
		_, err := leader.Client().Catalog().Register(&api.CatalogRegistration{
			Node: "worker", Address: "10.0.0.9", Service: &api.AgentService{ID: service + "-1", Service: service}, Check: check,
		}, nil)
		must.Do(t, err)
	}
	for key, value := range map[string]string{"limits/count": "42", "limits/größe": "0.5", "limits/word": "yes"} {
		must.Get(leader.Client().KV().Put(&api.KVPair{Key: key, Value: []byte(value)}, nil))(t)
	}
	for range 2 {
		_, _, err := leader.Client().Session().CreateNoChecks(&api.SessionEntry{Node: "client-1"}, nil)
		must.Do(t, err)
	}
	if hasPeering(t, leader) {
		request := api.PeeringGenerateTokenRequest{PeerName: "east"}
		_, _, err := leader.Client().Peerings().GenerateToken(t.Context(), request, nil)
		must.Do(t, err)
	}
	return c
}

// hasPeering reports whether this Consul has cluster peering at all.
func hasPeering(t *testing.T, a *consultest.Agent) bool {
	t.Helper()
	_, _, err := a.Client().Peerings().List(t.Context(), nil)
	return err == nil
}

// filtered says whether Consul left something out of an answer.
func filtered(endpoint string) string {
	return fmt.Sprintf("consul_exporter_query_results_filtered_by_acls{endpoint=%q}", endpoint)
}

// maintained counts the instances of the service that is in maintenance, by Consul's summary.
func maintained(status string) string {
	return fmt.Sprintf("consul_catalog_overview_service_instances{service_name=%q,status=%q}", "off", status)
}

// expectServices fails unless the catalog has these services, and if any agent has logged anything about ten scrapes.
func (p *play) expectServices(services ...string) {
	p.mark()
	var s harness.Samples
	for range 10 {
		s = p.e.Scrape(p.T)
	}
	if got := slices.Compact(s.Labels("consul_catalog_service_instances", "service_name")); !slices.Equal(got, services) {
		p.Errorf("services are %q; want %q", got, services)
	}
	p.expectQuiet(p.c.Agents()...)
}

// noToken is without any right. Servers are known by the addresses of their peers, and what they tell anybody is
// there.
var noToken = scene{
	name: "no token",
	first: func(p *play, s harness.Samples) {
		s.ExpectNone(p.T, `consul_exporter_consul_requests_total{code="403"`)
		p.expectUnnoticed(p.agent, "/v1/health/node")
		p.expectServices()
	},
	want: func(p *play) outlook {
		metrics := harness.Samples{
			"consul_up": 1, "consul_cluster_voters": 3, "consul_cluster_failure_margin": 1, "consul_cluster_leaders": 1,
			"consul_cluster_consistent_read_success": 1,
			// Consul does not tell this to those without a token.
			filtered("/v1/catalog/services"): 0, "consul_catalog_services": 0,
			collectorSupported("catalog"): 1, collectorSuccess("consistent"): 1,
		}
		for _, name := range []string{"agent", "autopilot", "raft", "serf", "telemetry"} {
			metrics[collectorSupported(name)] = 0
		}
		for _, a := range p.c.Servers {
			metrics[harness.PortSeries("up", nameless(a))] = 1
		}
		return outlook{
			level: status.LevelDegraded, problems: []string{"ConsulCollectorFails"},
			sentence: "3 of 3 voters answer, quorum is 2, 127[0-9.]+:8300 leads; the token cannot read everything; " +
				`one more failure can be tolerated\.`,
			metrics: metrics,
			unwanted: []string{
				"consul_cluster_servers{", "consul_cluster_unknown_raft_peers", "consul_autopilot_", "consul_serf_health_score",
				"consul_serf_rtt_seconds", "consul_serf_version_members", `consul_exporter_consul_requests_total{code="403"`,
				maintained("critical"), maintained("maintenance"),
			},
		}
	},
	then: func(p *play) {
		if _, asJSON := p.check("--output=json"); len(p.viewOf(asJSON).Servers) != 3 {
			p.Errorf("want three servers in %s", asJSON)
		}
		p.expectStop(p.agent.HostPort(consultest.PortServer), cli.ExitUnknown, "may the token read operator?")
		p.expectUnnoticed(p.agent, "/v1/health/node")
	},
	window: "degraded: Consul",
	page:   []string{"3 of 3 voters answer", "ConsulCollectorFails", "Unavailable:", "8300"},
}

// nameless is a server as it is known to those who may not read its name.
func nameless(a *consultest.Agent) *consultest.Agent {
	return &consultest.Agent{Name: a.HostPort(consultest.PortServer)}
}

// expectUnknownToken scrapes with a token that Consul does not know: not even a read without rights works.
func (p *play) expectUnknownToken() {
	e := p.export(p.agent, "--consul.token-file="+harness.Secret(p.T, "11111111-2222-3333-4444-555555555555"))
	for range 2 {
		start := time.Now()
		s := e.Scrape(p.T)
		if took := time.Since(start); took > 5*time.Second {
			p.Errorf("the scrape took %s; want nothing to be waited for", took)
		}
		s.Expect(p.T, harness.Samples{
			collectorSupported("consistent"): 0,
			collectorSupported("peering"):    0,
			`consul_exporter_consul_requests_total{code="403",endpoint="/v1/agent/members"}`: 1,
		})
		s.ExpectNone(p.T, "consul_cluster_consistent_read_")
	}
}

// expectTokenChanges exchanges the token of an exporter for one without rights, and back.
func (p *play) expectTokenChanges() {
	strong, weak := p.token(p.policy), p.token(`key_prefix "x" { policy = "read" }`)
	file := filepath.Join(p.TempDir(), "token")
	use := func(content string) { must.Do(p.T, os.WriteFile(file, []byte(content), 0o600)) }
	use("\n" + strong + "\n")
	e := p.export(p.agent, "--consul.token-file="+file, "--log.level=debug")
	want := complete("agent", "members", "ports", "raft").With(harness.Samples{
		"consul_up": 1, "consul_raft_peers": 3, "consul_cluster_voters": 3, "consul_cluster_failure_margin": 1,
		"consul_serf_lan_members": 5, // The worker is a node, too.
	})
	s := e.Scrape(p.T)
	s.Expect(p.T, want)
	if got := s.Labels("consul_server_raft_term", "server"); len(got) != 3 {
		p.Errorf("consul_server_raft_term is there for %v; want all three servers", got)
	}

	use(weak) // What needs no rights still works, and what is denied is not requested again.
	p.mark()
	e.Scrape(p.T)
	s = e.Scrape(p.T)
	s.Expect(p.T, harness.Samples{
		"consul_up": 1, "consul_raft_peers": 3, "consul_raft_leader": 1, "consul_cluster_voters": 3,
		"consul_cluster_failure_margin": 1, harness.PortSeries("up", p.leader): 1, filtered("/v1/agent/members"): 1,
		collectorSupported("agent"): 0, collectorSupported("raft"): 0,
		collectorSupported("ports"): 1, collectorSuccess("ports"): 1,
	})
	s.ExpectNone(p.T, `consul_exporter_consul_requests_total{code="403"`)
	p.expectQuiet(p.agent)

	use(strong)
	e.Scrape(p.T).Expect(p.T, want)
	if log := e.Log.String(); strings.Contains(log, strong) || strings.Contains(log, weak) {
		p.Errorf("the log has the token:\n%s", log)
	}
}

// expectFacts compares the metrics about what else Consul knows with Consul's API.
func (p *play) expectFacts(mesh float64) {
	want := harness.Samples{
		"consul_sessions": 2, "consul_catalog_datacenters": 1, collectorSupported("license"): 0,
		`consul_catalog_kv{key="limits/count"}`: 42, `consul_catalog_kv{key="limits/größe"}`: 0.5,
		"consul_acl_replication_enabled": 0, "consul_acl_replication_running": 0,
	}
	if roots, _, err := p.agent.Client().Agent().ConnectCARoots(nil); err == nil {
		active := fmt.Sprintf(`consul_connect_ca_root_expiry_timestamp_seconds{active="true",root=%q}`, roots.ActiveRootID)
		want[active] = float64(roots.Roots[0].NotAfter.Unix())
	}
	peering := zeroOrOne(hasPeering(p.T, p.leader))
	if peering == 1 {
		want[`consul_peering_state{peer="east",state="pending"}`] = 1
		want[`consul_peering_state{peer="east",state="active"}`] = 0
		want[`consul_peering_imported_services{peer="east"}`] = 0
	}
	for name, has := range map[string]float64{"connect": mesh, "peering": peering} {
		want[collectorSuccess(name)], want[collectorSupported(name)] = has, has
	}
	p.e.Await(p.T, want.With(complete("acl", "kv", "members", "sessions")),
		`consul_catalog_kv{key="limits/word"`, "consul_license_", "consul_acl_replication_last_",
		"consul_peering_last_heartbeat_timestamp_seconds")
}

// hasMesh reports whether this Consul has a service mesh. Before 1.14 it is off by default.
func hasMesh(t *testing.T, a *consultest.Agent) bool {
	t.Helper()
	_, _, err := a.Client().Agent().ConnectCARoots(nil)
	if err != nil && !strings.Contains(err.Error(), "must be enabled") {
		t.Errorf("roots of the mesh: %v", err)
	}
	return err == nil
}

// expectFactsWithoutLeader: what only the leader knows is not queried, and the rest is there.
func (p *play) expectFactsWithoutLeader(mesh float64) {
	p.e.Await(p.T, harness.Samples{"consul_raft_leader": 0})
	p.e.Await(p.T, harness.Samples{
		"consul_sessions": 2, `consul_catalog_kv{key="limits/count"}`: 42,
		collectorSuccess("acl"): 0, collectorSuccess("peering"): 0, collectorSuccess("connect"): mesh,
		collectorSuccess("catalog"): 1, collectorSuccess("kv"): 1,
		collectorSuccess("members"): 1, collectorSuccess("sessions"): 1,
	}, "consul_acl_replication_", "consul_peering_state")
	p.mark()
	for range 5 {
		p.e.Scrape(p.T)
	}
	p.expectUnnoticed(p.agent, "/v1/")
}
