// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"cmp"
	"context"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// Evidence is what one scrape has for a verdict about the cluster. What is nil is unknown.
type Evidence struct {
	At       time.Time // When the scrape began.
	Topology cluster.Topology
	Reports  []cluster.Report
	// Agent is what the configured agent says about itself, and AgentLeader the address of the leader by its account,
	// empty if there is none.
	Agent       *cluster.Agent
	AgentLeader *string
	// Servers are, by node ID, what the servers say about themselves over HTTP.
	Servers   map[string]cluster.Agent
	Autopilot *cluster.AutopilotState
	Read      *cluster.ConsistentRead
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

// Collect starts to collect what there is, and returns how to wait for it. That fails if no server is known. The
// linearizable read costs the servers something, so it is made only if that is wanted.
func Collect(s *cluster.Snapshot, read bool) func(context.Context) (Evidence, error) {
	topology, reports, agent, leader := s.DecidedTopology(), s.Reports(), s.Agent(), s.StatusLeader()
	servers, autopilot := s.ServerAgents(), s.AutopilotState()
	made := new(cluster.Fact[cluster.ConsistentRead])
	if read {
		made = s.ConsistentRead()
	}
	return func(ctx context.Context) (Evidence, error) {
		e := Evidence{At: s.Start()}
		if err := cmp.Or(fill(ctx, reports, &e.Reports), fill(ctx, topology, &e.Topology)); err != nil {
			return e, err
		}
		e.Agent, e.AgentLeader, e.Autopilot = fillIn(ctx, agent), fillIn(ctx, leader), fillIn(ctx, autopilot)
		e.Servers, _ = servers.Get(ctx)
		if read {
			e.Read = fillIn(ctx, made)
		}
		e.MinQuorum = s.KnownMinQuorum()
		e.Answered = s.Answered(e.Topology)
		return e, nil
	}
}

// fillIn waits for a fact; nil if it cannot be had.
func fillIn[T any](ctx context.Context, f *cluster.Fact[T]) *T {
	value, err := f.Get(ctx)
	if err != nil {
		return nil
	}
	return &value
}

// fill waits for a fact and keeps it.
func fill[T any](ctx context.Context, f *cluster.Fact[T], into *T) (err error) {
	*into, err = f.Get(ctx)
	return err
}
