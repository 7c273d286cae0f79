// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/memory"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// Parts are the parts of a View that cost Consul something, and that operators can switch off.
type Parts struct {
	Catalog, ConsistentRead bool
}

// Read finds out how the cluster is. It waits until all is known or ctx is done, and never fails: what could not be found out by then
// is in View.Missing. So ctx should end a little after the snapshot's own, see cluster.WithMargin.
func Read(ctx context.Context, s *cluster.Snapshot, remembered *memory.Memory, parts Parts) View {
	return newView(Gather(ctx, s, remembered, parts))
}

// Facts are what a View is made from. What is nil could not be found out, or was not asked for.
type Facts struct {
	Start   time.Time
	Took    time.Duration
	Address cluster.Address
	// Up is whether the agent answers; nil when that is not known.
	Up *bool
	// Agent is what the agent says of itself, or last said.
	Agent *cluster.Agent
	// Pools are the agent's Serf pools.
	Pools    []cluster.SerfPool
	Topology cluster.Topology
	Reports  []cluster.Report
	// LeaderSince is zero when it is not known.
	LeaderSince time.Time
	Ports       []cluster.PortReport
	// ServerAgents are, by name, what the servers say of themselves over HTTP.
	ServerAgents    map[string]cluster.Agent
	LAN, WAN        []cluster.Member
	Autopilot       *cluster.AutopilotState
	AutopilotConfig *cluster.AutopilotConfig
	Consistent      *cluster.ConsistentRead
	Catalog         *cluster.Catalog
	Overview        *cluster.CatalogOverview
	// Filtered are the endpoints whose answers are not complete, because of the token's rights.
	Filtered []string
	Missing  []Missing
	// FailingFiles are why files could not be read again.
	FailingFiles []string
}

// Gather starts all facts and then waits for each.
func Gather(ctx context.Context, s *cluster.Snapshot, remembered *memory.Memory, parts Parts) *Facts {
	up, agent := s.Up(), s.Agent()
	var catalog *cluster.Fact[*cluster.Catalog]
	var overview *cluster.Fact[*cluster.CatalogOverview]
	if parts.Catalog {
		catalog = s.Catalog()
		if !s.AgentOnly() {
			overview = s.CatalogOverview()
		}
	}
	f := &Facts{Start: s.Start(), Address: s.Address()}
	waitForCluster := func() {}
	if !s.AgentOnly() {
		waitForCluster = startCluster(ctx, s, f, remembered, parts)
	}
	if answers, err := up.Get(ctx); !probe.IsOwnFault(err) {
		f.Up = &answers
	}
	if f.Agent = need(ctx, f, "agent", agent); f.Agent == nil {
		f.Agent = s.KnownAgent()
	}
	if f.Agent != nil {
		f.Pools, _ = f.Agent.SerfPools() // What cannot be read is left out.
	}
	waitForCluster()
	if catalog != nil {
		if f.Catalog = orZero(need(ctx, f, "catalog", catalog)); f.Catalog != nil && len(f.Catalog.Nodes) == 0 {
			f.Catalog = nil
			f.Missing = append(f.Missing, nothingTold("catalog"))
		}
		if f.Catalog != nil && f.Catalog.Incomplete != nil {
			f.Missing = append(f.Missing, Missing{What: "catalog", Reason: f.Catalog.Incomplete.Error()})
		}
	}
	if overview != nil {
		summary, _ := get(ctx, overview) // It stands in for the catalog, which is what is missing without it.
		if f.Overview = orZero(summary); f.Overview != nil && !f.Overview.MaintenanceTold {
			f.Overview = nil // It cannot say what is down.
		}
	}
	queries := s.Queries()
	f.Filtered = slices.DeleteFunc(slices.Sorted(maps.Keys(queries)), func(endpoint string) bool { return !queries[endpoint].Filtered })
	f.FailingFiles = s.FailingFiles()
	f.Took = time.Since(s.Start())
	return f
}

// startCluster starts the facts that are about more than the agent and its catalog; wait waits for them.
func startCluster(ctx context.Context, s *cluster.Snapshot, f *Facts, remembered *memory.Memory, parts Parts) (wait func()) {
	topology, reports, ports := s.Topology(), s.Reports(), s.PortReports()
	lan, wan, config, serverAgents := s.Members(), s.WANMembers(), s.RaftPeers(), s.ServerAgents()
	autopilot, autopilotConfig := s.AutopilotState(), s.AutopilotConfig()
	var consistent *cluster.Fact[cluster.ConsistentRead]
	if parts.ConsistentRead {
		consistent = s.ConsistentRead()
	}
	return func() {
		members := need(ctx, f, "members", lan)
		if f.LAN = orZero(members); members != nil && len(f.LAN) == 0 {
			f.Missing = append(f.Missing, nothingTold("members"))
		}
		f.WAN = orZero(need(ctx, f, "WAN members", wan)) // A client has none.
		need(ctx, f, "Raft configuration", config)
		f.Topology = orZero(need(ctx, f, missingServers, topology))
		f.Reports, _ = reports.Get(ctx) // Lack of them is the topology's, or that of time, which the ports will have lacked too.
		remembered.Learn(f.Reports, s.Start())
		f.LeaderSince = remembered.LeaderSince(f.Reports)
		f.Ports = orZero(need(ctx, f, "ports", ports))
		f.ServerAgents, _ = serverAgents.Get(ctx) // Without it there is what the servers' ports 8300 tell.
		f.Autopilot = need(ctx, f, "autopilot", autopilot)
		f.AutopilotConfig, _ = get(ctx, autopilotConfig) // Without it there are the defaults.
		if consistent != nil {
			f.Consistent = need(ctx, f, "consistent read", consistent)
		}
	}
}

// nothingTold is for an answer in which there must be something: an agent is a member, and a node. Where the token's rights leave out
// everything, Consul does not always say so.
func nothingTold(what string) Missing {
	return Missing{What: what, Reason: "Consul's answer is empty (may the token read nodes?)", Refused: true}
}

// missingServers is Missing.What without any server.
const missingServers = "servers"

// get waits for a fact; without it the result is nil.
func get[T any](ctx context.Context, fact *cluster.Fact[T]) (*T, error) {
	value, err := fact.Get(ctx)
	if err != nil {
		return nil, err
	}
	return &value, nil
}

// need waits for a fact. Without it the result is nil, and the reason is noted.
func need[T any](ctx context.Context, f *Facts, what string, fact *cluster.Fact[T]) *T {
	value, err := get(ctx, fact)
	if err != nil {
		f.Missing = append(f.Missing, Missing{
			What: what, Reason: strings.ReplaceAll(err.Error(), "\n", "; "), Denied: cluster.IsDenied(err), Refused: errors.Is(err, cluster.ErrRefused),
			Own: probe.IsOwnFault(err),
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
