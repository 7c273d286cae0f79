// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// withGRPC has Consul's defaults, except that gRPC without TLS is on: every port is there.
func withGRPC(more map[string]any) map[string]any {
	config := asShipped(more)
	config["ports"] = map[string]any{"grpc": consultest.PortGRPC}
	return config
}

// startHealthy starts a cluster whose servers stay well. Its HTTP API is on unix sockets, too.
func startHealthy(t *testing.T) *consultest.Cluster {
	t.Helper()
	return consultest.Start(t, consultest.Options{Servers: 3, Clients: 1, Config: withGRPC(nil), Socket: true})
}

func TestHealthyCluster(t *testing.T) {
	t.Parallel()
	playAll(t, startHealthy(t), healthyScenes, (*play).look)
}

var healthyScenes = []scene{
	{name: "nothing", first: (*play).expectFirstScrape, want: healthy, then: (*play).expectHealthyDetails},
	{name: "check through a client", through: aClient, want: healthy, then: (*play).expectText},
	{name: "every port", then: (*play).expectEveryPort},
	{
		name: "ports of a client", through: aClient, flags: []string{"--probe.protocols=http,grpc,dns"},
		first: expectClientPorts,
	},
	{name: "safe to stop", then: func(p *play) {
		server := p.followers[1]
		without := fmt.Sprintf("Without %s 2 of 3 voters can be counted on, and the quorum is 2: "+
			"no further failure can be tolerated.", server)
		p.expectStop(server.Name, cli.ExitSafe, without)
		p.expectStop(p.leader.Name, cli.ExitSafe, "transfer the leadership first")
		p.expectStop("server-9", cli.ExitUnknown,
			`there is no server named "server-9"; the servers are: server-1, server-2, server-3`)
		want := fmt.Sprintf("yes %s can be stopped. %s Memory: none, so only what Consul knows now "+
			"(give --state.file or --exporter)", server, without)
		code, text := p.check("--safe-to-stop=" + server.Name)
		if text = strings.Join(strings.Fields(text), " "); code != cli.ExitSafe || text != want {
			p.Errorf("exit code %d, printed %q; want %q", code, text, want)
		}
	}},
	{name: "a hundred scrapes at once", then: (*play).scrapeAtOnce},
	{name: "addresses", then: (*play).expectAddresses},
	{
		name: "names that are made to do harm", breaks: (*play).registerEvilServices,
		want:   withFiveServices,
		repair: (*play).deregister,
		window: "healthy: Consul dc1",
		page: []string{
			"3 of 3 voters answer, quorum is 2, server-", "one more failure can be tolerated.", "Problems", "None.",
			"4 in the lan pool: 4 alive", "Services: 5. Nodes: 4.",
		},
	},
	{
		name: "a service is down", breaks: func(p *play) { harness.RegisterInAllStates(p.T, p.clientAPI()) },
		want: func(*play) outlook {
			return outlook{
				level: status.LevelHealthy, problems: []string{"ConsulServiceDown"}, sentence: wholeQuorum,
			}
		},
		repair: (*play).deregister,
	},
	{
		name: "a node is in maintenance",
		breaks: func(p *play) {
			harness.RegisterInAllStates(p.T, p.clientAPI())
			must.Do(p.T, p.clientAPI().EnableNodeMaintenance("a test"))
		},
		want: withFiveServices,
		repair: func(p *play) {
			must.Do(p.T, p.clientAPI().DisableNodeMaintenance())
			p.deregister()
		},
	},
	{
		name: "the agent is killed", through: aClient, breaks: func(p *play) { p.kill(p.agent) },
		first: (*play).expectWithoutAgent, want: agentUnreachable("refuses connections: nothing listens there"),
		remembered: true, then: (*play).expectNothingKnown,
	},
	{
		name: "the agent hangs", through: aClient, breaks: func(p *play) { p.stop(p.agent) },
		first: func(p *play, s harness.Samples) {
			p.expectOneWait()
			s.Expect(p.T, harness.Samples{
				"consul_up": 0, "consul_cluster_failure_margin": 1, harness.PortSeries("up", p.c.Servers[2]): 1,
			})
			// Less time than the agent is waited for: what was known before is probed all the same.
			_, body, err := p.e.Get(p.Context(), "/metrics", 1500*time.Millisecond)
			must.Do(p.T, err)
			harness.ParseSamples(p.T, body).Expect(p.T, harness.Samples{
				harness.PortSeries("up", p.c.Servers[2]):                            1,
				harness.Port(8500, "http", "tcp").Series("consul_port_up", p.agent): 0,
				harness.Port(8502, "grpc", "tcp").Series("consul_port_up", p.agent): 0,
				harness.Port(8600, "dns", "udp").Series("consul_port_up", p.agent):  0,
			})
		},
		want: agentUnreachable("accepts connections but does not answer in time"), remembered: true,
	},
}

