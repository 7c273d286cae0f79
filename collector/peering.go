// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// newPeeringCollector exports the state of the peerings with other clusters.
//
// consul_peering_up goes by what is remembered, not by Consul's word alone: see verdict.JudgePeering.
//
// Only the leader knows, so without one there is nothing but a failure, and no request.
//
// Requests: /v1/agent/self, /v1/status/leader and /v1/peerings. ACL: peering:read, or operator:read. Eleven series
// per peering.
func newPeeringCollector(define *definitions) collector {
	stateOf := define.gauge("consul_peering_state",
		"State of a peering: 1 for the current one, 0 for the others.", "peer", "state")
	up := define.gauge("consul_peering_up",
		"1 if the peering is active and was heard from within two minutes. Otherwise 0 if it was ever active, "+
			"and absent if not.",
		"peer")
	heartbeat := define.gauge("consul_peering_last_heartbeat_timestamp_seconds",
		"When the peer was last heard from; absent if never.", "peer")
	imported := define.gauge("consul_peering_imported_services", "Services imported from the peer.", "peer")
	exported := define.gauge("consul_peering_exported_services", "Services exported to the peer.", "peer")
	add := func(p *cluster.Peering, out *families) {
		for _, state := range cluster.PeeringStates() {
			out.flag(stateOf, state == p.State, p.Name, string(state))
		}
		if p.LastHeartbeat != nil {
			out.add(heartbeat, unixSeconds(*p.LastHeartbeat), p.Name)
		}
		out.add(imported, float64(p.Imported), p.Name)
		out.add(exported, float64(p.Exported), p.Name)
	}
	memory := define.memory
	judge := func(p *cluster.Peering) verdict.PeeringHealth {
		active, heard := memory.PeeringPast(p)
		return verdict.JudgePeering(p, active, heard)
	}
	return ofFact((*cluster.Snapshot).Peerings, func(peerings []cluster.Peering, out *families) {
		memory.LearnPeerings(peerings)
		for i := range peerings {
			p := &peerings[i]
			add(p, out)
			if health := judge(p); health != verdict.PeeringNew {
				out.flag(up, health == verdict.PeeringUp, p.Name)
			}
		}
	})
}
