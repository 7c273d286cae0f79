// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// evidence is what problems are found by: the facts of one scrape, and what they mean.
type evidence struct {
	*Facts

	// verdict is the zero value if no server is known.
	verdict.Verdict

	servers []server
	// catalog is nil if nothing is known about it.
	catalog *CatalogStatus
}

// server is what is known about a server.
type server struct {
	cluster.Report

	// ports are those that were probed, in the order of their default numbers. Port 8300 is always one of them.
	ports []cluster.PortReport
	// agent is what it says of itself over HTTP; nil if it does not.
	agent *cluster.Agent
	// autopilotHealthy is nil if autopilot does not tell.
	autopilotHealthy *bool
}

func newEvidence(f *Facts) *evidence {
	e := &evidence{Facts: f, catalog: newCatalogStatus(f.Catalog, f.Overview)}
	if len(f.Reports) == 0 {
		return e
	}
	e.Verdict = verdict.Judge(f.Topology, f.Reports)
	for _, r := range f.Reports {
		s := server{Report: r, ports: f.portsOf(r.Server.Name)}
		if !slices.ContainsFunc(s.ports, func(p cluster.PortReport) bool { return p.Protocol == cluster.ProtocolRPC }) {
			rpc := cluster.Port{
				Server: r.Server.Name, Protocol: cluster.ProtocolRPC, Transport: cluster.TransportTCP, Address: r.Server.RPCAddress,
			}
			s.ports = slices.Insert(s.ports, 0, cluster.PortReport{Port: rpc, Result: r.RPC.Result})
		}
		if agent, ok := f.ServerAgents[r.Server.Name]; ok {
			s.agent = &agent
		}
		if f.Autopilot != nil {
			for _, judged := range f.Autopilot.Servers {
				if judged.Name == r.Server.Name {
					s.autopilotHealthy = &judged.Healthy
				}
			}
		}
		e.servers = append(e.servers, s)
	}
	return e
}

// portsOf returns the ports of one server, or agent.
func (f *Facts) portsOf(server string) []cluster.PortReport {
	var ports []cluster.PortReport
	for _, p := range f.Ports {
		if p.Server == server {
			ports = append(ports, p)
		}
	}
	protocols := cluster.Protocols()
	slices.SortStableFunc(ports, func(a, b cluster.PortReport) int {
		return cmp.Or(
			cmp.Compare(slices.Index(protocols, a.Protocol), slices.Index(protocols, b.Protocol)),
			cmp.Compare(a.Transport, b.Transport),
		)
	})
	return ports
}

// agentPorts are those of an agent that is none of the known servers.
func (f *Facts) agentPorts() []cluster.PortReport {
	if f.Agent == nil || slices.ContainsFunc(f.Reports, func(r cluster.Report) bool { return r.Server.Name == f.Agent.Name }) {
		return nil
	}
	return f.portsOf(f.Agent.Name)
}

// agentName is that of the agent that was asked; empty if it never told.
func (f *Facts) agentName() string {
	if f.Agent == nil {
		return ""
	}
	return f.Agent.Name
}

// nameAt returns the name of the server with this Raft address, or else the address.
func (f *Facts) nameAt(address string) string {
	for _, r := range f.Reports {
		if r.Server.RPCAddress == address {
			return r.Server.Name
		}
	}
	return address
}

// known is whether any server is.
func (e *evidence) known() bool { return len(e.servers) > 0 }

// quorumLost is whether it is lost, whatever voters do of which nothing is known.
func (e *evidence) quorumLost() bool {
	margin, known := e.Quorum.Margin()
	return known && margin < 0
}

// quorumUnknown is whether there may be a quorum or not, because voters could not be asked.
func (e *evidence) quorumUnknown() bool {
	_, known := e.Quorum.Margin()
	return e.Quorum.Reachable < e.Quorum.Needed && !known
}

// leftOver reports whether a server is but a peer in the Raft configuration, left over: that is what is wrong with it.
func (e *evidence) leftOver(s *server) bool {
	return s.Server.Status == cluster.StatusNone && e.Topology.MembersKnown && e.UnknownPeers > 0
}

// raftState is by the server's HTTP API; without that it is what its port 8300 tells.
func (s *server) raftState() cluster.RaftState {
	switch raft := s.RPC.Raft; {
	case s.agent != nil && s.agent.Raft != nil:
		return s.agent.Raft.State
	case s.LeadsItself():
		return cluster.RaftLeader
	case raft.LeaderKnown && raft.Leader != "":
		return cluster.RaftFollower
	default:
		return ""
	}
}

// PortState is how a port is, in a word.
type PortState string

// The states of ports.
const (
	// PortUp means that it answers in its own protocol.
	PortUp PortState = "up"
	// PortAccepts means that it accepts connections, and that more could not be asked.
	PortAccepts PortState = "accepts"
	// PortHangs means that it accepts connections and does not answer in time: the kernel does the first also for a process that is stopped.
	PortHangs PortState = "hangs"
	// PortDown means that it does not answer.
	PortDown PortState = "down"
	// PortUnknown means that it could not be asked.
	PortUnknown PortState = "unknown"
	// PortNotAsked means that it is not asked, because Consul's configuration rules out an answer.
	PortNotAsked PortState = "not asked"
)

// portState judges the probe of a port.
func portState(r *cluster.PortReport) PortState {
	switch {
	case r.Result.Skipped && r.Unasked():
		return PortNotAsked
	case r.Result.Skipped:
		return PortUnknown
	case r.Result.Up && r.ConnectOnly():
		return PortAccepts
	case r.Result.Up:
		return PortUp
	case r.Transport == cluster.TransportTCP && r.Result.Connected() && r.Result.Reason == probe.ReasonTimeout:
		return PortHangs
	default:
		return PortDown
	}
}