func withFiveServices(p *play) outlook {
	want := healthy(p)
	want.metrics["consul_catalog_services"] = 5
	return want
}

// consulVersion is that of an agent, which differs with make test-matrix.
func consulVersion(t *testing.T, a *consultest.Agent) string {
	t.Helper()
	self := must.Get(a.Client().Agent().Self())(t)
	return self["Config"]["Version"].(string)
}

// portsOf are the ports of a server. Consul before 1.14 has none for gRPC over TLS.
func portsOf(t *testing.T, a *consultest.Agent) []harness.PortID {
	t.Helper()
	if strings.HasPrefix(consulVersion(t, a), "1.13.") {
		return without(harness.PlainPorts, "grpc_tls")
	}
	return harness.PlainPorts
}

func (p *play) expectFirstScrape(s harness.Samples) {
	version, client := consulVersion(p.T, p.leader), p.c.Clients[0].Name
	want := harness.Samples{
		"consul_up": 1, "consul_raft_peers": 3, "consul_raft_leader": 1, "consul_serf_lan_members": 4,
		"consul_cluster_voters": 3, "consul_cluster_quorum": 2, harness.AnsweringVoters: 3,
		"consul_cluster_failure_margin": 1, "consul_cluster_leader_changes_total": 0,
		"consul_cluster_leaders": 1, "consul_cluster_reported_leaders": 1, "consul_cluster_servers_without_leader": 0,
		"consul_cluster_raft_configurations": 1, "consul_cluster_unknown_raft_peers": 0,
		`consul_cluster_servers{state="alive"}`: 3, `consul_cluster_servers{state="failed"}`: 0,
		`consul_cluster_servers{state="leaving"}`: 0, `consul_cluster_servers{state="left"}`: 0,
		`consul_serf_members{pool="lan",status="alive"}`: 4, `consul_serf_members{pool="wan",status="alive"}`: 3,
		`consul_exporter_consul_requests_total{code="200",endpoint="/v1/agent/self"}`: 3,
		`consul_exporter_query_known_leader{endpoint="/v1/catalog/nodes"}`:            1,
		"consul_exporter_scrapes_total":                                               1,

		fmt.Sprintf(`consul_serf_lan_member_status{member=%q}`, client):                               1,
		fmt.Sprintf(`consul_serf_lan_member_info{member=%q,role="node",version=%q}`, client, version): 1,
	}
	for _, a := range p.c.Servers {
		isLeader := zeroOrOne(a == p.leader)
		want[harness.PortSeries("up", a)], want[harness.PortSeries("protocol_verified", a)] = 1, 1
		want[harness.PortSeries("probes_total", a)] = 1
		want[harness.PortSeries("probe_failures_total", a, `reason="timeout"`)] = 0
		want[harness.ServerSeries("has_leader", a)], want[harness.ServerSeries("peers", a)] = 1, 3
		want[harness.ServerSeries("log_lag_entries", a)], want[harness.ServerSeries("fsm_pending", a)] = 0, 0
		want[harness.ServerSeries("is_leader", a)] = isLeader
		want[fmt.Sprintf(`consul_server_raft_state{server=%q,state="leader"}`, a.Name)] = isLeader
		want[fmt.Sprintf(`consul_server_raft_state{server=%q,state="follower"}`, a.Name)] = 1 - isLeader
		want[fmt.Sprintf(`consul_server_raft_reported_leader_info{leader="%s:8300",server=%q}`, p.leader.Addr, a.Name)] = 1
		member := fmt.Sprintf(`{dc="dc1",member="%s.dc1",role="consul",version=%q}`, a.Name, version)
		want["consul_serf_wan_member_info"+member] = 1
		contact := s[harness.ServerSeries("last_contact_seconds", a)]
		if (contact == 0) != (a == p.leader) || contact > 1 {
			p.Errorf("last contact of %s is %v s; want 0 for the leader %s only and never 1 s", a, contact, p.leader)
		}
	}
	s.Expect(p.T, want.With(complete("agent", "members", "ports", "raft")))
	p.expectPeers(s)
}

