// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && stack

package stack_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// blocked is a fault that lasts as long as rules of the packet filter are in force.
func blocked(t *testing.T, cluster, fault string, rules ...string) outage {
	t.Helper()
	var filter *harness.PacketFilter
	return outage{
		cluster, fault,
		func() { filter = harness.FilterIncoming(t, rules...) },
		func() { filter.Lift(t) },
	}
}

// fromExporters is a rule about what exporters send to an agent.
func fromExporters(to *consultest.Agent, rest string) string {
	return "ip saddr 127.0.0.1 ip daddr " + to.Addr + " " + rest
}

// markedGroup is the group that exporters run as whose packets have a mark of the same number: agents, too, dial port 8301 from 127.0.0.1.
const markedGroup = 9107

// markedExporter starts an exporter whose packets the packet filter can tell from others.
func markedExporter(t *testing.T, s *alertStack, cluster string, args ...string) {
	t.Helper()
	s.watch(t, cluster, harness.Launch(t, "setpriv", nil, append(
		[]string{fmt.Sprintf("--regid=%d", markedGroup), "--clear-groups", s.binary, "--probe.timeout=1500ms", "--web.scrape-timeout-offset=100ms"}, args...)...))
}

// markPackets has the packets of marked exporters marked until the test ends.
func markPackets(t *testing.T) {
	t.Helper()
	harness.NFT(t, fmt.Sprintf(`
		table inet consul_cluster_exporter_e2e {
			chain outgoing {
				type filter hook output priority filter; policy accept;
				meta skgid %[1]d meta mark set %[1]d
			}
		}`, markedGroup))
	t.Cleanup(func() { harness.NFT(t, "delete table inet consul_cluster_exporter_e2e") })
}

// between are rules that drop all packets between an agent and others, but for those of marked exporters.
func between(a *consultest.Agent, others ...*consultest.Agent) []string {
	var addresses []string
	for _, o := range others {
		addresses = append(addresses, o.Addr)
	}
	set := "{ " + strings.Join(addresses, ", ") + " }"
	return []string{
		fmt.Sprintf("ip saddr %s ip daddr %s drop", a.Addr, set),
		fmt.Sprintf("ip saddr %s ip daddr %s drop", set, a.Addr),
		fmt.Sprintf("ip saddr 127.0.0.1 ip daddr { %s, %s } tcp dport { 8301, 8302 } meta mark != %d drop", a.Addr, strings.Join(addresses, ", "), markedGroup),
	}
}

// portsBlocked are firewalls between the exporter and the servers, which notice nothing.
func portsBlocked(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := startLed(t, consultest.Options{Servers: 3, Config: steady()})
	s.exporter(t, "blocked", "--consul.server="+c.Servers[0].URL())
	return []outage{
		// Blocked for all, the server would also be taken for failed as soon as TCP is slow once, which a busy machine decides.
		blocked(t, "blocked", "UDP 8301 is blocked between the exporter and a server",
			fromExporters(c.Servers[1], "udp dport 8301 drop")),
		blocked(t, "blocked", "TCP 8301 is blocked between the exporter and a server",
			fromExporters(c.Servers[0], "tcp dport 8301 drop")),
		blocked(t, "blocked", "TCP 8300 is blocked between the exporter and a follower",
			fromExporters(c.Servers[2], "tcp dport 8300 drop")),
		blocked(t, "blocked", "TCP 8302, 8500, 8502 and 8600 are blocked between the exporter and a server",
			fromExporters(c.Servers[1], "tcp dport { 8302, 8500, 8502, 8600 } drop")),
	}
}

// portsFlawed are ports that answer, but not as they should.
func portsFlawed(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := startLed(t, consultest.Options{Servers: 3, Config: steady()})
	s.exporter(t, "flawed", "--consul.server="+c.Servers[0].URL())
	return []outage{
		blocked(t, "flawed", "every other connection to port 8302 of a server is refused",
			fromExporters(c.Servers[1], "tcp dport 8302 tcp flags syn numgen inc mod 2 0 reject with tcp reset")),
		blocked(t, "flawed", "port 8502 of a server accepts connections, and what is sent there is lost",
			fromExporters(c.Servers[2], "tcp dport 8502 tcp flags & psh == psh drop")),
	}
}

