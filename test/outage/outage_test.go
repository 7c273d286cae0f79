// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"fmt"
	"math"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/serf/coordinate"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// startServers starts a cluster whose servers hang and die. Every port is on.
func startServers(t *testing.T) *consultest.Cluster {
	t.Helper()
	return consultest.Start(t, consultest.Options{
		Servers: 3, Clients: 1, Config: withGRPC(nil), Deviations: []consultest.Deviation{
			consultest.KeepDead.Because(
				"the views of a scene are compared one after the other, and autopilot would change the cluster between"),
			consultest.ShortLag.Because("a value that is not the default shows that it is read"),
			consultest.ThreeVoters.Because("a value that is not the default shows that it is read"),
		},
	})
}

const maxTrailingLogs = 20 // That of consultest.ShortLag.

// TestOutages breaks servers.
func TestOutages(t *testing.T) {
	t.Parallel()
	playAll(t, startServers(t), outageScenes, (*play).look)
}

var outageScenes = []scene{
	{
		name: "autopilot and Serf",
		flags: []string{
			"--no-collector.agent", "--no-collector.connections", "--no-collector.members", "--no-collector.ports",
		},
		then: func(p *play) {
			client := p.export(p.c.Clients[0], p.flags...)
			for _, e := range []*harness.Exporter{p.e, client} {
				p.expectAutopilot(e)
				p.expectSerf(e, e == p.e)
				p.expectRTT(e)
				s := e.Scrape(p.T)
				s.Expect(p.T, judges(1))
				if took := s["consul_cluster_consistent_read_duration_seconds"]; took <= 0 || took > 1 {
					p.Errorf("the linearizable read took %v s; want more than 0 and 1 at most", took)
				}
			}
		},
	},
	{
		name: "a follower hangs for a moment",
		breaks: func(p *play) {
			p.e.ScrapeUntilUp(p.T, portsOf(p.T, p.agent), p.c.Servers...)
			p.stop(p.followers[1])
		},
		first:  (*play).expectHungPorts,
		repair: (*play).expectAwakeQuietly,
	},
	{
		name: "a follower hangs", breaks: func(p *play) { p.stop(p.followers[1]) },
		want: func(p *play) outlook {
			return outlook{
				level: status.LevelDegraded, problems: []string{"ConsulQuorumAtRisk", "ConsulServerHung " + p.followers[1].Name},
				sentence: fmt.Sprintf(
					`2 of 3 voters answer, quorum is 2, %s leads; %s hangs; no further failure can be tolerated\.`,
					p.leader, p.followers[1]),
				metrics: harness.Samples{"consul_cluster_failure_margin": 0, "consul_cluster_leaders": 1},
			}
		},
		then: func(p *play) {
			hung := p.followers[1].Name
			p.expectStop(p.agent.Name, cli.ExitUnsafe, hung+" cannot be counted on: port 8300 does not answer (timeout).")
			p.expectStop(hung, cli.ExitSafe, hung+" does not answer, so nothing is lost with it.")
			p.expectCatchUp()
		},
		window: "degraded: Consul dc1",
		page: []string{
			"2 of 3 voters answer", " hangs; ", "no further failure can be tolerated", "critical", "ConsulServerHung", "hangs",
			"timeout",
		},
	},
	{
		name: "the leader is killed", breaks: func(p *play) { p.kill(p.leader) },
		first: func(p *play, s harness.Samples) {
			s.Expect(p.T, harness.Samples{
				harness.PortSeries("up", p.leader):                                       0,
				harness.PortSeries("probe_failures_total", p.leader, `reason="refused"`): 1,
				"consul_cluster_failure_margin":                                          0,
				harness.AnsweringVoters:                                                  2,
			})
		},
		want: leaderKilled,
		then: (*play).expectSuccessor,
	},
	{
		name: "the leader hangs, and the others have not noticed", fleeting: true, flags: []string{"--probe.timeout=500ms"},
		breaks: func(p *play) { p.stop(p.leader) },
		want: func(p *play) outlook {
			return outlook{
				level:    status.LevelUnknown,
				problems: []string{"ConsulQuorumUnknown", "ConsulServerHung " + p.leader.Name},
				sentence: fmt.Sprintf("Whether there is a quorum is unknown: %[1]s is called leader and does not answer; "+
					"2 of 3 voters answer, quorum is 2; %[1]s hangs; "+
					`how many more failures can be tolerated is unknown\.`, p.leader),
				unwanted: []string{"consul_cluster_leaders"},
			}
		},
	},
	{
		name: "the quorum is lost to servers that hang", flags: []string{
			"--consul.timeout=1s", "--probe.timeout=1s", "--collector.consistent.timeout=" + readTimeout.String(),
		},
		breaks: func(p *play) { p.stop(p.others()...) },
		first:  (*play).expectHangingRead,
		want:   func(p *play) outlook { return quorumLost(p, "Hung", "hang") },
		then:   func(p *play) { p.expectStop(p.agent.Name, cli.ExitUnsafe, "There is no leader.") },
	},
	{
		name: "the quorum is lost, for a client and the survivor", through: aClient,
		breaks: func(p *play) {
			p.second = p.export(p.followers[0])
			p.second.Scrape(p.T)
			p.stop(p.leader, p.followers[1])
		},
		first: (*play).expectQuorumLost,
	},
	{
		name: "the quorum is lost to crashes", breaks: func(p *play) { p.kill(p.others()...) },
		want:   func(p *play) outlook { return quorumLost(p, "Down", "are down") },
		window: "critical: Consul dc1",
		page: []string{
			"The quorum is lost", "1 of 3 voters answers, quorum is 2", "ConsulQuorumLost", "down", "refused", "nobody",
		},
	},
}