// expectPeers compares the metrics with Consul's own list of the peers.
func (p *play) expectPeers(s harness.Samples) {
	config := must.Get(p.agent.Client().Operator().RaftGetConfiguration(nil))(p.T)
	if len(config.Servers) != 3 {
		p.Fatalf("Consul has the peers %+v; want 3", config.Servers)
	}
	for _, peer := range config.Servers {
		s.Expect(p.T, harness.Samples{
			fmt.Sprintf(`consul_server_info{address=%q,id=%q,server=%q,version=%q,voter="%v"}`,
				peer.Address, peer.ID, peer.Node, consulVersion(p.T, p.agent), peer.Voter): 1,
			fmt.Sprintf("consul_server_raft_is_leader{server=%q}", peer.Node): zeroOrOne(peer.Leader),
		})
	}
}

func (p *play) expectHealthyDetails() {
	_, asJSON := p.check("--output=json")
	v := p.viewOf(asJSON)
	if want := p.leader.Name + " leads; "; !strings.Contains(v.Verdict, want) {
		p.Errorf("verdict %q; want %q in it", v.Verdict, want)
	}
	for _, s := range v.Servers {
		isLeader := s.Name == p.leader.Name
		if s.Version != consulVersion(p.T, p.leader) || !s.Voter || s.Serf != "alive" || s.Leader != p.leader.Name ||
			*s.LogLag > 20 || !*s.AutopilotHealthy || (s.RaftState == cluster.RaftLeader) != isLeader ||
			len(s.Ports) != len(portsOf(p.T, p.leader)) {
			p.Errorf("server is %+v", s)
		}
	}
	if lan := v.Members[0]; lan.Count != 4 || lan.ByStatus["alive"] != 4 || len(lan.NotAlive) != 0 {
		p.Errorf("members are %+v", lan)
	}
	if v.Catalog.Nodes != 4 || v.Catalog.Services != 1 || !v.ConsistentRead.OK || v.Autopilot.FailureTolerance != 1 {
		p.Errorf("catalog %+v, consistent read %+v, autopilot %+v", v.Catalog, v.ConsistentRead, v.Autopilot)
	}
}

// expectText looks for the ports and what comes last in the text of the check command.
func (p *play) expectText() {
	_, text := p.check()
	const took = ` +[0-9.]+`
	for _, want := range []string{
		`\n +8300 +8301 +8301 +8302 +8302 +8500\n +rpc +lan +lan +wan +wan +http\n`,
		`\n +8502 +8503 +8600 +8600\n +grpc +grpc +dns +dns\n`,
		`\n  server-1` + strings.Repeat(took, 5) + ` +not asked\n`, // A client's word is not theirs.
		`\n  server-1` + strings.Repeat(` +not asked`, 4) + `\n`,
		`\n  client-1` + strings.Repeat(` +-`, 5) + took + `\n`,
		`\n  client-1` + took + ` +-` + took + took + `\n`,
		`\n  not asked  not probed on purpose\n  -          no such port\n`,
		`\n  members, lan  4 alive\n  catalog       4 nodes, 1 service, 3 instances: 3 passing\n` +
			`  memory        none, so .*\n +--state.file or --exporter\)\n` +
			`  agent         http://127[0-9.]+:8500, client-1 in dc1\n  asked         at 20`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			p.Errorf("the text does not match %q; it is\n%s", want, text)
		}
	}
}

func (p *play) expectEveryPort() {
	ports, grpc := portsOf(p.T, p.agent), harness.Port(8503, "grpc_tls", "tcp")
	s := p.e.ScrapeUntilUp(p.T, ports, p.c.Servers...)
	s.ExpectPorts(p.T, ports, p.c.Servers...)
	want := make(harness.Samples)
	for _, a := range p.c.Servers {
		for _, transport := range []string{"tcp", "udp"} {
			dns := harness.Port(8600, "dns", transport)
			want[dns.Series("consul_dns_answers", a)], want[dns.Series("consul_dns_response_code", a)] = 3, 0
		}
		if slices.Contains(ports, grpc) { // By default it shows a certificate of Consul's own authority, issued for 72 hours.
			want[grpc.Series("consul_port_tls_earliest_cert_lifetime_seconds", a)] = (72 * time.Hour).Seconds()
		}
	}
	s.Expect(p.T, want)
	http := harness.Port(8500, "http", "tcp")
	if n := s[http.Series("consul_port_connections", p.agent, `state="established"`)]; n < 1 {
		p.Errorf("%v established connections to port 8500; want at least the exporter's own", n)
	}
	// For a moment Consul has yet to close what the exporter has closed, but not for long.
	p.e.Await(p.T, harness.Samples{http.Series("consul_port_connections", p.agent, `state="close_wait"`): 0})
}

