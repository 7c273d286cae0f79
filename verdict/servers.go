// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// Server is what is known about one server.
type Server struct {
	cluster.Report

	// Ports are in the order of their default numbers. Port 8300 is always among them.
	Ports []Port
	// Leader is whom the server calls leader: the name, or an address that no known server has; empty if nobody.
	Leader string
	// Stats are what the server reports about Raft over HTTP; nil if it does not.
	Stats *cluster.RaftStats
	// AutopilotHealthy is nil if autopilot reports nothing about the server.
	AutopilotHealthy *bool
	// Hung is whether the server accepts connections but responds on no port, and Down whether it does not even accept
	// one.
	Hung, Down bool
}

// JudgeServers joins what is known about each server that reported. Agents have, by node ID, what servers report about
// themselves over HTTP; autopilot is nil when it is not known.
func JudgeServers(
	reports []cluster.Report, ports []cluster.PortReport, agents map[string]cluster.Agent,
	autopilot *cluster.AutopilotState,
) []*Server {
	var servers []*Server
	for _, r := range reports {
		s := &Server{
			Report: r, Ports: PortsOf(r.Server.Name, ports),
			Leader: nameAt(r.RPC.Raft.Leader, reports), Stats: agents[r.Server.ID].Raft,
		}
		if !slices.ContainsFunc(s.Ports, func(p Port) bool { return p.Protocol == cluster.ProtocolRPC }) {
			s.Ports = slices.Insert(s.Ports, 0, judgePort(&cluster.PortReport{
				Port: cluster.Port{
					Server: r.Server.Name, Protocol: cluster.ProtocolRPC, Transport: cluster.TransportTCP,
					Address: r.Server.RPCAddress,
				},
				Result: r.RPC.Result,
			}))
		}
		if judged := autopilot.Of(r.Server.ID); judged != nil {
			s.AutopilotHealthy = &judged.Healthy
		}
		s.Hung, s.Down = judgeSilence(s.Ports)
		servers = append(servers, s)
	}
	return servers
}

// judgeSilence looks at all ports of a server. That a port accepts connections is no sign of life, and no sign that
// the host is gone. One for clients or gossip that rejected a question before, and was not asked again, is neither.
func judgeSilence(ports []Port) (hung, down bool) {
	var open, rpc bool
	for _, p := range ports {
		heldBack := p.State == PortTurnedAway && p.Result.Skipped && p.Protocol != cluster.ProtocolRPC
		switch {
		case heldBack, p.State == PortUnknown, p.State == PortNotAsked:
			continue
		case p.State == PortTurnedAway, p.State == PortUp:
			return false, false
		case p.State == PortAccepts:
			open = true
		case p.State == PortHangs:
			hung = true
		}
		rpc = rpc || p.Protocol == cluster.ProtocolRPC
	}
	return hung, !hung && rpc && !open
}

// RaftState is what the server reports over HTTP; without that, what its port 8300 tells.
func (s *Server) RaftState() cluster.RaftState {
	switch raft := s.RPC.Raft; {
	case s.Stats != nil:
		return s.Stats.State
	case s.LeadsItself():
		return cluster.RaftLeader
	case raft.LeaderKnown && raft.Leader != "":
		return cluster.RaftFollower
	default:
		return ""
	}
}
