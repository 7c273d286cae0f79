// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// Options are what a Cluster is made from.
type Options struct {
	Client consul.Options
	// OtherAgents are asked, with the same credentials, when the one of Client does not answer usefully.
	OtherAgents []consul.Address
	Prober      *probe.Prober // Asks the servers' ports; nil means a new one.
	Ports       PortOptions   // Which ports are probed, and how.
	// ConsistentTimeout bounds the linearizable read, which hangs when there is no leader; 0 means that of Client.
	ConsistentTimeout time.Duration
	KVPrefix          string // Begins the keys that are read; empty means that none are.
	// TelemetryWait is how long a server must have been up before its telemetry is read; 0 means what Consul needs.
	TelemetryWait time.Duration
	// AgentOnly restricts the catalog to what the configured agent has registered itself.
	AgentOnly bool
	// Remembered returns the servers that were known, which stay in the topology although Consul no longer names them;
	// nil means none. Those with an Absence were missing before; the state in Serf of the others is the last one seen.
	Remembered func() []Server
	// Answered are addresses of ports at which something has answered before: where the address is a guess, it is right.
	Answered []string
	// Watched are the files that Client and Ports come from and that are read again when they change.
	Watched []WatchedFile
}

// WatchedFile is one or several files of an operator's that are read again when they change.
type WatchedFile interface {
	// Failing returns why they could not be read again, so that what they held before is in use; nil if they could.
	Failing() error
}

// Cluster is one Consul cluster, seen through one agent at a time and the servers' own ports. It is safe for concurrent
// use.
type Cluster struct {
	opts   Options
	client *consul.Client
	prober *probe.Prober
	// slots holds a token for each probe under way.
	slots chan struct{}
	// refusals are the client's, too.
	refusals *consul.Refusals
	// probeFaults counts the probes that could not be made.
	probeFaults atomic.Uint64
	// answered are the ports whose last probe was answered.
	answered answeredPorts

	mu    sync.Mutex
	known known // Guarded by mu.
	// poolKeys are, by pool, the gossip keys that ports last acknowledged a ping with. Guarded by mu.
	poolKeys map[Protocol][]byte
}

// New returns a Cluster. It does not connect.
func New(opts Options) *Cluster {
	prober := opts.Prober
	if prober == nil {
		prober = probe.New(probe.Options{})
	}
	client := consul.NewClient(opts.Client)
	opts.TelemetryWait = cmp.Or(opts.TelemetryWait, telemetryWait)
	c := &Cluster{
		opts:     opts,
		client:   client,
		refusals: client.Refusals(),
		poolKeys: make(map[Protocol][]byte),
		prober:   prober,
		slots:    make(chan struct{}, opts.Ports.Concurrency),
	}
	for _, address := range opts.Answered {
		c.answered.note(address)
	}
	return c
}

// Close releases all connections.
func (c *Cluster) Close() {
	c.prober.Close()
	c.client.CloseIdle()
}

// Options returns what the cluster was made from.
func (c *Cluster) Options() Options { return c.opts }

// Agents are the addresses of the configured agents, the preferred one first.
func (c *Cluster) Agents() []consul.Address { return c.opts.addresses() }

// AgentInUse is the agent that the next scrape asks first.
func (c *Cluster) AgentInUse() consul.Address {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opts.addresses()[c.known.first]
}

// Requests returns how many requests went to Consul's HTTP API since the start.
func (c *Cluster) Requests() map[consul.RequestKey]uint64 { return c.client.Requests() }

// OwnFaults counts what this process could not ask, for reasons of its own: it lacked descriptors, buffers, memory,
// permission or a local address. That says nothing about Consul.
type OwnFaults struct {
	Probes, Requests uint64   // Those that could not be made since the start.
	Files            []string // Why files could not be read again; what they held before is in use.
}

// OwnFaults returns what there has been.
func (c *Cluster) OwnFaults() OwnFaults {
	return OwnFaults{Probes: c.probeFaults.Load(), Requests: c.client.OwnFaults(), Files: c.failingFiles()}
}

// failingFiles says what is wrong with files, each thing once: one file may be used for several purposes.
func (c *Cluster) failingFiles() []string {
	var wrong []string
	for _, file := range c.opts.Watched {
		if err := file.Failing(); err != nil && !slices.Contains(wrong, err.Error()) {
			wrong = append(wrong, err.Error())
		}
	}
	return wrong
}

// Certificate is one that the exporter itself has loaded.
type Certificate struct {
	// Protocol is that of the ports it is for.
	Protocol Protocol
	consul.OwnCertificate
}

// Use says what it is for, such as rpc_ca.
func (c Certificate) Use() string {
	if c.Authority {
		return string(c.Protocol) + "_ca"
	}
	return string(c.Protocol) + "_client"
}

// certificates are those that the exporter shows and trusts. What is for port 8300 as well is there once, as HTTP's.
func (c *Cluster) certificates(now time.Time) (all []Certificate) {
	for _, own := range c.opts.Client.TLS.Certificates(now) {
		all = append(all, Certificate{ProtocolHTTP, own})
	}
	for _, own := range c.opts.Ports.RPCTLSConfig.Certificates(now) {
		if !slices.ContainsFunc(all, func(other Certificate) bool {
			return other.File == own.File && other.Authority == own.Authority
		}) {
			all = append(all, Certificate{ProtocolRPC, own})
		}
	}
	return all
}

// planner plans the ports of these servers with what is known of the rest; agent is nil if nothing is known of it.
func (c *Cluster) planner(k *known, t Topology, agent *Agent) *planner {
	pl := &planner{
		opts: c.opts.Ports, configured: c.opts.addresses()[k.first], topology: t, agent: agent,
		mesh: k.mesh, wanHosts: k.wanHosts,
		clientTLS: c.opts.Client.TLS.Config(), rpcConfig: c.opts.Ports.RPCTLSConfig.Config(),
		usableKeys: c.usableKeys, proven: c.proven, own: k.servers, urlHosts: k.urlHosts, isLocal: isLocal,
	}
	if c.opts.Ports.SerfKeys != nil {
		pl.serfKeys = c.opts.Ports.SerfKeys()
	}
	return pl
}

// keyPrefix begins the keys that are read, without a slash in front, as in Consul. It is empty if none are read.
func (c *Cluster) keyPrefix() string { return strings.TrimPrefix(c.opts.KVPrefix, "/") }
