// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"fmt"
	"math"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/serf/coordinate"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// verdictCollectors are those whose metrics are judged here.
func verdictCollectors() []string { return []string{"autopilot", "consistent", "serf"} }

// verdictSuccess wants the collectors to be complete.
func verdictSuccess() harness.Samples {
	want := harness.Samples{}
	for _, name := range verdictCollectors() {
		want[fmt.Sprintf("consul_exporter_collector_success{collector=%q}", name)] = 1
		want[fmt.Sprintf("consul_exporter_collector_supported{collector=%q}", name)] = 1
	}
	return want
}

// autopilotConfig differs from the defaults.
func autopilotConfig() map[string]any {
	return map[string]any{"autopilot": map[string]any{
		"cleanup_dead_servers": false, "min_quorum": 3, "max_trailing_logs": 333, "last_contact_threshold": "350ms",
	}}
}

func autopilotSeries(family, server string) string {
	return fmt.Sprintf("consul_autopilot_server_%s{server=%q}", family, server)
}

// A cluster is judged while it is healthy, when it has lost a server and when it has lost its leader, by way of a server and of a
// client, by an exporter with the rights that the README gives it.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1, ACL: true, Config: autopilotConfig()})
	leader := harness.LeaderOf(t, c)
	token, err := c.NewToken(t.Context(), harness.ReadmePolicy(t))
	harness.Must(t, err)
	survivor := harness.Others(c, leader)[0]
	members := fmt.Sprintf("consul_serf_version_members{version=%q}", consulVersion(t, survivor))
	flags := []string{"--consul.token-file=" + harness.Secret(t, token), "--probe.timeout=500ms"}
	for _, name := range []string{"agent", "connections", "members", "ports"} {
		flags = append(flags, "--no-collector."+name)
	}
	server := harness.StartExporter(t, nil, append(flags, "--consul.server="+survivor.URL())...)
	client := harness.StartExporter(t, nil, append(flags, "--consul.server="+c.Clients[0].URL())...)
	exporters := []*harness.Exporter{server, client}
	placeServers(t, c)
	for _, e := range exporters {
		e.ScrapeUntil(t, 30*time.Second, "autopilot calls all servers healthy", func(s harness.Samples) bool {
			view, err := leader.Client().Operator().AutopilotState(nil) // Each server has its own.
			harness.Must(t, err)
			return s["consul_autopilot_cluster_healthy"] == 1 && view.Healthy && len(view.Servers) == len(c.Servers)
		}).Expect(t, verdictSuccess())
	}
	t.Run("autopilot", func(t *testing.T) {
		for _, e := range exporters {
			expectAutopilot(t, e, c, leader)
		}
	})
	t.Run("consistent", func(t *testing.T) {
		for _, e := range exporters {
			s := e.Scrape(t)
			s.Expect(t, harness.Samples{"consul_cluster_consistent_read_success": 1})
			if took := s["consul_cluster_consistent_read_duration_seconds"]; took <= 0 || took > 1 {
				t.Errorf("the linearizable read took %v s; want more than 0 and 1 at most", took)
			}
		}
	})
	t.Run("no rights", func(t *testing.T) { expectNoRights(t, survivor) })
	t.Run("serf", func(t *testing.T) {
		expectSerf(t, server, client, members)
		for _, e := range exporters {
			expectRTT(t, e, c.Servers[0], c.Servers[1], token)
		}
	})

	lost := harness.Others(c, leader, survivor)[0]
	harness.Must(t, lost.Kill())
	for _, e := range exporters {
		s := e.ScrapeUntil(t, 30*time.Second, "a server is lost", func(s harness.Samples) bool {
			_, there := s[autopilotSeries("last_index", lost.Name)]
			return s[autopilotSeries("healthy", survivor.Name)] == 1 && s["consul_cluster_consistent_read_success"] == 1 &&
				!there && s[members] == 3
		})
		want := verdictSuccess()
		want["consul_autopilot_cluster_healthy"] = 0
		want["consul_autopilot_cluster_failure_tolerance"] = 0
		want[autopilotSeries("healthy", lost.Name)] = 0
		want[autopilotSeries("voter", lost.Name)] = 1
		s.Expect(t, want)
		if got := s.Labels("consul_serf_rtt_seconds", "from"); len(got) != 1 {
			t.Errorf("%d round trips between two servers; want one", len(got))
		}
		s.ExpectNone(t, autopilotSeries("last_contact_seconds", lost.Name))
	}

	// With the second of three servers the quorum goes.
	mark := survivor.LogMark()
	harness.Must(t, leader.Stop())
	for _, e := range exporters {
		// The survivor may name the frozen leader still, and the client may have asked that one.
		e.Scrape(t).Expect(t, harness.Samples{"consul_cluster_consistent_read_success": 0, `consul_exporter_collector_success{collector="consistent"}`: 1})
	}
	for _, e := range exporters {
		s := e.ScrapeUntil(t, 60*time.Second, "no leader, and Serf knows that it failed", func(s harness.Samples) bool {
			healthy, known := s[autopilotSeries("healthy", survivor.Name)]
			return known && healthy == 0 && s[members] == 2
		})
		want := verdictSuccess()
		want["consul_cluster_consistent_read_success"] = 0
		want["consul_autopilot_cluster_healthy"] = 0
		want["consul_autopilot_cluster_failure_tolerance"] = 0
		want["consul_autopilot_config_min_quorum"] = 3
		s.Expect(t, want)
		s.ExpectNone(t, "consul_cluster_consistent_read_duration_seconds")
		expectNoReads(t, e)
	}
	expectUnnoticedReads(t, survivor, mark)
}

