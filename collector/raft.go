// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// newRaftCollector exports what each server reports about Raft on its own port 8300, and what that means for the
// cluster. Once the servers are known that takes neither a leader nor the agent.
//
// Requests: /v1/agent/members and /v1/operator/raft/configuration for the topology, /v1/status/leader and
// /v1/status/peers for the families of consul_exporter, and as evidence /v1/agent/self of each server,
// /v1/operator/autopilot/state and, if the collector consistent is on, its read. ACL: node:read and operator:read for
// the topology; without them it is made from what needs no right. Some ten series per server.
func newRaftCollector(define *definitions) collector {
	peers := define.gauge("consul_raft_peers", "Servers in the Raft configuration, according to the agent.")
	leader := define.gauge("consul_raft_leader",
		"1 if the agent reports a leader, otherwise 0.")
	return together(
		ofFact((*cluster.Snapshot).StatusPeers, func(known []string, out *families) { out.add(peers, float64(len(known))) }),
		ofFact((*cluster.Snapshot).StatusLeader, func(known string, out *families) { out.flag(leader, known != "") }),
		ofFact((*cluster.Snapshot).RaftPeers, func([]cluster.RaftPeer, *families) {}), // Its absence is a failure.
		ofFact((*cluster.Snapshot).Topology, func(cluster.Topology, *families) {}),    // As is that of the topology.
		readReports(define),
	)
}

func readReports(define *definitions) reader {
	memory, read := define.memory, define.reads
	addServer, addCluster, addMissing := raftOfServer(define), raftOfCluster(define), missingServers(define)
	leaderInfo := define.gauge("consul_cluster_leader_info",
		"The leader; always 1, absent if there is none or several.", "server", "node_id")
	leaderChanges := define.counter("consul_cluster_leader_changes_total",
		"Changes of leader or Raft term since the exporter started, including elections between scrapes.")
	return func(snap *cluster.Snapshot) adder {
		collect := inputs.Collect(snap, read)
		return func(ctx context.Context, out *families) error {
			e, err := collect(ctx)
			if err != nil {
				return err
			}
			v := status.Learn(&e, memory)
			for _, r := range e.Reports {
				addServer(r, v, out)
			}
			addCluster(e.Topology, v, out)
			addLeader(leaderInfo, e.Reports, out)
			out.add(leaderChanges, float64(memory.LeaderChanges()))
			addMissing(e.Topology, memory.Shortage(), out)
			return nil
		}
	}
}

// addLeader adds the one server that calls itself leader.
func addLeader(info *desc, reports []cluster.Report, out *families) {
	leading := slices.DeleteFunc(slices.Clone(reports), func(r cluster.Report) bool { return !r.LeadsItself() })
	if len(leading) == 1 {
		out.add(info, 1, leading[0].Server.Name, leading[0].Server.ID)
	}
}

// raftOfServer adds what one server says; what it did not say is absent.
func raftOfServer(define *definitions) func(cluster.Report, verdict.Verdict, *families) {
	reportedLeader := define.gauge("consul_server_raft_reported_leader_info",
		"The leader's address, according to this server; always 1, absent without a leader.", "server",
		"leader")
	hasLeader := define.gauge("consul_server_raft_has_leader",
		"1 if this server knows a leader, otherwise 0.", "server")
	isLeader := define.gauge("consul_server_raft_is_leader",
		"1 if this server considers itself the leader, otherwise 0.", "server")
	lastLogIndex := define.gauge("consul_server_raft_last_log_index",
		"Index of the last entry in the server's Raft log.", "server")
	lastLogTerm := define.gauge("consul_server_raft_last_log_term",
		"Raft term of the last entry in the server's Raft log.", "server")
	lastContact := define.gauge("consul_server_raft_last_contact_seconds",
		"Time since the server heard from the leader; 0 on the leader, absent if never.", "server")
	logLag := define.gauge("consul_server_raft_log_lag_entries",
		"Entries that the server's Raft log lags behind the longest one.", "server")
	serverPeers := define.gauge("consul_server_raft_peers",
		"Servers in the Raft configuration, according to this server.", "server")
	return func(r cluster.Report, v verdict.Verdict, out *families) {
		server, raft := r.Server.Name, r.RPC.Raft
		if raft.LeaderKnown {
			out.flag(hasLeader, raft.Leader != "", server)
			out.flag(isLeader, r.LeadsItself(), server)
			if raft.Leader != "" {
				out.add(reportedLeader, 1, server, raft.Leader)
			}
		}
		if raft.PeersKnown {
			out.add(serverPeers, float64(len(raft.Peers)), server)
		}
		if raft.StatsKnown {
			out.add(lastLogIndex, float64(raft.LastLogIndex), server)
			out.add(lastLogTerm, float64(raft.LastLogTerm), server)
			if lag, ok := v.LogLag[server]; ok { // A server of another cluster has none.
				out.add(logLag, float64(lag), server)
			}
			if raft.LastContactKnown {
				out.add(lastContact, raft.LastContact.Seconds(), server)
			}
		}
	}
}

