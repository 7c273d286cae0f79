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

	"github.com/zervigo/consul_cluster_exporter/catalog"
	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/memory"
	"github.com/zervigo/consul_cluster_exporter/probe"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// Parts are the parts of a View that cost Consul something, and that operators can switch off.
type Parts struct {
	Catalog, ConsistentRead, Peerings bool
	// ServicesOnly leaves out all that is only about Consul itself.
	ServicesOnly bool
	// ForLog leaves out what is not in the log, and has nothing remembered: the scrape that is logged has done that.
	// NoPorts leaves out all ports but 8300.
	ForLog, NoPorts bool
}

// Read gets the state of the cluster. It waits until all is known or ctx is done, and never fails: what could not be
// found out by then is in View.Missing. So ctx should end a little after the snapshot's own, see Cluster.Snapshot.
func Read(ctx context.Context, s *cluster.Snapshot, remembered *memory.Memory, parts Parts) View {
	return Gather(ctx, s, remembered, parts).View()
}

// Facts are what a View is made from. What is nil could not be found out, or was not asked for.
type Facts struct {
	Start   time.Time
	Took    time.Duration
	Address consul.Address // That of the agent in use.
	// AgentErr is why the agent does not tell about itself; nil if it does.
	AgentErr error
	// Agents are the configured agents that were asked; nil if there is only one.
	Agents []cluster.AgentState
	// Up is whether the agent answers; nil when that is not known.
	Up *bool
	// Agent is what the agent reports about itself, or last reported.
	Agent *cluster.Agent
	// Pools are the agent's Serf pools.
	Pools []cluster.SerfPool
	// AgentLeader is the address of the leader by the agent's account; empty if it knows of none.
	AgentLeader *string
	Topology    cluster.Topology
	Reports     []cluster.Report
	// LeaderSince is zero when it is not known.
	LeaderSince time.Time
	// Standing is what is remembered of the leader's log.
	Standing inputs.Standing
	// Shortage is how many voters there should be, and are lacking.
	Shortage memory.Shortage
	Ports    []cluster.PortReport
	// ServerAgents are, by node ID, what the servers report about themselves over HTTP.
	ServerAgents map[string]cluster.Agent
	LAN, WAN     []cluster.Member
	// WANMissing says since when servers are missing from the WAN pool, by name.
	WANMissing      map[string]time.Time
	Autopilot       *cluster.AutopilotState
	AutopilotConfig *cluster.AutopilotConfig
	Consistent      *cluster.ConsistentRead
	Catalog         *catalog.Catalog
	Overview        *catalog.Overview
	Peerings        []Peering
	// Filtered are the endpoints whose answers are not complete, because of the token's rights.
	Filtered []string
	Missing  []Missing
	// FailingFiles are the reasons why files could not be reloaded.
	FailingFiles []string
	// Certificates are those of the exporter's own files.
	Certificates []cluster.Certificate
}

// Gather starts all facts and then waits for each.
func Gather(ctx context.Context, s *cluster.Snapshot, remembered *memory.Memory, parts Parts) *Facts {
	f := &Facts{Start: s.Start()}
	g := &gathering{Facts: f}
	up := s.Up()
	need(g, "agent", s.Agent(), at(&f.Agent))
	if !s.AgentOnly() {
		need(g, "members", s.Members(), f.setMembers)
	}
	if !s.AgentOnly() && !parts.ServicesOnly {
		if !parts.ForLog {
			need(g, "WAN members", s.WANMembers(), to(&f.WAN)) // A client has none.
		}
		need(g, "Raft configuration", s.RaftPeers(), func([]cluster.RaftPeer) {})
		need(g, missingServers, s.Topology(), to(&f.Topology))
		need(g, "", s.StatusLeader(), at(&f.AgentLeader)) // Without it, the servers' own accounts have to do.
		need(g, "", s.Reports(), to(&f.Reports))          // Without them, the topology or the ports are missing, too.
		need(g, "", s.DecidedTopology(), to(&f.Topology)) // Without it, the one by what the agent says has to do.
		if !parts.NoPorts {
			need(g, "ports", s.PortReports(), to(&f.Ports))
		}
		need(g, "", s.ServerAgents(), to(&f.ServerAgents)) // Without them, port 8300 of each server has to do.
		need(g, "autopilot", s.AutopilotState(), at(&f.Autopilot))
		if !parts.ForLog {
			need(g, "", s.AutopilotConfig(), at(&f.AutopilotConfig)) // Without it, there are the defaults.
		}
	}
	if parts.ConsistentRead && !s.AgentOnly() {
		need(g, "consistent read", s.ConsistentRead(), at(&f.Consistent))
	}
	if parts.Catalog {
		need(g, missingCatalog, s.Catalog(), f.setCatalog)
	}
	if parts.Catalog && !s.AgentOnly() {
		need(g, "", s.CatalogOverview(), f.setOverview) // It stands in for the catalog, which is missing already.
	}
	if parts.Peerings && !s.AgentOnly() {
		need(g, "", s.Peerings(), func(all []cluster.Peering) { f.Peerings = judgePeerings(all, remembered) })
	}
	if answers, err := up.Get(ctx); !probe.IsOwnFault(err) {
		f.Up = &answers
	}
	for _, wait := range g.waits {
		wait(ctx)
	}
	_, f.AgentErr = s.Agent().Get(ctx)
	if f.Agent == nil {
		f.Agent = s.KnownAgent()
	}
	if f.Agent != nil {
		f.Pools, _ = f.Agent.SerfPools() // What cannot be read is left out.
	}
	if missing, known := verdict.MissingFromWAN(f.LAN, f.WAN); known && !s.MembersFiltered() {
		f.WANMissing = remembered.LearnWAN(missing, s.Start())
	}
	queries := s.Queries()
	f.Filtered = slices.DeleteFunc(slices.Sorted(maps.Keys(queries)), func(endpoint string) bool {
		return !queries[endpoint].Filtered
	})
	f.FailingFiles = s.FailingFiles()
	f.Certificates = s.Certificates()
	f.Address, f.Agents = s.Address(), s.Agents()
	evidence := f.evidence()
	evidence.Answered = s.Answered(f.Topology)
	if !parts.ForLog {
		remembered.Learn(evidence)
	}
	f.Standing, f.LeaderSince = standing(evidence, remembered), remembered.LeaderSince(f.Reports)
	f.Shortage = remembered.Shortage()
	f.Took = time.Since(s.Start())
	return f
}