// The linearizable read hangs as long as it may while a server still names a leader that is frozen. Nothing else waits for it, then or when
// there is no leader.
func TestVerdicts_NothingWaits(t *testing.T) {
	t.Parallel()
	const readTimeout, enough = 5 * time.Second, 2500 * time.Millisecond
	c := consultest.Start(t, consultest.Options{Servers: 3, Config: harness.KeepDead()})
	leader := harness.LeaderOf(t, c)
	survivor := harness.Others(c, leader)[0]
	harness.Must(t, c.WaitSynced(t.Context()))
	e := harness.StartExporter(t, nil, "--consul.server="+survivor.URL(), "--consul.timeout=1s", "--probe.timeout=1s", "--collector.consistent.timeout="+readTimeout.String())
	e.ScrapeUntil(t, 30*time.Second, "autopilot knows the servers", func(s harness.Samples) bool { return s["consul_autopilot_cluster_healthy"] == 1 })
	duration := func(name string) string {
		return fmt.Sprintf("consul_exporter_collector_duration_seconds{collector=%q}", name)
	}
	expect := func(s harness.Samples, longest time.Duration) {
		t.Helper()
		want := harness.Samples{"consul_cluster_consistent_read_success": 0, "consul_catalog_services": 1, "consul_cluster_failure_margin": -1, "consul_exporter_scrape_timeouts_total": 0}
		for _, name := range []string{"autopilot", "catalog", "consistent", "members", "raft", "serf"} {
			want[fmt.Sprintf("consul_exporter_collector_success{collector=%q}", name)] = 1
		}
		s.Expect(t, want)
		for _, name := range s.Labels("consul_exporter_collector_duration_seconds", "collector") {
			limit := enough
			if name == "consistent" {
				limit = longest
			}
			if took := s[duration(name)]; took > limit.Seconds() {
				t.Errorf("collector %s took %v s; want %s at most", name, took, limit)
			}
		}
	}
	for _, a := range harness.Others(c, survivor) {
		harness.Must(t, a.Stop())
	}
	s := e.Scrape(t)
	expect(s, readTimeout+500*time.Millisecond)
	if took := s[duration("consistent")]; took < enough.Seconds() {
		t.Errorf("the linearizable read took %v s; want it to hang while the leader is named", took)
	}
	// In an election an agent may take seconds to tell about itself.
	s = e.ScrapeUntil(t, 40*time.Second, "no leader, and an agent that tells about itself", func(s harness.Samples) bool {
		return s["consul_cluster_leaders"] == 0 && s["consul_raft_leader"] == 0 && s[`consul_exporter_collector_success{collector="agent"}`] == 1
	})
	expect(s, enough)
}

