// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"sync"

	"github.com/zervigo/consul_cluster_exporter/probe"
)

// Options are what a Cluster is made from.
type Options struct {
	Client ClientOptions
	// Prober asks the servers' ports; nil means a new one.
	Prober *probe.Prober
	// Ports say which ports are probed, and how.
	Ports PortOptions
}

// Cluster is one Consul cluster, seen through one agent and through the servers' own ports. It is safe for concurrent
// use.
type Cluster struct {
	client *Client
	prober *probe.Prober
	ports  PortOptions
	// slots holds a token for each probe under way.
	slots chan struct{}

	mu      sync.Mutex
	members []Member   // Guarded by mu: the last good ones; nil until then.
	peers   []RaftPeer // Guarded by mu: the last good Raft configuration; nil until then.
}

// New returns a Cluster. It does not connect.
func New(opts Options) *Cluster {
	prober := opts.Prober
	if prober == nil {
		prober = probe.New(probe.Options{})
	}
	return &Cluster{
		client: NewClient(opts.Client),
		prober: prober,
		ports:  opts.Ports,
		slots:  make(chan struct{}, opts.Ports.Concurrency),
	}
}

// Close releases all connections.
func (c *Cluster) Close() {
	c.prober.Close()
	c.client.closeIdle()
}

// Requests returns how many requests went to Consul's HTTP API since the start.
func (c *Cluster) Requests() map[RequestKey]uint64 { return c.client.Requests() }

// topology returns what is known from earlier scrapes.
func (c *Cluster) topology() Topology {
	c.mu.Lock()
	defer c.mu.Unlock()
	return newTopology(c.members, c.peers)
}

// learn keeps what was read in this scrape; nil where it could not be read. It returns the topology that results.
func (c *Cluster) learn(members []Member, peers []RaftPeer) Topology {
	c.mu.Lock()
	// An agent that has just started knows nobody yet, and a token without rights sees nobody: neither is news.
	if hasServer(members) {
		c.members = members
	}
	if len(peers) > 0 {
		c.peers = peers
	}
	t := newTopology(c.members, c.peers)
	c.mu.Unlock()

	known := make(map[string]bool, len(t.Servers))
	for _, s := range t.Servers {
		known[s.RPCAddress] = true
	}
	c.prober.Retain(func(address string) bool { return known[address] })
	return t
}

func hasServer(members []Member) bool {
	for _, m := range members {
		if m.Server() {
			return true
		}
	}
	return false
}

// probeRPC asks one server's port 8300, when fewer probes than allowed are under way.
func (c *Cluster) probeRPC(ctx context.Context, s Server) Report {
	ctx, cancel := context.WithTimeout(ctx, c.ports.Timeout)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done(): // The probe below ends at once, with this reason.
	}
	return Report{Server: s, RPC: c.prober.RPC(ctx, probe.Target{Address: s.RPCAddress})}
}