// readTimeout is what a linearizable read hangs for while a server names a leader that is frozen. Nothing else takes
// longer than enough, except for the verdict about the quorum, which the read may prove.
const readTimeout, enough = 5 * time.Second, 2500 * time.Millisecond

// expectHangingRead expects that nothing else waits for the read, while it hangs and when there is no leader. The
// quorum is lost when somebody says that there is no leader.
func (p *play) expectHangingRead(s harness.Samples) {
	duration := func(name string) string {
		return fmt.Sprintf("consul_exporter_collector_duration_seconds{collector=%q}", name)
	}
	want := judges(0).With(complete("catalog", "members", "raft")).With(harness.Samples{
		"consul_catalog_services": 1, "consul_exporter_scrape_timeouts_total": 0,
	})
	for _, name := range []string{"consistent", "raft"} {
		if took := s[duration(name)]; took < enough.Seconds() || took > readTimeout.Seconds()+0.5 {
			p.Errorf("collector %s took %v s; want it to wait for the read for %s while the leader is named", name, took,
				readTimeout)
		}
		s[duration(name)] = 0
	}
	s.Expect(p.T, want.With(harness.Samples{`consul_cluster_quorum_state{state="unknown"}`: 1}))
	s.ExpectNone(p.T, "consul_cluster_failure_margin")
	// In an election an agent may take seconds to tell about itself.
	later := p.e.Await(p.T, harness.Samples{
		"consul_cluster_leaders": 0, "consul_raft_leader": 0, collectorSuccess("agent"): 1,
	})
	later.Expect(p.T, want.With(harness.Samples{
		`consul_cluster_quorum_state{state="lost"}`: 1, "consul_cluster_failure_margin": -1,
	}))
	for _, s := range []harness.Samples{s, later} {
		for _, name := range s.Labels("consul_exporter_collector_duration_seconds", "collector") {
			if took := s[duration(name)]; took > enough.Seconds() {
				p.Errorf("collector %s took %v s; want %s at most", name, took, enough)
			}
		}
	}
}

