// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// consulVersion is that of an agent, which differs with make test-matrix.
func consulVersion(t *testing.T, a *consultest.Agent) string {
	t.Helper()
	self, err := a.Client().Agent().Self()
	harness.Must(t, err)
	return self["Config"]["Version"].(string)
}

func TestHealthyCluster(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1})
	leader := harness.LeaderOf(t, c)
	harness.Must(t, c.WaitSynced(t.Context()))
	e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	s := e.Scrape(t)

	version := consulVersion(t, leader)
	want := harness.Samples{
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
		want[harness.PortSeries("up", a)] = 1
		want[harness.PortSeries("protocol_verified", a)] = 1
		want[harness.PortSeries("probes_total", a)] = 1
		want[harness.PortSeries("probe_failures_total", a, `reason="timeout"`)] = 0
		want[harness.ServerSeries("has_leader", a)] = 1
		want[harness.ServerSeries("is_leader", a)] = isLeader
		want[harness.ServerSeries("peers", a)] = 3
		want[harness.ServerSeries("log_lag_entries", a)] = 0
		want[harness.ServerSeries("fsm_pending", a)] = 0
		want[fmt.Sprintf(`consul_server_raft_state{server=%q,state="leader"}`, a.Name)] = isLeader
		want[fmt.Sprintf(`consul_server_raft_state{server=%q,state="follower"}`, a.Name)] = 1 - isLeader
		want[fmt.Sprintf(`consul_server_raft_reported_leader_info{leader="%s:8300",server=%q}`, leader.Addr, a.Name)] = 1
		want[fmt.Sprintf(`consul_serf_wan_member_info{dc="dc1",member="%s.dc1",role="consul",version=%q}`, a.Name, version)] = 1
		if contact := s[harness.ServerSeries("last_contact_seconds", a)]; (contact == 0) != (a == leader) || contact > 1 {
			t.Errorf("last contact of %s is %v s; want 0 for the leader %s only and never 1 s", a, contact, leader)
		}
	}
	s.Expect(t, want)
	expectListPeers(t, s, c.Servers[1])
}

// expectListPeers compares the metrics with what `consul operator raft list-peers` prints.
func expectListPeers(t *testing.T, s harness.Samples, a *consultest.Agent) {
	t.Helper()
	consul, err := toolbox.Path("consul")
	harness.Must(t, err)
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
		s.Expect(t, harness.Samples{
			fmt.Sprintf(`consul_server_info{address=%q,id=%q,server=%q,version=%q,voter=%q}`, r[3], r[2], r[1], consulVersion(t, a), r[5]): 1,
			fmt.Sprintf("consul_server_raft_is_leader{server=%q}", r[1]):                                                                   isLeader,
		})
	}
}

func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, Config: harness.KeepDead()})
	leader := harness.LeaderOf(t, c)
	e := harness.StartExporter(t, nil, "--consul.server="+harness.Others(c, leader)[0].URL())
	e.Scrape(t).Expect(t, harness.Samples{harness.PortSeries("up", leader): 1, "consul_cluster_failure_margin": 1})

	harness.Must(t, leader.Kill())
	e.Scrape(t).Expect(t, harness.Samples{
		harness.PortSeries("up", leader):                                       0,
		harness.PortSeries("probe_failures_total", leader, `reason="refused"`): 1,
		"consul_cluster_failure_margin":                                        0,
		"consul_cluster_reachable_voters":                                      2,
	})
	s := e.ScrapeUntil(t, 30*time.Second, "one leader, named by all", func(s harness.Samples) bool {
		return s["consul_cluster_leaders"] == 1 && s["consul_cluster_reported_leaders"] == 1
	})
	s.Expect(t, harness.Samples{
		harness.PortSeries("up", leader):        0,
		"consul_cluster_failure_margin":         0,
		"consul_cluster_servers_without_leader": 0,
		"consul_raft_peers":                     3,
	})
	s.ExpectNone(t, harness.ServerSeries("is_leader", leader), harness.ServerSeries("last_log_index", leader))
	successor := harness.LeaderOf(t, c)
	s.Expect(t, harness.Samples{harness.ServerSeries("is_leader", successor): 1})
	if changes := s["consul_cluster_leader_changes_total"]; changes < 1 {
		t.Errorf("consul_cluster_leader_changes_total = %v; want at least 1", changes)
	}
	if last := s[harness.PortSeries("last_success_timestamp_seconds", leader)]; last < float64(time.Now().Add(-time.Minute).Unix()) {
		t.Errorf("last success of the killed leader is %v; want it kept from before", last)
	}
}

