// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/memory"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// raftCollector exports what each server reports about Raft on its own port 8300, and what that means for the
// cluster. Once the servers are known that takes neither a leader nor the agent.
//
// Requests: /v1/agent/members and /v1/operator/raft/configuration for the topology, /v1/status/leader and
// /v1/status/peers for the families of consul_exporter. ACL: node:read and operator:read for the topology; without
// them it is made from what needs no right. Some ten series per server.
type raftCollector struct {
	peers, leader *desc

	reportedLeader, hasLeader, isLeader, lastLogIndex, lastLogTerm, lastContact, logLag, serverPeers *desc

	servers, voters, voterStates, quorum, reachable, margin, leaders, reportedLeaders, withoutLeader, configurations,
	unknownPeers, leaderChanges *desc

	memory *memory.Memory
}

func newRaftCollector(define *definitions) collector {
	return &raftCollector{
		memory: define.memory,

		peers: define.gauge("consul_raft_peers", "Servers in the Raft configuration, by the configured agent's account."),
		leader: define.gauge("consul_raft_leader",
			"Whether the cluster has a leader (1) or not (0), by the configured agent's account."),

		reportedLeader: define.gauge("consul_server_raft_reported_leader_info",
			"The address of the leader by this server's own account; always 1, absent when it knows of none.", "server",
			"leader"),
		hasLeader: define.gauge("consul_server_raft_has_leader",
			"Whether the server knows of a leader (1) or not (0), by its own account.", "server"),
		isLeader: define.gauge("consul_server_raft_is_leader",
			"Whether the server calls itself the leader (1) or not (0).", "server"),
		lastLogIndex: define.gauge("consul_server_raft_last_log_index",
			"Index of the last entry in the server's Raft log.", "server"),
		lastLogTerm: define.gauge("consul_server_raft_last_log_term",
			"Term of the last entry in the server's Raft log.", "server"),
		lastContact: define.gauge("consul_server_raft_last_contact_seconds",
			"Time since the server heard of the leader; 0 on the leader, absent when it never did.", "server"),
		logLag: define.gauge("consul_server_raft_log_lag_entries",
			"Entries that the server's Raft log is behind the longest log among the servers that answer.", "server"),
		serverPeers: define.gauge("consul_server_raft_peers",
			"Servers in the Raft configuration, by this server's own account.", "server"),

		servers: define.gauge("consul_cluster_servers", "Known servers by their state in Serf.", "state"),
		voters:  define.gauge("consul_cluster_voters", "Servers with a vote in the Raft configuration."),
		voterStates: define.gauge("consul_cluster_voters_state",
			"Voters by what the probe of their port 8300 says of them: answering, lost, or unknown because it could not be "+
				"probed.", "state"),
		quorum: define.gauge("consul_cluster_quorum", "Voters that must agree: more than half of all."),
		reachable: define.gauge("consul_cluster_reachable_voters",
			"Voters that answer on their own port 8300."),
		margin: define.gauge("consul_cluster_failure_margin",
			"Voters that may still fail before the quorum is lost; below 0 it is lost. Voters that answer and do not follow "+
				"the one leader do not count. Absent while a voter is unknown, unless the quorum is lost even with it."),
		leaders: define.gauge("consul_cluster_leaders",
			"Servers that call themselves leader: 1 is right, 0 is no leader, 2 or more is a split brain. Absent instead of 0 "+
				"while a voter is unknown."),
		reportedLeaders: define.gauge("consul_cluster_reported_leaders", "Distinct leaders named by any server: 1 is right."),
		withoutLeader:   define.gauge("consul_cluster_servers_without_leader", "Servers that answer and know of no leader."),
		configurations: define.gauge("consul_cluster_raft_configurations",
			"Distinct sets of peers that servers report: 1 is right."),
		unknownPeers: define.gauge("consul_cluster_unknown_raft_peers",
			"Peers in any server's Raft configuration that no Serf member matches."),
		leaderChanges: define.counter("consul_cluster_leader_changes_total",
			"Raft leader or term changes seen since the exporter started, elections between two scrapes included."),
	}
}

func (c *raftCollector) collect(ctx context.Context, snap *cluster.Snapshot, out *families) error {
	reports, topology, config := snap.Reports(), snap.Topology(), snap.RaftPeers()
	statusPeers, statusLeader := snap.StatusPeers(), snap.StatusLeader()
	var errs failures
	if peers, err := statusPeers.Get(ctx); errs.note(err) {
		out.add(c.peers, float64(len(peers)))
	}
	if leader, err := statusLeader.Get(ctx); errs.note(err) {
		out.flag(c.leader, leader != "")
	}
	_, err := config.Get(ctx)
	errs.note(err)
	t, err := topology.Get(ctx)
	errs.note(err)
	if said, err := reports.Get(ctx); errs.note(err) {
		verdict := verdict.Judge(t, said)
		for _, r := range said {
			c.server(r, verdict, out)
		}
		c.cluster(t, verdict, out)
		c.memory.Learn(said, snap.Start())
		out.add(c.leaderChanges, float64(c.memory.LeaderChanges()))
	}
	return errs.err()
}

// server adds what one server says; what it did not say is absent.
func (c *raftCollector) server(r cluster.Report, v verdict.Verdict, out *families) {
	server, raft := r.Server.Name, r.RPC.Raft
	if raft.LeaderKnown {
		out.flag(c.hasLeader, raft.Leader != "", server)
		out.flag(c.isLeader, r.LeadsItself(), server)
		if raft.Leader != "" {
			out.add(c.reportedLeader, 1, server, raft.Leader)
		}
	}
	if raft.PeersKnown {
		out.add(c.serverPeers, float64(len(raft.Peers)), server)
	}
	if raft.StatsKnown {
		out.add(c.lastLogIndex, float64(raft.LastLogIndex), server)
		out.add(c.lastLogTerm, float64(raft.LastLogTerm), server)
		out.add(c.logLag, float64(v.LogLag[server]), server)
		if raft.LastContactKnown {
			out.add(c.lastContact, raft.LastContact.Seconds(), server)
		}
	}
}

func (c *raftCollector) cluster(t cluster.Topology, v verdict.Verdict, out *families) {
	out.add(c.voters, float64(v.Quorum.Voters))
	out.add(c.quorum, float64(v.Quorum.Needed))
	out.add(c.voterStates, float64(v.Quorum.Reachable), "answering")
	out.add(c.voterStates, float64(v.Quorum.LostVoters()), "lost")
	out.add(c.voterStates, float64(v.Quorum.Unknown), "unknown")
	out.add(c.reachable, float64(v.Quorum.Reachable))
	if margin, known := v.Quorum.Margin(); known {
		out.add(c.margin, float64(margin))
	}
	if v.Leadership.Known() {
		out.add(c.leaders, float64(len(v.Leadership.Leaders)))
	}
	out.add(c.reportedLeaders, float64(len(v.Leadership.Reported)))
	out.add(c.withoutLeader, float64(v.Leadership.Without))
	out.add(c.configurations, float64(v.Configurations))
	if t.MembersKnown {
		out.add(c.unknownPeers, float64(v.UnknownPeers))
		for _, status := range cluster.MemberStatuses() {
			out.add(c.servers, float64(t.ServerStates[status]), status.String())
		}
	}
}
