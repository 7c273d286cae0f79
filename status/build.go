// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// maxListed bounds each list of members and services, of which there may be thousands.
const maxListed = 100

// newView is a pure function.
func newView(f *Facts) View {
	st := View{
		Time:    f.Start.Truncate(time.Millisecond),
		Seconds: f.Took.Seconds(),
		Agent:   newAgentStatus(f),
		Servers: make([]ServerStatus, 0, len(f.Reports)),
		Members: []PoolStatus{},
		Missing: slices.Concat([]Missing{}, f.Missing),
	}
	if len(f.Reports) > 0 {
		verdict := verdict.Judge(f.Topology, f.Reports)
		st.Quorum = newQuorumStatus(verdict.Quorum)
		st.Leadership = newLeadershipStatus(f, verdict)
		for _, r := range f.Reports {
			st.Servers = append(st.Servers, newServerStatus(f, r, verdict))
		}
	}
	if f.Consistent != nil {
		st.ConsistentRead = &ConsistentReadStatus{OK: f.Consistent.OK}
		if f.Consistent.OK {
			st.ConsistentRead.Seconds = new(f.Consistent.Duration.Seconds())
		}
	}
	if f.Autopilot != nil {
		st.Autopilot = &AutopilotStatus{f.Autopilot.Healthy, f.Autopilot.FailureTolerance}
	}
	for _, pool := range []struct {
		name    string
		members []cluster.Member
	}{{"lan", f.LAN}, {"wan", f.WAN}} {
		if len(pool.members) > 0 {
			st.Members = append(st.Members, newPoolStatus(pool.name, pool.members))
		}
	}
	st.Catalog = newCatalogStatus(f.Catalog, f.Overview)
	st.Problems = judgeProblems(f, &st)
	st.Level = judgeLevel(&st)
	st.Verdict = verdictSentence(&st)
	return st
}

func newAgentStatus(f *Facts) AgentStatus {
	st := AgentStatus{Address: f.Address.String(), Up: f.Up, Ports: []PortStatus{}}
	if f.Agent == nil {
		return st
	}
	st.Name, st.Datacenter, st.IsServer = f.Agent.Name, f.Agent.Datacenter, new(f.Agent.Server)
	if !slices.ContainsFunc(f.Reports, func(r cluster.Report) bool { return r.Server.Name == st.Name }) {
		st.Ports = newPortStatuses(f.Ports, st.Name)
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

func newLeadershipStatus(f *Facts, v verdict.Verdict) *LeadershipStatus {
	st := &LeadershipStatus{
		Leaders:        slices.Concat([]string{}, v.Leadership.Leaders),
		Unknown:        v.Leadership.Unknown,
		Reported:       []string{},
		WithoutLeader:  v.Leadership.Without,
		Configurations: v.Configurations,
	}
	if !f.LeaderSince.IsZero() {
		st.Since = new(f.LeaderSince.Truncate(time.Millisecond))
	}
	for _, address := range v.Leadership.Reported {
		st.Reported = append(st.Reported, nameAt(f.Reports, address))
	}
	if f.Topology.MembersKnown {
		st.UnknownPeers = new(v.UnknownPeers)
	}
	return st
}

// nameAt returns the name of the server with this Raft address, or else the address.
func nameAt(reports []cluster.Report, address string) string {
	for _, r := range reports {
		if r.Server.RPCAddress == address {
			return r.Server.Name
		}
	}
	return address
}

func newServerStatus(f *Facts, r cluster.Report, v verdict.Verdict) ServerStatus {
	server, raft := r.Server, r.RPC.Raft
	st := ServerStatus{
		Name: server.Name, ID: server.ID, Address: server.RPCAddress, Version: server.Version, Voter: server.Voter,
		Serf:  server.Status.String(),
		Ports: newPortStatuses(f.Ports, server.Name),
	}
	if !slices.ContainsFunc(st.Ports, func(p PortStatus) bool { return p.Protocol == cluster.ProtocolRPC }) {
		rpc := cluster.PortReport{Port: cluster.Port{Server: server.Name, Protocol: cluster.ProtocolRPC, Transport: cluster.TransportTCP, Address: server.RPCAddress}, Result: r.RPC.Result}
		st.Ports = slices.Insert(st.Ports, 0, newPortStatus(&rpc))
	}
	if raft.LeaderKnown {
		st.HasLeader = new(raft.Leader != "")
		switch {
		case r.LeadsItself():
			st.RaftState = cluster.RaftLeader
		case raft.Leader != "":
			st.RaftState = cluster.RaftFollower
		}
		if raft.Leader != "" {
			st.Leader = nameAt(f.Reports, raft.Leader)
		}
	}
	if raft.StatsKnown {
		st.Term, st.LastLogIndex, st.LogLag = new(raft.LastLogTerm), new(raft.LastLogIndex), new(v.LogLag[server.Name])
		if raft.LastContactKnown {
			st.LastContactSeconds = new(raft.LastContact.Seconds())
		}
	}
	if stats := f.ServerAgents[server.Name].Raft; stats != nil {
		st.RaftState, st.Term = stats.State, new(stats.Term)
	}
	if f.Autopilot != nil {
		for _, s := range f.Autopilot.Servers {
			if s.Name == server.Name {
				st.AutopilotHealthy = new(s.Healthy)
			}
		}
	}
	return st
}

// newPortStatuses returns the ports of one server, or agent.
func newPortStatuses(reports []cluster.PortReport, server string) []PortStatus {
	ports := []PortStatus{}
	for i := range reports {
		if reports[i].Server == server {
			ports = append(ports, newPortStatus(&reports[i]))
		}
	}
	slices.SortStableFunc(ports, func(a, b PortStatus) int {
		return cmp.Or(
			cmp.Compare(slices.Index(cluster.Protocols(), a.Protocol), slices.Index(cluster.Protocols(), b.Protocol)),
			cmp.Compare(a.Transport, b.Transport),
		)
	})
	return ports
}

func newPortStatus(r *cluster.PortReport) PortStatus {
	st := PortStatus{Port: r.Number(), Protocol: r.Protocol, Transport: r.Transport, Verified: !r.ConnectOnly()}
	st.Reason = string(r.Result.Reason)
	if r.Result.Err != nil {
		st.Error = r.Result.Err.Error()
	}
	if r.Result.Skipped {
		st.Note = r.Note
		return st
	}
	st.Up = new(r.Result.Up)
	st.Hung = hangs(r)
	st.Seconds = r.Result.Duration.Seconds()
	if !r.Result.CertExpiry.IsZero() {
		st.CertificateExpiry = new(r.Result.CertExpiry.UTC().Truncate(time.Second))
		st.CertificateLifetime = r.Result.CertLifetime.Seconds()
	}
	return st
}

// hangs reports whether a port accepts connections and does not answer in time: the kernel does the first also for a process that
// is stopped.
func hangs(r *cluster.PortReport) bool {
	return r.Transport == cluster.TransportTCP && r.Result.Connected() && r.Result.Reason == probe.ReasonTimeout
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