func TestFollowerHangs(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, Config: harness.KeepDead()})
	leader := harness.LeaderOf(t, c)
	followers := harness.Others(c, leader)
	hung, well := followers[0], followers[1]
	e := harness.StartExporter(t, nil, "--consul.server="+well.URL())
	e.Scrape(t)
	mark := hung.LogMark()
	harness.Must(t, hung.Stop())

	// Three scrapes: only the first may open a connection to the hung server.
	for i := range 3 {
		start := time.Now()
		e.Scrape(t).Expect(t, harness.Samples{
			harness.PortSeries("probe_failures_total", hung, `reason="timeout"`): float64(i + 1),

			harness.PortSeries("up", hung):   0,
			harness.PortSeries("up", leader): 1,
			harness.PortSeries("up", well):   1,
			"consul_cluster_failure_margin":  0,
			"consul_cluster_leaders":         1,
		})
		if took := time.Since(start); took > 2*harness.ProbeTimeout {
			t.Errorf("scrape took %s; want less than two of the probe's timeouts: nothing waits twice", took)
		}
	}
	if n := connectionsFrom(t, hung, "127.0.0.1"); n > 1 {
		t.Errorf("the exporter has %d connections to the hung server; want 1", n)
	}

	harness.Must(t, hung.Continue())
	e.ScrapeUntil(t, 20*time.Second, "the server is up again", func(s harness.Samples) bool { return s[harness.PortSeries("up", hung)] == 1 })
	harness.ExpectQuiet(t, hung, mark)
}

func TestQuorumLost(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1})
	leader := harness.LeaderOf(t, c)
	survivor := harness.Others(c, leader)[0]
	e := harness.StartExporter(t, nil, "--consul.server="+c.Clients[0].URL())
	e.Scrape(t)
	for _, a := range harness.Others(c, survivor) {
		harness.Must(t, a.Stop())
	}
	var slowest time.Duration
	var durations []string // Of the collectors in the slowest scrape.
	last := time.Now()
	s := e.ScrapeUntil(t, 40*time.Second, "no server names a leader", func(s harness.Samples) bool {
		if took := time.Since(last); took > slowest {
			slowest, durations = took, nil
			for _, name := range s.Labels("consul_exporter_collector_duration_seconds", "collector") {
				durations = append(durations, fmt.Sprintf("%s %v", name, s[fmt.Sprintf("consul_exporter_collector_duration_seconds{collector=%q}", name)]))
			}
		}
		last = time.Now()
		return s["consul_cluster_leaders"] == 0 && s["consul_cluster_servers_without_leader"] == 1
	})
	if slowest > 2*harness.ProbeTimeout {
		t.Errorf("the slowest scrape took %s; want less than two of the probe's timeouts: nothing waits twice; its collectors:\n%s", slowest, strings.Join(durations, "\n"))
	}
	s.Expect(t, harness.Samples{
		"consul_up":                                  1,
		"consul_cluster_voters":                      3,
		"consul_cluster_quorum":                      2,
		"consul_cluster_reachable_voters":            1,
		"consul_cluster_failure_margin":              -1,
		"consul_cluster_reported_leaders":            0,
		"consul_cluster_raft_configurations":         1,
		harness.PortSeries("up", survivor):           1,
		harness.PortSeries("up", leader):             0,
		harness.ServerSeries("has_leader", survivor): 0,
		harness.ServerSeries("is_leader", survivor):  0,
		harness.ServerSeries("peers", survivor):      3,
	})
	s.ExpectNone(t, harness.ServerSeries("has_leader", leader), "consul_server_raft_reported_leader_info")
	self, err := survivor.Client().Agent().Self() // Usually 2, that of the first leader; a busy machine may have had another.
	harness.Must(t, err)
	term, err := strconv.ParseFloat(self["Stats"]["raft"].(map[string]any)["last_log_term"].(string), 64)
	harness.Must(t, err)
	s.Expect(t, harness.Samples{harness.ServerSeries("last_log_term", survivor): term})
}