// evidence is what a verdict about the cluster is drawn from.
func (f *Facts) evidence() *inputs.Evidence {
	e := &inputs.Evidence{
		At: f.Start, Topology: f.Topology, Reports: f.Reports, Agent: f.Agent, AgentLeader: f.AgentLeader,
		Servers: f.ServerAgents, Autopilot: f.Autopilot, Read: f.Consistent, Standing: f.Standing,
	}
	if f.AutopilotConfig != nil {
		e.MinQuorum = f.AutopilotConfig.MinQuorum
	}
	return e
}

func (f *Facts) setMembers(members []cluster.Member) {
	if f.LAN = members; len(members) == 0 {
		f.Missing = append(f.Missing, nothingTold("members"))
	}
}

func (f *Facts) setCatalog(c *catalog.Catalog) {
	switch {
	case c == nil:
	case len(c.Nodes) == 0:
		f.Missing = append(f.Missing, nothingTold(missingCatalog))
	default:
		f.Catalog = c
		if c.Incomplete != nil {
			f.Missing = append(f.Missing, Missing{What: missingCatalog, Reason: c.Incomplete.Error()})
		}
	}
}

// setOverview ignores a summary that does not say what is in maintenance, which would count as down.
func (f *Facts) setOverview(o *catalog.Overview) {
	if o != nil && o.MaintenanceTold {
		f.Overview = o
	}
}

// nothingTold is for an empty answer to a question about what always exists: an agent is a member, and a node. Where
// the token's rights leave out everything, Consul does not always say so.
func nothingTold(what string) Missing {
	return Missing{What: what, Reason: "Consul's answer is empty (may the token read nodes?)", Refused: true}
}

// missingServers is Missing.What without any server, and missingCatalog without the catalog.
const (
	missingServers = "servers"
	missingCatalog = "catalog"
)

// gathering waits for facts, in the order in which they were started.
type gathering struct {
	*Facts

	waits []func(context.Context)
}

// need has a fact kept, or else notes why it is missing, unless that has no name.
func need[T any](g *gathering, what string, fact *cluster.Fact[T], keep func(T)) {
	g.waits = append(g.waits, func(ctx context.Context) {
		switch value, err := fact.Get(ctx); {
		case err == nil:
			keep(value)
		case what != "":
			g.Missing = append(g.Missing, Missing{
				What: what, Reason: strings.ReplaceAll(err.Error(), "\n", "; "),
				Denied: consul.IsDenied(err), Blocked: consul.IsBlocked(err),
				Refused: errors.Is(err, consul.ErrRefused), Own: probe.IsOwnFault(err),
				Enterprise: consul.IsEnterpriseOnly(err),
			})
		}
	})
}

// to keeps a fact in a place.
func to[T any](place *T) func(T) { return func(value T) { *place = value } }

// at keeps the address of a fact in a place, which stays nil without it.
func at[T any](place **T) func(T) { return func(value T) { *place = &value } }
