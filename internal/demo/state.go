// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
)

// state is what one scrape says about the cluster.
type state struct {
	// servers are all that the scrape knows, by name.
	servers []serverState
	// ports are all that the scrape knows of any server, by number.
	ports []port
	// agentUp is whether the agent that the exporter asks answers.
	agentUp figure

	voters, quorum, reachable, margin, configurations, unknownPeers figure

	// members are the members of the LAN pool by status, in the order of the exposition; nil when unknown.
	members []memberCount
}

// memberCount is how many members have a status.
type memberCount struct {
	status string
	count  figure
}

// port is a port that servers have.
type port struct{ number, protocol, transport string }

// String returns the number as an operator says it: UDP is the one that needs to be told apart.
func (p port) String() string {
	if p.transport == "udp" {
		return p.number + "/udp"
	}
	return p.number
}

// portState is how one port of one server is.
type portState struct {
	up, verified bool
	seconds      figure
	// reason is why it is not up; "" when that is unknown.
	reason string
}

// serverState is what one scrape says about one server.
type serverState struct {
	name  string
	ports map[port]portState
	// raft is the server's role: leader, follower, candidate; "" when unknown.
	raft string
	// leadsItself is whether it calls itself leader.
	leadsItself bool
	// leader is the name of the one it calls leader; "" when it knows of none, if hasLeader is known.
	leader    string
	hasLeader figure

	term, lastIndex, lag figure
}

// newState reads a scrape. The one before it tells why a port is down now; it is nil if there was none.
func newState(m, before metrics) state {
	s := state{
		agentUp:        m.get("consul_up"),
		voters:         m.get("consul_cluster_voters"),
		quorum:         m.get("consul_cluster_quorum"),
		reachable:      m.get("consul_cluster_reachable_voters"),
		margin:         m.get("consul_cluster_failure_margin"),
		configurations: m.get("consul_cluster_raft_configurations"),
		unknownPeers:   m.get("consul_cluster_unknown_raft_peers"),
	}
	for _, x := range m["consul_serf_member_count"] {
		if x.labels["pool"] == "lan" {
			s.members = append(s.members, memberCount{x.labels["status"], figure{x.value, true}})
		}
	}
	for _, name := range serverNames(m) {
		s.servers = append(s.servers, newServerState(name, m, before))
	}
	s.ports = allPorts(s.servers)
	return s
}

// serverNames returns the names of all servers in the scrape.
func serverNames(m metrics) []string {
	names := make(map[string]bool)
	for _, family := range []string{"consul_server_info", "consul_port_up"} {
		for _, x := range m[family] {
			names[x.labels["server"]] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func newServerState(name string, m, before metrics) serverState {
	s := serverState{
		name:      name,
		ports:     make(map[port]portState),
		hasLeader: m.get("consul_server_raft_has_leader", "server", name),
		lastIndex: m.get("consul_server_raft_last_log_index", "server", name),
		lag:       m.get("consul_server_raft_log_lag_entries", "server", name),
		term:      m.get("consul_server_raft_term", "server", name),
	}
	if !s.term.known {
		s.term = m.get("consul_server_raft_last_log_term", "server", name)
	}
	s.leadsItself = m.get("consul_server_raft_is_leader", "server", name).is(1)
	s.leader = leaderOf(m, name)
	s.raft = s.role(m)
	for _, x := range m["consul_port_up"] {
		if x.labels["server"] == name {
			p := port{x.labels["port"], x.labels["protocol"], x.labels["transport"]}
			s.ports[p] = newPortState(name, p, x.value == 1, m, before)
		}
	}
	return s
}

// leaderOf returns the name of the one that the server calls leader, or its address if no server has that.
func leaderOf(m metrics, server string) string {
	for _, x := range m["consul_server_raft_reported_leader_info"] {
		if x.labels["server"] != server {
			continue
		}
		for _, info := range m["consul_server_info"] {
			if info.labels["address"] == x.labels["leader"] {
				return info.labels["server"]
			}
		}
		return x.labels["leader"]
	}
	return ""
}

// role returns the server's role by its HTTP API, or else what its answer on port 8300 comes to.
func (s serverState) role(m metrics) string {
	for _, x := range m["consul_server_raft_state"] {
		if x.labels["server"] == s.name && x.value == 1 {
			return x.labels["state"]
		}
	}
	switch {
	case s.leadsItself:
		return "leader"
	case s.hasLeader.is(1):
		return "follower"
	default:
		return ""
	}
}

func newPortState(server string, p port, up bool, m, before metrics) portState {
	labels := []string{"server", server, "port", p.number, "protocol", p.protocol, "transport", p.transport}
	s := portState{
		up:       up,
		verified: !m.get("consul_port_protocol_verified", labels...).is(0),
		seconds:  m.get("consul_port_probe_duration_seconds", labels...),
	}
	if !up {
		s.reason = grownReason(labels, m, before)
	}
	return s
}

// grownReason returns the reason for which the most probes of a port failed since the scrape before; there may have been
// others in between.
func grownReason(labels []string, m, before metrics) string {
	const family = "consul_port_probe_failures_total"
	reason, most := "", 0.0
	for _, x := range m[family] {
		if !x.has(labels) {
			continue
		}
		earlier := before.get(family, append(slices.Clone(labels), "reason", x.labels["reason"])...)
		if grown := x.value - earlier.value; grown > most {
			reason, most = x.labels["reason"], grown
		}
	}
	return reason
}

// allPorts returns the ports that any of the servers has.
func allPorts(servers []serverState) []port {
	all := make(map[port]bool)
	for _, s := range servers {
		for p := range s.ports {
			all[p] = true
		}
	}
	return slices.SortedFunc(maps.Keys(all), comparePorts)
}

func comparePorts(a, b port) int {
	return cmp.Or(
		cmp.Compare(portNumber(a), portNumber(b)),
		cmp.Compare(a.transport, b.transport),
		cmp.Compare(a.protocol, b.protocol),
	)
}

// portNumber returns 0 for what is no number, which no exporter should say.
func portNumber(p port) int {
	n, _ := strconv.Atoi(p.number)
	return n
}

// leaders returns the names of the servers that call themselves leader.
func (s state) leaders() []string {
	var names []string
	for _, server := range s.servers {
		if server.leadsItself {
			names = append(names, server.name)
		}
	}
	return names
}
