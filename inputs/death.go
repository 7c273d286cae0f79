// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"cmp"
	"context"
	"fmt"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// Death is what JudgeDead decides from, all of one snapshot: what is remembered from an earlier one proves nothing.
type Death struct {
	Topology cluster.Topology
	Reports  []cluster.Report
	Leader   cluster.AutopilotState // The view of the leader's autopilot.
	// MembersSeen are the LAN members as the servers see them that tell, by the node ID of the server.
	MembersSeen map[string][]cluster.Member
	// SilentHostIsDead lets a server count as dead whose host does not even say that nothing listens on port 8300. Such
	// a host may also be only out of reach.
	SilentHostIsDead bool
}

// ForDeath finds out what JudgeDead needs. An error means that there is no telling.
func ForDeath(ctx context.Context, s *cluster.Snapshot) (Death, error) {
	members, raft, topology, reports := s.Members(), s.RaftPeers(), s.Topology(), s.Reports()
	leader, seen := s.LeaderAutopilot(), s.MembersSeen()
	var in Death
	_, membersErr := members.Get(ctx)
	_, raftErr := raft.Get(ctx)
	err := cmp.Or(membersErr, raftErr, fill(ctx, topology, &in.Topology), fill(ctx, reports, &in.Reports))
	if err != nil {
		return in, err
	}
	if err := fill(ctx, leader, &in.Leader); err != nil {
		return in, fmt.Errorf("find out how the leader sees the servers: %w", err)
	}
	return in, fill(ctx, seen, &in.MembersSeen)
}
