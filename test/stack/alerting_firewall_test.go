// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// firewallFaults are faults that last as long as rules of the packet filter are in force.
var firewallFaults = []fault{
	{
		// Firewalls between the exporter and the servers, which notice nothing.
		act: "ports blocked", cluster: "blocked", options: three(steady()), asked: "server-1",
		// Blocked for all, the server would also be considered failed as soon as TCP is slow once, which depends
		// on how busy the machine is.
		name:   "UDP 8301 is blocked between the exporter and a server",
		breaks: block(fromExporters + "server-2 udp dport 8301 drop"), repairs: unblock,
		alerts: []wantAlert{
			warning("ConsulGossipUDPBlocked", "server=server-2 port=8301 protocol=serf_lan transport=udp"),
		},
	},
	{
		name:   "TCP 8301 is blocked between the exporter and a server",
		breaks: block(fromExporters + "server-1 tcp dport 8301 drop"), repairs: unblock,
		alerts: []wantAlert{
			warning("ConsulPortDown", "server=server-1 port=8301 protocol=serf_lan transport=tcp"),
		},
	},
	{
		name:   "TCP 8300 is blocked between the exporter and a follower",
		breaks: block(fromExporters + "server-3 tcp dport 8300 drop"), repairs: unblock,
		// The others hear it: it is not the server that is down.
		alerts: []wantAlert{warning("ConsulExporterBlind", "*")},
	},
	{
		name:   "TCP 8302, 8500, 8502 and 8600 are blocked between the exporter and a server",
		breaks: block(fromExporters + "server-2 tcp dport { 8302, 8500, 8502, 8600 } drop"), repairs: unblock,
		alerts: []wantAlert{
			warning("ConsulPortDown", "server=server-2 port=8302 protocol=serf_wan transport=tcp"),
			warning("ConsulPortDown", "server=server-2 port=8500 protocol=http transport=tcp"),
			warning("ConsulPortDown", "server=server-2 port=8502 protocol=grpc transport=tcp"),
			warning("ConsulPortDown", "server=server-2 port=8600 protocol=dns transport=tcp"),
		},
	},
	{
		// Ports that answer, but not as they should.
		act: "ports flawed", cluster: "flawed", options: three(steady()), asked: "server-1",
		name:    "every other connection to port 8302 of a server is refused",
		breaks:  block(fromExporters + "server-2 tcp dport 8302 tcp flags syn numgen inc mod 2 0 reject with tcp reset"),
		repairs: unblock,
		alerts: []wantAlert{
			warning("ConsulPortDown", "server=server-2 port=8302 protocol=serf_wan transport=tcp"),
			held(warning("ConsulPortErrors", "server=server-2 port=8302 protocol=serf_wan transport=tcp")),
		},
		except: []exception{{
			why:    "the alert is about what happens again and again, and a page tells of the last probe",
			alerts: []string{"ConsulPortDown"},
		}},
	},
	{
		name:   "port 8502 of a server accepts connections, and what is sent there is lost",
		breaks: block(fromExporters + "server-3 tcp dport 8502 tcp flags & psh == psh drop"), repairs: unblock,
		alerts: []wantAlert{
			warning("ConsulPortDown", "server=server-3 port=8502 protocol=grpc transport=tcp"),
		},
	},
	{
		// The first packet of each connection is lost, which is sent again after a second.
		act: "port slow", settings: map[string]string{"scrape-duration": "900ms"}, probeTimeout: "2500ms",
		cluster: "slow", options: three(steady()), asked: "server-1",
		name:   "a server's port 8302 takes more than a second to answer, and the pack has `--scrape-duration=900ms`",
		breaks: block(fromExporters + "server-3 tcp dport 8302 tcp flags syn numgen inc mod 2 0 drop"), repairs: unblock,
		alerts: []wantAlert{
			warning("ConsulPortSlow", "server=server-3 port=8302 protocol=serf_wan transport=tcp"),
			warning("ConsulScrapeSlow", "*"),
		},
	},
	{
		act: "ports blocked", cluster: "minority", options: three(brisk()), marked: "server-1",
		name:   "one of three servers is cut off from the others",
		breaks: block(between("server-3", "server-1, server-2")...), repairs: rejoin,
		alerts: []wantAlert{
			warning("ConsulServerWithoutLeader", "server=server-3"),
			critical("ConsulQuorumAtRisk", ""),
			held(warning("ConsulSerfMemberFailed", "member=server-3 server=server-3")),
			held(warning("ConsulRaftLastContact", "server=server-3")),
			held(warning("ConsulAutopilotUnhealthy", "")),
		},
	},
	{
		act: "cut off", cluster: "apart", options: three(brisk()), marked: "server-1",
		name:    "all servers are cut off from each other",
		breaks:  block(append(between("server-1", "server-2, server-3"), between("server-2", "server-3")...)...),
		repairs: rejoin,
		alerts: []wantAlert{
			critical("ConsulNoLeader", ""),
			held(critical("ConsulQuorumUnknown", "")),
			held(warning("ConsulServerWithoutLeader", "server=server-1")),
			held(critical("ConsulConsistentReadsFail", "")),
		},
	},
	{
		act: "cut off", cluster: "views", options: three(steady()), asked: "server-1", marked: "server-1",
		name:   "one of two exporters is cut off from a server's port 8300",
		breaks: block(fromExporters + "server-3 tcp dport 8300 meta mark " + markedGroup + " drop"), repairs: unblock,
		alerts: []wantAlert{
			warning("ConsulPortViewsDiffer", "server=server-3 port=8300 protocol=rpc transport=tcp"),
			warning("ConsulExporterBlind", "*"),
			held(warning("ConsulPortErrors", "server=server-3 port=8300 protocol=rpc transport=tcp")),
		},
	},
	{
		act: "ports flawed", cluster: "behind", options: three(behind()), asked: "server-1",
		// As in a network with the wrong MTU, heartbeats reach the follower, and writes do not.
		name: "a follower is kept behind while 5,000 keys are written (large packets to its port 8300 are lost)",
		breaks: func(w *world) {
			block("ip saddr server-1 ip daddr server-3 tcp dport 8300 meta length > 900 drop")(w)
			writeKeys(w.t, w.Servers[0], 5000)
		},
		repairs: unblock,
		alerts: []wantAlert{
			warning("ConsulRaftLogLag", "server=server-3"),
			warning("ConsulAutopilotUnhealthy", ""),
			held(info("ConsulRaftLogLag", "server=server-3")),
		},
	},
	{
		act: "disks stuck", cluster: "stuck", options: three(steady()), asked: "server-1",
		name: "the disks of both followers no longer write", breaks: stallFollowers, repairs: resumeDisks,
		alerts: []wantAlert{
			critical("ConsulWritesStalled", ""),
		},
	},
}

