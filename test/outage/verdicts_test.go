// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/serf/coordinate"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

func autopilotSeries(family string, server *consultest.Agent) string {
	return fmt.Sprintf("consul_autopilot_server_%s{server=%q}", family, server)
}

// expectAutopilot compares the metrics with Consul's API. The servers' views differ in what changes all the time.
func (p *play) expectAutopilot(e *harness.Exporter) {
	operator := p.leader.Client().Operator()
	state, err := operator.AutopilotState(nil)
	harness.Must(p.T, err)
	config, err := operator.AutopilotGetConfiguration(nil)
	harness.Must(p.T, err)
	if len(state.Servers) != len(p.c.Servers) || state.FailureTolerance != 1 {
		p.Errorf("Consul says %+v; want three servers of which one may fail", state)
	}
	want := harness.Samples{
		"consul_autopilot_cluster_healthy":                          1,
		"consul_autopilot_cluster_failure_tolerance":                float64(state.FailureTolerance),
		"consul_autopilot_cluster_optimistic_failure_tolerance":     float64(state.OptimisticFailureTolerance),
		"consul_autopilot_config_last_contact_threshold_seconds":    config.LastContactThreshold.Duration().Seconds(),
		"consul_autopilot_config_server_stabilization_time_seconds": config.ServerStabilizationTime.Duration().Seconds(),
		"consul_autopilot_config_max_trailing_logs":                 20,
		"consul_autopilot_config_min_quorum":                        3,
		"consul_autopilot_config_cleanup_dead_servers":              0,
		autopilotSeries("last_contact_seconds", p.leader):           0,
	}
	for _, a := range p.c.Servers {
		want[autopilotSeries("healthy", a)] = 1
		want[autopilotSeries("voter", a)] = 1
	}
	s := e.Await(p.T, want)
	for _, a := range p.c.Servers {
		index, contact := s[autopilotSeries("last_index", a)], s[autopilotSeries("last_contact_seconds", a)]
		for _, server := range state.Servers {
			if last := float64(server.LastIndex); server.Name == a.Name && math.Abs(index-last) > 100 {
				p.Errorf("last index of %s is %v; Consul says %v", a, index, last)
			}
		}
		if (contact == 0) != (a == p.leader) || contact > 1 {
			p.Errorf("last contact of %s is %v s; want 0 for the leader %s only and never 1 s", a, contact, p.leader)
		}
		stable := time.UnixMilli(int64(1000 * s[autopilotSeries("stable_since_timestamp_seconds", a)]))
		if age := time.Since(stable); age < 0 || age > 15*time.Minute {
			p.Errorf("%s is stable for %s; want since the start of the test at most", a, age)
		}
	}
}

// expectSerf looks at the pools of an agent: a client has none of other datacenters.
func (p *play) expectSerf(e *harness.Exporter, isServer bool) {
	wan := []string{
		`consul_serf_health_score{pool="wan"}`, `consul_serf_encrypted{pool="wan"}`,
		`consul_serf_queue_depth{pool="wan",queue="intent"}`,
	}
	want := harness.Samples{
		`consul_serf_health_score{pool="lan"}`:               0,
		`consul_serf_encrypted{pool="lan"}`:                  0,
		`consul_serf_queue_depth{pool="lan",queue="event"}`:  0,
		`consul_serf_queue_depth{pool="lan",queue="intent"}`: 0,
		`consul_serf_queue_depth{pool="lan",queue="query"}`:  0,
		p.aliveOfVersion(): 4,
	}
	if !isServer {
		e.Await(p.T, want, wan...)
		return
	}
	for _, series := range wan {
		want[series] = 0
	}
	e.Await(p.T, want)
}

// aliveOfVersion is the series that counts the members that are alive and have the asked agent's version, which all
// have.
func (p *play) aliveOfVersion() string {
	p.Helper()
	return fmt.Sprintf("consul_serf_version_members{version=%q}", consulVersion(p.T, p.asked))
}

// expectRTT compares with the servers' coordinates, at a time when they do not change. They are there 15 to 30
// seconds after the servers start.
func (p *play) expectRTT(e *harness.Exporter) {
	distance := func() float64 {
		entries, _, err := p.asked.Client().Coordinate().Nodes(nil)
		harness.Must(p.T, err)
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
