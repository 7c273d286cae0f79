// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package generator

import "strings"

func raft() dashboard {
	const snapshot = "consul_server_raft_last_snapshot_index{SEL, SERVER}"
	return dashboard{
		name:      "raft",
		title:     "Consul / Raft",
		about:     "What each server says about the leader, its log and its peers, and how fast Raft is.",
		variables: []object{serverVariable("consul_server_info")},
		rows: []row{
			{"What is wrong", []panel{
				withoutLinks(quorumStat(3)),
				withoutLinks(leaderStat(3)),
				{
					kind: stat, title: "Leaders seen", width: 3, alerts: "ConsulServersDisagree",
					steps: []step{{lowest, red}, {1, green}, {2, red}},
					about: "Distinct leaders named by any server. 0: none knows a leader. 2 or more for longer than an election " +
						"takes: the servers are cut off from each other.",
					expr: "max by (CLUSTER) (consul_cluster_reported_leaders{SEL})",
				},
				{
					kind: stat, title: "Peer sets", width: 3, alerts: "ConsulServersDisagree",
					steps: []step{{lowest, red}, {1, green}, {2, red}},
					about: "Distinct sets of peers that servers report: 1 is right. More for longer than a change of configuration " +
						"takes: a server was taken out and does not know it, or two clusters were mixed.",
					expr: "max by (CLUSTER) (consul_cluster_raft_configurations{SEL})",
				},
				{
					kind: stat, title: "Stale peers", width: 3, alerts: "ConsulStaleRaftPeer", steps: warningFrom(1),
					about: "Peers in the Raft configuration that match no member. They count for the quorum and can never vote.",
					expr:  "max by (CLUSTER) (consul_cluster_unknown_raft_peers{SEL})",
				},
				{
					kind: stat, title: "Without leader", width: 3, alerts: "ConsulServerWithoutLeader ConsulNoLeader",
					steps: badFrom(1),
					about: "Servers that answer and know of no leader: cut off from the others, or taken out of the cluster.",
					expr:  "max by (CLUSTER) (consul_cluster_servers_without_leader{SEL})",
				},
				{
					kind: stat, title: "Elections", width: 3, alerts: "ConsulLeaderChangesOften", whole: true, steps: warningFrom(1),
					about: "Changes of the leader or the term in the time that the dashboard shows. Each one stops all writes for " +
						"seconds.",
					expr: "max by (CLUSTER) (increase(consul_cluster_leader_changes_total{SEL}[$__range]))",
				},
				{
					kind: stat, title: "Autopilot", width: 3, alerts: "ConsulAutopilotUnhealthy", noValue: notAvailable,
					steps: goodFrom(1), mappings: []object{either("unhealthy", "healthy")},
					about: "Whether autopilot, on the leader, calls all servers healthy. It takes hold of a server that failed, is " +
						"late or behind. Not available without a leader, or if the token may not read the operator's API.",
					expr: "max by (CLUSTER) (consul_autopilot_cluster_healthy{SEL})",
				},
				reportedLeadersTable(8, 7),
				raftTable(16, 7),
			}},
			{"Quorum", []panel{
				quorumOverTime(8, 7),
				votersByState(8, 7),
				writesOverTime(8, 7),
				votersMissing(8, 7),
				missingServersTable(16, 7),
			}},
			{"Leadership", []panel{
				whoLeads(8, 8),
				{
					title: "Term", alerts: "ConsulLeaderChangesOften ConsulServersDisagree", stepped: true, noValue: notAvailable,
					belowZero: true,
					about: "Each server's term of Raft. It grows with each election; servers that stay apart do not hear of each " +
						"other.",
					// Without its HTTP API, a server's term is only known from its last log entry.
					expr: "max by (CLUSTER, server) (" +
						"consul_server_raft_term{SEL, SERVER} or consul_server_raft_last_log_term{SEL, SERVER})",
				},
				{
					title: "Servers by state", alerts: "ConsulServerCandidate", stepped: true, stacked: true,
					about: "How many servers are leader, follower or candidate by their own account. A candidate that stays one " +
						"cannot reach enough of the others. Not available where the exporter does not reach the servers' HTTP API.",
					colors: map[string]string{
						"leader": blue, "follower": green, "candidate": orange, "shutdown": red, "unknown": gray,
					},
					optional: true, expr: "sum by (state) (max by (CLUSTER, server, state) (consul_server_raft_state{SEL, SERVER}))",
				},
			}},
			{"Log", []panel{
				{
					title: "Last log index", stepped: true, belowZero: true,
					about: "Index of the last entry in each server's log. All lines rise together; one that stays flat belongs to a " +
						"server that gets nothing.",
					expr: "max by (CLUSTER, server) (consul_server_raft_last_log_index{SEL, SERVER})",
				},
				{
					title: "Entries behind", alerts: "ConsulRaftLogLag", unit: "short",
					about: "How many entries each server's log is behind the longest one, and how many autopilot allows. A server " +
						"that is behind answers with old data and cannot replace another one.",
					queries: []query{
						{"max by (CLUSTER, server) (consul_server_raft_log_lag_entries{SEL, SERVER})", "{{server}}"},
						{"max(consul_autopilot_config_max_trailing_logs{SEL})", "allowed by autopilot"},
					},
					overrides: []object{limitLine("allowed by autopilot", orange)},
				},
				{
					title: "Entries to apply, and since the snapshot", alerts: "ConsulRaftApplyLag", unit: "short",
					noValue: notAvailable,
					about: "Committed entries that each server has yet to apply: near 0. Entries since its last snapshot go up and " +
						"fall to 0 now and then. Not available where the exporter does not reach the servers' HTTP API.",
					queries: []query{
						{optional(
							"max by (CLUSTER, server) "+
								"(consul_server_raft_commit_index{SEL, SERVER} - consul_server_raft_applied_index{SEL, SERVER})",
							"server",
						), "{{server}}, to apply"},
						{optionalOf(
							"max by (CLUSTER, server) (consul_server_raft_applied_index{SEL, SERVER} - "+snapshot+")", snapshot, "server",
						), "{{server}}, since the snapshot"},
					},
				},
			}},
			{"Time", []panel{
				{
					title: "Last contact with the leader", alerts: "ConsulRaftLastContact", unit: "s", lines: true,
					steps: []step{{lowest, transparent}, {0.2, orange}},
					about: "How long ago each follower had heard of the leader. It goes up and down below the heartbeat; above 200 " +
						"ms the network or the leader is slow.",
					expr: "min by (CLUSTER, server) (consul_server_raft_last_contact_seconds{SEL, SERVER})",
				},
				{
					title: "Consistent read", alerts: "ConsulConsistentReadsFail", unit: "s", noValue: "none was answered",
					about: "How long a read takes that the leader has to confirm with a majority: the time that Consul's clients " +
						"wait. It has gaps where it was not answered in time.",
					expr: "min by (CLUSTER) (consul_cluster_consistent_read_duration_seconds{SEL})", legend: "consistent read",
				},
				{
					title: "Commit time", alerts: "ConsulRaftCommitSlow", unit: "s",
					about: "How long the leader took to commit an entry; writes wait that long. A few milliseconds are normal. Only " +
						"the leader measures it: not available unless an exporter asks the leader's agent and there were writes.",
					optional: true, expr: highest("consul_agent_raft_commit_time_seconds", "stat"),
				},
				{
					title: "Leader's last contact with followers", unit: "s",
					about: "How long ago the leader had heard of its followers. Above 200 ms it is about to step down. Only the " +
						"leader measures it.",
					optional: true, expr: highest("consul_agent_raft_follower_contact_age_seconds", "stat"),
				},
				{
					title: "Time to store entries", unit: "s",
					about: "How long a server took to write entries to its disk. A slow disk makes all writes slow. Not available " +
						"without writes, and with a log store other than BoltDB.",
					optional: true, expr: highest("consul_agent_raft_boltdb_store_logs_seconds", "stat"),
				},
				{
					title: "Entries written", unit: "wps",
					about: "Entries per second that the leader began to write. Far more than usual: somebody writes in a loop. Only " +
						"agents that exporters ask are shown; followers have 0.",
					optional: true, expr: latest("consul_agent_raft_apply_per_second"),
				},
			}},
			{"Load", []panel{
				{
					title: "How busy Raft's threads are", alerts: "ConsulRaftSaturated", unit: "percentunit", max: 1,
					lines: true, steps: []step{{lowest, transparent}, {0.5, orange}},
					about: "Share of its time that each thread of Raft works. Above half for long, the server is near its limit. " +
						"Not available before Consul 1.13.",
					expr: "max by (CLUSTER, server, thread) " +
						`(consul_agent_raft_thread_saturation_ratio{SEL, SERVER, stat="mean"})`,
					optionalMetric: "consul_agent_raft_thread_saturation_ratio{SEL, SERVER}",
				},
				{
					title: "Age of the log, and time to restore", alerts: "ConsulRaftLogTooShort", unit: "s", noValue: notAvailable,
					about: "How old the oldest entry in the leader's log is, and how long servers took to restore a snapshot. A " +
						"server that restarts must be done before the log has gone on: the age at its lowest should be twice the time. " +
						"Not available unless an exporter asks the leader's agent, and without a restore.",
					queries: []query{
						named(latest("consul_agent_raft_oldest_log_age_seconds"), "age of the log"),
						named(highest("consul_agent_raft_restore_duration_seconds"), "restore"),
					},
				},
				{
					title: "Free list of BoltDB", unit: "bytes",
					about: "What BoltDB writes to the disk with each entry beside the entry. Megabytes make all writes slow. Not " +
						"available with another log store.",
					optional: true, expr: latest("consul_agent_raft_boltdb_freelist_bytes"),
				},
			}},
			{"Autopilot", []panel{
				{
					kind: stat, title: "What may fail, by autopilot", width: 6, alerts: "ConsulQuorumAtRisk", noValue: notAvailable,
					about: "Healthy voters that can be lost without an outage, as autopilot counts them. The optimistic number " +
						"counts the servers that Consul Enterprise can give a vote in time; without Enterprise it is the same. Not " +
						"available without a leader.",
					queries: []query{
						{"min by (CLUSTER) (consul_autopilot_cluster_failure_tolerance{SEL})", "voters"},
						{"min by (CLUSTER) (consul_autopilot_cluster_optimistic_failure_tolerance{SEL})", "optimistic"},
					},
				},
				{
					kind: stat, title: "Wrong checksums", width: 6, alerts: "ConsulRaftLogCorrupt", whole: true, steps: badFrom(1),
					about: "Entries whose checksum was wrong when they were read, in the time shown. Any is corruption. " +
						"Not available unless raft_logstore.verification is on.",
					optional: true,
					expr:     "max by (CLUSTER) (max_over_time(consul_agent_raft_log_checksum_failures{SEL, SERVER}[$__range]))",
				},
				{
					kind: stat, title: "Settings of autopilot", width: 12, noValue: notAvailable,
					about: "What the cluster is set to: from when on a server counts as unhealthy, below how many servers none is " +
						"removed, how long a new server must be healthy before it gets a vote, and whether servers that failed are " +
						"removed.",
					queries: []query{
						{"max by (CLUSTER) (consul_autopilot_config_last_contact_threshold_seconds{SEL})", "last contact"},
						{"max by (CLUSTER) (consul_autopilot_config_max_trailing_logs{SEL})", "entries behind"},
						{"max by (CLUSTER) (consul_autopilot_config_min_quorum{SEL})", "min. quorum"},
						{"max by (CLUSTER) (consul_autopilot_config_server_stabilization_time_seconds{SEL})", "stabilization"},
						{"max by (CLUSTER) (consul_autopilot_config_cleanup_dead_servers{SEL})", "removes dead"},
					},
					overrides: []object{
						override("last contact", property{"unit", "s"}), override("stabilization", property{"unit", "s"}),
						override("removes dead", shown(mapped([]entry{{"0", "no", ""}, {"1", "yes", ""}}))),
					},
				},
				autopilotTable(24, 7),
			}},
		},
	}
}