// judges are the metrics of the collectors that judge the cluster; the linearizable read succeeds or not.
func judges(read float64) harness.Samples {
	return complete("autopilot", "consistent", "serf").With(harness.Samples{
		"consul_cluster_consistent_read_success": read,
	})
}

// expectHungPorts looks at three scrapes of a server that hangs: only the first may open a connection to its port
// 8300.
func (p *play) expectHungPorts(s harness.Samples) {
	hung, ports := p.followers[1], portsOf(p.T, p.agent)
	for n := 1; n <= 3; n++ {
		if n > 1 {
			s = p.scrape()
		}
		s.Expect(p.T, harness.Samples{"consul_cluster_failure_margin": 0, "consul_cluster_leaders": 1})
		s.Expect(p.T, harness.PortSamples("consul_port_up", 0, ports, hung))
		s.Expect(p.T, harness.PortSamples("consul_port_up", 1, ports, p.leader, p.agent))
		for _, port := range ports {
			s.Expect(p.T, harness.Samples{port.Series("consul_port_probe_failures_total", hung, `reason="timeout"`): float64(n)})
		}
		p.expectOneWait()
	}
	if n := rpcConnections(p.T, hung, "127.0.0.1"); n > 1 {
		p.Errorf("the exporter has %d connections to the hung server; want 1", n)
	}
}

// rpcConnections counts the connections to port 8300 of an agent that come from an address. In the state TIME_WAIT
// (6) a connection is closed on both sides, and remembered by the kernel.
func rpcConnections(t *testing.T, a *consultest.Agent, from string) int {
	t.Helper()
	table := must.Get(os.ReadFile("/proc/net/tcp"))(t)
	hex := func(ip string) string {
		b := netip.MustParseAddr(ip).As4()
		slices.Reverse(b[:])
		return fmt.Sprintf("%X", b)
	}
	// Local address, then remote address; the server's end of each connection.
	row := fmt.Sprintf(`(?m)^ *\d+: %s:%04X %s:[0-9A-F]{4} 0[^6]`, hex(a.Addr), consultest.PortServer, hex(from))
	return len(regexp.MustCompile(row).FindAll(table, -1))
}

// expectAwakeQuietly waits until the server that hung is up again.
func (p *play) expectAwakeQuietly() {
	p.e.ScrapeUntilUp(p.T, portsOf(p.T, p.agent), p.followers[1])
	p.expectQuiet(p.followers[1])
}

// expectCatchUp wakes up a follower that hangs and has missed entries. It is not counted on at once, and it is when it
// has caught up.
func (p *play) expectCatchUp() {
	for i := range 10 * maxTrailingLogs {
		must.Get(p.leader.Client().KV().Put(&api.KVPair{Key: fmt.Sprintf("lag/%d", i)}, nil))(p.T)
	}
	must.Do(p.T, p.followers[1].Continue())
	p.expectStop(p.agent.Name, cli.ExitUnsafe, p.followers[1].Name+" cannot be counted on: ")
	code, text := p.check("--safe-to-stop="+p.agent.Name, "--wait=60s")
	if code != cli.ExitSafe || !strings.HasPrefix(text, "yes  "+p.agent.Name+" can be stopped.\n") {
		p.Errorf("exit code %d, printed %q; want yes", code, text)
	}
}

// leaderKilled is what all views show when there is another leader.
func leaderKilled(p *play) outlook {
	return outlook{
		level: status.LevelDegraded, problems: []string{"ConsulQuorumAtRisk", "ConsulServerDown " + p.leader.Name},
		sentence: fmt.Sprintf(`2 of 3 voters answer, quorum is 2, server-[123] leads; %s is down; `+
			`no further failure can be tolerated\.`,
			p.leader),
		metrics: p.autopilotWithout(p.leader).With(harness.Samples{
			"consul_cluster_failure_margin": 0, "consul_cluster_servers_without_leader": 0, "consul_raft_peers": 3,
			harness.PortSeries("up", p.leader): 0,
		}),
		unwanted: []string{
			harness.ServerSeries("is_leader", p.leader), harness.ServerSeries("last_log_index", p.leader),
		},
	}
}

