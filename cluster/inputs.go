// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/zervigo/consul_cluster_exporter/probe"
)

// Report is what one server said in this scrape.
type Report struct {
	Server Server
	// RPC is the result of asking its port 8300.
	RPC probe.RPCResult
}

// LeadsItself reports whether the server calls itself leader.
func (r Report) LeadsItself() bool {
	return r.RPC.Raft.LeaderKnown && r.RPC.Raft.Leader != "" && r.RPC.Raft.Leader == r.Server.RPCAddress
}

// Evidence is what one scrape has for a verdict about the cluster. What is nil is unknown.
type Evidence struct {
	At       time.Time // When the scrape began.
	Topology Topology
	Reports  []Report
	// Agent is what the configured agent says about itself, and AgentLeader the address of the leader by its account,
	// empty if there is none.
	Agent       *Agent
	AgentLeader *string
	// Servers are, by node ID, what the servers say about themselves over HTTP.
	Servers   map[string]Agent
	Autopilot *AutopilotState
	Read      *ConsistentRead
	// Standing is what is remembered of the leader's log.
	Standing Standing
	// MinQuorum is the number of servers below which autopilot removes none; 0 if it is unknown.
	MinQuorum uint
	// Answered are the addresses of ports at which something has ever answered, see Options.
	Answered []string
}

// Standing is since when the leader has had log entries that are not committed while its commit index stands still, and
// how many scrapes have seen that. The zero value means that there are none.
type Standing struct {
	Since   time.Time
	Scrapes int
}

// Evidence starts to collect what there is, and returns how to wait for it. That fails if no server is known. The
// linearizable read costs the servers something, so it is made only if that is wanted.
func (s *Snapshot) Evidence(read bool) func(context.Context) (Evidence, error) {
	topology, reports, agent, leader := s.Topology(), s.Reports(), s.Agent(), s.StatusLeader()
	servers, autopilot := s.ServerAgents(), s.AutopilotState()
	made := new(Fact[ConsistentRead])
	if read {
		made = s.ConsistentRead()
	}
	return func(ctx context.Context) (Evidence, error) {
		e := Evidence{At: s.start}
		if err := cmp.Or(fill(ctx, reports, &e.Reports), fill(ctx, topology, &e.Topology)); err != nil {
			return e, err
		}
		e.Agent, e.AgentLeader, e.Autopilot = fillIn(ctx, agent), fillIn(ctx, leader), fillIn(ctx, autopilot)
		e.Servers, _ = servers.Get(ctx)
		if read {
			e.Read = fillIn(ctx, made)
		}
		if config, ok := s.autopilotConfig.Peek(); ok {
			e.MinQuorum = config.MinQuorum
		}
		hosts := s.before.hosts(s.cluster.opts.addresses())
		for _, server := range e.Topology.Servers {
			hosts[server.Host] = true
		}
		e.Answered = s.cluster.answered.on(hosts)
		return e, nil
	}
}

// StopInput is what the decision is made from.
type StopInput struct {
	Topology  Topology
	Reports   []Report
	Autopilot *AutopilotState // Nil when it is not known.
	// MaxTrailingLogs is how many entries a voter may lag behind: autopilot's own setting, or its default.
	MaxTrailingLogs uint64
	// Earlier are the reports of a first look, of which Reports are the second one: at least Between lies between the
	// end of the one and the beginning of the other. It is empty if there was only one look.
	Earlier []Report
	Between time.Duration
	// Consistent is how a linearizable read went; nil if it could not be made, which says nothing about the cluster.
	Consistent *ConsistentRead
	// CatchUp is whether a server that was away could still catch up; nil if the telemetry of the leader is not known.
	CatchUp *CatchUp
	// Stopping are other servers that somebody has announced to stop.
	Stopping []StoppingServer
}

// StoppingServer is a server that is about to be stopped, or is.
type StoppingServer struct{ Name, ID string }

// Is reports whether both are the same server: by ID where both are known.
func (s StoppingServer) Is(other StoppingServer) bool {
	if s.ID != "" && other.ID != "" {
		return s.ID == other.ID
	}
	return s.Name == other.Name
}

// Evidence is what there is for a verdict about the cluster.
func (in *StopInput) Evidence() *Evidence {
	return &Evidence{Topology: in.Topology, Reports: in.Reports, Autopilot: in.Autopilot}
}

// DefaultMaxTrailingLogs is autopilot's default (Consul: agent/config/default.go).
const DefaultMaxTrailingLogs = 250

// DeathInput is what JudgeDead decides from, all of one snapshot: what is remembered from an earlier one proves
// nothing.
type DeathInput struct {
	Topology Topology
	Reports  []Report
	Leader   AutopilotState // The view of the leader's autopilot.
	// MembersSeen are the LAN members as the servers see them that tell, by the node ID of the server.
	MembersSeen map[string][]Member
	// SilentHostIsDead lets a server count as dead whose host does not even say that nothing listens on port 8300. Such
	// a host may also be only out of reach.
	SilentHostIsDead bool
}

// DeathInput finds out what JudgeDead needs. An error means that there is no telling.
func (s *Snapshot) DeathInput(ctx context.Context) (DeathInput, error) {
	members, raft, topology, reports := s.Members(), s.RaftPeers(), s.Topology(), s.Reports()
	leader, seen := s.LeaderAutopilot(), s.MembersSeen()
	var in DeathInput
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

// fillIn waits for a fact; nil if it cannot be had.
func fillIn[T any](ctx context.Context, f *Fact[T]) *T {
	value, err := f.Get(ctx)
	if err != nil {
		return nil
	}
	return &value
}

// fill waits for a fact and keeps it.
func fill[T any](ctx context.Context, f *Fact[T], into *T) (err error) {
	*into, err = f.Get(ctx)
	return err
}
