// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"slices"
)

// servesOthers reports whether the ports of this protocol of the other servers can be expected to answer from here: when the agent asked is
// a server and offers its own at the address it advertises, they will do so too. A client's configuration says nothing about the servers',
// and whoever reaches the agent through a socket or a proxy's path may not reach the servers.
func servesOthers(configured Address, asked Agent, p Protocol) bool {
	return asked.Server && configured.Socket == "" && configured.Path == "" && asked.offers(p)
}

// reaches reports whether the HTTP APIs of the other servers can be expected to answer, the configured agent being this one.
func (c *Cluster) reaches(asked Agent) bool {
	return servesOthers(c.client.opts.Address, asked, c.client.opts.Address.protocol())
}

// clientPorts returns the ports for clients: of every server, of the agent alone, or none. Choice auto decides that for each protocol.
func (pl *planner) clientPorts() []Port {
	if pl.agent == nil {
		return nil
	}
	var others, own []Protocol
	for _, p := range []Protocol{ProtocolHTTP, ProtocolHTTPS, ProtocolGRPC, ProtocolGRPCTLS, ProtocolDNS} {
		switch choice := cmp.Or(pl.opts.ClientPorts, ClientPortsAuto); {
		case choice == ClientPortsOff || !pl.wants(p):
		case choice == ClientPortsServers || (choice == ClientPortsAuto && servesOthers(pl.configured, *pl.agent, p)):
			others = append(others, p)
		default:
			own = append(own, p)
		}
	}
	return append(pl.clientPortsOfServers(others), pl.clientPortsOfAgent(own)...)
}

// clientPortsOfServers returns the ports of every server. HTTP and DNS are taken to be as on the agent asked.
func (pl *planner) clientPortsOfServers(protocols []Protocol) []Port {
	var ports []Port
	for _, s := range pl.topology.Servers {
		if s.Status == StatusNone || !pl.allowed(s.Host) {
			continue
		}
		for _, p := range protocols {
			number := pl.agent.clientPort(p)
			if s.Name != pl.agent.Name { // Its own tags lack them before Consul 1.14.
				switch p {
				case ProtocolGRPC:
					number = s.GRPCPort
				case ProtocolGRPCTLS:
					number = s.GRPCTLSPort
				}
			}
			ports = append(ports, pl.clientPort(p, s.Name, s.Host, number, s.state(), pl.grpcOwnCA(s))...)
		}
	}
	return ports
}

// grpcOwnCA reports whether a server's gRPC with TLS shows a certificate of the service mesh's authority. It is taken to be as on the agent, unless
// one of the two has certificates and the other has none, as their Serf tags say: TLS is being introduced.
func (pl *planner) grpcOwnCA(s Server) bool {
	i := slices.IndexFunc(pl.topology.Servers, func(s Server) bool { return s.Name == pl.agent.Name })
	if i < 0 || pl.topology.Servers[i].UsesTLS == s.UsesTLS {
		return pl.agent.GRPCOwnCA
	}
	return !s.UsesTLS
}

// clientPortsOfAgent returns the agent's own ports, as far as they can be reached from here.
func (pl *planner) clientPortsOfAgent(protocols []Protocol) []Port {
	var ports []Port
	for _, p := range protocols {
		host := pl.agentHost(p)
		if host != "" && (host == pl.configured.hostname() || pl.allowed(host)) {
			ports = append(ports, pl.clientPort(p, pl.agent.Name, host, pl.agent.clientPort(p), pl.agent.state(), pl.agent.GRPCOwnCA)...)
		}
	}
	return ports
}

// agentHost returns where a port for clients of the configured agent is: where its HTTP API is, if both are bound alike, or else at one
// of the addresses that it is bound to. It is empty when these are only for the agent's own host, and that is another one.
func (pl *planner) agentHost(p Protocol) string {
	bound, local := pl.agent.boundTo(p), pl.configured.Socket != "" || loopback(pl.configured.hostname())
	all := slices.ContainsFunc(bound, unspecified)
	switch {
	case pl.configured.Socket != "" && all:
		return "127.0.0.1"
	case all || (pl.configured.Socket == "" && slices.Equal(bound, pl.agent.boundTo(pl.configured.protocol()))):
		return pl.configured.hostname()
	case slices.Contains(bound, pl.agent.AdvertiseAddr):
		return pl.agent.AdvertiseAddr
	}
	for _, host := range bound {
		if local || !loopback(host) {
			return host
		}
	}
	return ""
}

// clientPort returns how to probe a port of an agent, or none if it is off: two ports for DNS, which is on TCP and UDP.
func (pl *planner) clientPort(p Protocol, agent, host string, number int, state string, grpcOwnCA bool) []Port {
	if number == 0 {
		return nil
	}
	port := Port{Server: agent, Protocol: p, Transport: TransportTCP, Address: address(host, number), agent: state}
	switch {
	case p == ProtocolGRPCTLS && grpcOwnCA && pl.agent.withoutMeshCA():
		port.Note = "without a certificate of its own (tls.grpc), the port needs one of the service mesh, for cluster peering, and one of the two is off"
	case p == ProtocolGRPCTLS && pl.mesh != nil && grpcOwnCA:
		port.tls = pl.mesh.tlsFor(host, pl.datacenter())
	case p == ProtocolGRPCTLS || p == ProtocolHTTPS:
		port.tls = pl.tlsFor(host)
	case p == ProtocolDNS:
		port.domain = cmp.Or(pl.opts.DNSDomain, pl.agent.Domain)
		udp := port
		udp.Transport = TransportUDP
		return []Port{port, udp}
	}
	return []Port{port}
}
