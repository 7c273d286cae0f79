// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// Every server has autopilot's view of all servers, even without a leader, and renews it every two seconds (Consul:
// agent/consul/autopilot.go). So both endpoints are read stale. A server that hung has its old view for that long.
var (
	endpointAutopilotState  = consul.Endpoint{Path: "/v1/operator/autopilot/state"}
	endpointAutopilotConfig = consul.Endpoint{Path: "/v1/operator/autopilot/configuration"}
	// These are the same, of the leader.
	endpointLeaderAutopilot = consul.Endpoint{Path: "/v1/operator/autopilot/state", Consistency: consul.ConsistencyDefault}
	endpointLeaderSettings  = consul.Endpoint{
		Path: "/v1/operator/autopilot/configuration", Consistency: consul.ConsistencyDefault,
	}
)

// AutopilotState is what autopilot makes of the servers. Without a leader it calls none of them healthy.
type AutopilotState struct {
	// Healthy is whether all servers are.
	Healthy bool
	// FailureTolerance is how many healthy voters can be lost without an outage.
	FailureTolerance int
	// OptimisticFailureTolerance also counts what Consul Enterprise could promote in time; nil where Consul does not
	// say.
	OptimisticFailureTolerance *int
	// Servers are those of the Raft configuration, by name and ID.
	Servers []AutopilotServer
}

// AutopilotServer is one server in autopilot's view.
type AutopilotServer struct {
	// Name is the node name without a dot and the datacenter at its end, or the Raft address of a peer that no Serf member
	// matches. Other answers are joined by ID.
	Name    string
	ID      string // The node ID.
	Healthy bool
	Alive   bool  // Whether the Serf member is, as the server sees it whose autopilot this is.
	Voter   *bool // Nil where autopilot cannot tell.
	// LastContact is how long ago the server heard from the leader; nil if never, or if it is not alive: autopilot keeps
	// showing what a dead server last said.
	LastContact *time.Duration
	StableSince time.Time // When Healthy last changed; zero when unknown.
}

// autopilotState is the part of the answer that is used.
type autopilotState struct {
	Healthy                    bool
	FailureTolerance           int
	OptimisticFailureTolerance *int
	Servers                    map[string]*api.AutopilotServer
}

// nodeAlive is how autopilot calls a server whose Serf member is alive (raft-autopilot: NodeAlive).
const nodeAlive = "alive"

// AutopilotState is the view of the server that answers.
func (s *Snapshot) AutopilotState() *Fact[AutopilotState] {
	return s.autopilotState.Start(s.ctx, s.autopilotOf(endpointAutopilotState))
}

// LeaderAutopilot is the view of the leader: of all servers, the one whose view counts for autopilot itself.
func (s *Snapshot) LeaderAutopilot() *Fact[AutopilotState] {
	return s.leaderAutopilot.Start(s.ctx, s.autopilotOf(endpointLeaderAutopilot))
}

func (s *Snapshot) autopilotOf(ep consul.Endpoint) func(context.Context) (AutopilotState, error) {
	return func(ctx context.Context) (AutopilotState, error) {
		answer, err := answerOf[autopilotState](s, ep)(ctx)
		if err != nil {
			return AutopilotState{}, err
		}
		return newAutopilotState(&answer)
	}
}

// errNoAutopilot means that there is a new leader, whose autopilot has not looked at the servers yet.
var errNoAutopilot = errors.New("autopilot knows no server yet")