// portSlow loses the first packet of each connection, which is sent again after a second.
func portSlow(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := startLed(t, consultest.Options{Servers: 3, Config: steady()})
	s.watch(t, "slow", harness.Launch(t, s.binary, nil, "--consul.server="+c.Servers[0].URL(), "--probe.timeout=2500ms", "--web.scrape-timeout-offset=100ms"))
	return []outage{blocked(t, "slow", "a server's port 8302 takes more than a second to answer, and the pack has `--scrape-duration=900ms`",
		fromExporters(c.Servers[2], "tcp dport 8302 tcp flags syn numgen inc mod 2 0 drop"))}
}

// minority is a server that the others cannot reach, and the exporter can.
func minority(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := startLed(t, consultest.Options{Servers: 3, Config: brisk()})
	markedExporter(t, s, "minority", "--consul.server="+c.Servers[0].URL())
	return []outage{apart(t, c, "minority", "one of three servers is cut off from the others", between(c.Servers[2], c.Servers[:2]...)...)}
}

// allCutOff are servers that answer the exporter and not each other.
func allCutOff(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := startLed(t, consultest.Options{Servers: 3, Config: brisk()})
	markedExporter(t, s, "apart", "--consul.server="+c.Servers[0].URL())
	rules := append(between(c.Servers[0], c.Servers[1:]...), between(c.Servers[1], c.Servers[2])...)
	return []outage{apart(t, c, "apart", "all servers are cut off from each other", rules...)}
}

// apart is a fault between servers. Serf tries to reach members that failed again every thirty seconds, which is not shortened here: in the
// end the servers are told to.
func apart(t *testing.T, c *consultest.Cluster, cluster, fault string, rules ...string) outage {
	t.Helper()
	o := blocked(t, cluster, fault, rules...)
	lift := o.mend
	o.mend = func() {
		lift()
		for _, from := range c.Servers {
			for _, to := range harness.Others(c, from) {
				harness.Must(t, c.Join(harness.Soon(t), from, to))
				harness.Must(t, from.Client().Agent().Join(to.Addr, true))
			}
		}
	}
	return o
}

// viewsDiffer are two exporters of which one reaches a server's port.
func viewsDiffer(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := startLed(t, consultest.Options{Servers: 3, Config: steady()})
	s.exporter(t, "views", "--consul.server="+c.Servers[0].URL())
	markedExporter(t, s, "views", "--consul.server="+c.Servers[0].URL())
	return []outage{blocked(t, "views", "one of two exporters is cut off from a server's port 8300",
		fromExporters(c.Servers[2], fmt.Sprintf("tcp dport 8300 meta mark %d drop", markedGroup)))}
}

// followerBehind loses all large packets on their way to a follower's port 8300, as a network does whose MTU is wrong: the leader is heard
// of, and what is written does not arrive.
func followerBehind(t *testing.T, s *alertStack) []outage {
	t.Helper()
	config := steady()
	config["autopilot"].(map[string]any)["max_trailing_logs"] = 2000 // More than the pack's own threshold, which is then the first to be passed.
	c := startLed(t, consultest.Options{Servers: 3, Config: config})
	s.exporter(t, "behind", "--consul.server="+c.Servers[0].URL())
	o := blocked(t, "behind", "a follower is kept behind while 5,000 keys are written (large packets to its port 8300 are lost)",
		fmt.Sprintf("ip saddr %s ip daddr %s tcp dport 8300 meta length > 900 drop", c.Servers[0].Addr, c.Servers[2].Addr))
	block := o.strike
	o.strike = func() {
		block()
		writeKeys(t, c.Servers[0], 5000)
	}
	return []outage{o}
}

// writeKeys writes keys with values of a kilobyte, some at a time.
func writeKeys(t *testing.T, a *consultest.Agent, n int) {
	t.Helper()
	const writers = 8
	value := bytes.Repeat([]byte("x"), 1000)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < n; i += writers {
				if _, err := a.Client().KV().Put(&api.KVPair{Key: fmt.Sprintf("key-%d", i), Value: value}, nil); err != nil {
					t.Errorf("write a key: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestE2EAlerts makes the faults that take the packet filter.
func TestE2EAlerts(t *testing.T) {
	harness.RequireNamespace(t)
	markPackets(t)
	playAll(t, []act{
		{"ports blocked", nil, []scene{portsBlocked, minority}},
		{"ports flawed", nil, []scene{portsFlawed, followerBehind}},
		{"port slow", map[string]string{"scrape-duration": "900ms"}, []scene{portSlow}},
		{"cut off", nil, []scene{allCutOff, viewsDiffer}},
	})
}
