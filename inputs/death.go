// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"cmp"
	"context"
	"errors"
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
	// Contacts are the node IDs of the servers that answer the leader's heartbeats; empty if it does not tell.
	Contacts map[string]bool
	// RefusedHostIsDead lets a server count as dead whose host says that nothing listens on port 8300, and
	// SilentHostIsDead one whose host says nothing. A firewall can say the one and the other about a server that lives.
	RefusedHostIsDead, SilentHostIsDead bool
}

// ForDeath finds out what JudgeDead needs. An error means that there is no telling.
func ForDeath(ctx context.Context, s *cluster.Snapshot) (Death, error) {
	members, topology, reports, seen := s.Members(), s.Topology(), s.Reports(), s.MembersSeen()
	s.ServerAgents() // From which the next look knows whether their telemetry can be read.
	var in Death
	if known, err := s.StatusLeader().Get(ctx); err != nil || known == "" {
		return in, cmp.Or(err, errors.New("no leader is known")) // Its answers would be waited for in vain.
	}
	raft, leader, contacts := s.LeaderRaftPeers(), s.LeaderAutopilot(), s.RaftContacts()
	_, membersErr := members.Get(ctx)
	if err := cmp.Or(membersErr, fill(ctx, topology, &in.Topology), fill(ctx, reports, &in.Reports)); err != nil {
		return in, err
	}
	peers, raftErr := raft.Get(ctx)
	if err := cmp.Or(raftErr, fill(ctx, leader, &in.Leader)); err != nil {
		return in, fmt.Errorf("find out how the leader sees the servers: %w", err)
	}
	in.Topology = in.Topology.WithPeers(peers)
	in.Contacts, _ = contacts.Get(ctx)
	return in, fill(ctx, seen, &in.MembersSeen)
}
