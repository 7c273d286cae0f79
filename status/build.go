// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// maxListed bounds each list of members and services, of which there may be thousands.
const maxListed = 100

// newView judges the facts. It is a pure function.
func newView(f *Facts) View {
	e := newEvidence(f)
	problems := e.judgeProblems()
	v := View{
		Time:     f.Start.Truncate(time.Millisecond),
		Seconds:  f.Took.Seconds(),
		Level:    e.judgeLevel(problems),
		Verdict:  e.sentence(problems),
		Problems: make([]Problem, 0, len(problems)),
		Agent:    newAgentStatus(f),
		Servers:  make([]ServerStatus, 0, len(e.servers)),
		Members:  []PoolStatus{},
		Catalog:  e.catalog,
		Missing:  slices.Concat([]Missing{}, f.Missing),
	}
	for _, p := range problems {
		v.Problems = append(v.Problems, Problem{p.kind.severity, p.kind.alert, p.about.server, p.text, alerts.Runbook(p.kind.alert)})
	}
	if e.known() {
		v.Quorum = newQuorumStatus(e.Quorum)
		v.Leadership = newLeadershipStatus(e)
	}
	for i := range e.servers {
		v.Servers = append(v.Servers, newServerStatus(e, &e.servers[i]))
	}
	if f.Consistent != nil {
		v.ConsistentRead = &ConsistentReadStatus{OK: f.Consistent.OK}
		if f.Consistent.OK {
			v.ConsistentRead.Seconds = new(f.Consistent.Duration.Seconds())
		}
	}
	if f.Autopilot != nil {
		v.Autopilot = &AutopilotStatus{f.Autopilot.Healthy, f.Autopilot.FailureTolerance}
	}
	for _, pool := range []struct {
		name    string
		members []cluster.Member
	}{{"lan", f.LAN}, {"wan", f.WAN}} {
		if len(pool.members) > 0 {
			v.Members = append(v.Members, newPoolStatus(pool.name, pool.members))
		}
	}
	return v
}

func newAgentStatus(f *Facts) AgentStatus {
	st := AgentStatus{Address: f.Address.String(), Up: f.Up, Ports: newPortStatuses(f.agentPorts())}
	if f.Agent != nil {
		st.Name, st.Datacenter, st.IsServer = f.Agent.Name, f.Agent.Datacenter, new(f.Agent.Server)
	}
	return st
}

func newQuorumStatus(q verdict.Quorum) *QuorumStatus {
	st := &QuorumStatus{Voters: q.Voters, Needed: q.Needed, Reachable: q.Reachable, Unknown: q.Unknown, Following: q.Following}
	if margin, known := q.Margin(); known {
		st.Margin = &margin
	}
	return st
}

func newLeadershipStatus(e *evidence) *LeadershipStatus {
	st := &LeadershipStatus{
		Leaders:        slices.Concat([]string{}, e.Leadership.Leaders),
		Unknown:        e.Leadership.Unknown,
		Reported:       []string{},
		WithoutLeader:  e.Leadership.Without,
		Configurations: e.Configurations,
	}
	if !e.LeaderSince.IsZero() {
		st.Since = new(e.LeaderSince.Truncate(time.Millisecond))
	}
	for _, address := range e.Leadership.Reported {
		st.Reported = append(st.Reported, e.nameAt(address))
	}
	if e.Topology.MembersKnown {
		st.UnknownPeers = new(e.UnknownPeers)
	}
	return st
}

func newServerStatus(e *evidence, s *server) ServerStatus {
	raft := s.RPC.Raft
	st := ServerStatus{
		Name: s.Server.Name, ID: s.Server.ID, Address: s.Server.RPCAddress, Version: s.Server.Version, Voter: s.Server.Voter,
		Serf:             s.Server.Status.String(),
		RaftState:        s.raftState(),
		AutopilotHealthy: s.autopilotHealthy,
		Ports:            newPortStatuses(s.ports),
	}
	if raft.LeaderKnown {
		st.HasLeader = new(raft.Leader != "")
		if raft.Leader != "" {
			st.Leader = e.nameAt(raft.Leader)
		}
	}
	if raft.StatsKnown {
		st.Term, st.LastLogIndex, st.LogLag = new(raft.LastLogTerm), new(raft.LastLogIndex), new(e.LogLag[s.Server.Name])
		if raft.LastContactKnown {
			st.LastContactSeconds = new(raft.LastContact.Seconds())
		}
	}
	if s.agent != nil && s.agent.Raft != nil {
		st.Term = new(s.agent.Raft.Term)
	}
	return st
}

func newPortStatuses(reports []cluster.PortReport) []PortStatus {
	ports := make([]PortStatus, 0, len(reports))
	for i := range reports {
		ports = append(ports, newPortStatus(&reports[i]))
	}
	return ports
}

