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

// clientPorts returns the ports for clients: of every server, of the agent alone, or none.
func (pl *planner) clientPorts() []Port {
	choice := cmp.Or(pl.opts.ClientPorts, ClientPortsAuto)
	if pl.agent == nil || choice == ClientPortsOff {
		return nil
	}
	var ports []Port
	if choice != ClientPortsServers || pl.agent.Server {
		ports = pl.eachClientPort(pl.agentItself(), pl.agent.state(), pl.portOfAgent)
	}
	for _, s := range pl.topology.Servers {
		if choice != ClientPortsAgent && s.Status != StatusNone && !s.Missing() && !pl.agent.is(s) {
			ports = append(ports, pl.eachClientPort(s, s.state(), pl.portOfServer)...)
		}
	}
	return ports
}

// agentItself is the configured agent as a server, which it may not be.
func (pl *planner) agentItself() Server {
	if i := slices.IndexFunc(pl.topology.Servers, pl.agent.is); i >= 0 {
		return pl.topology.Servers[i]
	}
	return Server{Name: pl.agent.Name, ID: pl.agent.ID, Host: pl.agent.AdvertiseAddr}
}

// place is where a port for clients is: a number of 0 means that there is none, and an empty host one that cannot be
// asked, and why.
type place struct {
	host      string
	number    int
	why       unasked
	tentative bool // See Port.
}

// eachClientPort returns the ports for clients of one server or agent.
func (pl *planner) eachClientPort(s Server, state string, find func(*protocol, Server) (place, bool)) []Port {
	var ports []Port
	for i := range protocols {
		p := &protocols[i]
		if p.listens == nil || !pl.wants(p.name) {
			continue
		}
		at, ok := find(p, s)
		if !ok {
			continue
		}
		if at.host != "" && at.host != pl.configured.Hostname() && !pl.opts.allow(at.host) {
			at.why = notAllowed
		}
		on := s
		on.Host = at.host
		for _, port := range pl.portsOf(p, on, address(at.host, at.number), state) {
			port.tentative = at.tentative && !port.Unasked()
			if at.why.note != "" {
				port.leaveOut(at.why)
			}
			ports = append(ports, port)
		}
	}
	return ports
}

// portOfServer finds a port of another server: where that server says it is. If it says nothing, the port is looked
// for where the agent has its own, if the agent is a server that offers it to others. That is a guess, unless the user
// says so. It returns false for a port that there is not.
func (pl *planner) portOfServer(p *protocol, s Server) (place, bool) {
	own := pl.settings(s)
	number := pl.agent.ports[p.name]
	if own != nil {
		number = own.ports[p.name]
	} else if p.tag != nil {
		number = p.tag(s)
	}
	told := pl.opts.ClientPorts == ClientPortsServers
	switch {
	case number == 0, own != nil && len(own.boundTo(p.name)) == 0: // It may be on a unix socket.
		return place{}, false
	case own != nil && own.offers(p.name), own == nil && told:
		return place{host: s.Host, number: number}, true
	case own != nil:
		return place{host: own.reachable(p.name), number: number, why: onLoopback}.orElsewhere(), true
	case servesOthers(pl.configured, *pl.agent, p.name):
		return place{host: s.Host, number: number, tentative: true}, true
	case !pl.agent.Server && !pl.wants(ProtocolRPC): // An exporter of this agent, and not of the servers.
		return place{}, false
	case p.tag == nil:
		number = 0 // That of the agent is no evidence.
	}
	return place{number: number, why: withoutSettings}, true
}

// orElsewhere drops the reason why a port is not asked if there is a host to ask it on.
func (at place) orElsewhere() place {
	if at.host != "" {
		at.why = unasked{}
	}
	return at
}

// grpcOwnCA reports whether a server's gRPC with TLS shows a certificate of the service mesh: as it says, or as on the
// agent, unless
// by their Serf tags only one of the two has certificates, because TLS is being introduced.
func (pl *planner) grpcOwnCA(s Server) bool {
	if own := pl.settings(s); own != nil {
		return own.GRPCOwnCA
	}
	i := slices.IndexFunc(pl.topology.Servers, pl.agent.is)
	if i < 0 || pl.agent.is(s) || pl.topology.Servers[i].UsesTLS == s.UsesTLS {
		return pl.agent.GRPCOwnCA
	}
	return !s.UsesTLS
}

