// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"net"
	"time"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// known is what a cluster remembers from one scrape to the next. A scrape begins with a copy, and only changes it at
// its end, in learn. What is in its lists and maps is never changed.
type known struct {
	// members are the last good LAN members, and peers the last good Raft configuration; nil until then.
	members []Member
	peers   []RaftPeer
	// filtered is whether the token's rights left some of the members out.
	filtered bool
	// agents is what is known of the configured agents, and first the index of the one to ask first, which is embedded.
	agents map[consul.Address]knownAgent
	first  int
	knownAgent
	// mesh is the last known authority of the service mesh, and wanHosts are the last known addresses of the WAN pool by
	// its servers' node IDs; nil until they were needed.
	mesh     *meshCA
	wanHosts map[string]string
	// servers are what the servers last said about themselves, by node ID, and urlHosts are the addresses that the host of
	// the configured address stands for; nil if it is one, or unknown.
	servers  map[string]Agent
	urlHosts []string
	rights   tokenRights
	peerings keptPeerings
	// uptimes are by the ID of the agent: one address may be that of several.
	uptimes map[string]uptime
	// remembered are the servers known from before (Options.Remembered), as of seen.
	remembered []Server
	seen       time.Time
}

// with returns what is known with the answers of a scrape. An agent that has just started knows nobody, and a token
// without rights sees nobody: neither is news.
func (k known) with(members []Member, filtered bool, peers []RaftPeer) known {
	if hasServer(members) {
		k.members, k.filtered = members, filtered
	}
	if len(peers) > 0 {
		k.peers = peers
	}
	return k
}

func (k *known) topology() Topology {
	t := newTopology(k.members, k.peers)
	if k.filtered {
		t.MembersKnown, t.ServerStates = false, nil
	}
	t.remember(k.remembered, k.members, k.seen)
	return t
}

// hosts are those that the exporter may have connections to: the configured agents and the servers.
func (k *known) hosts(configured []consul.Address) map[string]bool {
	hosts := make(map[string]bool)
	for _, address := range configured {
		hosts[address.Hostname()] = true
	}
	for _, host := range k.wanHosts {
		hosts[host] = true
	}
	for _, known := range k.agents {
		if known.agent != nil {
			for _, host := range known.agent.addresses() {
				hosts[host] = true
			}
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
	c.mu.Lock()
	before := c.known
	after := s.learned(before)
	c.known = after
	c.mu.Unlock()
	for _, t := range s.agentsAsked() {
		t.mu.Lock()
		restarted := t.restarted
		t.mu.Unlock()
		c.allowAgain(t.address, before.agents[t.address], after.agents[t.address], restarted)
	}
	for id, server := range after.servers {
		if earlier, ok := before.servers[id]; ok && earlier.fingerprint != server.fingerprint {
			c.askAgainAt(server.AdvertiseAddr)
		}
	}
	hosts := after.hosts(c.opts.addresses())
	isKnown := func(address string) bool {
		host, _, _ := net.SplitHostPort(address)
		return hosts[host]
	}
	c.prober.Retain(isKnown)
	c.client.Retain(isKnown)
}

// allowAgain lets what an agent refused be asked again, if there is a reason to.
func (c *Cluster) allowAgain(address consul.Address, before, after knownAgent, restarted bool) {
	changed := before.agent != nil && after.agent != nil && before.agent.fingerprint != after.agent.fingerprint
	if changed || restarted {
		c.client.AskAgain(address)
	}
	if changed {
		c.askAgainAt(after.agent.AdvertiseAddr)
	}
	if before.leaderless && !after.leaderless {
		c.client.AskAgainWithToken()
	}
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
			k = k.with(members, s.MembersFiltered(), peers)
		}
	}
	k = s.learnAgents(k)
	k.uptimes = s.learnedUptimes(k.uptimes)
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
		k.wanHosts = serverHosts(wan)
	}
	if rights, ok := s.rights.Peek(); ok {
		k.rights = rights
	}
	if peerings, ok := s.peerings.Peek(); ok && !s.before.peerings.holds(s.start) {
		k.peerings = newKeptPeerings(peerings, s.before.peerings, s.start)
	}
	return k
}