// placeServers writes the servers' coordinates, which they do themselves only 15 to 30 seconds after they have started, and to which a
// server adds five.
func placeServers(t *testing.T, c *consultest.Cluster) {
	t.Helper()
	for i, a := range c.Servers {
		_, err := a.Client().Coordinate().Update(&api.CoordinateEntry{Node: a.Name, Coord: &coordinate.Coordinate{
			Vec: []float64{0.01 * float64(i), 0.02, -0.003 * float64(i), 0, 0, 0, 0, 0}, Error: 0.5, Adjustment: -0.0004 * float64(i), Height: 0.0017,
		}}, nil)
		harness.Must(t, err)
	}
}

// expectAutopilot compares the metrics with what Consul's API says. The views of the servers differ in what changes all the time.
func expectAutopilot(t *testing.T, e *harness.Exporter, c *consultest.Cluster, leader *consultest.Agent) {
	t.Helper()
	before, err := leader.Client().Operator().AutopilotState(nil)
	harness.Must(t, err)
	s := e.Scrape(t)
	config, err := leader.Client().Operator().AutopilotGetConfiguration(nil)
	harness.Must(t, err)
	want := harness.Samples{
		"consul_autopilot_cluster_healthy":                          1,
		"consul_autopilot_cluster_failure_tolerance":                float64(before.FailureTolerance),
		"consul_autopilot_cluster_optimistic_failure_tolerance":     float64(before.OptimisticFailureTolerance),
		"consul_autopilot_config_last_contact_threshold_seconds":    config.LastContactThreshold.Duration().Seconds(),
		"consul_autopilot_config_server_stabilization_time_seconds": config.ServerStabilizationTime.Duration().Seconds(),
		"consul_autopilot_config_max_trailing_logs":                 333,
		"consul_autopilot_config_min_quorum":                        3,
		"consul_autopilot_config_cleanup_dead_servers":              0,
		autopilotSeries("last_contact_seconds", leader.Name):        0,
	}
	if len(before.Servers) != len(c.Servers) || before.FailureTolerance != 1 {
		t.Errorf("Consul says %+v; want three servers of which one may fail", before)
	}
	for _, server := range before.Servers {
		want[autopilotSeries("healthy", server.Name)] = 1
		want[autopilotSeries("voter", server.Name)] = 1
		index, contact := s[autopilotSeries("last_index", server.Name)], s[autopilotSeries("last_contact_seconds", server.Name)]
		if last := float64(server.LastIndex); math.Abs(index-last) > 100 {
			t.Errorf("last index of %s is %v; Consul says %v", server.Name, index, last)
		}
		if (contact == 0) != (server.Name == leader.Name) || contact > 1 {
			t.Errorf("last contact of %s is %v s; want 0 for the leader %s only and never 1 s", server.Name, contact, leader)
		}
		if age := time.Since(time.UnixMilli(int64(1000 * s[autopilotSeries("stable_since_timestamp_seconds", server.Name)]))); age < 0 || age > 5*time.Minute {
			t.Errorf("%s is stable for %s; want since the start of the test", server.Name, age)
		}
	}
	s.Expect(t, want)
}

func expectSerf(t *testing.T, server, client *harness.Exporter, members string) {
	t.Helper()
	want := harness.Samples{
		`consul_serf_health_score{pool="lan"}`:               0,
		`consul_serf_encrypted{pool="lan"}`:                  0,
		`consul_serf_queue_depth{pool="lan",queue="event"}`:  0,
		`consul_serf_queue_depth{pool="lan",queue="intent"}`: 0,
		`consul_serf_queue_depth{pool="lan",queue="query"}`:  0,
		members: 4,
	}
	s := client.Scrape(t)
	s.Expect(t, want)
	s.ExpectNone(t, `consul_serf_health_score{pool="wan"}`, `consul_serf_encrypted{pool="wan"}`, `consul_serf_queue_depth{pool="wan"`)
	want[`consul_serf_health_score{pool="wan"}`] = 0
	want[`consul_serf_encrypted{pool="wan"}`] = 0
	want[`consul_serf_queue_depth{pool="wan",queue="intent"}`] = 0
	server.Scrape(t).Expect(t, want)
}

