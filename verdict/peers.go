// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"maps"
	"slices"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// judgeConfigurations counts the distinct peer sets that servers report: 1 is right, 0 means that nobody answered.
// During a change of the configuration there can be two for a moment.
func judgeConfigurations(reports []cluster.Report) int {
	distinct := make(map[string]bool)
	for _, r := range reports {
		if r.RPC.Raft.PeersKnown && !r.Server.Missing() { // Those that were removed have an old one.
			peers := slices.Sorted(slices.Values(r.RPC.Raft.Peers))
			distinct[strings.Join(slices.Compact(peers), "\n")] = true
		}
	}
	return len(distinct)
}

// judgeUnknownPeers counts the addresses in any server's Raft configuration, or in that of the topology, that belong to
// no Serf member: left over from servers that died or were reinstalled. They count for the quorum and never vote.
func judgeUnknownPeers(t cluster.Topology, reports []cluster.Report) int {
	listed, known := make(map[string]bool), make(map[string]bool)
	members := slices.DeleteFunc(slices.Clone(t.Servers), func(s cluster.Server) bool {
		return s.Status == cluster.StatusNone
	})
	for _, s := range members {
		known[s.RPCAddress] = true
	}
	for _, p := range t.Peers {
		listed[p.Address] = true
		// A member whose address has changed is known by its ID.
		if slices.ContainsFunc(members, func(s cluster.Server) bool { return s.IsPeer(p) }) {
			known[p.Address] = true
		}
	}
	for _, r := range reports {
		for _, address := range r.RPC.Raft.Peers {
			listed[address] = true
		}
	}
	maps.DeleteFunc(listed, func(address string, _ bool) bool { return known[address] })
	return len(listed)
}