// A client's configuration says nothing about the servers' ports for clients: only its own are probed.
func expectClientPorts(p *play, s harness.Samples) {
	s.ExpectPorts(p.T, append(slices.Clone(shippedClient), harness.Port(8502, "grpc", "tcp")), p.agent)
	s.Expect(p.T, harness.Samples{"consul_cluster_leaders": 1}) // Port 8300 is queried for it, shown or not.
	off := p.export(p.c.Servers[0], "--probe.client-ports=off", "--probe.protocols=dns", "--probe.protocols=rpc")
	off.Scrape(p.T).ExpectPorts(p.T, []harness.PortID{harness.Port(8300, "rpc", "tcp")}, p.c.Servers...)
}

// A hundred scrapes at once are one to Consul, or few.
func (p *play) scrapeAtOnce() {
	const n = 100
	bodies := make([]string, n)
	var scrapes sync.WaitGroup
	for i := range n {
		scrapes.Go(func() {
			status, body, err := p.e.Get(p.Context(), "/metrics", 10*time.Second)
			if err != nil || status != http.StatusOK {
				p.Errorf("scrape %d: status %d, %v", i, status, err)
			}
			bodies[i] = body
		})
	}
	scrapes.Wait()
	for _, body := range bodies {
		s := harness.ParseSamples(p.T, body)
		if n := sumOf(s, "consul_port_probe_failures_total{", `reason="limit"`); n > 0 {
			p.Fatalf("%v probes failed because of a limit of Consul", n)
		}
		s.Expect(p.T, harness.Samples{"consul_up": 1, "consul_cluster_failure_margin": 1, "consul_cluster_leaders": 1})
	}
	if shared := p.e.Scrape(p.T)["consul_exporter_scrapes_shared_total"]; shared < n/2 {
		p.Errorf("%v of %d scrapes at once were shared; want most", shared, n)
	}
}

// sumOf adds up the series with this prefix and this text in them.
func sumOf(s harness.Samples, prefix, text string) (sum float64) {
	for series, v := range s {
		if strings.HasPrefix(series, prefix) && strings.Contains(series, text) {
			sum += v
		}
	}
	return sum
}

// The agent's HTTP API can be on a unix socket, behind the path of a proxy, or have a name; and however it is
// reached, the servers' own ports are where the cluster says.
func (p *play) expectAddresses() {
	target := must.Get(url.Parse(p.agent.URL()))(p.T)
	proxy := httputil.NewSingleHostReverseProxy(target)
	plain := harness.ServeOn(p.T, proxy)
	behindPath := harness.ServeOn(p.T, http.StripPrefix("/tools/consul", proxy)) // Any other path gets status 404.
	want := complete("agent", "autopilot", "catalog", "consistent", "members", "ports", "raft").With(harness.Samples{
		"consul_up": 1, "consul_cluster_leaders": 1, "consul_cluster_failure_margin": 1,
		harness.PortSeries("up", p.agent):                                       1,
		harness.Port(8301, "serf_lan", "udp").Series("consul_port_up", p.agent): 1,
	})
	for _, tc := range []struct{ name, address string }{
		{"unix socket", "unix://" + p.agent.Socket()},
		{"path of a proxy", "http://127.0.0.1:" + behindPath + "/tools/consul"},
		{"path that ends with a slash", "http://127.0.0.1:" + behindPath + "/tools/consul/"},
		{"name", "http://localhost:" + plain}, // It may be one of several addresses: nobody listens on [::1].
		{"without a scheme", "localhost:" + plain},
		{"address in IPv6's notation of IPv4", "http://[::ffff:127.0.0.1]:" + plain},
	} {
		p.Run(tc.name, func(t *testing.T) {
			harness.StartExporter(t, nil, "--consul.server="+tc.address).Scrape(t).Expect(t, want)
		})
	}
	for address, log := range map[string]string{
		"http://127.0.0.1:" + behindPath + "/tools": "404",
		"http://no-such-host.invalid:8500":          "no-such-host.invalid",
	} {
		e := harness.StartExporter(p.T, nil, "--consul.server="+address)
		e.Scrape(p.T).Expect(p.T, harness.Samples{"consul_up": 0})
		if !strings.Contains(e.Log.String(), log) {
			p.Errorf("the log does not have %q:\n%s", log, e.Log)
		}
	}
}

