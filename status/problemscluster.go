// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

func splitBrain(e *evidence) string {
	return wording.If(len(e.Leadership.Leaders) > 1,
		"%s call themselves leader: they accept writes that contradict each other.", wording.List(e.Leadership.Leaders))
}

func quorumLost(e *evidence) string {
	return wording.If(e.Quorum.Lost(),
		"%s on port 8300, and %d must agree: nothing can be written, and no service can register.",
		e.Quorum, e.Quorum.Needed)
}

func quorumUnknown(e *evidence) string {
	return wording.If(e.known() && e.Quorum.State == verdict.QuorumUnknown,
		"Whether there is a quorum is unknown: %s.", e.Quorum.Lacks)
}

func writesStalled(e *evidence) string {
	return wording.If(e.Writes.State == verdict.WritesStalled,
		"%s leads and reads work, but writes do not commit: the log of the leader is at entry %d and stays committed up to "+
			"entry %d%s.", wording.List(e.Leadership.Leaders), e.Writes.LastLogIndex, e.Writes.CommitIndex,
		wording.Prefixed("; check the disks of ", wording.List(e.Writes.Behind)))
}

// quorumAtRisk is about a cluster that was built to survive a failure. One of two servers never could.
func quorumAtRisk(e *evidence) string {
	margin, known := e.Quorum.Margin()
	expected := cmp.Or(e.Shortage.Expected, e.Quorum.Voters)
	return wording.If(known && margin == 0 && e.Quorum.State == verdict.QuorumHeld && expected > 2,
		"No further failure can be tolerated: the quorum is lost if one more voter fails.")
}

func evenVoters(e *evidence) string {
	n := e.Quorum.Voters
	return wording.If(n > 2 && n%2 == 0, "The number of voters is even, %d: one fewer could lose as many and keep the "+
		"quorum, and one more could lose one more.", n)
}

func noLeader(e *evidence) string {
	why := "No server calls itself leader"
	if e.Quorum.NeverBootstrapped {
		why = wording.Capital(e.Quorum.Lacks) + ". Until the others join, there is no leader"
	}
	return wording.If(e.known() && len(e.Leadership.Leaders) == 0 && e.Leadership.Known(),
		"%s: nothing can be written, and consistent reads fail.", why)
}

func noLeaderClause(e *evidence, _ []string) string {
	if e.Quorum.NeverBootstrapped {
		return e.Quorum.Lacks
	}
	return "no server leads"
}

func serversDisagree(e *evidence, report report) {
	n := len(e.Leadership.Reported)
	report(nil, wording.If(n > 1, "The servers name %d different leaders: %s.", n, e.opinions()))
	n = e.Configurations
	report(nil, wording.If(n > 1, "The servers have %d different sets of Raft peers.", n))
}

// disagreement is the clause about it.
func disagreement(e *evidence, _ []string) string {
	if len(e.Leadership.Reported) > 1 {
		return "the servers disagree about who leads: " + e.opinions()
	}
	return fmt.Sprintf("the servers have %d different Raft configurations", e.Configurations)
}

// opinions says who calls whom leader.
func (e *evidence) opinions() string {
	var parts []string
	for _, l := range e.Leadership.Reported {
		parts = append(parts, wording.List(l.By)+" "+wording.Word(len(l.By), "says", "say")+" "+l.Leader)
	}
	return strings.Join(parts, ", ")
}

func consistentReadsFail(e *evidence) string {
	return wording.If(e.known() && e.Consistent != nil && !e.Consistent.OK,
		"The cluster does not answer a consistent read in time.")
}

// clustersMixed is about servers that only gossip with the cluster.
func clustersMixed(e *evidence) string {
	return wording.If(len(e.Mixed) > 0,
		"%s another cluster: the gossip pools were merged, and clients may reach either. Only the cluster of the agent "+
			"that was asked is judged.", wording.List(e.Mixed)+wording.Word(len(e.Mixed), " belongs to", " belong to"))
}

func staleRaftPeer(e *evidence) string {
	return wording.If(e.Topology.MembersKnown && e.UnknownPeers > 0,
		"%s in the Raft configuration: they count for the quorum and can never vote.",
		wording.Plural(e.UnknownPeers, "peer that matches no member is", "peers that match no member are"))
}

func autopilotUnhealthy(e *evidence) string {
	unhealthy := wording.Names(e.servers, func(s *verdict.Server) (string, bool) {
		return s.Server.Name, s.AutopilotHealthy != nil && !*s.AutopilotHealthy
	})
	return wording.If(e.known() && e.Autopilot != nil && !e.Autopilot.Healthy,
		"Autopilot calls the cluster unhealthy%s.", wording.Prefixed(" because of ", wording.List(unhealthy)))
}

func serverHung(e *evidence, s *verdict.Server) string {
	return wording.If(s.Hung && !e.leftOver(s) && !e.outOfSight(s),
		"%s accepts connections but responds on no port: the process is stopped, deadlocked, or waits for its disk.%s",
		s.Server.Name, e.departed(s))
}

func serverDown(e *evidence, s *verdict.Server) string {
	return wording.If(s.Down && !e.leftOver(s) && !e.outOfSight(s),
		"%s answers on none of its ports (%s): the process or its host is gone, or the network is broken.%s",
		s.Server.Name, s.Ports[0].Result.Reason, e.departed(s))
}

func serverWithoutLeader(_ *evidence, s *verdict.Server) string {
	return wording.If(s.RPC.Raft.LeaderKnown && s.RPC.Raft.Leader == "",
		"%s answers and knows of no leader: it is cut off from the others, or was taken out of the cluster.",
		s.Server.Name)
}

func serverCandidate(_ *evidence, s *verdict.Server) string {
	return wording.If(s.RaftState() == cluster.RaftCandidate, "%s stands for election and is not elected.", s.Server.Name)
}

func raftLogLag(e *evidence, s *verdict.Server) string {
	lag, most := e.LogLag[s.Server.Name], threshold("raft-log-lag", uint64(1))
	return wording.If(lag > most, "The Raft log of %s is %d entries behind, more than %d.", s.Server.Name, lag, most)
}

// raftLogLagOfAutopilot is about what autopilot allows, which is less by default.
func raftLogLagOfAutopilot(e *evidence, s *verdict.Server) string {
	if e.AutopilotConfig == nil {
		return ""
	}
	lag, most := e.LogLag[s.Server.Name], e.AutopilotConfig.MaxTrailingLogs
	return wording.If(lag > most, "The Raft log of %s is %d entries behind, more than autopilot allows (%d).",
		s.Server.Name, lag, most)
}

func raftApplyLag(_ *evidence, s *verdict.Server) string {
	if s.Stats == nil {
		return ""
	}
	committed, applied, most := s.Stats.CommitIndex, s.Stats.AppliedIndex, threshold("raft-apply-lag", uint64(1))
	return wording.If(committed > applied+most, "%s has yet to apply %d committed Raft log entries, more than %d.",
		s.Server.Name, committed-applied, most)
}

// raftLastContact is about a server that heard of the leader too long ago.
func raftLastContact(_ *evidence, s *verdict.Server) string {
	raft, most := s.RPC.Raft, threshold("raft-last-contact", time.Second)
	return wording.If(raft.StatsKnown && raft.LastContactKnown && raft.LastContact > most,
		"%s last heard of the leader %s ago, more than %s.", s.Server.Name, wording.Rounded(raft.LastContact), most)
}
