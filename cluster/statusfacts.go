// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/probe"
)

// StatusParts are the parts of a Status that cost Consul something, and that operators can switch off.
type StatusParts struct {
	Catalog, ConsistentRead bool
}

// Status finds out how the cluster is. It waits until all is known or ctx is done, and never fails: what could not be found out by then
// is in Status.Missing. So ctx should end a little after the snapshot's own, see WithMargin.
func (s *Snapshot) Status(ctx context.Context, parts StatusParts) Status {
	return newStatus(s.statusFacts(ctx, parts))
}

// statusFacts are what a Status is made from. What is nil could not be found out, or was not asked for.
type statusFacts struct {
	start   time.Time
	took    time.Duration
	address Address
	// up is whether the agent answers; nil when that is not known.
	up *bool
	// agent is what the agent says of itself, or last said.
	agent    *Agent
	topology Topology
	reports  []Report
	// leaderSince is zero when it is not known.
	leaderSince time.Time
	ports       []PortReport
	// serverAgents are, by name, what the servers say of themselves over HTTP.
	serverAgents    map[string]Agent
	lan, wan        []Member
	autopilot       *AutopilotState
	autopilotConfig *AutopilotConfig
	consistent      *ConsistentRead
	catalog         *Catalog
	overview        *CatalogOverview
	// filtered are the endpoints whose answers are not complete, because of the token's rights.
	filtered []string
	missing  []Missing
	// failingFiles are why files could not be read again.
	failingFiles []string
}

// statusFacts starts all facts and then waits for each.
func (s *Snapshot) statusFacts(ctx context.Context, parts StatusParts) *statusFacts {
	up, agent := s.Up(), s.Agent()
	var catalog *Fact[*Catalog]
	var overview *Fact[*CatalogOverview]
	if parts.Catalog {
		catalog = s.Catalog()
		if !s.cluster.opts.AgentOnly {
			overview = s.CatalogOverview()
		}
	}
	f := &statusFacts{start: s.start, address: s.cluster.client.opts.Address}
	waitForCluster := func() {}
	if !s.cluster.opts.AgentOnly {
		waitForCluster = s.startCluster(ctx, f, parts)
	}
	if answers, err := up.Get(ctx); !probe.IsOwnFault(err) {
		f.up = &answers
	}
	if f.agent = need(ctx, f, "agent", agent); f.agent == nil {
		_, f.agent = s.cluster.known()
	}
	waitForCluster()
	if catalog != nil {
		if f.catalog = orZero(need(ctx, f, "catalog", catalog)); f.catalog != nil && len(f.catalog.Nodes) == 0 {
			f.catalog = nil
			f.missing = append(f.missing, nothingTold("catalog"))
		}
		if f.catalog != nil && f.catalog.Incomplete != nil {
			f.missing = append(f.missing, Missing{What: "catalog", Reason: f.catalog.Incomplete.Error()})
		}
	}
	if overview != nil {
		f.overview, _ = overview.Get(ctx) // It stands in for the catalog.
	}
	queries := s.Queries()
	f.filtered = slices.DeleteFunc(slices.Sorted(maps.Keys(queries)), func(endpoint string) bool { return !queries[endpoint].Filtered })
	f.failingFiles = s.cluster.failingFiles()
	f.took = time.Since(s.start)
	return f
}

// startCluster starts the facts that are about more than the agent and its catalog; wait waits for them.
func (s *Snapshot) startCluster(ctx context.Context, f *statusFacts, parts StatusParts) (wait func()) {
	topology, reports, ports := s.Topology(), s.Reports(), s.PortReports()
	lan, wan, config, serverAgents := s.Members(), s.WANMembers(), s.RaftPeers(), s.ServerAgents()
	autopilot, autopilotConfig := s.AutopilotState(), s.AutopilotConfig()
	var consistent *Fact[ConsistentRead]
	if parts.ConsistentRead {
		consistent = s.ConsistentRead()
	}
	return func() {
		members := need(ctx, f, "members", lan)
		if f.lan = orZero(members); members != nil && len(f.lan) == 0 {
			f.missing = append(f.missing, nothingTold("members"))
		}
		f.wan = orZero(need(ctx, f, "WAN members", wan)) // A client has none.
		need(ctx, f, "Raft configuration", config)
		f.topology = orZero(need(ctx, f, missingServers, topology))
		f.reports, _ = reports.Get(ctx) // Lack of them is the topology's, or that of time, which the ports will have lacked too.
		f.leaderSince = s.cluster.leaderSince(f.reports)
		f.ports = orZero(need(ctx, f, "ports", ports))
		f.serverAgents, _ = serverAgents.Get(ctx) // Without it there is what the servers' ports 8300 tell.
		f.autopilot = need(ctx, f, "autopilot", autopilot)
		f.autopilotConfig, _ = get(ctx, autopilotConfig) // Without it there are the defaults.
		if consistent != nil {
			f.consistent = need(ctx, f, "consistent read", consistent)
		}
	}
}

// nothingTold is for an answer in which there must be something: an agent is a member, and a node. Where the token's rights leave out
// everything, Consul does not always say so.
func nothingTold(what string) Missing {
	return Missing{What: what, Reason: "Consul's answer is empty (may the token read nodes?)", refused: true}
}

// missingServers is Missing.What without any server.
const missingServers = "servers"

// get waits for a fact; without it the result is nil.
func get[T any](ctx context.Context, fact *Fact[T]) (*T, error) {
	value, err := fact.Get(ctx)
	if err != nil {
		return nil, err
	}
	return &value, nil
}

// need waits for a fact. Without it the result is nil, and the reason is noted.
func need[T any](ctx context.Context, f *statusFacts, what string, fact *Fact[T]) *T {
	value, err := get(ctx, fact)
	if err != nil {
		f.missing = append(f.missing, Missing{
			What: what, Reason: strings.ReplaceAll(err.Error(), "\n", "; "), Denied: IsDenied(err), refused: errors.Is(err, ErrRefused),
			own: probe.IsOwnFault(err),
		})
	}
	return value
}

func orZero[T any](value *T) T {
	if value == nil {
		var zero T
		return zero
	}
	return *value
}
