// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

// probeTimeout is the default of --probe.timeout.
const probeTimeout = 3 * time.Second

// portSeries names a series of section "Ports" for a server's port 8300.
func portSeries(family string, a *consultest.Agent, more ...string) string {
	labels := append([]string{
		`port="8300"`, `protocol="rpc"`, fmt.Sprintf("server=%q", a.Name), `transport="tcp"`,
	}, more...)
	slices.Sort(labels)
	return "consul_port_" + family + "{" + strings.Join(labels, ",") + "}"
}

// serverSeries names a series about one server.
func serverSeries(family string, a *consultest.Agent) string {
	return fmt.Sprintf("consul_server_raft_%s{server=%q}", family, a.Name)
}

// others returns the servers but those given.
func others(c *consultest.Cluster, without ...*consultest.Agent) []*consultest.Agent {
	return slices.DeleteFunc(slices.Clone(c.Servers), func(a *consultest.Agent) bool { return slices.Contains(without, a) })
}

func leaderOf(t *testing.T, c *consultest.Cluster) *consultest.Agent {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	leader, err := c.WaitLeader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return leader
}

// consulVersion is that of an agent, which differs with make test-matrix.
func consulVersion(t *testing.T, a *consultest.Agent) string {
	t.Helper()
	self, err := a.Client().Agent().Self()
	must(t, err)
	return self["Config"]["Version"].(string)
}

// keepDead keeps Consul's autopilot from taking a server that failed out of the cluster, which it does some seconds later and
// which changes the number of voters.
func keepDead() map[string]any {
	return map[string]any{"autopilot": map[string]any{"cleanup_dead_servers": false}}
}

// patient makes servers wait for a leader as long as Consul does by default: a busy machine causes no elections then.
func patient(config map[string]any) map[string]any {
	config["performance"] = map[string]any{"raft_multiplier": 5}
	return config
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func TestHealthyCluster(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1})
	leader := leaderOf(t, c)
	must(t, c.WaitSynced(t.Context()))
	e := startExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	s := e.scrape(t)

	version := consulVersion(t, leader)
	want := samples{
		"consul_up":                                           1,
		"consul_raft_peers":                                   3,
		"consul_raft_leader":                                  1,
		"consul_serf_lan_members":                             4,
		"consul_cluster_voters":                               3,
		"consul_cluster_quorum":                               2,
		"consul_cluster_reachable_voters":                     3,
		"consul_cluster_failure_margin":                       1,
		"consul_cluster_leaders":                              1,
		"consul_cluster_reported_leaders":                     1,
		"consul_cluster_servers_without_leader":               0,
		"consul_cluster_raft_configurations":                  1,
		"consul_cluster_unknown_raft_peers":                   0,
		"consul_cluster_leader_changes_total":                 0,
		`consul_cluster_servers{state="alive"}`:               3,
		`consul_cluster_servers{state="failed"}`:              0,
		`consul_cluster_servers{state="leaving"}`:             0,
		`consul_cluster_servers{state="left"}`:                0,
		`consul_serf_member_count{pool="lan",status="alive"}`: 4,
		`consul_serf_member_count{pool="wan",status="alive"}`: 3,

		`consul_serf_lan_member_status{member="client-1"}`:                                            1,
		fmt.Sprintf(`consul_serf_lan_member_info{member="client-1",role="node",version=%q}`, version): 1,
		`consul_exporter_collector_success{collector="agent"}`:                                        1,
		`consul_exporter_collector_success{collector="members"}`:                                      1,
		`consul_exporter_collector_success{collector="ports"}`:                                        1,
		`consul_exporter_collector_success{collector="raft"}`:                                         1,
		`consul_exporter_consul_requests_total{code="200",endpoint="/v1/agent/self"}`:                 3,
		`consul_exporter_query_known_leader{endpoint="/v1/catalog/nodes"}`:                            1,
		"consul_exporter_scrapes_total":                                                               1,
	}
	for _, a := range c.Servers {
		isLeader := 0.0
		if a == leader {
			isLeader = 1
		}
		want[portSeries("up", a)] = 1
		want[portSeries("protocol_verified", a)] = 1
		want[portSeries("probes_total", a)] = 1
		want[portSeries("probe_failures_total", a, `reason="timeout"`)] = 0
		want[serverSeries("has_leader", a)] = 1
		want[serverSeries("is_leader", a)] = isLeader
		want[serverSeries("peers", a)] = 3
		want[serverSeries("log_lag_entries", a)] = 0
		want[serverSeries("fsm_pending", a)] = 0
		want[fmt.Sprintf(`consul_server_raft_state{server=%q,state="leader"}`, a.Name)] = isLeader
		want[fmt.Sprintf(`consul_server_raft_state{server=%q,state="follower"}`, a.Name)] = 1 - isLeader
		want[fmt.Sprintf(`consul_server_raft_reported_leader_info{leader="%s:8300",server=%q}`, leader.Addr, a.Name)] = 1
		want[fmt.Sprintf(`consul_serf_wan_member_info{dc="dc1",member="%s.dc1",role="consul",version=%q}`, a.Name, version)] = 1
		if contact := s[serverSeries("last_contact_seconds", a)]; (contact == 0) != (a == leader) || contact > 1 {
			t.Errorf("last contact of %s is %v s; want 0 for the leader %s only and never 1 s", a, contact, leader)
		}
	}
	s.expect(t, want)
	expectListPeers(t, s, c.Servers[1])
}