func TestAgentKilled(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1})
	e := harness.StartExporter(t, nil, "--consul.server="+c.Clients[0].URL())
	e.Scrape(t).Expect(t, harness.Samples{"consul_up": 1})

	harness.Must(t, c.Clients[0].Kill())
	s := e.Scrape(t)
	want := harness.Samples{
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
		want[harness.PortSeries("up", a)] = 1
		want[harness.ServerSeries("has_leader", a)] = 1
	}
	s.Expect(t, want)
	s.ExpectNone(t, "consul_raft_peers", "consul_raft_leader", "consul_serf_lan_member")
	if log := e.Log.String(); strings.Count(log, "collector=members") != 1 {
		t.Errorf("want one line about the failing collector members; log:\n%s", log)
	}
}

func TestAgentHangs(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1})
	e := harness.StartExporter(t, nil, "--consul.server="+c.Clients[0].URL())
	e.Scrape(t)
	harness.Must(t, c.Clients[0].Stop())
	start := time.Now()
	e.Scrape(t).Expect(t, harness.Samples{
		"consul_up":                            0,
		"consul_cluster_failure_margin":        1,
		harness.PortSeries("up", c.Servers[2]): 1,
	})
	if took := time.Since(start); took > 2*harness.ProbeTimeout {
		t.Errorf("scrape took %s; want less than two of the probe's timeouts: nothing waits twice", took)
	}
	// Less time than the agent is waited for: what was known before is probed all the same.
	_, body, err := e.Get(t.Context(), "/metrics", 1500*time.Millisecond)
	harness.Must(t, err)
	harness.ParseSamples(t, body).Expect(t, harness.Samples{
		harness.PortSeries("up", c.Servers[2]):                                          1,
		`consul_port_up{port="8500",protocol="http",server="client-1",transport="tcp"}`: 0,
		`consul_port_up{port="8502",protocol="grpc",server="client-1",transport="tcp"}`: 0,
		`consul_port_up{port="8600",protocol="dns",server="client-1",transport="udp"}`:  0,
	})
}

func TestSplitBrain(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 2, Bootstrap: consultest.BootstrapAlone})
	harness.Must(t, c.Join(t.Context(), c.Servers[0], c.Servers[1]))
	e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	s := e.ScrapeUntil(t, 20*time.Second, "both servers known", func(s harness.Samples) bool {
		return s[`consul_cluster_servers{state="alive"}`] == 2
	})
	s.Expect(t, harness.Samples{
		"consul_cluster_leaders":                        2,
		"consul_cluster_reported_leaders":               2,
		"consul_cluster_raft_configurations":            2,
		"consul_cluster_servers_without_leader":         0,
		"consul_cluster_unknown_raft_peers":             0,
		harness.ServerSeries("is_leader", c.Servers[0]): 1,
		harness.ServerSeries("is_leader", c.Servers[1]): 1,
		harness.PortSeries("up", c.Servers[0]):          1,
		harness.PortSeries("up", c.Servers[1]):          1,
		`consul_cluster_servers{state="failed"}`:        0,
		`consul_cluster_servers{state="leaving"}`:       0,
	})
}

// connectionsFrom counts the open connections to port 8300 of an agent that come from an address. In the state TIME_WAIT (6) a
// connection is closed on both sides, and remembered by the kernel.
func connectionsFrom(t *testing.T, a *consultest.Agent, address string) int {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	harness.Must(t, err)
	hex := func(ip string) string {
		var b [4]byte
		_, err := fmt.Sscanf(ip, "%d.%d.%d.%d", &b[3], &b[2], &b[1], &b[0])
		harness.Must(t, err)
		return fmt.Sprintf("%X", b[:])
	}
	// Local address, then remote address; the server's end of each connection.
	row := regexp.MustCompile(fmt.Sprintf(`(?m)^ *\d+: %s:%04X %s:[0-9A-F]{4} 0[^6]`, hex(a.Addr), consultest.PortServer, hex(address)))
	return len(row.FindAll(table, -1))
}