// latest is a metric that some agents measure and others do not, by server.
func latest(metric string) string { return "max by (CLUSTER, server) (" + metric + "{SEL, SERVER})" }

// highest is the same for a metric that is there only when something has happened, by these labels. Its highest value
// since the last point of the graph is taken, so that none is missed.
func highest(metric string, labels ...string) string {
	by := strings.Join(append([]string{"CLUSTER", "server"}, labels...), ", ")
	return "max by (" + by + ") (max_over_time(" + metric + "{SEL, SERVER}[$__rate_interval]))"
}

// named is one of several such queries, whose legends have a further word.
func named(expr, name string) query { return query{optional(expr, "server"), "{{server}}, " + name} }

func limitLine(name, color string) object {
	return override(name,
		fixedColor(color),
		property{"custom.lineStyle", object{"fill": "dash", "dash": []int{10, 10}}},
	)
}

// reportedLeadersTable says of each known server whom it calls leader.
func reportedLeadersTable(width, height int) panel {
	// Servers name the leader by its address; the name is looked up where it is known.
	reported := `max by (CLUSTER, server, leader) (consul_server_raft_reported_leader_info{SEL, SERVER})`
	names := `max by (CLUSTER, leader, name) (label_replace(label_replace(consul_server_info{SEL}, ` +
		`"name", "$1", "server", "(.*)"), "leader", "$1", "address", "(.*)"))`
	answering := `max by (CLUSTER, server) (consul_server_raft_has_leader{SEL, SERVER})`
	expr := `max by (CLUSTER, server, name, leader) (
  ` + reported + ` * on (CLUSTER, leader) group_left (name) ` + names + `
    or on (CLUSTER, server)
  ` + label(reported, "name", "not a known server") + `
    or on (CLUSTER, server)
  ` + label(answering+" == 0", "name", "none") + `
    or on (CLUSTER, server)
  ` + label("0 * max by (CLUSTER, server) (consul_server_info{SEL, SERVER})", "name", "does not answer") + `
)`
	return panel{
		kind: table, title: "Whom each server calls leader", width: width, height: height,
		alerts: "ConsulServersDisagree ConsulServerWithoutLeader ConsulServerHung ConsulServerDown", steps: goodFrom(1),
		about: "All must name the same one. \"none\": the server knows of no leader. \"does not answer\": its port 8300 " +
			"does not.",
		expr:            expr,
		transformations: []object{sorted("server", false), labelColumns("server", "name=Calls leader", "leader=At")},
		overrides: []object{override("Calls leader", cell, shown(mapped([]entry{
			{"none", "none", red},
			{"does not answer", "does not answer", red},
			{"not a known server", "not a known server", orange},
		})), fixedColor(transparent)), override("At", noValue(""))},
	}
}

