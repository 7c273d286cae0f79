// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package generator

import "strings"

// rpcUp is 1 for each server whose port 8300 answers any exporter, else 0.
const rpcUp = `max by (CLUSTER, server) (consul_port_up{SEL, protocol="rpc"})`

func overview() dashboard {
	return dashboard{
		name:  "overview",
		title: "Consul / Overview",
		about: "Whether the Consul cluster works, what is wrong with it, and what changed.",
		rows: []row{
			{"What is wrong", []panel{
				quorumStat(3),
				leaderStat(3),
				{
					kind: stat, title: "Silent servers", width: 3, alerts: "ConsulServerDown ConsulServerHung ConsulPortDown",
					names: true, steps: goodFrom(1),
					about: "Servers whose port 8300 does not answer, five at most. Without 8300 a server takes no part in Raft.",
					expr: orFor(
						"topk by (CLUSTER) (5, "+rpcUp+" == 0)",
						label("min by (CLUSTER) ("+rpcUp+")", "server", "all answer"),
					), legend: "{{server}}",
					links: []object{linkTo("ports", "Ports of this server", "var-server=${__field.labels.server}")},
				},
				failingPortsStat(3, linkTo("ports", "Ports")),
				{
					kind: stat, title: "Reads", width: 2, alerts: "ConsulConsistentReadsFail", steps: goodFrom(1),
					mappings: []object{either("stale only", "consistent")},
					about: "Whether the cluster answers a consistent read, which the leader has to confirm with a majority. If not, " +
						"nothing can be written either, and only reads that any server may answer still work. Not known while the " +
						"agent that is asked does not answer.",
					expr: "max by (CLUSTER) (consul_cluster_consistent_read_success{SEL})", links: []object{linkTo("raft", "Raft")},
				},
				servicesDownCount(3),
				{
					kind: stat, title: "Alerts firing", width: 3, noValue: "no rules", steps: badFrom(1),
					about: "Alerts of the exporter's rules that fire, by severity; those of severity info are in the list below. " +
						"\"No rules\" means that Prometheus has not loaded them: consul_cluster_exporter alerts writes them.",
					queries: []query{
						{orElse(orElse("count("+notified("critical")+")", rulesLoaded), "vector(NaN)"), "critical"},
						{orElse(orElse("count("+notified("warning")+")", rulesLoaded), "vector(NaN)"), "warning"},
					},
					overrides: []object{override("warning", colored(warningFrom(1)))},
				},
				{
					kind: stat, title: "Watched by", unit: "percentunit", whole: true,
					steps: []step{{lowest, red}, {0.0001, orange}, {1, green}}, mappings: []object{either("down", "up")},
					about: "Whether Prometheus reaches the exporters, and these reach their Consul agents; in part is a percentage. " +
						"While an exporter is down nothing here is known. While an agent is down, what is known of ports and Raft " +
						"comes from the servers themselves. What the token may not read has no figures and no alerts.",
					alerts: "ConsulExporterDown ConsulExporterMissing ConsulAgentUnreachable ConsulResultsFiltered " +
						"ConsulCollectorFails",
					queries: []query{
						{"avg by (CLUSTER) (up{SEL})", "exporter"},
						{"avg by (CLUSTER) (consul_up{SEL})", "agent"},
						{tokenTooWeak, "token"},
					},
					overrides: []object{override("token", property{"unit", "none"}, colored(warningFrom(1)),
						shown(mapped([]entry{{"0", "ok", green}, {"1", "weak", orange}}), nothing("not known", gray)))},
					links: []object{linkTo("exporter", "Exporter")},
				},
				alertsTable(columnsOfGrid, 7),
				serversTable(columnsOfGrid, 7),
			}},
			{"What changed", []panel{
				{
					title: "Voters", height: 7, alerts: "ConsulQuorumLost ConsulQuorumAtRisk ConsulEvenVoters",
					stepped: true, colors: map[string]string{"answer": green},
					about: "Voters that answer on their port 8300, and how many must agree. Below the quorum nothing can be written.",
					queries: []query{
						{"max by (CLUSTER) (consul_cluster_voters{SEL})", "all"},
						{"max by (CLUSTER) (consul_cluster_quorum{SEL})", "quorum"},
						{`max by (CLUSTER) (consul_cluster_voters_state{SEL, state="answering"})`, "answer"},
					},
					overrides: []object{limitLine("all", blue), limitLine("quorum", red)},
				},
				whoLeads(8, 7),
				failingPortsOverTime(8, 7, ""),
				{
					title: "Changes", width: 12, height: 7, alerts: "ConsulLeaderChangesOften",
					about: "What is different from how it was at the bar before: the leader or the term, ports that answer or no " +
						"longer do, the state of members, the number of nodes and services. Each change is in one bar. What stands " +
						"at one time mostly has one cause.",
					bars: true, stacked: true, interval: "1m", colors: map[string]string{
						"leader or term": "purple", "ports": "blue", "members": "super-light-blue", "number of services": "dark-purple",
						"number of nodes": "super-light-purple",
					},
					queries: []query{
						{"sum(" + termChanges + ")", "leader or term"},
						{"sum(" + changed(portUp()) + ")", "ports"},
						{"sum(" + changed("max by (CLUSTER, member) (consul_serf_lan_member_status{SEL})") + ")", "members"},
						{"sum(" + changed("max by (CLUSTER) (consul_catalog_services{SEL})") + ")", "number of services"},
						{"sum(" + changed("max by (CLUSTER) (consul_catalog_nodes{SEL})") + ")", "number of nodes"},
					},
				},
				{
					title: "Alerts that fired", width: 12, height: 7, bars: true, stacked: true,
					about: "Alerts of the exporter's rules, by name. Empty when none fired or the rules are not loaded.",
					expr: orElse("count by (alertname) ("+firing+")",
						label("0 * absent(last_over_time("+firing+"[$__range] @ end()))", "alertname", "none")),
				},
			}},
			recovery(),
			{"Nodes and services", []panel{
				count("Nodes", 3, "Nodes in the catalog.", "max by (CLUSTER) (consul_catalog_nodes{SEL})"),
				count(
					"Services", 3, "Services in the catalog.", "max by (CLUSTER) (consul_catalog_services{SEL})",
					linkTo("services", "Services"),
				),
				instancesStat(10),
				{
					kind: stat, title: "Checks by state", width: 8, noValue: notAvailable,
					about: "Health checks of services and nodes by their state. Those for maintenance are critical as well, and " +
						"counted as such.",
					expr: strings.ReplaceAll(`sum by (status) (
  max by (CLUSTER, check, node, service_id, status) (consul_health_service_status{SEL, STATUS})
    or
  max by (CLUSTER, check, node, status) (consul_health_node_status{SEL, STATUS})
)`, "STATUS", `status=~"passing|warning|critical"`), legend: "{{status}}",
					overrides: coloredFromOne(statusColors), links: []object{linkTo("services", "Services")},
				},
				instancesOverTime(12, 7),
				{
					title: "Members and nodes", width: 12, height: 7, colors: memberColors,
					alerts: "ConsulSerfMemberFailed ConsulManyMembersFailed",
					about:  "Members of the LAN pool by state, as the agents see them, and nodes in the catalog.",
					queries: []query{
						{`max by (CLUSTER, status) (consul_serf_members{SEL, pool="lan"})`, "{{status}}"},
						{"max by (CLUSTER) (consul_catalog_nodes{SEL})", "nodes in the catalog"},
					},
					overrides: []object{limitLine("nodes in the catalog", blue)},
				},
			}},
		},
	}
}

