// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"math"
	"net"
	"slices"
	"strconv"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// socket is a TCP socket of this host.
type socket struct {
	addr  net.IP
	port  uint64
	state uint64
}

// The states of a socket, by their number in Linux (include/net/tcp_states.h).
const socketListens = 10

var socketStates = map[uint64]string{
	1: "established", 2: "syn_sent", 3: "syn_recv", 4: "fin_wait1", 5: "fin_wait2", 6: "time_wait", 8: "close_wait",
	9: "last_ack", 11: "closing", 12: "syn_recv", // 12 is a half-open connection that has no socket yet.
}

// shownStates are the values of the label state.
var shownStates = []string{
	"established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait", "close_wait", "last_ack", "closing",
}

// ConnectionStates are the values of the label state of consul_port_connections.
func ConnectionStates() []string { return slices.Clone(shownStates) }

// newConnectionsCollector counts the TCP connections to the ports of the configured agent, as the kernel lists them.
//
// Requests: those of the topology (see newRaftCollector) and /v1/agent/self, and the members of the WAN pool if that
// has its own interface. ACL: agent:read. Ten series per port. Where the exporter is not in the agent's network
// namespace, or not on Linux, there are none, and that is no failure.
func newConnectionsCollector(define *definitions) collector {
	connections := define.gauge("consul_port_connections",
		"TCP connections to the agent's port on this host, by kernel state.",
		"server", "port", "protocol", "transport", "state")
	return read((*cluster.Snapshot).AgentPorts, func(ports []cluster.BoundPort, err error, out *families) error {
		if err != nil || len(ports) == 0 {
			return err
		}
		sockets, err := hostSockets(portRange(ports))
		if err != nil {
			return err
		}
		for _, p := range ports {
			counts, found := countConnections(p, sockets)
			if !found {
				continue
			}
			for _, state := range shownStates {
				out.add(connections, counts[state], p.Server, strconv.Itoa(p.Number()), string(p.Protocol), p.Transport, state)
			}
		}
		return nil
	})
}

// portRange returns the smallest and the largest number of the ports.
func portRange(ports []cluster.BoundPort) (first, last uint16) {
	first = math.MaxUint16
	for _, p := range ports {
		first, last = min(first, uint16(p.Number())), max(last, uint16(p.Number()))
	}
	return first, last
}

// countConnections counts by state; found is false when nothing listens on the port here.
func countConnections(p cluster.BoundPort, sockets []socket) (counts map[string]float64, found bool) {
	var listening []net.IP
	for _, s := range sockets {
		if s.state == socketListens && s.port == uint64(p.Number()) && boundTo(p, s.addr) {
			listening = append(listening, s.addr)
		}
	}
	if len(listening) == 0 {
		return nil, false
	}
	counts = make(map[string]float64)
	for _, s := range sockets {
		reaches := func(l net.IP) bool { return l.IsUnspecified() || l.Equal(s.addr) }
		if s.port == uint64(p.Number()) && s.state != socketListens && slices.ContainsFunc(listening, reaches) {
			counts[socketStates[s.state]]++
		}
	}
	return counts, true
}

// boundTo reports whether the port may be bound to this address.
func boundTo(p cluster.BoundPort, addr net.IP) bool {
	return addr.IsUnspecified() || slices.ContainsFunc(p.Addrs, func(s string) bool {
		ip := net.ParseIP(s)
		return ip != nil && ip.Equal(addr)
	})
}
