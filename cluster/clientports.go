// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// servesOthers reports whether the other servers' ports of this protocol can be expected to answer from here: they
// should if the agent is a server that offers its own at the address it advertises. A client's configuration says
// nothing about the servers, and behind a socket or a proxy they may be out of reach.
func servesOthers(configured consul.Address, asked Agent, p Protocol) bool {
	return asked.Server && configured.Socket == "" && configured.Path == "" && asked.offers(p)
}

// reaches reports whether the HTTP APIs of the other servers can be expected to answer, given the agent in use.
func (s *Snapshot) reaches(asked Agent) bool {
	address := s.Address()
	return servesOthers(address, asked, protocolOf(address))
}

// protocolOf is the protocol that an agent's HTTP API is spoken to in.
func protocolOf(api consul.Address) Protocol {
	if api.Scheme == "https" {
		return ProtocolHTTPS
	}
	return ProtocolHTTP
}

// clientPorts returns the ports for clients: of every server, of the agent alone, or none. Auto decides by protocol.
func (pl *planner) clientPorts() []Port {
	if pl.agent == nil {
		return nil
	}
	var others, own []*protocol
	for i := range protocols {
		p := &protocols[i]
		switch choice := cmp.Or(pl.opts.ClientPorts, ClientPortsAuto); {
		case p.listens == nil || choice == ClientPortsOff || !pl.wants(p.name):
		case choice == ClientPortsServers || (choice == ClientPortsAuto && servesOthers(pl.configured, *pl.agent, p.name)):
			others = append(others, p)
		default:
			own = append(own, p)
		}
	}
	return append(pl.clientPortsOfServers(others), pl.clientPortsOfAgent(own)...)
}

// clientPortsOfServers returns the ports of every server. Those without a Serf tag are taken to be like the agent's.
func (pl *planner) clientPortsOfServers(protocols []*protocol) []Port {
	var ports []Port
	for _, s := range pl.topology.Servers {
		if s.Status == StatusNone || s.Missing() || !pl.opts.allow(s.Host) {
			continue
		}
		for _, p := range protocols {
			number := pl.agent.ports[p.name]
			if p.tag != nil && !pl.agent.is(s) { // The agent's own tags lack them before Consul 1.14.
				number = p.tag(s)
			}
			if number != 0 {
				ports = append(ports, pl.portsOf(p, s, address(s.Host, number), s.state())...)
			}
		}
	}
	return ports
}

// grpcOwnCA reports whether a server's gRPC with TLS shows a certificate of the service mesh: as on the agent, unless
// by their Serf tags only one of the two has certificates, because TLS is being introduced.
func (pl *planner) grpcOwnCA(s Server) bool {
	i := slices.IndexFunc(pl.topology.Servers, pl.agent.is)
	if i < 0 || pl.agent.is(s) || pl.topology.Servers[i].UsesTLS == s.UsesTLS {
		return pl.agent.GRPCOwnCA
	}
	return !s.UsesTLS
}

// clientPortsOfAgent returns the agent's own ports, as far as they can be reached from here.
func (pl *planner) clientPortsOfAgent(protocols []*protocol) []Port {
	var ports []Port
	for _, p := range protocols {
		host, number := pl.agentHost(p.name), pl.agent.ports[p.name]
		if number != 0 && host != "" && (host == pl.configured.Hostname() || pl.opts.allow(host)) {
			agent := Server{Name: pl.agentName(), Host: host}
			ports = append(ports, pl.portsOf(p, agent, address(host, number), pl.agent.state())...)
		}
	}
	return ports
}

// agentHost returns where a port for clients of the configured agent is: where its HTTP API is, if both are bound
// alike, or else at one of its addresses. It is empty when these are only for the agent's own host, and that is
// another one.
func (pl *planner) agentHost(p Protocol) string {
	bound, local := pl.agent.boundTo(p), pl.configured.Socket != "" || consul.IsLoopback(pl.configured.Hostname())
	all := slices.ContainsFunc(bound, consul.IsUnspecified)
	switch {
	case pl.configured.Socket != "" && all:
		return "127.0.0.1"
	case all || (pl.configured.Socket == "" && slices.Equal(bound, pl.agent.boundTo(protocolOf(pl.configured)))):
		return pl.configured.Hostname()
	case slices.Contains(bound, pl.agent.AdvertiseAddr):
		return pl.agent.AdvertiseAddr
	}
	for _, host := range bound {
		if local || !consul.IsLoopback(host) {
			return host
		}
	}
	return ""
}

func (pl *planner) planTLS(s Server, port *Port) { port.tls = pl.tlsFor(s.Host) }

func (pl *planner) planGRPCTLS(s Server, port *Port) {
	switch ownCA := pl.grpcOwnCA(s); {
	case ownCA && pl.agent.withoutMeshCA():
		port.Note = "without a certificate of its own (tls.grpc), the port needs one of the service mesh, " +
			"for cluster peering, and one of the two is off"
	case ownCA && pl.mesh != nil:
		port.tls = pl.mesh.tlsFor(s.Host, pl.datacenter())
	default:
		port.tls = pl.tlsFor(s.Host)
	}
}

func (pl *planner) planDNS(_ Server, port *Port) {
	port.domain = cmp.Or(pl.opts.DNSDomain, pl.agent.Domain)
}
