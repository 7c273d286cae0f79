// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// newAgentCollector exports what agents report about themselves over HTTP, and who the servers are.
//
// Requests: /v1/agent/self of the configured agent, and of each other server that can be expected to answer; plus
// those of the topology (see newRaftCollector). ACL: agent:read. One series per server.
func newAgentCollector(define *definitions) collector {
	return together(
		ofUp(define.gauge("consul_up", "1 if the HTTP API of a configured agent responded, even if it denied the "+
			"request or has no servers. 0 otherwise, also for status 429 and HTML. Absent if the exporter could not send the "+
			"request.")),
		readAgents(define), readServers(define), readRaftStats(define),
	)
}

// readAgents reads which agent the scrape used, and how the configured ones answered.
func readAgents(define *definitions) reader {
	info := define.gauge("consul_cluster_agent_info",
		"The agent that this scrape used; always 1. Absent if none responded or the token may not read its name.",
		"server", "node_id")
	up := define.gauge("consul_exporter_agent_up",
		"With several --consul.server: 1 for each agent that was useful, 0 for each that was not. Agents not "+
			"needed are absent.", "agent")
	return func(snap *cluster.Snapshot) adder {
		used := snap.Agent()
		return func(ctx context.Context, out *families) error {
			agent, err := used.Get(ctx)
			if err == nil {
				out.add(info, 1, agent.Name, agent.ID)
			}
			for _, a := range snap.Agents() {
				if !probe.IsOwnFault(a.Err) {
					out.flag(up, a.Err == nil, a.Address.String())
				}
			}
			return err // Its absence is a failure.
		}
	}
}

func readServers(define *definitions) reader {
	info := define.gauge("consul_server_info",
		"A known server, from Serf and the Raft configuration; always 1.",
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
		"The server's own Raft state: 1 for the current one, 0 for the others.", "server", "state")
	term := define.gauge("consul_server_raft_term", "The server's current Raft term.", "server")
	commitIndex := define.gauge("consul_server_raft_commit_index",
		"Index of the last Raft log entry that the server knows is committed.", "server")
	appliedIndex := define.gauge("consul_server_raft_applied_index",
		"Index of the last Raft log entry that the server applied.", "server")
	fsmPending := define.gauge("consul_server_raft_fsm_pending",
		"Committed Raft log entries that the server has yet to apply.", "server")
	snapshotIndex := define.gauge("consul_server_raft_last_snapshot_index",
		"Index of the last Raft log entry in the server's latest snapshot; 0 without one.", "server")
	snapshotTerm := define.gauge("consul_server_raft_last_snapshot_term",
		"Raft term of the server's latest snapshot; 0 without one.", "server")
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