// autopilotWithout are metrics when one of three servers is dead.
func (p *play) autopilotWithout(dead *consultest.Agent) harness.Samples {
	p.Helper()
	return judges(1).With(harness.Samples{
		"consul_autopilot_cluster_healthy": 0, "consul_autopilot_cluster_failure_tolerance": 0,
		autopilotSeries("healthy", dead):           0,
		autopilotSeries("healthy", p.followers[0]): 1, p.aliveOfVersion(): 3,
	})
}

func (p *play) expectSuccessor() {
	s := p.e.Scrape(p.T)
	s.Expect(p.T, harness.Samples{harness.ServerSeries("is_leader", harness.LeaderOf(p.T, p.c)): 1})
	if changes := s["consul_cluster_leader_changes_total"]; changes < 1 {
		p.Errorf("consul_cluster_leader_changes_total = %v; want at least 1", changes)
	}
	last := s[harness.PortSeries("last_success_timestamp_seconds", p.leader)]
	if last < float64(time.Now().Add(-3*time.Minute).Unix()) {
		p.Errorf("last success of the killed leader is %v; want it kept from before", last)
	}
	client := p.export(p.c.Clients[0])
	client.Await(p.T, p.autopilotWithout(p.leader))
	for _, e := range []*harness.Exporter{p.e, client} {
		e.ScrapeUntil(p.T, time.Minute, "one round trip between two servers", func(s harness.Samples) bool {
			return len(s.Labels("consul_serf_rtt_seconds", "from")) == 1
		})
	}
}

// quorumLost is what all views show when only the server that is queried over HTTP is left.
func quorumLost(p *play, how, verb string) outlook {
	gone := p.others()
	return outlook{
		level: status.LevelCritical,
		problems: []string{
			"ConsulQuorumLost", "ConsulServer" + how + " " + gone[0].Name, "ConsulServer" + how + " " + gone[1].Name,
		},
		sentence: fmt.Sprintf("The quorum is lost; 1 of 3 voters answers, quorum is 2; %s and %s %s; "+
			`nothing can be written until 1 of %[1]s and %[2]s answers again\.`, gone[0], gone[1], verb),
		metrics: harness.Samples{"consul_cluster_servers_without_leader": 1}, // Until then it names the one that is gone.
	}
}

// expectQuorumLost looks at the metrics of an exporter that queries a client, and of one that queries the survivor.
func (p *play) expectQuorumLost(s harness.Samples) {
	survivor := p.followers[0]
	for _, s := range []harness.Samples{s, p.second.Scrape(p.T)} {
		// The survivor may name the frozen leader still, and the client may have queried that one, which proves nothing.
		if s["consul_cluster_consistent_read_success"] != 0 {
			p.Errorf("a consistent read is reported as served:\n%s", s)
		}
	}
	harness.WaitFor(p.T, time.Minute, "no server names a leader", func() string {
		p.expectOneWait()
		s = p.scrape()
		return strings.Join(s.Differences(harness.Samples{
			"consul_cluster_leaders": 0, "consul_cluster_servers_without_leader": 1,
		}), "\n")
	})
	s.Expect(p.T, harness.Samples{
		"consul_up": 1, "consul_cluster_voters": 3, "consul_cluster_quorum": 2, harness.AnsweringVoters: 1,
		"consul_cluster_failure_margin": -1, "consul_cluster_reported_leaders": 0, "consul_cluster_raft_configurations": 1,
		harness.PortSeries("up", survivor): 1, harness.PortSeries("up", p.leader): 0,
		harness.ServerSeries("has_leader", survivor): 0, harness.ServerSeries("is_leader", survivor): 0,
		harness.ServerSeries("peers", survivor): 3,
	})
	s.ExpectNone(p.T, harness.ServerSeries("has_leader", p.leader), "consul_server_raft_reported_leader_info")
	self := must.Get(survivor.Client().Agent().Self())(p.T)
	term := must.Get(strconv.ParseFloat(self["Stats"]["raft"].(map[string]any)["last_log_term"].(string), 64))(p.T)
	s.Expect(p.T, harness.Samples{harness.ServerSeries("last_log_term", survivor): term})

	want := judges(0).With(harness.Samples{
		"consul_autopilot_cluster_healthy": 0, "consul_autopilot_cluster_failure_tolerance": 0,
		"consul_autopilot_config_min_quorum": 3, autopilotSeries("healthy", survivor): 0,
		p.aliveOfVersion(): 2, // Serf has noticed, too.
	})
	for _, e := range []*harness.Exporter{p.e, p.second} {
		e.Await(p.T, want, "consul_cluster_consistent_read_duration_seconds")
		p.expectNoReads(e)
	}
	p.expectUnnoticed(survivor, "/v1/health/node")
}