// expectListPeers compares the metrics with what `consul operator raft list-peers` prints.
func expectListPeers(t *testing.T, s samples, a *consultest.Agent) {
	t.Helper()
	consul, err := toolbox.Path("consul")
	must(t, err)
	out, err := exec.CommandContext(t.Context(), consul, "operator", "raft", "list-peers", "-http-addr="+a.URL()).CombinedOutput()
	if err != nil {
		t.Fatalf("consul operator raft list-peers: %v: %s", err, out)
	}
	// Node, ID, Address, State, Voter, RaftProtocol, Commit Index, Trails Leader By.
	rows := regexp.MustCompile(`(?m)^(\S+) +(\S+) +(\S+) +(leader|follower) +(true|false)`).FindAllStringSubmatch(string(out), -1)
	if len(rows) != 3 {
		t.Fatalf("consul operator raft list-peers has %d rows; want 3:\n%s", len(rows), out)
	}
	for _, r := range rows {
		isLeader := 0.0
		if r[4] == "leader" {
			isLeader = 1
		}
		s.expect(t, samples{
			fmt.Sprintf(`consul_server_info{address=%q,id=%q,server=%q,version=%q,voter=%q}`, r[3], r[2], r[1], consulVersion(t, a), r[5]): 1,
			fmt.Sprintf("consul_server_raft_is_leader{server=%q}", r[1]):                                                                   isLeader,
		})
	}
}

func TestLeaderKilled(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3, Config: keepDead()})
	leader := leaderOf(t, c)
	e := startExporter(t, nil, "--consul.server="+others(c, leader)[0].URL())
	e.scrape(t).expect(t, samples{portSeries("up", leader): 1, "consul_cluster_failure_margin": 1})

	must(t, leader.Kill())
	e.scrape(t).expect(t, samples{
		portSeries("up", leader): 0,
		portSeries("probe_failures_total", leader, `reason="refused"`): 1,
		"consul_cluster_failure_margin":                                0,
		"consul_cluster_reachable_voters":                              2,
	})
	s := e.scrapeUntil(t, 30*time.Second, "one leader, named by all", func(s samples) bool {
		return s["consul_cluster_leaders"] == 1 && s["consul_cluster_reported_leaders"] == 1
	})
	s.expect(t, samples{
		portSeries("up", leader):                0,
		"consul_cluster_failure_margin":         0,
		"consul_cluster_servers_without_leader": 0,
		"consul_raft_peers":                     3,
	})
	s.expectNone(t, serverSeries("is_leader", leader), serverSeries("last_log_index", leader))
	successor := leaderOf(t, c)
	s.expect(t, samples{serverSeries("is_leader", successor): 1})
	if changes := s["consul_cluster_leader_changes_total"]; changes < 1 {
		t.Errorf("consul_cluster_leader_changes_total = %v; want at least 1", changes)
	}
	if last := s[portSeries("last_success_timestamp_seconds", leader)]; last < float64(time.Now().Add(-time.Minute).Unix()) {
		t.Errorf("last success of the killed leader is %v; want it kept from before", last)
	}
}