// fromExporters begins a rule about what exporters send to an agent. Rules are written with the names of agents.
const fromExporters = "ip saddr 127.0.0.1 ip daddr "

// markedGroup is the group that exporters run as whose packets have a mark of the same number: agents, too, dial port
// 8301 from 127.0.0.1. markedCommand runs them.
const markedGroup = "9107"

var markedCommand = []string{"setpriv", "--regid=" + markedGroup, "--clear-groups"}

// markPackets has the packets of marked exporters marked until the test ends.
func markPackets(t *testing.T) {
	t.Helper()
	harness.NFT(t, `
		table inet consul_cluster_exporter_e2e {
			chain outgoing {
				type filter hook output priority filter; policy accept;
				meta skgid `+markedGroup+` meta mark set `+markedGroup+`
			}
		}`)
	t.Cleanup(func() { harness.NFT(t, "delete table inet consul_cluster_exporter_e2e") })
}

// between are rules that drop all packets between an agent and others, except those of marked exporters.
func between(agent, others string) []string {
	return []string{
		fmt.Sprintf("ip saddr %s ip daddr { %s } drop", agent, others),
		fmt.Sprintf("ip saddr { %s } ip daddr %s drop", others, agent),
		fmt.Sprintf("%s{ %s, %s } tcp dport { 8301, 8302 } meta mark != %s drop", fromExporters, agent, others, markedGroup),
	}
}

// block puts rules in force, and unblock ends all that are in force in the scene.
func block(rules ...string) step {
	return func(w *world) {
		var addresses []string
		for _, a := range w.Servers {
			addresses = append(addresses, a.Name, a.Addr)
		}
		text := strings.NewReplacer(addresses...).Replace(strings.Join(rules, "\n"))
		w.filters = append(w.filters, harness.FilterIncoming(w.t, text))
	}
}

func unblock(w *world) {
	for _, f := range w.filters {
		f.Lift(w.t)
	}
}

// stallFollowers stalls the disks of all servers but the leader, and writes.
func stallFollowers(w *world) {
	for _, a := range w.Servers[1:] {
		w.stalled = append(w.stalled, harness.StallDisk(w.t, a))
	}
	go func() { // It fails: nothing commits.
		_, _ = w.Servers[0].Client().KV().Put(&api.KVPair{Key: "stalled"}, nil)
	}()
}

func resumeDisks(w *world) {
	for _, resume := range w.stalled {
		resume()
	}
}

// rejoin ends a partition. Serf tries to reach members that failed again every thirty seconds, which is not shortened
// here, so the test makes them.
func rejoin(w *world) {
	unblock(w)
	for _, from := range w.Servers {
		for _, to := range harness.Others(w.Cluster, from) {
			must.Do(w.t, w.Join(harness.Soon(w.t), from, to))
			must.Do(w.t, from.Client().Agent().Join(to.Addr, true))
		}
	}
}

// behind has autopilot allow more than the pack's own threshold, which is then the first to be passed.
func behind() []consultest.Deviation {
	return append(steady(), consultest.LongLag.Because("the pack's threshold is to be passed before autopilot's"))
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