func autopilotSeries(family string, server *consultest.Agent) string {
	return fmt.Sprintf("consul_autopilot_server_%s{server=%q}", family, server)
}

// expectAutopilot compares the metrics with Consul's API. The servers' views differ in what changes all the time.
func (p *play) expectAutopilot(e *harness.Exporter) {
	operator := p.leader.Client().Operator()
	state := must.Get(operator.AutopilotState(nil))(p.T)
	config := must.Get(operator.AutopilotGetConfiguration(nil))(p.T)
	if len(state.Servers) != len(p.c.Servers) || state.FailureTolerance != 1 {
		p.Errorf("Consul says %+v; want three servers of which one may fail", state)
	}
	want := harness.Samples{
		"consul_autopilot_cluster_healthy":                          1,
		"consul_autopilot_cluster_failure_tolerance":                float64(state.FailureTolerance),
		"consul_autopilot_cluster_optimistic_failure_tolerance":     float64(state.OptimisticFailureTolerance),
		"consul_autopilot_config_last_contact_threshold_seconds":    config.LastContactThreshold.Duration().Seconds(),
		"consul_autopilot_config_server_stabilization_time_seconds": config.ServerStabilizationTime.Duration().Seconds(),
		"consul_autopilot_config_max_trailing_logs":                 maxTrailingLogs,
		"consul_autopilot_config_min_quorum":                        3,
		"consul_autopilot_config_cleanup_dead_servers":              0,
	}
	for _, a := range p.c.Servers {
		want[autopilotSeries("healthy", a)] = 1
	}
	s := e.Await(p.T, want)
	for _, server := range state.Servers {
		a := p.c.Servers[slices.IndexFunc(p.c.Servers, func(a *consultest.Agent) bool { return a.Name == server.Name })]
		stable := time.UnixMilli(int64(1000 * s[autopilotSeries("stable_since_timestamp_seconds", a)]))
		if age := time.Since(stable); age < 0 || age > 15*time.Minute {
			p.Errorf("%s is stable for %s; want since the start of the test at most", a, age)
		}
	}
}

// expectSerf looks at the pools of an agent. A client has none of other datacenters.
func (p *play) expectSerf(e *harness.Exporter, isServer bool) {
	want := harness.Samples{
		p.aliveOfVersion(): 4, `consul_serf_queue_depth{pool="lan",queue="event"}`: 0,
		`consul_serf_queue_depth{pool="lan",queue="query"}`: 0,
	}
	var unwanted []string
	for _, series := range []string{
		"consul_serf_health_score{pool=%q}", "consul_serf_encrypted{pool=%q}",
		`consul_serf_queue_depth{pool=%q,queue="intent"}`,
	} {
		want[fmt.Sprintf(series, "lan")] = 0
		if isServer {
			want[fmt.Sprintf(series, "wan")] = 0
		} else {
			unwanted = append(unwanted, fmt.Sprintf(series, "wan"))
		}
	}
	e.Await(p.T, want, unwanted...)
}