func TestFollowerHangs(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3, Config: keepDead()})
	leader := leaderOf(t, c)
	followers := others(c, leader)
	hung, well := followers[0], followers[1]
	e := startExporter(t, nil, "--consul.server="+well.URL())
	e.scrape(t)
	mark := hung.LogMark()
	must(t, hung.Stop())

	// Three scrapes: only the first may open a connection to the hung server.
	for i := range 3 {
		start := time.Now()
		e.scrape(t).expect(t, samples{
			portSeries("probe_failures_total", hung, `reason="timeout"`): float64(i + 1),

			portSeries("up", hung):          0,
			portSeries("up", leader):        1,
			portSeries("up", well):          1,
			"consul_cluster_failure_margin": 0,
			"consul_cluster_leaders":        1,
		})
		if took := time.Since(start); took > 2*probeTimeout {
			t.Errorf("scrape took %s; want less than two of the probe's timeouts: nothing waits twice", took)
		}
	}
	if n := connectionsFrom(t, hung, "127.0.0.1"); n > 1 {
		t.Errorf("the exporter has %d connections to the hung server; want 1", n)
	}

	must(t, hung.Continue())
	e.scrapeUntil(t, 20*time.Second, "the server is up again", func(s samples) bool { return s[portSeries("up", hung)] == 1 })
	expectQuiet(t, hung, mark)
}

func TestQuorumLost(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1})
	leader := leaderOf(t, c)
	survivor := others(c, leader)[0]
	e := startExporter(t, nil, "--consul.server="+c.Clients[0].URL())
	e.scrape(t)
	for _, a := range others(c, survivor) {
		must(t, a.Stop())
	}
	var slowest time.Duration
	var durations []string // Of the collectors in the slowest scrape.
	last := time.Now()
	s := e.scrapeUntil(t, 40*time.Second, "no server names a leader", func(s samples) bool {
		if took := time.Since(last); took > slowest {
			slowest, durations = took, nil
			for _, name := range s.labels("consul_exporter_collector_duration_seconds", "collector") {
				durations = append(durations, fmt.Sprintf("%s %v", name, s[fmt.Sprintf("consul_exporter_collector_duration_seconds{collector=%q}", name)]))
			}
		}
		last = time.Now()
		return s["consul_cluster_leaders"] == 0 && s["consul_cluster_servers_without_leader"] == 1
	})
	if slowest > 2*probeTimeout {
		t.Errorf("the slowest scrape took %s; want less than two of the probe's timeouts: nothing waits twice; its collectors:\n%s", slowest, strings.Join(durations, "\n"))
	}
	s.expect(t, samples{
		"consul_up":                          1,
		"consul_cluster_voters":              3,
		"consul_cluster_quorum":              2,
		"consul_cluster_reachable_voters":    1,
		"consul_cluster_failure_margin":      -1,
		"consul_cluster_reported_leaders":    0,
		"consul_cluster_raft_configurations": 1,
		portSeries("up", survivor):           1,
		portSeries("up", leader):             0,
		serverSeries("has_leader", survivor): 0,
		serverSeries("is_leader", survivor):  0,
		serverSeries("peers", survivor):      3,
	})
	s.expectNone(t, serverSeries("has_leader", leader), "consul_server_raft_reported_leader_info")
	self, err := survivor.Client().Agent().Self() // Usually 2, that of the first leader; a busy machine may have had another.
	must(t, err)
	term, err := strconv.ParseFloat(self["Stats"]["raft"].(map[string]any)["last_log_term"].(string), 64)
	must(t, err)
	s.expect(t, samples{serverSeries("last_log_term", survivor): term})
}

func TestAgentKilled(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1})
	e := startExporter(t, nil, "--consul.server="+c.Clients[0].URL())
	e.scrape(t).expect(t, samples{"consul_up": 1})

	must(t, c.Clients[0].Kill())
	s := e.scrape(t)
	want := samples{
		"consul_up":                                                                       0,
		"consul_cluster_voters":                                                           3,
		"consul_cluster_failure_margin":                                                   1,
		"consul_cluster_leaders":                                                          1,
		"consul_cluster_raft_configurations":                                              1,
		`consul_exporter_collector_success{collector="agent"}`:                            0,
		`consul_exporter_collector_success{collector="members"}`:                          0,
		`consul_exporter_collector_success{collector="ports"}`:                            1,
		`consul_exporter_collector_supported{collector="agent"}`:                          1,
		`consul_exporter_consul_requests_total{code="error",endpoint="/v1/status/peers"}`: 1,
	}
	for _, a := range c.Servers {
		want[portSeries("up", a)] = 1
		want[serverSeries("has_leader", a)] = 1
	}
	s.expect(t, want)
	s.expectNone(t, "consul_raft_peers", "consul_raft_leader", "consul_serf_lan_member")
	if log := e.log.String(); strings.Count(log, "collector=members") != 1 {
		t.Errorf("want one line about the failing collector members; log:\n%s", log)
	}
}

