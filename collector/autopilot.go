// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import "github.com/zervigo/consul_cluster_exporter/cluster"

// newAutopilotCollector exports autopilot's view of the servers, and its settings.
//
// Every server has its own view, leader or not, so this also works without a leader: then no server is healthy and
// the failure tolerance is 0. A server that has not seen a cluster form has no view, which is a failure.
//
// Requests: /v1/operator/autopilot/state and then /v1/operator/autopilot/configuration, and those of the topology, by
// which servers have the same names here as elsewhere (see newRaftCollector). ACL: operator:read. Five series per
// server.
func newAutopilotCollector(define *definitions) collector {
	return together(readAutopilotState(define), readAutopilotConfig(define))
}

func readAutopilotState(define *definitions) reader {
	healthy := define.gauge("consul_autopilot_cluster_healthy",
		"Whether autopilot calls all servers healthy (1) or not (0).")
	tolerance := define.gauge("consul_autopilot_cluster_failure_tolerance",
		"Healthy voters that autopilot says can be lost without an outage.")
	optimistic := define.gauge("consul_autopilot_cluster_optimistic_failure_tolerance",
		"Healthy voters that can be lost if Consul Enterprise gives others a vote in time; without Enterprise the same as "+
			"the failure tolerance.")
	serverHealthy := define.gauge("consul_autopilot_server_healthy",
		"Whether autopilot calls the server healthy (1) or not (0).", "server")
	voter := define.gauge("consul_autopilot_server_voter",
		"Whether the server has a vote in Raft (1) or not (0), by autopilot's account.", "server")
	lastContact := define.gauge("consul_autopilot_server_last_contact_seconds",
		"Time since the server heard of the leader, when autopilot last asked it; 0 on the leader, absent when it never "+
			"did or is not alive.", "server")
	lastIndex := define.gauge("consul_autopilot_server_last_index",
		"Index of the last entry in the server's Raft log, when autopilot last asked it; absent when it is not alive.",
		"server")
	stableSince := define.gauge("consul_autopilot_server_stable_since_timestamp_seconds",
		"When the server last became healthy or unhealthy, as seen by the server that answered.", "server")
	return ofFacts((*cluster.Snapshot).AutopilotState, (*cluster.Snapshot).Topology, func(
		state cluster.AutopilotState, t cluster.Topology, out *families,
	) {
		out.flag(healthy, state.Healthy)
		out.add(tolerance, float64(state.FailureTolerance))
		if state.OptimisticFailureTolerance != nil {
			out.add(optimistic, float64(*state.OptimisticFailureTolerance))
		}
		for _, s := range state.Servers {
			server := t.NameFor(s.ID, s.Name)
			if server == "" {
				continue
			}
			out.flag(serverHealthy, s.Healthy, server)
			if s.Voter != nil {
				out.flag(voter, *s.Voter, server)
			}
			if s.LastContact != nil {
				out.add(lastContact, s.LastContact.Seconds(), server)
			}
			if s.LastIndex != nil {
				out.add(lastIndex, float64(*s.LastIndex), server)
			}
			out.instant(stableSince, s.StableSince, server)
		}
	})
}

func readAutopilotConfig(define *definitions) reader {
	lastContactThreshold := define.gauge("consul_autopilot_config_last_contact_threshold_seconds",
		"How long a healthy server may not have heard of the leader.")
	maxTrailingLogs := define.gauge("consul_autopilot_config_max_trailing_logs",
		"How many Raft log entries a healthy server may be behind the leader.")
	minQuorum := define.gauge("consul_autopilot_config_min_quorum",
		"Number of servers below which autopilot removes none that failed; 0 is no limit.")
	stabilizationTime := define.gauge("consul_autopilot_config_server_stabilization_time_seconds",
		"How long a new server must be healthy before autopilot gives it a vote.")
	cleanup := define.gauge("consul_autopilot_config_cleanup_dead_servers",
		"Whether autopilot removes servers that failed when others can replace them (1) or not (0).")
	return ofFact((*cluster.Snapshot).AutopilotConfig, func(config cluster.AutopilotConfig, out *families) {
		if config.LastContactThreshold != nil {
			out.add(lastContactThreshold, config.LastContactThreshold.Seconds())
		}
		if config.ServerStabilizationTime != nil {
			out.add(stabilizationTime, config.ServerStabilizationTime.Seconds())
		}
		out.add(maxTrailingLogs, float64(config.MaxTrailingLogs))
		out.add(minQuorum, float64(config.MinQuorum))
		out.flag(cleanup, config.CleanupDeadServers)
	})
}