func raftOfCluster(define *definitions) func(cluster.Topology, verdict.Verdict, *families) {
	servers := define.gauge("consul_cluster_servers", "Known servers by Serf state.", "state")
	voters := define.gauge("consul_cluster_voters", "Voters in the Raft configuration.")
	quorumState := define.gauge("consul_cluster_quorum_state",
		"Whether a majority of voters follows one leader: 1 for the state that applies (held, lost, or unknown), "+
			"0 for the others.", "state")
	writesState := define.gauge("consul_cluster_writes_state",
		"Whether writes commit: 1 for the state that applies (committing, stalled, or unknown), 0 for the "+
			"others. Stalled: the leader's log grows, but nothing was committed for 20 seconds.", "state")
	voterStates := define.gauge("consul_cluster_voters_state",
		"Voters by state: answering on port 8300, lost, or unknown (not probed, turned away, or cut off).", "state")
	quorum := define.gauge("consul_cluster_quorum", "Voters that must agree: more than half of them.")
	margin := define.gauge("consul_cluster_failure_margin",
		"How many more voters can fail before the quorum is lost; below 0 it is lost. Voters that do not follow "+
			"the leader do not count. Absent while a voter is unknown.")
	leaders := define.gauge("consul_cluster_leaders",
		"Servers that consider themselves leader: 1 is right, 0 is no leader, 2 or more is a split brain. Absent "+
			"instead of 0 while a voter is unknown or no server confirms it.")
	reportedLeaders := define.gauge("consul_cluster_reported_leaders", "Distinct leaders reported by servers: 1 is right.")
	withoutLeader := define.gauge("consul_cluster_servers_without_leader", "Servers that respond and know no leader.")
	configurations := define.gauge("consul_cluster_raft_configurations",
		"Distinct peer sets reported by servers: 1 is right.")
	unknownPeers := define.gauge("consul_cluster_unknown_raft_peers",
		"Raft peers that match no Serf member.")
	foreign := define.gauge("consul_cluster_foreign_servers",
		"Servers of another cluster in the gossip pool: no Raft peer in common with the agent's cluster. 0 is "+
			"right.")
	return func(t cluster.Topology, v verdict.Verdict, out *families) {
		out.add(foreign, float64(len(v.Mixed)))
		out.add(voters, float64(v.Quorum.Voters))
		out.add(quorum, float64(v.Quorum.Needed))
		for _, state := range verdict.QuorumStates() {
			out.flag(quorumState, v.Quorum.State == state, string(state))
		}
		for _, state := range verdict.WritesStates() {
			out.flag(writesState, v.Writes.State == state, string(state))
		}
		out.add(voterStates, float64(v.Quorum.Reachable), string(verdict.VoterAnswering))
		out.add(voterStates, float64(v.Quorum.LostVoters()), string(verdict.VoterLost))
		out.add(voterStates, float64(v.Quorum.Unknown), string(verdict.VoterUnknown))
		if n, known := v.Quorum.Margin(); known {
			out.add(margin, float64(n))
		}
		if v.Leadership.Known() {
			out.add(leaders, float64(len(v.Leadership.Leaders)))
		}
		out.add(reportedLeaders, float64(len(v.Leadership.Reported)))
		out.add(withoutLeader, float64(v.Leadership.Without))
		out.add(configurations, float64(v.Configurations))
		if t.MembersKnown {
			out.add(unknownPeers, float64(v.UnknownPeers))
			for _, status := range cluster.MemberStatuses() {
				out.add(servers, float64(t.ServerStates[status]), status.String())
			}
		}
	}
}