func TestAgentHangs(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1})
	e := startExporter(t, nil, "--consul.server="+c.Clients[0].URL())
	e.scrape(t)
	must(t, c.Clients[0].Stop())
	start := time.Now()
	e.scrape(t).expect(t, samples{
		"consul_up":                     0,
		"consul_cluster_failure_margin": 1,
		portSeries("up", c.Servers[2]):  1,
	})
	if took := time.Since(start); took > 2*probeTimeout {
		t.Errorf("scrape took %s; want less than two of the probe's timeouts: nothing waits twice", took)
	}
	// Less time than the agent is waited for: what was known before is probed all the same.
	_, body, err := e.get(t.Context(), "/metrics", 1500*time.Millisecond)
	must(t, err)
	parseSamples(t, body).expect(t, samples{
		portSeries("up", c.Servers[2]): 1,
		`consul_port_up{port="8500",protocol="http",server="client-1",transport="tcp"}`: 0,
		`consul_port_up{port="8502",protocol="grpc",server="client-1",transport="tcp"}`: 0,
		`consul_port_up{port="8600",protocol="dns",server="client-1",transport="udp"}`:  0,
	})
}

func TestSplitBrain(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 2, Bootstrap: consultest.BootstrapAlone})
	must(t, c.Join(t.Context(), c.Servers[0], c.Servers[1]))
	e := startExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	s := e.scrapeUntil(t, 20*time.Second, "both servers known", func(s samples) bool {
		return s[`consul_cluster_servers{state="alive"}`] == 2
	})
	s.expect(t, samples{
		"consul_cluster_leaders":                  2,
		"consul_cluster_reported_leaders":         2,
		"consul_cluster_raft_configurations":      2,
		"consul_cluster_servers_without_leader":   0,
		"consul_cluster_unknown_raft_peers":       0,
		serverSeries("is_leader", c.Servers[0]):   1,
		serverSeries("is_leader", c.Servers[1]):   1,
		portSeries("up", c.Servers[0]):            1,
		portSeries("up", c.Servers[1]):            1,
		`consul_cluster_servers{state="failed"}`:  0,
		`consul_cluster_servers{state="leaving"}`: 0,
	})
}

// byExporter reports whether a line is about a request of the exporter. All of its connections come from 127.0.0.1, but so do those with
// which a server's gossip makes sure that a member is gone, and those of the test when it waits for a new token.
func byExporter(line consultest.LogLine) bool {
	return strings.Contains(line.Raw, "127.0.0.1:") && !strings.Contains(line.Message, "Failed fallback TCP ping") &&
		!strings.Contains(line.Raw, "/v1/acl/token/self")
}

// expectQuiet fails for each line at WARN or above since the mark that the exporter has caused.
func expectQuiet(t *testing.T, a *consultest.Agent, mark int) {
	t.Helper()
	for _, line := range consultest.AtLeast(a.LogsSince(mark), "WARN") {
		if byExporter(line) {
			t.Errorf("%s logged because of the exporter: %s", a, line.Raw)
		}
	}
}

// connectionsFrom counts the open connections to port 8300 of an agent that come from an address. In the state TIME_WAIT (6) a
// connection is closed on both sides, and remembered by the kernel.
func connectionsFrom(t *testing.T, a *consultest.Agent, address string) int {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	must(t, err)
	hex := func(ip string) string {
		var b [4]byte
		_, err := fmt.Sscanf(ip, "%d.%d.%d.%d", &b[3], &b[2], &b[1], &b[0])
		must(t, err)
		return fmt.Sprintf("%X", b[:])
	}
	// Local address, then remote address; the server's end of each connection.
	row := regexp.MustCompile(fmt.Sprintf(`(?m)^ *\d+: %s:%04X %s:[0-9A-F]{4} 0[^6]`, hex(a.Addr), consultest.PortServer, hex(address)))
	return len(row.FindAll(table, -1))
}