func collectorSuccess(name string) string {
	return fmt.Sprintf("consul_exporter_collector_success{collector=%q}", name)
}

func collectorSupported(name string) string {
	return fmt.Sprintf("consul_exporter_collector_supported{collector=%q}", name)
}

// complete are the metrics of collectors that are supported and succeed.
func complete(names ...string) harness.Samples {
	s := make(harness.Samples)
	for _, name := range names {
		s[collectorSuccess(name)], s[collectorSupported(name)] = 1, 1
	}
	return s
}

// clientAPI is that of the client, where services are registered.
func (p *play) clientAPI() *api.Agent { return p.c.Clients[0].Client().Agent() }

// registerEvilServices registers services whose names are made to do harm, in all ways that Consul lets through.
func (p *play) registerEvilServices() {
	for i, name := range []string{
		"<script>alert(1)</script>", `"><img src=x onerror=alert(2)>`, "größe-服务", "\u202egnp.exe",
	} {
		service := &api.AgentServiceRegistration{ID: fmt.Sprintf("evil-%d", i), Name: name} // The ID is in a path later.
		must.Do(p.T, p.clientAPI().ServiceRegister(service))
	}
}

// deregister takes all services from the client.
func (p *play) deregister() {
	services := must.Get(p.clientAPI().Services())(p.T)
	for id := range services {
		must.Do(p.T, p.clientAPI().ServiceDeregister(id))
	}
}

// expectWithoutAgent looks at what is left of the metrics: the servers are known, and are queried.
func (p *play) expectWithoutAgent(s harness.Samples) {
	want := harness.Samples{
		"consul_up": 0, "consul_cluster_voters": 3, "consul_cluster_failure_margin": 1, "consul_cluster_leaders": 1,
		"consul_cluster_raft_configurations": 1,
		collectorSuccess("agent"):            0, collectorSuccess("members"): 0, collectorSuccess("ports"): 1,
		collectorSupported("agent"): 1,
		`consul_exporter_consul_requests_total{code="error",endpoint="/v1/status/peers"}`: 1,
	}
	for _, a := range p.c.Servers {
		want[harness.PortSeries("up", a)], want[harness.ServerSeries("has_leader", a)] = 1, 1
	}
	s.Expect(p.T, want)
	s.ExpectNone(p.T, "consul_raft_peers", "consul_raft_leader", "consul_serf_lan_member")
	if log := p.e.Log.String(); strings.Count(log, "change=agent state=failing") != 1 || strings.Contains(log,
		"level=error") {
		p.Errorf("want one line about the agent, and no error; log:\n%s", log)
	}
}

// agentUnreachable is what an exporter shows that has queried the agent before and so knows the servers.
func agentUnreachable(how string) func(*play) outlook {
	return func(p *play) outlook {
		return outlook{
			level: status.LevelDegraded, problems: []string{"ConsulAgentUnreachable " + p.agent.Name},
			sentence: fmt.Sprintf("The agent at %s %s; "+wholeQuorum, regexp.QuoteMeta(p.agent.URL()), how),
		}
	}
}

// expectNothingKnown looks at an exporter that starts now, and at the check command, which has no memory.
func (p *play) expectNothingKnown() {
	p.expect(p.export(p.agent), true, outlook{
		level: status.LevelUnknown, problems: []string{"ConsulAgentUnreachable"},
		sentence: fmt.Sprintf(`The agent at %s refuses connections: nothing listens there\.`,
			regexp.QuoteMeta(p.agent.URL())),
	})
	p.expectStop(p.leader.Name, cli.ExitUnknown,
		"refuses connections: nothing listens there. Start Consul there, or set --consul.server to the HTTP API")
}