func TestACL(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, ACL: true})
	token, err := c.NewToken(t.Context(), harness.ReadmePolicy(t))
	harness.Must(t, err)
	file := filepath.Join(t.TempDir(), "token")
	harness.Must(t, os.WriteFile(file, []byte("\n"+token+"\n"), 0o600))
	e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL(), "--consul.token-file="+file, "--log.level=debug")
	want := harness.Samples{
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
	s := e.Scrape(t)
	s.Expect(t, want)
	if got := s.Labels("consul_server_raft_term", "server"); len(got) != 3 {
		t.Errorf("consul_server_raft_term is there for %v; want all three servers", got)
	}

	// A token without rights: what needs none still works, and what is denied is not requested.
	weak, err := c.NewToken(t.Context(), `key_prefix "x" { policy = "read" }`)
	harness.Must(t, err)
	harness.Must(t, os.WriteFile(file, []byte(weak), 0o600))
	marks := c.Servers[0].LogMark()
	e.Scrape(t)
	s = e.Scrape(t)
	s.Expect(t, harness.Samples{
		"consul_up":                            1,
		"consul_raft_peers":                    3,
		"consul_raft_leader":                   1,
		"consul_cluster_voters":                3,
		"consul_cluster_failure_margin":        1,
		harness.PortSeries("up", c.Servers[1]): 1,
		`consul_exporter_collector_supported{collector="agent"}`:                       0,
		`consul_exporter_collector_supported{collector="raft"}`:                        0,
		`consul_exporter_collector_supported{collector="ports"}`:                       1,
		`consul_exporter_collector_success{collector="ports"}`:                         1,
		`consul_exporter_query_results_filtered_by_acls{endpoint="/v1/agent/members"}`: 1,
	})
	s.ExpectNone(t, `consul_exporter_consul_requests_total{code="403"`)
	harness.ExpectQuiet(t, c.Servers[0], marks)

	harness.Must(t, os.WriteFile(file, []byte(token), 0o600))
	e.Scrape(t).Expect(t, want)
	if log := e.Log.String(); strings.Contains(log, token) || strings.Contains(log, weak) {
		t.Errorf("the log has the token:\n%s", log)
	}
}

// An exporter that starts with a token without rights has never seen a member; it finds the servers all the same.
func TestACLWithoutToken(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, ACL: true})
	e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	s := e.Scrape(t)
	want := harness.Samples{"consul_up": 1, "consul_cluster_voters": 3, "consul_cluster_failure_margin": 1, "consul_cluster_leaders": 1}
	for _, a := range c.Servers {
		want[fmt.Sprintf(`consul_port_up{port="8300",protocol="rpc",server="%s:8300",transport="tcp"}`, a.Addr)] = 1
	}
	s.Expect(t, want)
	s.ExpectNone(t, "consul_cluster_servers{", "consul_cluster_unknown_raft_peers")
}

func TestHTTPS(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 1, TLS: true})
	server := c.Servers[0].URL()
	// Only the HTTP API is under test: server RPC over TLS has no probe yet, and a plain one would log a warning.
	args := []string{"--collector.agent", "--no-collector.ports", "--no-collector.raft", "--no-collector.members"}
	flags := harness.StartExporter(t, nil, append(args, "--consul.server="+server,
		"--consul.ca-file="+c.CACert, "--consul.cert-file="+c.ClientCert, "--consul.key-file="+c.ClientKey)...)
	flags.Scrape(t).Expect(t, harness.Samples{"consul_up": 1})

	environment := harness.StartExporter(t, []string{
		"CONSUL_HTTP_ADDR=" + strings.TrimPrefix(server, "https://"), "CONSUL_HTTP_SSL=true",
		"CONSUL_CACERT=" + c.CACert, "CONSUL_CLIENT_CERT=" + c.ClientCert, "CONSUL_CLIENT_KEY=" + c.ClientKey,
	}, args...)
	environment.Scrape(t).Expect(t, harness.Samples{"consul_up": 1})

	noAuthority := harness.StartExporter(t, nil, append(args, "--consul.server="+server)...)
	noAuthority.Scrape(t).Expect(t, harness.Samples{"consul_up": 0})
	if log := noAuthority.Log.String(); !strings.Contains(log, "certificate signed by unknown authority") {
		t.Errorf("the log does not say what is wrong with the certificate:\n%s", log)
	}
}
