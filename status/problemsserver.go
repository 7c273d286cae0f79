// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// silence is how a server does not answer.
type silence int

const (
	silenceNone silence = iota
	silenceHung
	silenceDown
)

// silent finds the servers that do not answer at all, in this way.
func silent(how silence) func(*evidence, report) {
	return func(e *evidence, report report) {
		for i := range e.servers {
			s := &e.servers[i]
			if e.leftOver(s) || judgeSilence(s.ports) != how {
				continue
			}
			name := s.Server.Name
			if how == silenceHung {
				report(ofServer(name), "%s accepts connections and answers none: the process is stopped, deadlocked, or waits for its disk.", name)
			} else {
				report(ofServer(name), "%s answers on none of its ports (%s): the process or its host is gone, or the network is broken.",
					name, s.ports[0].Result.Reason)
			}
		}
	}
}

// judgeSilence looks at all ports of a server. That a port accepts connections is no sign of life, and no sign that the host is gone.
func judgeSilence(ports []cluster.PortReport) silence {
	var hung, open, rpc bool
	for i := range ports {
		p := &ports[i]
		switch state := portState(p); {
		case state == PortUnknown || state == PortNotAsked:
			continue
		case state == PortUp || rejects(p):
			return silenceNone
		case state == PortAccepts:
			open = true
		case state == PortHangs:
			hung = true
		}
		rpc = rpc || p.Protocol == cluster.ProtocolRPC
	}
	switch {
	case hung:
		return silenceHung
	case rpc && !open:
		return silenceDown
	default:
		return silenceNone
	}
}

// rejects reports whether the port is not up, and yet something answered: a program that lives.
func rejects(p *cluster.PortReport) bool {
	switch p.Result.Reason {
	case probe.ReasonTLS, probe.ReasonAuth, probe.ReasonProtocol, probe.ReasonLimit:
		return true
	default:
		return false
	}
}

func serverWithoutLeader(e *evidence, report report) {
	for _, s := range e.servers {
		if name := s.Server.Name; s.RPC.Raft.LeaderKnown && s.RPC.Raft.Leader == "" {
			report(ofServer(name), "%s answers and knows of no leader: it is cut off from the others, or was taken out of the cluster.", name)
		}
	}
}

func serverCandidate(e *evidence, report report) {
	for i := range e.servers {
		s := &e.servers[i]
		if s.raftState() == cluster.RaftCandidate {
			report(ofServer(s.Server.Name), "%s stands for election and is not elected.", s.Server.Name)
		}
	}
}

func raftLogLag(e *evidence, report report) {
	for _, s := range e.servers {
		if lag := e.LogLag[s.Server.Name]; lag > maxLogLag {
			report(ofServer(s.Server.Name), "The Raft log of %s is %d entries behind, more than %d.", s.Server.Name, lag, maxLogLag)
		}
	}
}

// raftLogLagOfAutopilot is about what autopilot allows, which is less by default.
func raftLogLagOfAutopilot(e *evidence, report report) {
	if e.AutopilotConfig == nil {
		return
	}
	allowed := e.AutopilotConfig.MaxTrailingLogs
	for _, s := range e.servers {
		if lag := e.LogLag[s.Server.Name]; lag > allowed {
			report(ofServer(s.Server.Name), "The Raft log of %s is %d entries behind, more than autopilot allows (%d).", s.Server.Name, lag, allowed)
		}
	}
}

func raftApplyLag(e *evidence, report report) {
	for _, s := range e.servers {
		if s.agent == nil || s.agent.Raft == nil {
			continue
		}
		if stats := s.agent.Raft; stats.CommitIndex > stats.AppliedIndex+maxApplyLag {
			report(ofServer(s.Server.Name), "%s has yet to apply %d committed Raft log entries, more than %d.", s.Server.Name,
				stats.CommitIndex-stats.AppliedIndex, maxApplyLag)
		}
	}
}

// raftLastContact finds the servers that heard of the leader longer ago than this.
func raftLastContact(most time.Duration) func(*evidence, report) {
	return func(e *evidence, report report) {
		for _, s := range e.servers {
			if raft := s.RPC.Raft; raft.StatsKnown && raft.LastContactKnown && raft.LastContact > most {
				report(ofServer(s.Server.Name), "%s last heard of the leader %s ago, more than %s.", s.Server.Name,
					wording.Rounded(raft.LastContact), most)
			}
		}
	}
}
