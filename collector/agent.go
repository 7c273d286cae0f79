// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"maps"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// agentCollector exports what agents report about themselves over HTTP, and who the servers are.
//
// Requests: /v1/agent/self of the configured agent, and of each other server that can be expected to answer; plus
// those of the topology (see raftCollector). ACL: agent:read. One series per server.
type agentCollector struct {
	up, serverInfo, state, term, commitIndex, appliedIndex, fsmPending, snapshotIndex, snapshotTerm *desc
}

func newAgentCollector(define *definitions) collector {
	return &agentCollector{
		up: define.gauge("consul_up", "Whether the HTTP API of the configured agent answered this scrape (1) or not (0). "+
			"Absent when the exporter could not query it for a reason of its own."),
		serverInfo: define.gauge("consul_server_info",
			"A known server of the cluster, from Serf and the Raft configuration; always 1.",
			"server", "id", "address", "version", "voter"),
		state: define.gauge("consul_server_raft_state",
			"The server's role in Raft by its own account: 1 for the one it has, 0 for the others.", "server", "state"),
		term: define.gauge("consul_server_raft_term", "The server's current Raft term.", "server"),
		commitIndex: define.gauge("consul_server_raft_commit_index",
			"Index of the last Raft log entry the server knows to be committed.", "server"),
		appliedIndex: define.gauge("consul_server_raft_applied_index",
			"Index of the last Raft log entry the server has applied to its state.", "server"),
		fsmPending: define.gauge("consul_server_raft_fsm_pending",
			"Committed Raft log entries that wait to be applied to the server's state.", "server"),
		snapshotIndex: define.gauge("consul_server_raft_last_snapshot_index",
			"Index of the last Raft log entry in the server's latest snapshot; 0 before its first.", "server"),
		snapshotTerm: define.gauge("consul_server_raft_last_snapshot_term",
			"Raft term of the server's latest snapshot; 0 before its first.", "server"),
	}
}

func (c *agentCollector) collect(ctx context.Context, snap *cluster.Snapshot, out *families) error {
	up, agent, topology, agents := snap.Up(), snap.Agent(), snap.Topology(), snap.ServerAgents()
	var errs failures
	answers, err := up.Get(ctx)
	if errs.note(err); !probe.IsOwnFault(err) {
		out.flag(c.up, answers)
	}
	_, err = agent.Get(ctx)
	errs.note(err)
	if t, err := topology.Get(ctx); errs.note(err) {
		c.servers(t.Servers, out)
	}
	if byName, err := agents.Get(ctx); errs.note(err) {
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			if stats := byName[name].Raft; stats != nil {
				c.raft(name, stats, out)
			}
		}
	}
	return errs.err()
}

func (c *agentCollector) servers(servers []cluster.Server, out *families) {
	for _, s := range servers {
		voter := "false"
		if s.Voter {
			voter = "true"
		}
		out.add(c.serverInfo, 1, s.Name, s.ID, s.RPCAddress, s.Version, voter)
	}
}

func (c *agentCollector) raft(server string, stats *cluster.RaftStats, out *families) {
	for _, state := range cluster.RaftStates() {
		out.flag(c.state, state == stats.State, server, string(state))
	}
	out.add(c.term, float64(stats.Term), server)
	out.add(c.commitIndex, float64(stats.CommitIndex), server)
	out.add(c.appliedIndex, float64(stats.AppliedIndex), server)
	out.add(c.fsmPending, float64(stats.FSMPending), server)
	out.add(c.snapshotIndex, float64(stats.LastSnapshotIndex), server)
	out.add(c.snapshotTerm, float64(stats.LastSnapshotTerm), server)
}
