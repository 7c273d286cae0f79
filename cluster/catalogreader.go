// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"slices"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/catalog"
	"github.com/zervigo/consul_cluster_exporter/consul"
)

// Catalog is what is registered with Consul: with the configured agent alone, if the options say so.
func (s *Snapshot) Catalog() *Fact[*catalog.Catalog] {
	return s.catalog.Start(s.ctx, func(ctx context.Context) (*catalog.Catalog, error) {
		if s.cluster.opts.AgentOnly {
			return s.readAgentCatalog(ctx)
		}
		nodes := s.catalogEntries()
		members, servers := s.catalogMembers(ctx)
		entries, err := nodes.Get(ctx)
		if err != nil {
			return nil, err
		}
		return s.catalogReader(func(context.Context) []Member { return servers }).Catalog(ctx, entries, members)
	})
}

func (s *Snapshot) readAgentCatalog(ctx context.Context) (*catalog.Catalog, error) {
	self := s.Agent()
	node, err := s.catalogReader(nil).AgentNode(ctx)
	if err != nil {
		return nil, err
	}
	agent, err := self.Get(ctx)
	if err != nil {
		return nil, err
	}
	node.Name = agent.Name
	return &catalog.Catalog{Nodes: []catalog.Node{node}}, nil
}

// catalogEntries are all nodes in the catalog that the token may read.
func (s *Snapshot) catalogEntries() *Fact[catalog.Entries] {
	return s.catalogNodes.Start(s.ctx, s.catalogReader(nil).Entries)
}

// CatalogNodes is the number of nodes in the catalog.
func (s *Snapshot) CatalogNodes() *Fact[int] {
	return s.catalogNodeCount.Start(s.ctx, func(ctx context.Context) (int, error) {
		entries, err := s.catalogEntries().Get(ctx)
		return len(entries), err
	})
}

// CatalogOverview is the server's summary of the catalog, see catalog.Reader.Overview.
func (s *Snapshot) CatalogOverview() *Fact[*catalog.Overview] {
	return s.overview.Start(s.ctx, s.catalogReader(func(ctx context.Context) []Member {
		lan, _ := s.Members().Get(ctx) // Without them it is not known whether ACLs are off.
		return runningServers(lan)
	}).Overview)
}

// catalogReader reads through the agent in use. servers are those that may answer; nil if it does not matter whether
// an answer is whole.
func (s *Snapshot) catalogReader(servers func(context.Context) []Member) *catalog.Reader {
	return &catalog.Reader{
		Options: &s.cluster.opts.Client,
		Read:    func(ctx context.Context, ep consul.Endpoint) error { return s.readAgent(ctx, ep, nil) },
		IsWhole: func(ctx context.Context, ep consul.Endpoint) bool { return s.isWhole(ep, servers(ctx)) },
	}
}

// catalogMembers waits for the members of both pools, and returns what they decide about how the catalog is read, and
// the servers that may answer. A list that cannot be read is empty and not complete. Consul Enterprise only lists the
// members of the agent's own network segment.
func (s *Snapshot) catalogMembers(ctx context.Context) (*catalog.Members, []Member) {
	lanFact, wanFact := s.Members(), s.WANMembers()
	lan, lanErr := lanFact.Get(ctx)
	wan, wanErr := wanFact.Get(ctx)
	servers, both := runningServers(lan), slices.Concat(lan, wan)
	segmented := slices.ContainsFunc(lan, func(m Member) bool { return strings.Contains(m.Version, enterprise) })
	members := &catalog.Members{
		Complete: lanErr == nil && wanErr == nil && hasServer(lan) && !segmented && s.isWhole(endpointMembers, servers),
	}
	for _, m := range both {
		members.Addresses = append(members.Addresses, m.Addr)
	}
	if datacenter := s.cluster.opts.Client.Datacenter; datacenter != "" {
		servers = membersWhere(runningServers(both), func(m Member) bool { return m.Datacenter == datacenter })
	}
	for _, m := range servers {
		members.Versions = append(members.Versions, m.Version)
	}
	return members, servers
}

// isWhole reports whether the token's rights left nothing out of an endpoint's answers in this scrape. Consul says
// so, except to those who have no token.
func (s *Snapshot) isWhole(ep consul.Endpoint, servers []Member) bool {
	if s.cluster.opts.Client.CurrentToken() == "" && !aclsOff(servers) {
		return false
	}
	return !s.Queries()[ep.Name()].Filtered
}

// aclsOff reports whether there are servers and all have ACLs switched off.
func aclsOff(servers []Member) bool {
	return len(servers) > 0 && !slices.ContainsFunc(servers, func(m Member) bool { return !m.ACLsOff })
}

// runningServers are the members that are servers and may be running.
func runningServers(members []Member) []Member {
	return membersWhere(members, func(m Member) bool { return m.Server() && m.Status != StatusLeft })
}
