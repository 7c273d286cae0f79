// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/probe"
)

// Protocol is one that is spoken on a port of Consul: a row of protocols. In metrics it is the label protocol.
type Protocol string

// The protocols that the code names.
const (
	ProtocolRPC     Protocol = "rpc"
	ProtocolSerfLAN Protocol = "serf_lan"
	ProtocolSerfWAN Protocol = "serf_wan"
	ProtocolHTTP    Protocol = "http"
	ProtocolHTTPS   Protocol = "https"
	ProtocolGRPC    Protocol = "grpc"
	ProtocolGRPCTLS Protocol = "grpc_tls"
	ProtocolDNS     Protocol = "dns"
)

// protocol is everything there is to know about a protocol.
type protocol struct {
	name Protocol
	// number is Consul's default port, and transports are what the protocol is spoken over.
	number     int
	transports []string
	// listens returns the port's number in an agent's configuration, which is not positive if the port is off, and the
	// addresses that it is bound to, if not those of client_addr. It is nil for ports that servers have for each other.
	listens func(*debugConfig) (number int, addrs []string)
	// tag returns the number in a server's Serf tags; nil if there is none, and servers are taken to be like the agent.
	tag func(Server) int
	// plan fills in how to ask a port; nil if the address is enough. For ports that servers have for each other it also
	// fills in the address, unless there is nothing to ask.
	plan func(*planner, Server, *Port)
	// ask probes a port.
	ask func(*Cluster, context.Context, *PortReport)
}

var (
	overTCP  = []string{TransportTCP}
	overBoth = []string{TransportTCP, TransportUDP}
)

// protocols is the table of protocols, in the order of their default ports.
var protocols = []protocol{
	{
		name: ProtocolRPC, number: 8300, transports: overTCP,
		plan: (*planner).planRPC, ask: (*Cluster).askRPC,
	},
	{
		name: ProtocolSerfLAN, number: 8301, transports: overBoth,
		plan: (*planner).planLAN, ask: (*Cluster).askGossip,
	},
	{
		name: ProtocolSerfWAN, number: 8302, transports: overBoth,
		plan: (*planner).planWAN, ask: (*Cluster).askGossip,
	},
	{
		name: ProtocolHTTP, number: 8500, transports: overTCP,
		listens: func(c *debugConfig) (int, []string) { return c.HTTPPort, c.HTTPAddrs },
		ask:     (*Cluster).askHTTP,
	},
	{
		name: ProtocolHTTPS, number: 8501, transports: overTCP,
		listens: func(c *debugConfig) (int, []string) { return c.HTTPSPort, c.HTTPSAddrs },
		plan:    (*planner).planTLS, ask: (*Cluster).askHTTP,
	},
	{
		name: ProtocolGRPC, number: 8502, transports: overTCP,
		listens: func(c *debugConfig) (int, []string) { return c.GRPCPort, c.GRPCAddrs },
		tag:     func(s Server) int { return s.GRPCPort },
		ask:     (*Cluster).askGRPC,
	},
	{
		name: ProtocolGRPCTLS, number: 8503, transports: overTCP,
		listens: func(c *debugConfig) (int, []string) { return c.GRPCTLSPort, c.GRPCTLSAddrs },
		tag:     func(s Server) int { return s.GRPCTLSPort },
		plan:    (*planner).planGRPCTLS, ask: (*Cluster).askGRPC,
	},
	{
		name: ProtocolDNS, number: 8600, transports: overBoth,
		listens: func(c *debugConfig) (int, []string) { return c.DNSPort, c.DNSAddrs },
		plan:    (*planner).planDNS, ask: (*Cluster).askDNS,
	},
}

// row returns what there is to know about the protocol.
func (p Protocol) row() *protocol {
	i := slices.IndexFunc(protocols, func(row protocol) bool { return row.name == p })
	return &protocols[i]
}

// DefaultPort is Consul's default port for the protocol.
func (p Protocol) DefaultPort() int { return p.row().number }

// Protocols returns all of them, in the order of their default ports.
func Protocols() []Protocol {
	names := make([]Protocol, 0, len(protocols))
	for i := range protocols {
		names = append(names, protocols[i].name)
	}
	return names
}

// ParseProtocols reads a list of protocols; none means all.
func ParseProtocols(names []string) ([]Protocol, error) {
	all := Protocols()
	if len(names) == 0 {
		return all, nil
	}
	var parsed []Protocol
	for _, name := range names {
		if !slices.Contains(all, Protocol(name)) {
			return nil, fmt.Errorf("there is no protocol %q; there are: %s", name, joinWords(all))
		}
		parsed = append(parsed, Protocol(name))
	}
	return parsed, nil
}

func joinWords[T ~string](words []T) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}

func (c *Cluster) askRPC(ctx context.Context, port *PortReport) {
	res := c.prober.RPC(ctx, probe.Target{Address: port.Address, TLS: port.tls})
	port.Result, port.raft = res.Result, res.Raft
}

func (c *Cluster) askHTTP(ctx context.Context, port *PortReport) {
	port.Result = c.prober.HTTP(ctx, probe.Target{Address: port.Address, TLS: port.tls})
}

func (c *Cluster) askGRPC(ctx context.Context, port *PortReport) {
	port.Result = c.prober.GRPC(ctx, probe.Target{Address: port.Address, TLS: port.tls})
}

func (c *Cluster) askDNS(ctx context.Context, port *PortReport) {
	ask := c.prober.DNSTCP
	if port.Transport == TransportUDP {
		ask = c.prober.DNSUDP
	}
	res := ask(ctx, probe.DNSTarget{Address: port.Address, Domain: port.domain})
	port.Result = res.Result
	if res.Up {
		port.DNS = &DNSAnswer{res.Rcode, res.Answers}
	}
}