func serversTable(width, height int) panel {
	return figuresPanel(panel{
		title: "Servers", width: width, height: height,
		alerts: "ConsulServerDown ConsulServerHung ConsulServerWithoutLeader ConsulRaftLogLag ConsulRaftLastContact",
		about: "Each server by its own account. One that does not answer has no figures but its ports; one that hangs " +
			"accepts connections but responds on no port. Click on a server for its Raft figures or ports.",
		overrides: []object{override("Server", property{"links", []object{
			linkTo("raft", "Raft of this server", "var-server=${__data.fields.Server}"),
			linkTo("ports", "Ports of this server", "var-server=${__data.fields.Server}"),
		}})},
	}, figures{"server", []column{
		{
			title: "Port 8300", steps: goodFrom(1),
			mappings: []object{mapped([]entry{{"-1", "hangs", red}, {"0", "no answer", red}, {"1", "answers", green}})},
			expr: `min by (CLUSTER, server) (
  (` + rpcUp + ` == 0
    and on (CLUSTER, server)
  consul_port_probe_phase_duration_seconds{SEL, protocol="rpc", phase=~"tls|request"}) - 1
    or
  ` + rpcUp + `
)`,
		},
		{
			title: "Ports down", steps: badFrom(1),
			expr: `max by (CLUSTER, server) (sum by (CLUSTER, server) (` + portUp() + ` == bool 0) and on (CLUSTER, server) ` +
				`consul_port_up{SEL, protocol="rpc"})`,
		},
		roleColumn(),
		{
			title: "Sees leader", steps: goodFrom(1), mappings: []object{either("no", "yes")},
			expr: "max by (CLUSTER, server) (consul_server_raft_has_leader{SEL})",
		},
		{
			title: "Log behind", unit: "short", steps: quiet(badFromTwo(250, 1000)),
			expr: "max by (CLUSTER, server) (consul_server_raft_log_lag_entries{SEL})",
		},
		{
			title: "Last contact", unit: "s", steps: quiet(badFromTwo(0.2, 0.5)),
			expr: "min by (CLUSTER, server) (consul_server_raft_last_contact_seconds{SEL})",
		},
		{
			title: "Answer took", unit: "s", steps: quiet(warningFrom(1)),
			expr: `min by (CLUSTER, server) (consul_port_probe_duration_seconds{SEL, protocol="rpc"})`,
		},
	}}, "Server")
}

// roleColumn is a server's part in Raft.
func roleColumn() column {
	const leads = "max by (CLUSTER, server) (consul_server_raft_is_leader{SEL})"
	return column{
		title:    "Role",
		mappings: []object{mapped([]entry{{"0", "follower", ""}, {"1", "leader", blue}, {"2", "candidate", orange}})},
		steps:    []step{{lowest, transparent}, {1, blue}, {2, orange}},
		expr: `max by (CLUSTER, server) (
  ` + leads + `
    +
  (2 * max by (CLUSTER, server) (consul_server_raft_state{SEL, state="candidate"}) or 0 * ` + leads + `)
)`,
	}
}
