// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package generator

func gossip() dashboard {
	const measured = " Agents that exporters ask and may read the telemetry of are shown."
	return dashboard{
		name:  "gossip",
		title: "Consul / Gossip and agents",
		about: "Who is a member and who has failed, whether gossip keeps up, how busy the agents are, and what binds " +
			"clusters together.",
		variables: []object{serverVariable("consul_agent_goroutines")},
		rows: []row{
			{"What is wrong", []panel{
				{
					kind: stat, title: "Members that failed", width: 5, names: true,
					alerts: "ConsulSerfMemberFailed ConsulManyMembersFailed",
					steps:  badFrom(1),
					about: "Members of the LAN pool that the others get no answer from, five at most. The services of a client that " +
						"failed count as critical.",
					expr: orFor(
						"topk by (CLUSTER) (5, max by (CLUSTER, member) (consul_serf_lan_member_status{SEL}) == 4)",
						noneFor(`sum by (CLUSTER) (max by (CLUSTER, status) (consul_serf_members{SEL, pool="lan"}))`, "member"),
					), legend: "{{member}}",
				},
				{
					kind: stat, title: "Health score of gossip", alerts: "ConsulGossipHealthPoor", steps: badFromTwo(3, 5),
					about: "How far an agent distrusts its own view of a pool: 0 is healthy, 8 the worst. Above 2 it is short of " +
						"processor time, or its network loses packets.",
					expr: "max by (CLUSTER, pool) (consul_serf_health_score{SEL})", legend: "{{pool}}",
				},
				{
					kind: stat, title: "Versions", width: 3, alerts: "ConsulVersionSkew", steps: warningFrom(2),
					about: "Versions that members run which are alive. More than one for long: an upgrade was not finished.",
					expr:  "count by (CLUSTER) (max by (CLUSTER, version) (consul_serf_version_members{SEL}) > 0)",
				},
				{
					kind: stat, title: "Gossip is encrypted", alerts: "ConsulGossipEncryptionDiffers",
					steps:    []step{{lowest, gray}, {1, orange}, {2, green}},
					mappings: []object{mapped([]entry{{"0", "no", gray}, {"1", "in part", orange}, {"2", "yes", green}})},
					about: "Whether the agents that exporters ask encrypt gossip, in all pools. In part: turning it on or off was " +
						"not finished.",
					expr: "min by (CLUSTER) (consul_serf_encrypted{SEL}) + max by (CLUSTER) (consul_serf_encrypted{SEL})",
				},
				{
					kind: stat, title: "Longest round trip", unit: "s", steps: badFromTwo(0.05, 0.1),
					about: "The longest round trip between two servers that are alive, as gossip estimates it. HashiCorp asks for " +
						"50 ms on average at most. Not available with one server, or more than ten.",
					optional: true, expr: "max by (CLUSTER) (consul_serf_rtt_seconds{SEL})",
				},
				{
					kind: stat, title: "RPC errors", alerts: "ConsulRPCErrors", unit: "percentunit", steps: badFromTwo(0.01, 0.1),
					about: "Share of the RPC requests that servers answered with an error." + measured,
					expr: "sum by (CLUSTER) (max by (CLUSTER, server) (consul_agent_rpc_request_errors_per_second{SEL})) / " +
						"clamp_min(sum by (CLUSTER) (max by (CLUSTER, server) (consul_agent_rpc_requests_per_second{SEL})), 0.001)",
					optionalMetric: "consul_agent_rpc_requests_per_second{SEL}",
				},
				{
					kind: table, title: "Members that are not alive", width: 14, height: 7,
					alerts: "ConsulSerfMemberFailed ConsulSerfWANMemberFailed",
					about: "Members of the LAN and the WAN pool that failed or left. One that failed comes back or is forgotten " +
						"after 72 hours.",
					expr: orElse(
						label("max by (CLUSTER, member, role, version) (consul_serf_lan_member_info{SEL}) > 1", "pool", "lan")+
							"\nor\n"+label("max by (CLUSTER, member, role, version) (consul_serf_wan_member_info{SEL}) > 1", "pool", "wan"),
						none("consul_serf_lan_member_info{SEL}", "member", "all members are alive"),
					),
					transformations: []object{sorted("Value", true), columns("member", "Value=State", "pool", "role", "version")},
					overrides: []object{
						override("State", cell, colored([]step{{lowest, green}, {2, orange}, {3, gray}, {4, red}}), memberStates),
						override("Role", shown(mapped([]entry{{"consul", "server", ""}, {"node", "client", ""}}))),
					},
				},
				{
					kind: table, title: "Round trips between servers", width: 10, height: 7, unit: "s", steps: badFromTwo(0.05, 0.1),
					mappings: []object{empty},
					about: "Round trip between each two servers that are alive, as their network coordinates estimate it, each pair " +
						"once. One column that is slow is one server's network. Not available with one server, or more than ten.",
					optional: true, expr: "max by (CLUSTER, from, to) (consul_serf_rtt_seconds{SEL})",
					transformations: []object{
						sorted("to", false), matrix("from", "to"), sorted(`from\to`, false),
						organize(object{}, map[string]string{`from\to`: "Server"}),
					},
					overrides: []object{matrixCells},
				},
			}},
			{"Members", []panel{
				{
					title: "Members of the datacenter (LAN)", alerts: "ConsulSerfMemberFailed ConsulManyMembersFailed",
					stepped: true, colors: memberColors,
					about: "Servers and clients by state, as the agents see them.",
					expr:  `max by (CLUSTER, status) (consul_serf_members{SEL, pool="lan"})`,
				},
				{
					title:  "Servers of all datacenters (WAN)",
					alerts: "ConsulSerfWANMemberFailed ConsulDatacenterGone ConsulServerWANMissing", stepped: true,
					colors: memberColors, noValue: notAvailable,
					about: "Servers by state, as the agents see them, and servers of this datacenter that are missing from the " +
						"pool. Only agents that are servers know the WAN pool.",
					queries: []query{
						{optional(`max by (CLUSTER, status) (consul_serf_members{SEL, pool="wan"})`, "status"), "{{status}}"},
						{orElse(
							"count(max by (CLUSTER, server) (consul_server_wan_missing_since_timestamp_seconds{SEL}))",
							"0 * count(consul_up{SEL})",
						), "missing"},
					},
				},
				{
					title: "Members by version", alerts: "ConsulVersionSkew", stepped: true, stacked: true,
					about: "Members that are alive, by the version of Consul they run: the progress of an upgrade.",
					expr:  optional("max by (version) (consul_serf_version_members{SEL})", "version"),
				},
			}},
			{"Gossip", []panel{
				{
					title: "Health score", alerts: "ConsulGossipHealthPoor", stepped: true, lines: true,
					steps: []step{{lowest, transparent}, {2, orange}, {4, red}},
					about: "Of each agent that exporters ask, by pool: 0 is healthy, 8 the worst.",
					expr:  optional("max by (instance, pool) (consul_serf_health_score{SEL})", "pool"),
				},
				{
					title: "Messages to be gossiped", unit: "short",
					about: "Messages that the agents have yet to gossip, by queue. Queues that grow: gossip does not keep up with " +
						"what happens.",
					expr: optional("max by (pool, queue) (consul_serf_queue_depth{SEL})", "pool"),
				},
				{
					title: "Round trips between servers, over time", unit: "s",
					about:    "As network coordinates estimate them. Not available with one server, or more than ten.",
					optional: true, expr: "max by (CLUSTER, from, to) (consul_serf_rtt_seconds{SEL})",
				},
			}},
			{"RPC", []panel{
				{
					title: "Requests to servers", unit: "reqps",
					about: "RPC requests per second that servers received. Half as much or twice as much as an hour ago has a " +
						"reason." + measured,
					optional: true, expr: latest("consul_agent_rpc_requests_per_second"),
				},
				{
					title: "Requests with errors, and over the limit", alerts: "ConsulRPCErrors ConsulRateLimited", unit: "reqps",
					noValue: notAvailable,
					about: "RPC requests per second that servers answered with an error, and that were over the server's rate " +
						"limits." + measured,
					queries: []query{
						named(latest("consul_agent_rpc_request_errors_per_second"), "errors"),
						named(latest("consul_agent_rpc_rate_limit_exceeded_per_second"), "over the limit"),
					},
				},
				{
					title: "Requests from agents to servers", alerts: "ConsulRPCErrors ConsulRateLimited", unit: "reqps",
					noValue: notAvailable,
					about: "RPC requests per second that agents sent to servers, that failed, and that the agent's own limit " +
						"refused: the last two should be 0." + measured,
					queries: []query{
						named(latest("consul_agent_client_rpc_per_second"), "sent"),
						named(latest("consul_agent_client_rpc_failed_per_second"), "failed"),
						named(latest("consul_agent_client_rpc_exceeded_per_second"), "refused"),
					},
				},
				{
					title: "Blocking queries", width: 12, unit: "short",
					about: "Blocking queries that servers held: each watch of a client is one. Only known when one began or " +
						"ended; not available before Consul 1.13." + measured,
					optional: true, expr: highest("consul_agent_rpc_queries_blocking"),
				},
				{
					title: "New connections to port 8300", width: 12, unit: "cps",
					about: "Connections per second that servers accepted. Agents keep theirs: many new ones are agents that " +
						"start, or connections that break." + measured,
					optional: true, expr: latest("consul_agent_rpc_accepted_connections_per_second"),
				},
			}},
			{"Memory", []panel{
				{
					title: "Memory of agents", unit: "bytes", noValue: notAvailable,
					about: "Memory that agents use, and that they have from the system. HashiCorp asks for two to four times of " +
						"what is used." + measured,
					queries: []query{
						named(latest("consul_agent_memory_alloc_bytes"), "in use"),
						named(latest("consul_agent_memory_sys_bytes"), "from the system"),
					},
				},
				{
					title: "Time lost to garbage collection", unit: "percentunit",
					about: "Share of the time that agents stand still. Above 3 % (2 s in a minute) the agent is short of memory " +
						"or of processor time." + measured,
					optional: true,
					expr: "max by (CLUSTER, server) " +
						"(rate(consul_agent_gc_pause_seconds_total{SEL, SERVER}[$__rate_interval]))",
				},
				{
					title: "Goroutines", unit: "short",
					about:    "Goroutines of agents. Their number follows the connections; one that only grows is a leak." + measured,
					optional: true, expr: latest("consul_agent_goroutines"),
				},
			}},
			{"What binds clusters together", []panel{
				count(
					"Datacenters", 3, "Datacenters that the agents know of, their own included.",
					"max by (CLUSTER) (consul_catalog_datacenters{SEL})",
				),
				{
					kind: stat, title: "Mesh root expires in", width: 5, alerts: "ConsulCARootExpires", unit: "s",
					steps: []step{{lowest, red}, {7 * day, orange}, {30 * day, green}},
					about: "When the root certificate expires that signs for the service mesh. With it all connections in the mesh " +
						"end. Not available without Connect.",
					optional: true,
					expr: `(min by (CLUSTER) ` +
						`(consul_connect_ca_root_expiry_timestamp_seconds{SEL, active="true"}) - time())`,
				},
				{
					kind: stat, title: "License expires in", alerts: "ConsulLicenseExpires", unit: "s",
					steps:    []step{{lowest, red}, {7 * day, orange}, {30 * day, green}},
					about:    "When the license expires. Not available without Consul Enterprise.",
					optional: true, expr: "(min by (CLUSTER) (consul_license_expiry_timestamp_seconds{SEL}) - time())",
				},
				{
					kind: stat, title: "ACLs are copied", alerts: "ConsulACLReplicationFails",
					steps: []step{{lowest, red}, {1, green}, {2, gray}},
					about: "Whether the leader copies ACLs from the primary datacenter. Not needed in the primary one itself; not " +
						"available without ACLs.",
					mappings: []object{mapped([]entry{{"0", "no", red}, {"1", "yes", green}, {"2", "not needed", gray}})},
					expr: "max by (CLUSTER) (consul_acl_replication_running{SEL})" +
						" + 2 * (max by (CLUSTER) (consul_acl_replication_enabled{SEL}) == bool 0)",
					optionalMetric: "consul_acl_replication_enabled{SEL}",
				},
				{
					kind: table, title: "Peerings", width: 8, height: 4, alerts: "ConsulPeeringDown", unit: "s",
					mappings: []object{absent},
					about: "Peerings with other clusters, the state that Consul reports, whether they work, and how long ago the " +
						"peer was heard of. Not available where there is none, and before Consul 1.13.",
					optional: true,
					expr: peerings() + " * on (peer) group_left () " +
						"(time() - max by (peer) (consul_peering_last_heartbeat_timestamp_seconds{SEL}))\nor on (peer)\n" +
						"NaN * " + peerings(),
					transformations: []object{
						sorted("peer", false), columns("peer", "state", "up=Works", "Value=Heard of"),
					},
					overrides: []object{
						override("State", cell, fixedColor(transparent), shown(mapped([]entry{
							{"active", "active", green}, {"failing", "failing", red}, {"terminated", "terminated", red},
						}))),
						override("Works", cell, fixedColor(transparent), shown(mapped([]entry{
							{"yes", "yes", green}, {"no", "no", red},
						}))),
					},
				},
				{
					kind: stat, title: "ACLs were copied", width: 8, alerts: "ConsulACLReplicationFails", unit: "dateTimeFromNow",
					noValue: notAvailable,
					about: "When ACLs last came from the primary datacenter, and when copying them last failed. Not available in " +
						"the primary one itself, and without ACLs.",
					queries: []query{
						{optionalNow("1000 * max by (CLUSTER) (consul_acl_replication_last_success_timestamp_seconds{SEL})",
							"consul_acl_replication_last_success_timestamp_seconds{SEL}", "cluster"), "copied"},
						{"1000 * max by (CLUSTER) (consul_acl_replication_last_error_timestamp_seconds{SEL})", "failed"},
					},
				},
				{
					title: "Services of peerings", width: 16, height: 4, stepped: true, noValue: notAvailable,
					about: "Services that are imported from each peer and exported to it. Not available where there is no peering.",
					queries: []query{
						{optional("max by (peer) (consul_peering_imported_services{SEL})", "peer"), "{{peer}}, imported"},
						{optional("max by (peer) (consul_peering_exported_services{SEL})", "peer"), "{{peer}}, exported"},
					},
				},
			}},
		},
	}
}

// peerings is 1 for each peering, with its state and with whether it is up, which is not known of one that has never
// been active.
func peerings() string {
	up := func(value, shown string) string {
		return label("(min by (peer) (consul_peering_up{SEL}) == bool "+value+") == 1", "up", shown)
	}
	state := "(max by (peer, state) (consul_peering_state{SEL}) == 1)"
	return "(" + state + " * on (peer) group_left (up) (\n" + up("1", "yes") + "\nor\n" + up("0", "no") +
		"\nor on (peer)\n" + label("max by (peer) "+state, "up", "–") + "\n))"
}

// memberStates are the codes of consul_serf_lan_member_info.
var memberStates = shown(mapped([]entry{
	{"0", "–", green}, {"1", "alive", green}, {"2", "leaving", orange}, {"3", "left", gray}, {"4", "failed", red},
}), unknown)
