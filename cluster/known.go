// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"net"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// known is what a cluster remembers from one scrape to the next. A scrape begins with a copy, and only changes it at
// its end, in learn. What is in its lists and maps is never changed.
type known struct {
	// members are the last good LAN members, and peers the last good Raft configuration; nil until then.
	members    []Member
	peers      []RaftPeer
	agent      *Agent // What the configured agent last said about itself; nil until then.
	agentGone  bool   // Whether nothing listened at its address when it was last asked.
	leaderless bool   // Whether the agent last said that there is no leader.
	// mesh is the last known authority of the service mesh, and wanHosts are the last known addresses of the WAN pool by
	// its members' names; nil until they were needed.
	mesh     *meshCA
	wanHosts map[string]string
	// servers are what the servers last said about themselves, by name, and urlHosts are the addresses that the host of
	// the configured address stands for; nil if it is one, or unknown.
	servers  map[string]Agent
	urlHosts []string
	rights   tokenRights
	peerings keptPeerings
	uptime   uptime
}

// with returns what is known with the answers of a scrape. An agent that has just started knows nobody, and a token
// without rights sees nobody: neither is news.
func (k known) with(members []Member, peers []RaftPeer) known {
	if hasServer(members) {
		k.members = members
	}
	if len(peers) > 0 {
		k.peers = peers
	}
	return k
}

func (k *known) topology() Topology { return newTopology(k.members, k.peers) }

// hosts are those that the exporter may have connections to: the configured agent and the servers.
func (k *known) hosts(configured consul.Address) map[string]bool {
	hosts := map[string]bool{configured.Hostname(): true}
	for _, host := range k.wanHosts {
		hosts[host] = true
	}
	if k.agent != nil {
		for _, host := range k.agent.addresses() {
			hosts[host] = true
		}
	}
	for _, server := range k.servers {
		for _, host := range server.addresses() {
			hosts[host] = true
		}
	}
	for _, s := range k.topology().Servers {
		hosts[s.Host] = true
	}
	return hosts
}

// learn keeps what a scrape has found out by its end. Another one may have kept something since it began.
func (c *Cluster) learn(s *Snapshot) {
	s.mu.Lock()
	gone, restarted := s.agentGone, s.restarted
	s.mu.Unlock()
	c.mu.Lock()
	before := c.known
	after := s.learned(before)
	after.agentGone = gone
	c.known = after
	c.mu.Unlock()
	changed := before.agent != nil && after.agent != nil && before.agent.fingerprint != after.agent.fingerprint
	if changed || restarted {
		c.client.AskAgain()
	}
	if changed {
		c.askAgainAt(after.agent.AdvertiseAddr)
	}
	for name, server := range after.servers {
		if earlier, ok := before.servers[name]; ok && earlier.fingerprint != server.fingerprint {
			c.askAgainAt(server.AdvertiseAddr)
		}
	}
	if before.leaderless && !after.leaderless {
		c.client.AskAgainWithToken()
	}
	hosts := after.hosts(c.opts.Client.Address)
	isKnown := func(address string) bool {
		host, _, _ := net.SplitHostPort(address)
		return hosts[host]
	}
	c.prober.Retain(isKnown)
	c.client.Retain(isKnown)
}

// askAgainAt forgets what the ports of a host refused.
func (c *Cluster) askAgainAt(host string) {
	for _, transport := range []string{TransportTCP, TransportUDP} {
		c.refusals.ForgetAll(transport + "://" + net.JoinHostPort(host, ""))
	}
}

// learned returns k with what the scrape has found out by its end.
func (s *Snapshot) learned(k known) known {
	if s.topology.Asked() {
		members, _ := s.members.Peek()
		peers, _ := s.votingPeers.Peek()
		if checkServers(members, peers) == nil {
			k = k.with(members, peers)
		}
	}
	if agent, err := s.self.Get(s.ctx); err == nil {
		k.agent, k.uptime = &agent, k.uptime.with(&agent, s.start)
	} else if s.self.Asked() && !probe.IsOwnFault(err) {
		k.uptime = uptime{}
	}
	if leader, ok := s.statusLeader.Peek(); ok {
		k.leaderless = leader == ""
	}
	if own, ok := s.serverAgents.Peek(); ok {
		k.servers = withSettings(k.servers, own, k.topology())
	}
	if hosts, ok := s.urlHosts.Peek(); ok {
		k.urlHosts = hosts
	}
	if ca, ok := s.mesh.Peek(); ok {
		k.mesh = ca
	}
	if wan, ok := s.wanMembers.Peek(); ok && hasServer(wan) {
		k.wanHosts = memberHosts(wan)
	}
	if rights, ok := s.rights.Peek(); ok {
		k.rights = rights
	}
	if peerings, ok := s.peerings.Peek(); ok && !s.before.peerings.holds(s.start) {
		k.peerings = newKeptPeerings(peerings, s.start)
	}
	return k
}