func TestACL(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3, ACL: true})
	token, err := c.NewToken(t.Context(), readmePolicy(t))
	must(t, err)
	file := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(file, []byte("\n"+token+"\n"), 0o600))
	e := startExporter(t, nil, "--consul.server="+c.Servers[0].URL(), "--consul.token-file="+file, "--log.level=debug")
	want := samples{
		"consul_up":                     1,
		"consul_raft_peers":             3,
		"consul_cluster_voters":         3,
		"consul_cluster_failure_margin": 1,
		"consul_serf_lan_members":       3,
	}
	for _, name := range []string{"agent", "members", "ports", "raft"} {
		want[fmt.Sprintf("consul_exporter_collector_success{collector=%q}", name)] = 1
		want[fmt.Sprintf("consul_exporter_collector_supported{collector=%q}", name)] = 1
	}
	s := e.scrape(t)
	s.expect(t, want)
	if got := s.labels("consul_server_raft_term", "server"); len(got) != 3 {
		t.Errorf("consul_server_raft_term is there for %v; want all three servers", got)
	}

	// A token without rights: what needs none still works, and what is denied is not requested.
	weak, err := c.NewToken(t.Context(), `key_prefix "x" { policy = "read" }`)
	must(t, err)
	must(t, os.WriteFile(file, []byte(weak), 0o600))
	marks := c.Servers[0].LogMark()
	e.scrape(t)
	s = e.scrape(t)
	s.expect(t, samples{
		"consul_up":                     1,
		"consul_raft_peers":             3,
		"consul_raft_leader":            1,
		"consul_cluster_voters":         3,
		"consul_cluster_failure_margin": 1,
		portSeries("up", c.Servers[1]):  1,
		`consul_exporter_collector_supported{collector="agent"}`:                       0,
		`consul_exporter_collector_supported{collector="raft"}`:                        0,
		`consul_exporter_collector_supported{collector="ports"}`:                       1,
		`consul_exporter_collector_success{collector="ports"}`:                         1,
		`consul_exporter_query_results_filtered_by_acls{endpoint="/v1/agent/members"}`: 1,
	})
	s.expectNone(t, `consul_exporter_consul_requests_total{code="403"`)
	expectQuiet(t, c.Servers[0], marks)

	must(t, os.WriteFile(file, []byte(token), 0o600))
	e.scrape(t).expect(t, want)
	if log := e.log.String(); strings.Contains(log, token) || strings.Contains(log, weak) {
		t.Errorf("the log has the token:\n%s", log)
	}
}

// An exporter that starts with a token without rights has never seen a member; it finds the servers all the same.
func TestACLWithoutToken(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3, ACL: true})
	e := startExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	s := e.scrape(t)
	want := samples{"consul_up": 1, "consul_cluster_voters": 3, "consul_cluster_failure_margin": 1, "consul_cluster_leaders": 1}
	for _, a := range c.Servers {
		want[fmt.Sprintf(`consul_port_up{port="8300",protocol="rpc",server="%s:8300",transport="tcp"}`, a.Addr)] = 1
	}
	s.expect(t, want)
	s.expectNone(t, "consul_cluster_servers{", "consul_cluster_unknown_raft_peers")
}

func TestHTTPS(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 1, TLS: true})
	server := c.Servers[0].URL()
	// Only the HTTP API is under test: server RPC over TLS has no probe yet, and a plain one would log a warning.
	args := []string{"--collector.agent", "--no-collector.ports", "--no-collector.raft", "--no-collector.members"}
	flags := startExporter(t, nil, append(args, "--consul.server="+server,
		"--consul.ca-file="+c.CACert, "--consul.cert-file="+c.ClientCert, "--consul.key-file="+c.ClientKey)...)
	flags.scrape(t).expect(t, samples{"consul_up": 1})

	environment := startExporter(t, []string{
		"CONSUL_HTTP_ADDR=" + strings.TrimPrefix(server, "https://"), "CONSUL_HTTP_SSL=true",
		"CONSUL_CACERT=" + c.CACert, "CONSUL_CLIENT_CERT=" + c.ClientCert, "CONSUL_CLIENT_KEY=" + c.ClientKey,
	}, args...)
	environment.scrape(t).expect(t, samples{"consul_up": 1})

	noAuthority := startExporter(t, nil, append(args, "--consul.server="+server)...)
	noAuthority.scrape(t).expect(t, samples{"consul_up": 0})
	if log := noAuthority.log.String(); !strings.Contains(log, "certificate signed by unknown authority") {
		t.Errorf("the log does not say what is wrong with the certificate:\n%s", log)
	}
}
