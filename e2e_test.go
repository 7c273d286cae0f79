// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package main

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
)

// outsideNamespace is the variable in which `make e2e` tells the network namespace it was started in, as /proc has it.
const outsideNamespace = "E2E_OUTSIDE_NETNS"

// requireNamespace fails the test unless it has a network namespace for itself: it changes the packet filter.
func requireNamespace(t *testing.T) {
	t.Helper()
	const remedy = "these tests change the packet filter; run them with 'make e2e', which gives them a network namespace of their own"
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatalf("%v: %s", err, remedy)
	}
	switch outside := os.Getenv(outsideNamespace); outside {
	case "":
		t.Fatalf("%s is not set: %s", outsideNamespace, remedy)
	case own:
		t.Fatalf("the network namespace is the one outside, %s: %s", own, remedy)
	}
	interfaces, err := net.Interfaces()
	must(t, err)
	for _, i := range interfaces { // The kernel may have made tunnels, but they are down.
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 {
			t.Fatalf("the network namespace has the interface %s: %s", i.Name, remedy)
		}
	}
}

// A packetFilter are rules, in force until they are lifted or the test ends. Several may be in force at one time. The servers' peers do
// not notice rules about the exporter: unlike it, Consul's agents send from their own addresses.
type packetFilter struct {
	table  string
	lifted bool
}

// filters counts the filters that were put in force, which names their tables.
var filters atomic.Int64

// filterIncoming puts rules in force, each an nftables expression and its verdict.
//
// They apply to what comes in, not to what goes out: a packet dropped on its way out is an error of the sending program's system
// call, and that is not how it is between hosts.
func filterIncoming(t *testing.T, rules ...string) *packetFilter {
	t.Helper()
	f := &packetFilter{table: fmt.Sprintf("inet consul_cluster_exporter_e2e_%d", filters.Add(1))}
	nft(t, fmt.Sprintf(`
		table %s {
			chain incoming {
				type filter hook input priority filter; policy accept;
				%s
			}
		}`, f.table, strings.Join(rules, "\n")))
	t.Cleanup(func() { f.lift(t) })
	return f
}

// filterPackets puts a rule about what the exporter sends to one server in force: match and verdict are nftables expressions.
func filterPackets(t *testing.T, to *consultest.Agent, match, verdict string) *packetFilter {
	t.Helper()
	return filterIncoming(t, fmt.Sprintf("ip saddr 127.0.0.1 ip daddr %s %s counter %s", to.Addr, match, verdict))
}

// matched returns how many packets the rule has been applied to.
func (f *packetFilter) matched(t *testing.T) int {
	t.Helper()
	rules := nft(t, "list table "+f.table)
	m := regexp.MustCompile(`counter packets (\d+)`).FindStringSubmatch(rules)
	if m == nil {
		t.Fatalf("the rule has no counter:\n%s", rules)
	}
	n, err := strconv.Atoi(m[1])
	must(t, err)
	return n
}

func (f *packetFilter) lift(t *testing.T) {
	t.Helper()
	if !f.lifted {
		nft(t, "delete table "+f.table)
		f.lifted = true
	}
}

// nft runs a script of nftables and returns what it prints.
func nft(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s; it was given %s", err, out, script)
	}
	return string(out)
}

// portStates are the states of all ports and the counts of their failures.
func portStates(s samples) samples {
	states := maps.Clone(s)
	maps.DeleteFunc(states, func(series string, _ float64) bool {
		return !strings.HasPrefix(series, "consul_port_up{") && !strings.HasPrefix(series, "consul_port_probe_failures_total{")
	})
	return states
}

// A firewall between the exporter and one port of one server takes down that port alone, in one transport alone, for the reason
// that tells the ways of a firewall apart, and for no longer than it is there.
func TestE2EFirewall(t *testing.T) {
	requireNamespace(t)
	c := consultest.Start(t, consultest.Options{Servers: 3})
	leader := leaderOf(t, c)
	follower := others(c, leader)[0]
	e := startExporter(t, nil, "--consul.server="+leader.URL())

	rpc := portID{8300, "rpc", "tcp"}
	gossipTCP := portID{8301, "serf_lan", "tcp"}
	gossipUDP := portID{8301, "serf_lan", "udp"}
	e.scrapeUntilUp(t, plainPorts, c.Servers...)
	var marks []int
	for _, a := range c.Servers {
		marks = append(marks, a.LogMark())
	}

	for _, tc := range []struct {
		name           string
		match, verdict string
		port           portID
		// reason is empty where the port stays up.
		reason string
		// takes is about what the probe of the port takes; 0 where that does not matter.
		takes time.Duration
	}{
		{"gossip over UDP dropped", "udp dport 8301", "drop", gossipUDP, "timeout", probeTimeout},
		{"gossip over UDP rejected", "udp dport 8301", "reject with icmp type port-unreachable", gossipUDP, "refused", 0},
		{"one datagram lost", "udp dport 8301 limit rate 1/hour burst 1 packets", "drop", gossipUDP, "", probeTimeout / 3},
		{"gossip over TCP dropped", "tcp dport 8301", "drop", gossipTCP, "timeout", probeTimeout},
		{"gossip over TCP reset", "tcp dport 8301", "reject with tcp reset", gossipTCP, "refused", 0},
		{"server RPC dropped", "tcp dport 8300", "drop", rpc, "timeout", probeTimeout},
		{"server RPC unreachable", "tcp dport 8300", "reject with icmp type host-unreachable", rpc, "unreachable", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := e.scrape(t)
			before.expectPorts(t, plainPorts, c.Servers...)
			want := portStates(before)
			failures := tc.port.series("consul_port_probe_failures_total", follower, fmt.Sprintf("reason=%q", tc.reason))
			want["consul_cluster_failure_margin"] = 1
			want["consul_cluster_reachable_voters"] = 3
			if tc.reason != "" {
				want[tc.port.series("consul_port_up", follower)] = 0
				want[failures]++
				if tc.port == rpc {
					want["consul_cluster_failure_margin"] = 0
					want["consul_cluster_reachable_voters"] = 2
				}
			}
			want["consul_cluster_leaders"] = 1
			want["consul_cluster_reported_leaders"] = 1
			want[`consul_cluster_servers{state="alive"}`] = 3 // Gossip among the servers goes on.
			want[`consul_cluster_servers{state="failed"}`] = 0

			filter := filterPackets(t, follower, tc.match, tc.verdict)
			start := time.Now()
			s := e.scrape(t)
			took := time.Since(start)
			s.expect(t, want)
			if limit := 2 * probeTimeout; took > limit {
				t.Errorf("scrape took %s; want no more than %s", took, limit)
			}
			if duration := s[tc.port.series("consul_port_probe_duration_seconds", follower)]; duration < tc.takes.Seconds()*0.9 {
				t.Errorf("the probe took %v s; want about %s", duration, tc.takes)
			}
			if filter.matched(t) == 0 {
				t.Error("the exporter sent nothing that the rule applies to")
			}

			// The first scrape without the rule finds all well, and has forgotten nothing.
			filter.lift(t)
			healed := e.scrape(t)
			healed.expectPorts(t, plainPorts, c.Servers...)
			healed.expect(t, samples{"consul_cluster_failure_margin": 1, "consul_cluster_reachable_voters": 3})
			if tc.reason != "" {
				healed.expect(t, samples{failures: want[failures]})
			}
		})
	}
	for i, a := range c.Servers {
		expectQuiet(t, a, marks[i])
	}
}