func newPortStatus(r *cluster.PortReport) PortStatus {
	st := PortStatus{Port: r.Number(), Protocol: r.Protocol, Transport: r.Transport, State: portState(r), Verified: !r.ConnectOnly()}
	st.Reason = string(r.Result.Reason)
	if r.Result.Err != nil {
		st.Error = r.Result.Err.Error()
	}
	if r.Result.Skipped {
		st.Note = r.Note
		return st
	}
	st.Up = new(r.Result.Up)
	st.Hung = st.State == PortHangs
	st.Seconds = r.Result.Duration.Seconds()
	if !r.Result.CertExpiry.IsZero() {
		st.CertificateExpiry = new(r.Result.CertExpiry.UTC().Truncate(time.Second))
		st.CertificateLifetime = r.Result.CertLifetime.Seconds()
	}
	return st
}

func newPoolStatus(name string, members []cluster.Member) PoolStatus {
	st := PoolStatus{Pool: name, Count: len(members), ByStatus: make(map[string]int), NotAlive: []MemberEntry{}}
	for _, status := range cluster.MemberStatuses() {
		st.ByStatus[status.String()] = 0
	}
	notAlive := []cluster.Member{}
	for _, m := range members {
		st.ByStatus[m.Status.String()]++
		if m.Status != cluster.StatusAlive {
			notAlive = append(notAlive, m)
		}
	}
	slices.SortFunc(notAlive, func(a, b cluster.Member) int {
		return cmp.Or(-cmp.Compare(a.Status, b.Status), cmp.Compare(a.Name, b.Name)) // StatusFailed is the largest.
	})
	for _, m := range notAlive[:min(len(notAlive), maxListed)] {
		st.NotAlive = append(st.NotAlive, MemberEntry{m.Name, m.Status.String(), m.Server()})
	}
	st.NotAliveOmitted = len(notAlive) - len(st.NotAlive)
	return st
}

// serversService is what the servers are registered as (Consul: structs.ConsulServiceName).
const serversService = "consul"

// newCatalogStatus counts by the catalog, and by its summary what is missing of it; either may be nil.
func newCatalogStatus(c *cluster.Catalog, overview *cluster.CatalogOverview) *CatalogStatus {
	st := &CatalogStatus{Instances: make(map[string]int)}
	for _, status := range cluster.HealthStatuses() {
		st.Instances[status.String()] = 0
	}
	services := st.countServices(c, overview)
	if services == nil {
		return nil
	}
	failing := []ServiceStatus{}
	for _, service := range services {
		if service.Critical == 0 || service.Name == serversService {
			continue
		}
		failing = append(failing, service)
		if service.down() {
			st.Down++
		}
	}
	slices.SortFunc(failing, func(a, b ServiceStatus) int {
		return cmp.Or(cmp.Compare(b.downs(), a.downs()), cmp.Compare(b.Critical, a.Critical), cmp.Compare(a.Name, b.Name))
	})
	st.Failing = failing[:min(len(failing), maxListed)]
	st.FailingOmitted = len(failing) - len(st.Failing)
	return st
}

// countServices sets the totals and returns the counts of each service that is known; nil if nothing is.
func (st *CatalogStatus) countServices(c *cluster.Catalog, overview *cluster.CatalogOverview) []ServiceStatus {
	services := []ServiceStatus{}
	wanted := func(string) bool { return true }
	switch {
	case c != nil:
		byService := c.InstanceCounts()
		st.Nodes, st.Services = len(c.Nodes), len(byService)+len(c.Missing)
		for name, counts := range byService {
			services = append(services, ServiceStatus{
				name, counts[cluster.HealthPassing], counts[cluster.HealthWarning], counts[cluster.HealthCritical], counts[cluster.HealthMaintenance],
			})
			for status, n := range counts {
				if n > 0 {
					st.Instances[cluster.HealthStatus(status).String()] += n
				}
			}
		}
		wanted = func(name string) bool { _, missing := slices.BinarySearch(c.Missing, name); return missing }
	case overview != nil:
		st.Summary, st.Nodes, st.Services = true, overview.Nodes.Total, len(overview.Services)
	default:
		return nil
	}
	if overview == nil {
		return services
	}
	for _, o := range overview.Services {
		if wanted(o.Name) {
			services = append(services, ServiceStatus{o.Name, o.Passing, o.Warning, o.Critical, o.Maintenance})
			st.Instances[cluster.HealthPassing.String()] += o.Passing
			st.Instances[cluster.HealthWarning.String()] += o.Warning
			st.Instances[cluster.HealthCritical.String()] += o.Critical
			st.Instances[cluster.HealthMaintenance.String()] += o.Maintenance
		}
	}
	return services
}

// down reports whether Consul names nobody who asks for the service an address.
func (s ServiceStatus) down() bool { return s.Critical > 0 && s.Passing+s.Warning == 0 }

// downs is 1 if the service is down, and 0 if not.
func (s ServiceStatus) downs() int {
	if s.down() {
		return 1
	}
	return 0
}
