// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package netns_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// filterPackets puts a rule about what the exporter sends to one server in force: match and verdict are nftables
// expressions.
func filterPackets(t *testing.T, to *consultest.Agent, match, verdict string) *harness.PacketFilter {
	t.Helper()
	return harness.FilterIncoming(t, fmt.Sprintf("ip saddr 127.0.0.1 ip daddr %s %s counter %s", to.Addr, match, verdict))
}

const (
	unknownVoters = `consul_cluster_voters_state{state="unknown"}`
	lostVoters    = `consul_cluster_voters_state{state="lost"}`
)

// portStates are the states of all ports and the counts of their failures.
func portStates(s harness.Samples) harness.Samples {
	states := make(harness.Samples)
	for series, value := range s {
		if strings.HasPrefix(series, "consul_port_up{") || strings.HasPrefix(series, "consul_port_probe_failures_total{") {
			states[series] = value
		}
	}
	return states
}

// A firewall between the exporter and one port of one server takes down that port alone, in one transport alone, for
// the reason that tells the ways of a firewall apart, and for no longer than it is there.
func TestE2EFirewall(t *testing.T) {
	harness.RequireNamespace(t)
	c := consultest.Start(t, consultest.Options{Servers: 3})
	leader := harness.LeaderOf(t, c)
	follower := harness.Others(c, leader)[0]
	e := harness.StartExporter(t, nil, "--consul.server="+leader.URL())

	rpc := harness.Port(8300, "rpc", "tcp")
	gossipTCP := harness.Port(8301, "serf_lan", "tcp")
	gossipUDP := harness.Port(8301, "serf_lan", "udp")
	e.ScrapeUntilUp(t, harness.PlainPorts, c.Servers...)
	var marks []int
	for _, a := range c.Servers {
		marks = append(marks, a.LogMark())
	}

	for _, tc := range []struct {
		name           string
		match, verdict string
		port           harness.PortID
		// reason is empty where the port stays up.
		reason string
		// takes is about what the probe of the port takes; 0 where that does not matter.
		takes time.Duration
	}{
		{"gossip over UDP dropped", "udp dport 8301", "drop", gossipUDP, "timeout", harness.ProbeTimeout},
		{"gossip over UDP rejected", "udp dport 8301", "reject with icmp type port-unreachable", gossipUDP, "refused", 0},
		{
			"one datagram lost", "udp dport 8301 limit rate 1/hour burst 1 packets", "drop",
			gossipUDP, "", harness.ProbeTimeout / 3,
		},
		{"gossip over TCP dropped", "tcp dport 8301", "drop", gossipTCP, "timeout", harness.ProbeTimeout},
		{"gossip over TCP reset", "tcp dport 8301", "reject with tcp reset", gossipTCP, "refused", 0},
		{"server RPC dropped", "tcp dport 8300", "drop", rpc, "timeout", harness.ProbeTimeout},
		{"server RPC unreachable", "tcp dport 8300", "reject with icmp type host-unreachable", rpc, "unreachable", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := e.Scrape(t)
			before.ExpectPorts(t, harness.PlainPorts, c.Servers...)
			want := portStates(before)
			failures := tc.port.Series("consul_port_probe_failures_total", follower, fmt.Sprintf("reason=%q", tc.reason))
			want["consul_cluster_failure_margin"] = 1
			want[harness.AnsweringVoters] = 3
			want[unknownVoters], want[lostVoters] = 0, 0
			if tc.reason != "" {
				want[tc.port.Series("consul_port_up", follower)] = 0
				want[failures]++
				if tc.port == rpc { // The leader has contact with it, so it is not lost, and nothing says that it could be spared.
					delete(want, "consul_cluster_failure_margin")
					want[harness.AnsweringVoters] = 2
					want[unknownVoters] = 1
				}
			}
			want[`consul_cluster_quorum_state{state="held"}`] = 1
			want["consul_cluster_leaders"] = 1
			want["consul_cluster_reported_leaders"] = 1
			want[`consul_cluster_servers{state="alive"}`] = 3 // Gossip among the servers goes on.
			want[`consul_cluster_servers{state="failed"}`] = 0

			filter := filterPackets(t, follower, tc.match, tc.verdict)
			start := time.Now()
			s := e.Scrape(t)
			took := time.Since(start)
			s.Expect(t, want)
			if _, known := want["consul_cluster_failure_margin"]; !known {
				s.ExpectNone(t, "consul_cluster_failure_margin")
			}
			if limit := 2 * harness.ProbeTimeout; took > limit {
				t.Errorf("scrape took %s; want no more than %s", took, limit)
			}
			if duration := s[tc.port.Series("consul_port_probe_duration_seconds", follower)]; duration < tc.takes.Seconds()*0.9 {
				t.Errorf("the probe took %v s; want about %s", duration, tc.takes)
			}
			if filter.Matched(t) == 0 {
				t.Error("the exporter sent nothing that the rule applies to")
			}

			// The first scrape without the rule finds all well, and has forgotten nothing.
			filter.Lift(t)
			healed := e.Scrape(t)
			healed.ExpectPorts(t, harness.PlainPorts, c.Servers...)
			healed.Expect(t, harness.Samples{"consul_cluster_failure_margin": 1, harness.AnsweringVoters: 3})
			if tc.reason != "" {
				healed.Expect(t, harness.Samples{failures: want[failures]})
			}
		})
	}
	for i, a := range c.Servers {
		harness.ExpectQuiet(t, a, marks[i])
	}
}