func raftTable(width, height int) panel {
	role := roleColumn()
	role.expr = narrowed(role.expr)
	return figuresPanel(panel{
		title: "Each server's Raft", width: width, height: height,
		alerts: "ConsulRaftLogLag ConsulRaftApplyLag ConsulRaftLastContact ConsulServerCandidate",
		about: "By each server's own account; one that does not answer is not there. The indexes of all are nearly the " +
			"same in a cluster that works. State, term, commit and applied index need the server's HTTP API, the others port " +
			"8300 only.",
	}, figures{"server", []column{
		role,
		{title: "Term", expr: latest("consul_server_raft_term")},
		{title: "Last index", expr: latest("consul_server_raft_last_log_index")},
		{
			title: "Behind", unit: "short", steps: quiet(badFromTwo(250, 1000)),
			expr: latest("consul_server_raft_log_lag_entries"),
		},
		{title: "Committed", expr: latest("consul_server_raft_commit_index")},
		{title: "Applied", expr: latest("consul_server_raft_applied_index")},
		{
			title: "Last contact", unit: "s", steps: quiet(badFromTwo(0.2, 0.5)),
			expr: "min by (CLUSTER, server) (consul_server_raft_last_contact_seconds{SEL, SERVER})",
		},
		{title: "Peers", expr: latest("consul_server_raft_peers")},
	}}, "Server")
}

func autopilotTable(width, height int) panel {
	p := figuresPanel(panel{
		title: "Autopilot's view of each server", width: width, height: height, alerts: "ConsulAutopilotUnhealthy",
		noValue: notAvailable,
		about: "What the leader's autopilot says of each server: whether it is healthy, and since when it is or is not. " +
			"Not available without a leader, or if the token may not read the operator's API.",
	}, figures{"server", []column{
		{
			title: "Healthy", steps: goodFrom(1), mappings: []object{either("no", "yes")},
			expr: latest("consul_autopilot_server_healthy"),
		},
		{title: "For", unit: "s", expr: "time() - " + latest("consul_autopilot_server_stable_since_timestamp_seconds")},
	}}, "Server")
	none := label("NaN * absent(consul_autopilot_server_healthy{SEL, SERVER})", "server", notAvailable)
	p.expr = orElse(p.expr, label(none, "figure", "Healthy"))
	return p
}
