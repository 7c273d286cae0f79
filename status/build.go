// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// evidence is what problems are found by: the facts of one scrape, and what they mean.
type evidence struct {
	*Facts

	// Verdict is the zero value if no server is known.
	verdict.Verdict

	servers []*verdict.Server
	// agent is the zero value if the agent never reported anything about itself. agentPorts are those of an agent that is
	// not one of the servers.
	agent      cluster.Agent
	agentPorts []verdict.Port
	// ports are those of all servers, except left-over ones and those of another cluster, and of the agent.
	ports []verdict.Port
	// catalog is nil if nothing is known about it.
	catalog *verdict.Catalog
}

func newEvidence(f *Facts) *evidence {
	e := &evidence{
		Facts:   f,
		servers: verdict.JudgeServers(f.Reports, f.Ports, f.ServerAgents, f.Autopilot),
		catalog: verdict.JudgeCatalog(f.Catalog, f.Overview),
	}
	if e.known() {
		e.Verdict = verdict.Judge(f.evidence())
	}
	for _, s := range e.servers {
		if !e.leftOver(s) && !slices.Contains(e.Mixed, s.Server.Name) {
			e.ports = append(e.ports, s.Ports...)
		}
	}
	if f.Agent == nil {
		return e
	}
	e.agent = *f.Agent
	isAgent := func(r cluster.Report) bool { return r.Server.ID != "" && r.Server.ID == e.agent.ID }
	if !slices.ContainsFunc(f.Reports, isAgent) {
		e.agentPorts = verdict.PortsOf(e.agent.Name, f.Ports)
		if !e.agentDown() { // Otherwise that is why they do not answer.
			e.ports = append(e.ports, e.agentPorts...)
		}
	}
	return e
}

// known is whether any server is.
func (e *evidence) known() bool { return len(e.servers) > 0 }

// agentDown is whether the agent does not answer.
func (e *evidence) agentDown() bool { return e.Up != nil && !*e.Up }

// leftOver reports whether a server is only a peer left over in the Raft configuration: then that is what is wrong
// with it.
func (e *evidence) leftOver(s *verdict.Server) bool {
	return s.Server.Status == cluster.StatusNone && !s.Server.Missing() && e.Topology.MembersKnown && e.UnknownPeers > 0
}

