// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"maps"
	"slices"
	"strconv"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// newAgentCollector exports what agents report about themselves over HTTP, and who the servers are.
//
// Requests: /v1/agent/self of the configured agent, and of each other server that can be expected to answer; plus
// those of the topology (see newRaftCollector). ACL: agent:read. One series per server.
func newAgentCollector(define *definitions) collector {
	return together(
		ofUp(define.gauge("consul_up", "Whether the HTTP API of the configured agent answered this scrape (1) or not (0). "+
			"Absent when the exporter could not query it for a reason of its own.")),
		ofFact((*cluster.Snapshot).Agent, func(cluster.Agent, *families) {}), // Its absence is a failure.
		readServers(define), readRaftStats(define),
	)
}

func readServers(define *definitions) reader {
	info := define.gauge("consul_server_info",
		"A known server of the cluster, from Serf and the Raft configuration; always 1.",
		"server", "id", "address", "version", "voter")
	return ofFact((*cluster.Snapshot).Reports, func(reports []cluster.Report, out *families) {
		for _, r := range reports {
			s := r.Server
			out.add(info, 1, s.Name, s.ID, s.RPCAddress, s.Version, strconv.FormatBool(s.Voter))
		}
	})
}

func readRaftStats(define *definitions) reader {
	state := define.gauge("consul_server_raft_state",
		"The server's role in Raft by its own account: 1 for the one it has, 0 for the others.", "server", "state")
	term := define.gauge("consul_server_raft_term", "The server's current Raft term.", "server")
	commitIndex := define.gauge("consul_server_raft_commit_index",
		"Index of the last Raft log entry the server knows to be committed.", "server")
	appliedIndex := define.gauge("consul_server_raft_applied_index",
		"Index of the last Raft log entry the server has applied to its state.", "server")
	fsmPending := define.gauge("consul_server_raft_fsm_pending",
		"Committed Raft log entries that wait to be applied to the server's state.", "server")
	snapshotIndex := define.gauge("consul_server_raft_last_snapshot_index",
		"Index of the last Raft log entry in the server's latest snapshot; 0 before its first.", "server")
	snapshotTerm := define.gauge("consul_server_raft_last_snapshot_term",
		"Raft term of the server's latest snapshot; 0 before its first.", "server")
	return ofFacts((*cluster.Snapshot).ServerAgents, (*cluster.Snapshot).Topology, func(
		byID map[string]cluster.Agent, t cluster.Topology, out *families,
	) {
		for _, id := range slices.Sorted(maps.Keys(byID)) {
			server, stats := t.NameFor(id, byID[id].Name), byID[id].Raft
			if server == "" || stats == nil {
				continue
			}
			for _, s := range cluster.RaftStates() {
				out.flag(state, s == stats.State, server, string(s))
			}
			out.add(term, float64(stats.Term), server)
			out.add(commitIndex, float64(stats.CommitIndex), server)
			out.add(appliedIndex, float64(stats.AppliedIndex), server)
			out.add(fsmPending, float64(stats.FSMPending), server)
			out.add(snapshotIndex, float64(stats.LastSnapshotIndex), server)
			out.add(snapshotTerm, float64(stats.LastSnapshotTerm), server)
		}
	})
}