// portOfAgent finds one of the agent's own ports: where its HTTP API is, if both are bound alike, or else at one of its
// addresses. Behind a proxy, neither the host in the URL nor those addresses need be within reach, except for a server
// whose other ports are asked anyway.
func (pl *planner) portOfAgent(p *protocol, s Server) (place, bool) {
	at := place{number: pl.agent.ports[p.name]}
	bound, socket := pl.agent.boundTo(p.name), pl.configured.Socket != ""
	all, here := slices.ContainsFunc(bound, consul.IsUnspecified), socket || pl.agentAtURL()
	switch {
	case at.number == 0, len(bound) == 0: // It may be on a unix socket.
		return place{}, false
	case servesOthers(pl.configured, *pl.agent, p.name):
		at.host = s.Host
	case !here:
		at.why = ofProxy
	case socket && all:
		at.host = "127.0.0.1"
	case all || (!socket && slices.Equal(bound, pl.agent.boundTo(protocolOf(pl.configured)))):
		at.host = pl.configured.Hostname()
	case pl.agent.offers(p.name):
		at.host = pl.agent.AdvertiseAddr
	case socket, consul.IsLoopback(pl.configured.Hostname()):
		at.host = bound[0]
	default:
		at.host, at.why = pl.agent.reachable(p.name), onLoopback
		at = at.orElsewhere()
	}
	return at, true
}

// agentAtURL reports whether the host in the URL of the HTTP API is one that the agent itself listens on. Otherwise
// something is in between: a proxy, a load balancer, or a port that is published under another number.
func (pl *planner) agentAtURL() bool {
	api := protocolOf(pl.configured)
	if pl.configured.Path != "" || pl.configured.Port() != pl.agent.ports[api] {
		return false
	}
	hosts := pl.urlHosts
	if len(hosts) == 0 {
		hosts = []string{pl.configured.Hostname()}
	}
	return !slices.ContainsFunc(hosts, func(host string) bool { return !pl.agentHas(host, pl.agent.boundTo(api)) })
}

// agentHas reports whether the agent listens on a host that is in the URL, given what its HTTP API is bound to. A
// loopback address reaches an agent on this host, and a port that is published here under the same number.
func (pl *planner) agentHas(host string, bound []string) bool {
	all := slices.ContainsFunc(bound, consul.IsUnspecified)
	if consul.IsLoopback(host) {
		return slices.ContainsFunc(bound, consul.IsLoopback) || (all && pl.agentIsLocal())
	}
	return slices.Contains(bound, host) || (all && slices.Contains(pl.agent.addresses(), host))
}

// agentIsLocal reports whether the address that other agents know the agent by is one of this host, or unknown.
func (pl *planner) agentIsLocal() bool {
	known := pl.agent.AdvertiseAddr
	return known == "" || pl.isLocal == nil || pl.isLocal(known) ||
		(pl.agent.BindAddr != "" && pl.isLocal(pl.agent.BindAddr))
}

func (pl *planner) planTLS(s Server, port *Port) { port.tls = pl.tlsFor(s.Host) }

func (pl *planner) planGRPCTLS(s Server, port *Port) {
	switch ownCA := pl.grpcOwnCA(s); {
	case ownCA && pl.settingsOrAgents(s).withoutMeshCA():
		port.leaveOut(withoutCertificate)
	case ownCA && pl.clientTLS != nil && pl.clientTLS.InsecureSkipVerify:
		port.tls, port.OfMesh = pl.clientTLS, true
	case ownCA && pl.mesh == nil:
		port.leaveOut(withoutAuthority)
	case ownCA:
		port.tls, port.OfMesh = pl.mesh.tlsFor(s.Host, pl.datacenter()), true
	default:
		port.tls = pl.tlsFor(s.Host)
	}
}

func (pl *planner) planDNS(_ Server, port *Port) {
	port.domain = cmp.Or(pl.opts.DNSDomain, pl.agent.Domain)
}