// aliveOfVersion is the series that counts the members that are alive and have the queried agent's version, which all
// have.
func (p *play) aliveOfVersion() string {
	p.Helper()
	return fmt.Sprintf("consul_serf_version_members{version=%q}", consulVersion(p.T, p.agent))
}

// expectRTT compares with the servers' coordinates, at a time when they do not change. They are there 15 to 30
// seconds after the servers start.
func (p *play) expectRTT(e *harness.Exporter) {
	distance := func() float64 {
		entries, _, err := p.agent.Client().Coordinate().Nodes(nil)
		must.Do(p.T, err)
		at := make(map[string]*coordinate.Coordinate)
		for _, entry := range entries {
			at[entry.Node] = entry.Coord
		}
		if at["server-1"] == nil || at["server-2"] == nil {
			return 0
		}
		return at["server-1"].DistanceTo(at["server-2"]).Seconds()
	}
	harness.WaitFor(p.T, time.Minute, "the round trip to be that of the coordinates", func() string {
		before, got, after := distance(), e.Scrape(p.T)[`consul_serf_rtt_seconds{from="server-1",to="server-2"}`], distance()
		if before == after && before > 0 && math.Abs(got-before) < 2e-6 {
			return ""
		}
		return fmt.Sprintf("it is %v; by the coordinates it was %v before and %v after", got, before, after)
	})
}

// expectNoReads scrapes a cluster without a leader, whose servers would hold each linearizable read for seconds and
// then log an error.
func (p *play) expectNoReads(e *harness.Exporter) {
	reads := func(s harness.Samples) float64 {
		return sumOf(s, "consul_exporter_consul_requests_total{", "/v1/health/node")
	}
	before := reads(e.Scrape(p.T))
	for range 3 {
		s := e.Scrape(p.T)
		s.Expect(p.T, harness.Samples{"consul_cluster_consistent_read_success": 0})
		if n := reads(s); n != before {
			p.Errorf("%v linearizable reads after %v; want none without a leader", n, before)
		}
	}
}

// TestClustersMixed joins two servers each of which leads a cluster of its own, which Consul's defaults do not allow.
// They are two clusters that gossip with each other, and no split brain of one.
func TestClustersMixed(t *testing.T) {
	t.Parallel()
	playAll(t, startSplit(t), []scene{clustersMixed}, (*play).look)
}

func startSplit(t *testing.T) *consultest.Cluster {
	t.Helper()
	c := consultest.Start(t, consultest.Options{Servers: 2, Bootstrap: consultest.BootstrapAlone, Config: withGRPC(nil)})
	must.Do(t, c.Join(t.Context(), c.Servers[0], c.Servers[1]))
	return c
}

var clustersMixed = scene{
	name: "clusters mixed", split: true, through: func(p *play) *consultest.Agent { return p.c.Servers[0] },
	want: func(p *play) outlook {
		metrics := harness.Samples{
			"consul_cluster_leaders":                1,
			"consul_cluster_reported_leaders":       1,
			"consul_cluster_raft_configurations":    1,
			"consul_cluster_foreign_servers":        1,
			"consul_cluster_voters":                 1,
			"consul_cluster_servers_without_leader": 0,
			"consul_cluster_unknown_raft_peers":     0,
			`consul_cluster_servers{state="alive"}`: 2, `consul_cluster_servers{state="failed"}`: 0,
			`consul_cluster_servers{state="leaving"}`: 0,
		}
		for _, a := range p.c.Servers {
			metrics[harness.ServerSeries("is_leader", a)] = 1
			metrics[harness.PortSeries("up", a)] = 1
		}
		return outlook{
			level: status.LevelDegraded, problems: []string{"ConsulClustersMixed"}, metrics: metrics,
			sentence: "1 of 1 voter answers, quorum is 1, server-1 leads; servers of another cluster are in its gossip pool.*",
		}
	},
	window: "degraded: Consul dc1",
	page:   []string{"servers of another cluster are in its gossip pool", "ConsulClustersMixed"},
}
