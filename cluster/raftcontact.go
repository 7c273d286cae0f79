// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// errNoContacts means that the leader's own telemetry, which has who answers it, is not to be had.
var errNoContacts = errors.New("the leader does not tell which servers answer its heartbeats " +
	"(/v1/agent/metrics of its own HTTP API, half a minute after it was first seen)")

// RaftContacts are the node IDs of the servers that answered a heartbeat of the leader in the last full interval of its
// telemetry, by its own account. There is at least one.
func (s *Snapshot) RaftContacts() *Fact[map[string]bool] {
	own := new(Fact[Telemetry]).Start(s.ctx, func(ctx context.Context) (Telemetry, error) {
		agent, err := s.Agent().Get(ctx)
		if err != nil || !agent.Leads() {
			return Telemetry{}, err
		}
		return s.Telemetry().Get(ctx)
	})
	return s.raftContacts.Start(s.ctx, func(ctx context.Context) (map[string]bool, error) {
		told, err := serversSay(s, own, s.leaderTelemetry)(ctx)
		if err != nil {
			return nil, err
		}
		contacts, leaders := make(map[string]bool), 0
		for _, t := range told {
			if !t.Agent.Leads() {
				continue
			}
			leaders++
			for _, m := range t.Samples("raft.replication.heartbeat") {
				if id := m.Labels["peer_id"]; id != "" {
					contacts[id] = true
				}
			}
		}
		if leaders != 1 || len(contacts) == 0 {
			return nil, errNoContacts
		}
		return contacts, nil
	})
}

// leaderTelemetry is the telemetry of an agent, if it leads.
func (s *Snapshot) leaderTelemetry(ctx context.Context, at consul.Address, agent Agent) (Telemetry, error) {
	if !agent.Leads() {
		return Telemetry{}, errNoContacts
	}
	answer, _, err := s.telemetryAnswer(ctx, at, &agent)
	if err != nil {
		return Telemetry{}, err
	}
	return Telemetry{agent, answer.Figures(&agent.telemetry)}, nil
}