// View judges the facts. It is a pure function.
func (f *Facts) View() View {
	e := newEvidence(f)
	problems, services := judgeProblems(e.findProblems())
	v := View{
		Time:     f.Start.Truncate(time.Millisecond),
		Seconds:  f.Took.Seconds(),
		Level:    e.judgeLevel(problems),
		Verdict:  e.sentence(problems),
		Remedy:   e.remedy(e.judgeLevel(problems)),
		Problems: problemsOf(problems),
		Services: e.judgeServices(problemsOf(services)),
		Agent: AgentStatus{
			Address: f.Address.String(), Up: f.Up, Name: e.agent.Name, Datacenter: e.agent.Datacenter,
			Ports: newPortStatuses(e.agentPorts),
		},
		LastChange: e.lastChange(),
		Servers:    make([]ServerStatus, 0, len(e.servers)),
		Members:    verdict.JudgePools(f.LAN, f.WAN),
		Catalog:    e.catalog,
		Missing:    append([]Missing{}, f.Missing...),
	}
	for _, a := range f.Agents {
		configured := ConfiguredAgent{Address: a.Address.String(), Used: a.Used, Up: a.Err == nil}
		if a.Err != nil {
			configured.Error = a.Err.Error()
		}
		v.Agent.Agents = append(v.Agent.Agents, configured)
	}
	if f.Agent != nil {
		v.Agent.IsServer = new(f.Agent.Server)
	}
	if e.known() {
		v.Quorum, v.Leadership, v.Writes = &QuorumStatus{Quorum: e.Quorum}, newLeadershipStatus(e), &e.Writes
		if margin, known := e.Quorum.Margin(); known {
			v.Quorum.Margin = &margin
		}
	}
	for _, s := range e.servers {
		v.Servers = append(v.Servers, newServerStatus(e, s))
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
	return v
}

// lastChange is the latest of what is remembered: that the leader was elected, or that a server went.
func (e *evidence) lastChange() *Event {
	var last *Event
	add := func(at time.Time, text string) {
		if !at.IsZero() && (last == nil || at.After(last.Time)) {
			last = &Event{at.Truncate(time.Millisecond), text}
		}
	}
	if len(e.Leadership.Leaders) == 1 {
		add(e.LeaderSince, e.Leadership.Leaders[0]+" was elected leader")
	}
	for _, s := range e.servers {
		if a := s.Server.Absence; a != nil {
			add(a.Since, s.Server.Name+" "+map[cluster.Departure]string{
				cluster.DepartureLeft: "left the cluster", cluster.DepartureRemoved: "was removed from the cluster after it failed",
				cluster.DepartureGone: "disappeared from the cluster",
			}[a.How])
		}
	}
	return last
}

func newLeadershipStatus(e *evidence) *LeadershipStatus {
	st := &LeadershipStatus{
		Known:          e.Leadership.Known(),
		Leaders:        append([]string{}, e.Leadership.Leaders...),
		Unknown:        e.Leadership.Unknown,
		Reported:       []string{},
		WithoutLeader:  e.Leadership.Without,
		Configurations: e.Configurations,
	}
	if !e.LeaderSince.IsZero() {
		st.Since = new(e.LeaderSince.Truncate(time.Millisecond))
	}
	for _, l := range e.Leadership.Reported {
		st.Reported = append(st.Reported, l.Leader)
	}
	if e.Topology.MembersKnown {
		st.UnknownPeers = new(e.UnknownPeers)
	}
	return st
}

func newServerStatus(e *evidence, s *verdict.Server) ServerStatus {
	raft := s.RPC.Raft
	st := ServerStatus{
		Missing: newMissingStatus(s.Server.Absence),
		Name:    s.Server.Name, ID: s.Server.ID, Address: s.Server.RPCAddress, Version: s.Server.Version,
		Voter: s.Server.Voter, Serf: s.Server.Status.String(),
		RaftState: s.RaftState(), Leader: s.Leader, AutopilotHealthy: s.AutopilotHealthy, Ports: newPortStatuses(s.Ports),
	}
	if raft.LeaderKnown {
		st.HasLeader = new(s.Leader != "")
	}
	if raft.StatsKnown {
		st.Term, st.LastLogIndex = new(raft.LastLogTerm), new(raft.LastLogIndex)
		if lag, ok := e.LogLag[s.Server.Name]; ok {
			st.LogLag = &lag
		}
		if raft.LastContactKnown {
			st.LastContactSeconds = new(raft.LastContact.Seconds())
		}
	}
	if s.Stats != nil {
		st.Term = new(s.Stats.Term)
	}
	return st
}

func newPortStatuses(ports []verdict.Port) []PortStatus {
	all := make([]PortStatus, 0, len(ports))
	for _, p := range ports {
		st := PortStatus{
			Port: p.Number(), Protocol: p.Protocol, Transport: p.Transport, State: p.State, Verified: !p.ConnectOnly(),
			Outcome: p.Result.Outcome(), Reason: string(p.Result.Reason), Note: cmp.Or(p.Note, p.Hint),
		}
		if p.Unasked() {
			st.Outcome = ""
		}
		if p.Result.Err != nil {
			st.Error = p.Result.Err.Error()
		}
		if !p.Result.Skipped {
			st.Up, st.Hung, st.Seconds = new(p.Result.Up), p.State == verdict.PortHangs, p.Result.Duration.Seconds()
			if !p.Result.CertExpiry.IsZero() {
				st.CertificateExpiry = new(p.Result.CertExpiry.UTC().Truncate(time.Second))
				st.CertificateLifetime = p.Result.CertLifetime.Seconds()
			}
		}
		all = append(all, st)
	}
	return all
}
