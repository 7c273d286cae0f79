// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import "github.com/zervigo/consul_cluster_exporter/cluster"

// newPeeringCollector exports the state of the peerings with other clusters.
//
// Only the leader knows, so without one there is nothing but a failure, and no request.
//
// Requests: /v1/agent/self, /v1/status/leader and /v1/peerings. ACL: peering:read, or operator:read. Ten series per
// peering.
func newPeeringCollector(define *definitions) collector {
	stateOf := define.gauge("consul_peering_state",
		"State of a peering with another cluster: 1 for the one it is in, 0 for the others.", "peer", "state")
	heartbeat := define.gauge("consul_peering_last_heartbeat_timestamp_seconds",
		"When the peer was last heard of; absent when it never was.", "peer")
	imported := define.gauge("consul_peering_imported_services", "Services that are imported from the peer.", "peer")
	exported := define.gauge("consul_peering_exported_services", "Services that are exported to the peer.", "peer")
	return ofList((*cluster.Snapshot).Peerings, func(p cluster.Peering, out *families) {
		for _, state := range cluster.PeeringStates() {
			out.flag(stateOf, state == p.State, p.Name, string(state))
		}
		if p.LastHeartbeat != nil {
			out.add(heartbeat, unixSeconds(*p.LastHeartbeat), p.Name)
		}
		out.add(imported, float64(p.Imported), p.Name)
		out.add(exported, float64(p.Exported), p.Name)
	})
}
