// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"net/url"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// Reading /v1/internal/ui/nodes (the dump) can change the catalog of the server that answers. Two places in Consul
// 1.16.1 and later add the key consul-version to the meta of nodes that lack it, in the maps of the server's own
// state store, without Raft and without a lock:
//
//  1. The HTTP handler, for nodes in its answer whose address is that of a LAN or WAN member (agent/ui_endpoint.go,
//     UINodes).
//  2. The state store, for nodes that have meta, and a service with the ID "consul" whose meta has a version: old
//     servers, or anything that is registered like one (agent/consul/state/catalog.go, parseNodes). It looks at every
//     node, before ACLs and before any filter.
//
// The servers' catalogs then differ, and a server that reads such a map at the same time dies (hashicorp/consul issue
// 20206). So:
//
//   - /v1/internal/ui/node/:node, which does the same, is never read.
//   - The dump is only read if the guard names no node that the second writer would change, and no server has a version
//     that registers such nodes. A guard whose answer the token's rights may have cut short proves nothing.
//   - The dump has a filter that keeps the first writer away: only nodes with the key, and of the others only those
//     whose address is no member's. If the list of members may be incomplete, only nodes with the key.
//   - What the dump leaves out is read service by service, from endpoints that only read.
//   - Servers before 1.16.1 have neither writer.
//
// A node that is registered between the guard and the dump, within milliseconds, can still be changed by the second
// writer, if it has meta without a version, and a service with the ID "consul" with one. Servers do not register
// themselves like that: with a server of an old version there is no dump. The first writer has no such gap, because
// the filter names no address that was not seen to be safe.

// versionKey is the key of a node's meta with the version of its agent.
const versionKey = "consul-version"

// endpointGuard answers with the services of nodes that the second writer would change. Before Consul 1.16.3 the
// filter does not see a node's meta and names every server, which is safe.
var endpointGuard = consul.Endpoint{
	Path: pathServices, HasMeta: true, Chosen: true,
	Params: url.Values{"filter": {`ServiceID == "consul" and "` + versionKey + `" not in NodeMeta`}},
}

// guardIsEmpty reports whether the guard names nothing, and would have named everything.
func (r *Reader) guardIsEmpty(ctx context.Context) bool {
	named := 0
	err := r.stream(ctx, endpointGuard, r.Options.NewBudget(), func(d *consul.JSONReader) error {
		if d.PeekKind() == jsontext.KindNull {
			return consul.ErrNoObject
		}
		return d.Object(func([]byte) error {
			named++
			return d.SkipValue()
		})
	})
	return err == nil && named == 0 && r.IsWhole(ctx, endpointGuard)
}

// A server from writersSince on, and before versionedSince, may have the writers and register nodes without the key.
var (
	writersSince   = [3]int{1, 16, 1}
	versionedSince = [3]int{1, 16, 2}
)

// allBefore reports whether there are versions and all are earlier.
func allBefore(versions []string, version [3]int) bool {
	return len(versions) > 0 && !slices.ContainsFunc(versions, func(v string) bool {
		earlier, _ := consul.VersionBefore(v, version)
		return !earlier
	})
}

// anyBefore reports whether a version is earlier, or cannot be told.
func anyBefore(versions []string, version [3]int) bool {
	return slices.ContainsFunc(versions, func(v string) bool {
		earlier, ok := consul.VersionBefore(v, version)
		return earlier || !ok
	})
}

// Members are what the members of the cluster decide about how the catalog is read.
type Members struct {
	// Complete is whether all members are known.
	Complete bool
	// Addresses are those of all members, in the LAN and in the WAN pool.
	Addresses []string
	// Versions are those of the servers that may answer.
	Versions []string
}

// selection is a part of the nodes: those with versionKey, and others by their address.
type selection struct {
	all bool // Whether it is all nodes.
	// addresses are in order; nil if none of the other nodes are selected. pattern matches them.
	addresses []string
	pattern   string
	not       bool // Whether nodes are selected that have none of the addresses.
}

// selectSafe returns the nodes that the first writer leaves alone, as far as a filter can name them. The filter lists
// either addresses seen to be safe, or those of all members: a node that is registered meanwhile cannot slip through.
func selectSafe(nodes Entries, m *Members) selection {
	if !m.Complete {
		return selection{}
	}
	members := slices.Compact(slices.Sorted(slices.Values(m.Addresses)))
	var safe []string
	for i := range nodes {
		n := &nodes[i]
		_, isMember := slices.BinarySearch(members, n.address)
		if !n.versioned && !isMember && consul.IsSimple(n.address) {
			safe = append(safe, n.address)
		}
	}
	slices.Sort(safe)
	safe = slices.Compact(safe)
	if len(safe) == 0 {
		return selection{}
	}
	if pattern, ok := consul.AnyOf(safe); ok {
		return selection{addresses: safe, pattern: pattern}
	}
	if pattern, ok := consul.AnyOf(members); ok {
		return selection{addresses: members, pattern: pattern, not: true}
	}
	return selection{}
}

// has reports whether a node is selected.
func (s *selection) has(n *entry) bool {
	if s.all || n.versioned {
		return true
	}
	_, found := slices.BinarySearch(s.addresses, n.address)
	return s.addresses != nil && found != s.not
}

// left returns the names of the nodes that are not selected.
func (s *selection) left(nodes Entries) []string {
	var names []string
	for i := range nodes {
		if !s.has(&nodes[i]) {
			names = append(names, nodes[i].name)
		}
	}
	return names
}

// filter returns the expression that selects these nodes in endpointDump; empty for all.
func (s *selection) filter() string {
	if s.all {
		return ""
	}
	expression := `"` + versionKey + `" in Meta`
	if s.addresses != nil {
		expression += " or " + s.comparison(s.not)
	}
	return expression
}

// rest returns the expression that selects the services on all other nodes in endpointServices.
func (s *selection) rest() string {
	expression := `"` + versionKey + `" not in NodeMeta`
	if s.addresses != nil {
		expression += " and " + s.comparison(!s.not)
	}
	return expression
}

func (s *selection) comparison(not bool) string {
	if not {
		return "Address not matches `" + s.pattern + "`"
	}
	return "Address matches `" + s.pattern + "`"
}
