// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"time"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// ClientPorts says of which agents the ports are probed that are meant for clients: HTTP, HTTPS, gRPC and DNS. Agents
// often bind them to an address that only their own host can reach.
type ClientPorts string

// The choices.
const (
	// ClientPortsAuto means the agent, and every server that other hosts can reach by its own configuration. Where that
	// cannot be read, a port that the agent, itself a server, offers to others is tried.
	ClientPortsAuto    ClientPorts = "auto"
	ClientPortsAgent   ClientPorts = "agent"   // The configured agent only.
	ClientPortsServers ClientPorts = "servers" // Every server; one that tells nothing is taken to be like the agent.
	ClientPortsOff     ClientPorts = "off"     // None.
)

// ClientPortsChoices returns all of them.
func ClientPortsChoices() []ClientPorts {
	return []ClientPorts{ClientPortsAuto, ClientPortsAgent, ClientPortsServers, ClientPortsOff}
}

// RPCTLS says whether port 8300 is spoken to in TLS.
type RPCTLS string

// The choices; auto does as the agent's own configuration says.
const (
	RPCTLSAuto RPCTLS = "auto"
	RPCTLSOn   RPCTLS = "on"
	RPCTLSOff  RPCTLS = "off"
)

// RPCTLSChoices returns all of them.
func RPCTLSChoices() []RPCTLS { return []RPCTLS{RPCTLSAuto, RPCTLSOn, RPCTLSOff} }

// PortOptions say which ports are probed, and how.
type PortOptions struct {
	// Timeout bounds each probe, Concurrency the probes at one time.
	Timeout     time.Duration
	Concurrency int
	Protocols   []Protocol  // The protocols to probe; nil means all.
	ClientPorts ClientPorts // Says whose client ports are probed; empty means auto.
	RPCTLS      RPCTLS      // Says whether port 8300 is spoken to in TLS; empty means auto.
	// RPCTLSConfig is the client's side of TLS on port 8300. An empty ServerName means server.<datacenter>.<domain>.
	RPCTLSConfig *consul.TLS
	// SerfKeys returns the gossip keys, the first of which encrypts; nil means that there is none.
	SerfKeys  func() [][]byte
	DNSDomain string // Consul's domain; empty means what the agent says, or "consul".
	// Allowed reports whether a host that the cluster has named may be talked to; nil means any. A rogue agent could
	// name hosts that are not its servers.
	Allowed func(host string) bool
}

// allow reports whether a host named by the cluster may be talked to.
func (o *PortOptions) allow(host string) bool { return o.Allowed == nil || o.Allowed(host) }
