// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// HeartbeatTimeout is how long nothing may be heard of a peer. It is Consul's own limit, after which the leader calls a
// peering failing (agent/grpc-external/services/peerstream: defaultIncomingHeartbeatTimeout); heartbeats come every 15 s.
const HeartbeatTimeout = 2 * time.Minute

// PeeringHealth is whether a peering works.
type PeeringHealth string

// The states. A peering is new if it has never been seen to be active, or is being deleted.
const (
	PeeringUp   PeeringHealth = "up"
	PeeringDown PeeringHealth = "down"
	PeeringNew  PeeringHealth = "new"
)

// JudgePeering judges by Consul's word and by what is remembered: when the peering was last seen to be active, and when
// its last heartbeat was seen for the first time, both by this program's clock and zero if they are not known. A leader that has just been elected has no streams and calls a
// peering pending or establishing, however long it has been active and its other side is gone: what was active is
// down until it is active again.
func JudgePeering(p *cluster.Peering, active, heard time.Time) PeeringHealth {
	switch p.State {
	case cluster.PeeringFailing, cluster.PeeringTerminated:
		return PeeringDown
	case cluster.PeeringActive:
		if !heard.IsZero() && p.Read.Sub(heard) > HeartbeatTimeout {
			return PeeringDown
		}
		return PeeringUp
	case cluster.PeeringDeleting:
		return PeeringNew
	default:
		if active.IsZero() {
			return PeeringNew
		}
		return PeeringDown
	}
}
