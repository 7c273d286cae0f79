// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// peeringCollector tells how the peerings with other clusters fare.
//
// Only the leader tells, so without one there is nothing but a failure, and no request.
//
// Requests: /v1/agent/self, /v1/status/leader and /v1/peerings. ACL: peering:read, or operator:read. Ten series per
// peering.
type peeringCollector struct{ state, heartbeat, imported, exported *desc }

func newPeeringCollector(define *definitions) collector {
	return &peeringCollector{
		state: define.gauge("consul_peering_state", "State of a peering with another cluster: 1 for the one it is in, 0 for the others.", "peer", "state"),
		heartbeat: define.gauge("consul_peering_last_heartbeat_timestamp_seconds",
			"When the peer was last heard of; absent when it never was.", "peer"),
		imported: define.gauge("consul_peering_imported_services", "Services that are imported from the peer.", "peer"),
		exported: define.gauge("consul_peering_exported_services", "Services that are exported to the peer.", "peer"),
	}
}

func (c *peeringCollector) collect(ctx context.Context, snap *cluster.Snapshot, out *families) error {
	peerings, err := snap.Peerings().Get(ctx)
	for _, p := range peerings {
		for _, state := range cluster.PeeringStates() {
			out.flag(c.state, state == p.State, p.Name, string(state))
		}
		if p.LastHeartbeat != nil {
			out.add(c.heartbeat, unixSeconds(*p.LastHeartbeat), p.Name)
		}
		out.add(c.imported, float64(p.Imported), p.Name)
		out.add(c.exported, float64(p.Exported), p.Name)
	}
	return err
}