// expectRTT compares with what `consul rtt` prints, at a time when the coordinates do not change.
func expectRTT(t *testing.T, e *harness.Exporter, from, to *consultest.Agent, token string) {
	t.Helper()
	consul, err := toolbox.Path("consul")
	harness.Must(t, err)
	series := fmt.Sprintf("consul_serf_rtt_seconds{from=%q,to=%q}", from.Name, to.Name)
	for deadline := time.Now().Add(30 * time.Second); ; {
		before := e.Scrape(t)[series]
		out, err := exec.CommandContext(t.Context(), consul, "rtt", "-http-addr="+from.URL(), "-token="+token, from.Name, to.Name).CombinedOutput()
		after := e.Scrape(t)[series]
		var want float64 // Without coordinates it fails.
		if m := regexp.MustCompile(`rtt: ([0-9.]+) ms`).FindSubmatch(out); err == nil && m != nil {
			want, err = strconv.ParseFloat(string(m[1]), 64)
			harness.Must(t, err)
		}
		switch {
		case before == 0 && time.Now().Before(deadline): // They are not in the catalog yet.
		case before == after && after > 0 && math.Abs(after*1000-want) < 0.0011: // It prints microseconds.
			return
		case before == after:
			t.Fatalf("%s = %v; consul rtt prints %s", series, after, out)
		case time.Now().After(deadline):
			t.Fatalf("the coordinates change all the time: %s went from %v to %v", series, before, after)
		}
	}
}

// expectNoRights looks at what is left of the metrics on a cluster that denies by default. The linearizable read needs no right and leaves
// nothing in the log, at any token that Consul knows.
func expectNoRights(t *testing.T, a *consultest.Agent) {
	t.Helper()
	mark := a.LogMark()
	e := harness.StartExporter(t, nil, "--consul.server="+a.URL())
	for range 2 {
		s := e.Scrape(t)
		s.Expect(t, harness.Samples{
			"consul_cluster_consistent_read_success":                     1,
			`consul_exporter_collector_success{collector="consistent"}`:  1,
			`consul_exporter_collector_supported{collector="autopilot"}`: 0,
			`consul_exporter_collector_supported{collector="serf"}`:      0,
		})
		s.ExpectNone(t, `consul_exporter_consul_requests_total{code="403"`, "consul_autopilot_", "consul_serf_health_score", "consul_serf_rtt_seconds", "consul_serf_version_members")
	}
	expectUnnoticedReads(t, a, mark)

	unknown := harness.StartExporter(t, nil, "--consul.server="+a.URL(), "--consul.token-file="+harness.Secret(t, "11111111-2222-3333-4444-555555555555"))
	for range 2 {
		start := time.Now()
		s := unknown.Scrape(t)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("the scrape with a token that Consul does not know took %s; want nothing to be waited for", took)
		}
		s.Expect(t, harness.Samples{
			`consul_exporter_collector_supported{collector="consistent"}`:                    0,
			`consul_exporter_collector_supported{collector="peering"}`:                       0,
			`consul_exporter_consul_requests_total{code="403",endpoint="/v1/agent/members"}`: 1,
		})
		s.ExpectNone(t, "consul_cluster_consistent_read_")
	}
}

// expectNoReads scrapes a cluster without a leader, whose servers would hold each linearizable read for seconds and then log an error.
func expectNoReads(t *testing.T, e *harness.Exporter) {
	t.Helper()
	reads := func(s harness.Samples) (n float64) {
		for series, v := range s {
			if strings.HasPrefix(series, "consul_exporter_consul_requests_total{") && strings.Contains(series, "/v1/health/node") {
				n += v
			}
		}
		return n
	}
	before := reads(e.Scrape(t))
	for range 3 {
		s := e.Scrape(t)
		s.Expect(t, harness.Samples{"consul_cluster_consistent_read_success": 0})
		if n := reads(s); n != before {
			t.Errorf("%v linearizable reads after %v; want none without a leader", n, before)
		}
	}
}

// expectUnnoticedReads fails if the agent complained about a linearizable read.
func expectUnnoticedReads(t *testing.T, a *consultest.Agent, mark int) {
	t.Helper()
	for _, line := range consultest.AtLeast(a.LogsSince(mark), "WARN") {
		if strings.Contains(line.Raw, "/v1/health/node") {
			t.Errorf("the log of %s has %s", a, line)
		}
	}
}
