// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"net"
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
	// Prober asks the servers' ports; nil means a new one.
	Prober *probe.Prober
	// Ports say which ports are probed, and how.
	Ports PortOptions
	// ConsistentTimeout bounds the linearizable read, which hangs when there is no leader; 0 means that of Client.
	ConsistentTimeout time.Duration
	// KVPrefix begins the keys that are read; empty means that none are.
	KVPrefix string
	// TelemetryWait is how long a server must have been seen up before it is asked for its telemetry; 0 means what Consul needs. Tests
	// have no time for that.
	TelemetryWait time.Duration
	// AgentOnly restricts the catalog to what the configured agent has registered itself.
	AgentOnly bool
	// Watched are the files that Client and Ports come from and that are read again when they change.
	Watched []WatchedFile
}

// WatchedFile is one or several files of an operator's that are read again when they change.
type WatchedFile interface {
	// Failing returns why they could not be read again, so that what they held before is in use; nil if they could.
	Failing() error
}

// Cluster is one Consul cluster, seen through one agent and through the servers' own ports. It is safe for concurrent
// use.
type Cluster struct {
	opts   Options
	client *consul.Client
	prober *probe.Prober
	ports  PortOptions
	// slots holds a token for each probe under way.
	slots chan struct{}
	// refusals are the client's, too.
	refusals *consul.Refusals
	rights   knownRights
	// probeFaults counts the probes that could not be made.
	probeFaults atomic.Uint64

	// answered are the ports whose last probe was answered.
	answered answeredPorts

	// keptPeerings are those that are not asked for at each scrape.
	keptPeerings keptPeerings

	composure composure

	mu      sync.Mutex
	members []Member   // Guarded by mu: the last good ones; nil until then.
	peers   []RaftPeer // Guarded by mu: the last good Raft configuration; nil until then.
	agent   *Agent     // Guarded by mu: what the configured agent last told about itself; nil until then.
	// agentGone is whether nothing listened at its address since. Guarded by mu.
	agentGone bool
	mesh      *meshCA // Guarded by mu: the last known authority of the service mesh; nil until it was needed.
	// leaderless is whether the agent last said that there is no leader. Guarded by mu.
	leaderless bool
	// wanHosts are the last known addresses of the WAN pool by its members' names; nil until they were needed. Guarded by mu.
	wanHosts map[string]string
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
	return &Cluster{
		opts:      opts,
		client:    client,
		refusals:  client.Refusals(),
		poolKeys:  make(map[Protocol][]byte),
		prober:    prober,
		ports:     opts.Ports,
		slots:     make(chan struct{}, opts.Ports.Concurrency),
		composure: composure{wait: cmp.Or(opts.TelemetryWait, telemetryWait)},
	}
}

// Close releases all connections.
func (c *Cluster) Close() {
	c.prober.Close()
	c.client.CloseIdle()
}

// Options returns what the cluster was made from.
func (c *Cluster) Options() Options { return c.opts }

// Requests returns how many requests went to Consul's HTTP API since the start.
func (c *Cluster) Requests() map[consul.RequestKey]uint64 { return c.client.Requests() }

// known returns what is known from earlier scrapes.
func (c *Cluster) known() (Topology, *Agent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return newTopology(c.members, c.peers), c.agent
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
	hosts := map[string]bool{c.client.Options().Address.Hostname(): true}
	for _, host := range c.wanHosts {
		hosts[host] = true
	}
	if c.agent != nil {
		for _, host := range c.agent.addresses() {
			hosts[host] = true
		}
	}
	c.mu.Unlock()
	for _, s := range t.Servers {
		hosts[s.Host] = true
	}
	c.prober.Retain(func(address string) bool {
		host, _, _ := net.SplitHostPort(address)
		return hosts[host]
	})
	return t
}

// learnAgent keeps what the configured agent says about itself. What it refused before its configuration changed may be asked again.
func (c *Cluster) learnAgent(a Agent) {
	c.mu.Lock()
	changed := c.agent != nil && c.agent.fingerprint != a.fingerprint
	c.agent = &a
	c.mu.Unlock()
	if changed {
		c.client.AskAgain()
		for _, transport := range []string{TransportTCP, TransportUDP} {
			c.refusals.ForgetAll(transport + "://" + net.JoinHostPort(a.AdvertiseAddr, ""))
		}
	}
}

// noteAnswer takes how a request to the configured agent ended. An agent that answers, after nothing had listened at its address, was
// restarted: what it refused before may be asked again.
func (c *Cluster) noteAnswer(err error) {
	c.mu.Lock()
	was := c.agentGone
	c.agentGone = probe.ReasonOf(err) == probe.ReasonRefused
	restarted := was && !c.agentGone
	c.mu.Unlock()
	if restarted {
		c.client.AskAgain()
	}
}

// keyPrefix begins the keys that are read, as Consul calls it: no key begins with a slash. It is empty if none are read.
func (c *Cluster) keyPrefix() string { return strings.TrimPrefix(c.opts.KVPrefix, "/") }

// noteLeader takes whom the agent last called the leader; empty when it knew of none.
func (c *Cluster) noteLeader(leader string) {
	c.mu.Lock()
	elected := c.leaderless && leader != ""
	c.leaderless = leader == ""
	c.mu.Unlock()
	if elected {
		c.client.AskAgainWithToken()
	}
}

// learnMeshCA keeps the authority of the service mesh.
func (c *Cluster) learnMeshCA(ca *meshCA) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mesh = ca
}

// learnWANHosts keeps the addresses of the WAN pool.
func (c *Cluster) learnWANHosts(hosts map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanHosts = hosts
}

// planner returns what lists the ports to probe; agent is nil when nothing is known of it.
func (c *Cluster) planner(t Topology, agent *Agent) *planner {
	pl := &planner{
		opts: c.ports, configured: c.client.Options().Address, topology: t, agent: agent,
		clientTLS: c.client.Options().TLS.Config(), rpcConfig: c.ports.RPCTLSConfig.Config(),
	}
	c.mu.Lock()
	pl.mesh, pl.wanHosts = c.mesh, c.wanHosts
	c.mu.Unlock()
	if c.ports.SerfKeys != nil {
		pl.serfKeys = c.ports.SerfKeys()
	}
	pl.usableKeys, pl.proven = c.usableKeys, c.proven
	return pl
}

func hasServer(members []Member) bool {
	for _, m := range members {
		if m.Server() {
			return true
		}
	}
	return false
}
