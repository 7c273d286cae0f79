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
// which servers have the same names here as elsewhere (see newRaftCollector). ACL: operator:read. Two series per
// server.
func newAutopilotCollector(define *definitions) collector {
	return together(readAutopilotState(define), readAutopilotConfig(define))
}

func readAutopilotState(define *definitions) reader {
	healthy := define.gauge("consul_autopilot_cluster_healthy",
		"1 if autopilot considers all servers healthy, otherwise 0.")
	tolerance := define.gauge("consul_autopilot_cluster_failure_tolerance",
		"How many voters can fail, according to autopilot.")
	optimistic := define.gauge("consul_autopilot_cluster_optimistic_failure_tolerance",
		"The same if Consul Enterprise promotes other servers in time.")
	serverHealthy := define.gauge("consul_autopilot_server_healthy",
		"1 if autopilot considers the server healthy, otherwise 0.", "server")
	stableSince := define.gauge("consul_autopilot_server_stable_since_timestamp_seconds",
		"When the server's health, according to autopilot, last changed.", "server")
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
			out.instant(stableSince, s.StableSince, server)
		}
	})
}

func readAutopilotConfig(define *definitions) reader {
	lastContactThreshold := define.gauge("consul_autopilot_config_last_contact_threshold_seconds",
		"How long ago a healthy server may have heard from the leader.")
	maxTrailingLogs := define.gauge("consul_autopilot_config_max_trailing_logs",
		"How many Raft log entries a healthy server may lag.")
	minQuorum := define.gauge("consul_autopilot_config_min_quorum",
		"Number of servers below which autopilot removes none; 0 is no limit.")
	stabilizationTime := define.gauge("consul_autopilot_config_server_stabilization_time_seconds",
		"How long a new server must be healthy to get a vote.")
	cleanup := define.gauge("consul_autopilot_config_cleanup_dead_servers",
		"1 if autopilot removes failed servers that can be spared, otherwise 0.")
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