func newAutopilotState(answer *autopilotState) (AutopilotState, error) {
	state := AutopilotState{
		Healthy:                    answer.Healthy,
		FailureTolerance:           answer.FailureTolerance,
		OptimisticFailureTolerance: answer.OptimisticFailureTolerance,
	}
	for id, server := range answer.Servers {
		if server != nil {
			state.Servers = append(state.Servers, newAutopilotServer(id, server))
		}
	}
	if len(state.Servers) == 0 {
		return AutopilotState{}, fmt.Errorf("read %s: %w", endpointAutopilotState.Path, errNoAutopilot)
	}
	slices.SortFunc(state.Servers, func(a, b AutopilotServer) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return state, nil
}

// Of returns what autopilot makes of the server with this node ID; nil if it says nothing about it.
func (a *AutopilotState) Of(id string) *AutopilotServer {
	if a == nil || id == "" {
		return nil
	}
	for i := range a.Servers {
		if a.Servers[i].ID == id {
			return &a.Servers[i]
		}
	}
	return nil
}

func newAutopilotServer(id string, server *api.AutopilotServer) AutopilotServer {
	s := AutopilotServer{
		Name:        cmp.Or(server.Name, server.Address, id),
		ID:          id,
		Healthy:     server.Healthy,
		Alive:       server.NodeStatus == nodeAlive,
		StableSince: server.StableSince,
	}
	leads := server.Status == api.AutopilotServerLeader
	switch server.Status {
	case api.AutopilotServerLeader, api.AutopilotServerVoter:
		s.Voter = new(true)
	case api.AutopilotServerNonVoter, api.AutopilotServerStaging:
		s.Voter = new(false)
	}
	if !s.Alive || server.LastTerm == 0 {
		return s // Its figures are none, or old ones.
	}
	// Consul turns "never" into 0, which otherwise is the leader's only (structs.RaftStats.ToAutopilotServerStats).
	if contact := server.LastContact; contact != nil && (contact.Duration() > 0 || (contact.Duration() == 0 && leads)) {
		s.LastContact = new(contact.Duration())
	}
	return s
}

// AutopilotConfig are autopilot's settings for the cluster. What is nil Consul does not tell.
type AutopilotConfig struct {
	// LastContactThreshold and MaxTrailingLogs bound what a healthy server may be behind the leader.
	LastContactThreshold *time.Duration
	MaxTrailingLogs      uint64
	// MinQuorum is the number of servers below which none is removed.
	MinQuorum uint
	// ServerStabilizationTime is how long a new server must be healthy before it gets a vote.
	ServerStabilizationTime *time.Duration
	// CleanupDeadServers is whether servers that failed are removed when others can replace them.
	CleanupDeadServers bool
}

// AutopilotConfig are the settings that the answering server knows. They are only read once autopilot has a view:
// before the first leader has written them, Consul logs an error for each question.
func (s *Snapshot) AutopilotConfig() *Fact[AutopilotConfig] {
	return s.autopilotConfig.Start(s.ctx, s.autopilotConfigOf(endpointAutopilotConfig, s.AutopilotState))
}

// LeaderAutopilotConfig are the settings that the leader knows.
func (s *Snapshot) LeaderAutopilotConfig() *Fact[AutopilotConfig] {
	return s.leaderSettings.Start(s.ctx, s.autopilotConfigOf(endpointLeaderSettings, s.LeaderAutopilot))
}

func (s *Snapshot) autopilotConfigOf(
	ep consul.Endpoint, view func() *Fact[AutopilotState],
) func(context.Context) (AutopilotConfig, error) {
	return func(ctx context.Context) (AutopilotConfig, error) {
		if _, err := view().Get(ctx); err != nil {
			return AutopilotConfig{}, err
		}
		answer, err := answerOf[api.AutopilotConfiguration](s, ep)(ctx)
		if err != nil {
			return AutopilotConfig{}, err
		}
		return newAutopilotConfig(&answer), nil
	}
}

// KnownMinQuorum is autopilot's setting if this scrape has read it by now, and else 0.
func (s *Snapshot) KnownMinQuorum() uint {
	config, _ := s.autopilotConfig.Peek()
	return config.MinQuorum
}

func newAutopilotConfig(answer *api.AutopilotConfiguration) AutopilotConfig {
	return AutopilotConfig{
		LastContactThreshold:    duration(answer.LastContactThreshold),
		MaxTrailingLogs:         answer.MaxTrailingLogs,
		MinQuorum:               answer.MinQuorum,
		ServerStabilizationTime: duration(answer.ServerStabilizationTime),
		CleanupDeadServers:      answer.CleanupDeadServers,
	}
}

func duration(d *api.ReadableDuration) *time.Duration {
	if d == nil {
		return nil
	}
	return new(d.Duration())
}
