// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"slices"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

var endpointCatalogNodes = consul.Endpoint{Path: "/v1/catalog/nodes", HasMeta: true, Chosen: true}

// catalogEntry is a node in the catalog, as far as it decides how the rest is read.
type catalogEntry struct {
	name, address string
	// versioned is whether its meta has versionKey.
	versioned bool
}

// catalogEntries are all nodes in the catalog that the token may read.
func (s *Snapshot) catalogEntries() *Fact[catalogEntries] {
	return s.catalogNodes.Start(s.ctx, func(ctx context.Context) (entries catalogEntries, err error) {
		err = s.stream(ctx, endpointCatalogNodes, s.newBudget(), entries.decode)
		return entries, err
	})
}

// catalogEntries are several of them.
type catalogEntries []catalogEntry

// decode reads an answer of endpointCatalogNodes.
func (entries *catalogEntries) decode(d *consul.JSONReader) error {
	return d.List(func() error {
		e, err := decodeEntry(d)
		if err == nil {
			*entries, err = consul.Keep(d.Memory, *entries, e)
		}
		return err
	})
}

// CatalogNodes is the number of nodes in the catalog.
func (s *Snapshot) CatalogNodes() *Fact[int] {
	return s.catalogNodeCount.Start(s.ctx, func(ctx context.Context) (int, error) {
		entries, err := s.catalogEntries().Get(ctx)
		return len(entries), err
	})
}

func decodeEntry(d *consul.JSONReader) (e catalogEntry, err error) {
	err = d.Object(func(key []byte) error {
		switch string(key) {
		case "Node":
			return d.Text(&e.name)
		case "Address":
			return d.Text(&e.address)
		case "Meta":
			return d.Object(func(key []byte) error {
				e.versioned = e.versioned || string(key) == versionKey
				return d.SkipValue()
			})
		default:
			return d.SkipValue()
		}
	})
	return e, err
}

// names returns the nodes' names.
func (entries catalogEntries) names() []string {
	names := make([]string, len(entries))
	for i := range entries {
		names[i] = entries[i].name
	}
	return names
}

// pools are the members that the agent knows of, and what they say about how the catalog can be read.
type pools struct {
	lan, wan []Member
	// complete is whether both lists have all members.
	complete bool
}

// pools waits for both lists. One that cannot be read is empty and not complete. Consul Enterprise only lists the
// members of the agent's own network segment.
func (s *Snapshot) pools(ctx context.Context) *pools {
	lanFact, wanFact := s.Members(), s.WANMembers()
	lan, lanErr := lanFact.Get(ctx)
	wan, wanErr := wanFact.Get(ctx)
	p := &pools{lan: lan, wan: wan}
	enterprise := slices.ContainsFunc(lan, func(m Member) bool { return strings.Contains(m.Version, "+ent") })
	p.complete = lanErr == nil && wanErr == nil && hasServer(lan) && !enterprise &&
		s.isWhole(endpointMembers, p.servers(""))
	return p
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

// servers are those of a datacenter that may be running; empty means the agent's own.
func (p *pools) servers(datacenter string) []Member {
	members := p.lan
	if datacenter != "" {
		members = slices.Concat(p.lan, p.wan)
	}
	return membersWhere(members, func(m Member) bool {
		return m.Server() && m.Status != StatusLeft && (datacenter == "" || m.Datacenter == datacenter)
	})
}

// addresses are those of all members, each once and in order.
func (p *pools) addresses() []string {
	var list []string
	for _, m := range slices.Concat(p.lan, p.wan) {
		list = append(list, m.Addr)
	}
	slices.Sort(list)
	return slices.Compact(list)
}
