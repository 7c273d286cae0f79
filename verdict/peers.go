// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"maps"
	"slices"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// judgeConfigurations counts the distinct peer sets that servers report: 1 is right, 0 means that nobody has one.
// During a change of the configuration there can be two for a moment. A new server has none until a leader adds it, a
// voter without one has lost it.
func judgeConfigurations(reports []cluster.Report) int {
	distinct := make(map[string]bool)
	for _, r := range reports {
		waits := len(r.RPC.Raft.Peers) == 0 && !r.Server.Voter
		if r.RPC.Raft.PeersKnown && !waits && !r.Server.Missing() { // Those that were removed have an old one.
			peers := slices.Sorted(slices.Values(r.RPC.Raft.Peers))
			distinct[strings.Join(slices.Compact(peers), "\n")] = true
		}
	}
	return len(distinct)
}

// judgeUnknownPeers counts the peers in the topology's Raft configuration that no Serf member is, and the addresses in
// any other server's configuration that no member has: left over from servers that died or were reinstalled. They count
// for the quorum and never vote. One that answers is no such peer, but a server that the agent does not know of.
func judgeUnknownPeers(t cluster.Topology, reports []cluster.Report) int {
	answers := func(s cluster.Server) bool {
		return slices.ContainsFunc(reports, func(r cluster.Report) bool { return r.RPC.Up && r.Server.Name == s.Name })
	}
	members := slices.DeleteFunc(slices.Clone(t.Servers), func(s cluster.Server) bool {
		return s.Status == cluster.StatusNone && !answers(s)
	})
	unknown, known := 0, make(map[string]bool)
	for _, p := range t.Peers {
		known[p.Address] = true
		// A member whose address has changed is known by its ID.
		if !slices.ContainsFunc(members, func(s cluster.Server) bool { return s.IsPeer(p) }) {
			unknown++
		}
	}
	for _, s := range members {
		known[s.RPCAddress] = true
	}
	listed := make(map[string]bool)
	for _, r := range reports {
		if r.Server.Missing() { // It was removed and has an old configuration.
			continue
		}
		for _, address := range r.RPC.Raft.Peers {
			listed[address] = true
		}
	}
	maps.DeleteFunc(listed, func(address string, _ bool) bool { return known[address] })
	return unknown + len(listed)
}
