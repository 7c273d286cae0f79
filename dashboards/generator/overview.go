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
					kind: stat, title: "Silent servers", width: 3, alerts: "ConsulServerDown ConsulServerHung ConsulRPCPortDown",
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
						{orElse(orElse("count("+firingWith(`severity="critical"`)+")", rulesLoaded), "vector(NaN)"), "critical"},
						{orElse(orElse("count("+firingWith(`severity="warning"`)+")", rulesLoaded), "vector(NaN)"), "warning"},
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
						"ConsulCollectorRefused",
					queries: []query{
						{"avg by (CLUSTER) (up{SEL})", "exporter"},
						{"avg by (CLUSTER) (consul_up{SEL})", "agent"},
						{tokenTooWeak, "token"},
					},
					overrides: []object{override("token", property{"unit", "none"}, colored(warningFrom(1)),
						shown(mapped([]entry{{"0", "ok", green}, {"1", "weak", orange}}), nothing("not known", gray)))},
					links: []object{linkTo("exporter", "Exporter")},
				},
				serversTable(15, 7),
				alertsTable(9, 7),
			}},
			{"What changed", []panel{
				{
					title: "Voters", height: 7, alerts: "ConsulQuorumLost ConsulQuorumAtRisk ConsulEvenVoters",
					stepped: true, colors: map[string]string{"answer": green},
					about: "Voters that answer on their port 8300, and how many must agree. Below the quorum nothing can be written.",
					queries: []query{
						{"max by (CLUSTER) (consul_cluster_voters{SEL})", "all"},
						{"max by (CLUSTER) (consul_cluster_quorum{SEL})", "quorum"},
						{"max by (CLUSTER) (consul_cluster_reachable_voters{SEL})", "answer"},
					},
					overrides: []object{limitLine("all", blue), limitLine("quorum", red)},
				},
				whoLeads(8, 7),
				failingPortsOverTime(8, 7, ""),
				{
					title: "Changes", height: 7, alerts: "ConsulLeaderChangesOften",
					about: "How often something changed: the leader or the term, the answer of a port, the state of a member, the " +
						"number of nodes and services. What stands at one time mostly has one cause.",
					bars: true, stacked: true, interval: "1m", // One bar for a change, or two.
					queries: []query{
						{"max by (CLUSTER) (increase(consul_cluster_leader_changes_total{SEL}[$__rate_interval]))", "leader or term"},
						{"sum(max by (PORT) (changes(consul_port_up{SEL}[$__rate_interval])))", "ports"},
						{"sum(max by (CLUSTER, member) (changes(consul_serf_lan_member_status{SEL}[$__rate_interval])))", "members"},
						{"sum(max by (CLUSTER) (changes(consul_catalog_services{SEL}[$__rate_interval])))", "number of services"},
						{"sum(max by (CLUSTER) (changes(consul_catalog_nodes{SEL}[$__rate_interval])))", "number of nodes"},
					},
				},
				{
					title: "Alerts that fired", height: 7, bars: true, stacked: true,
					about: "Alerts of the exporter's rules, by name. Empty when none fired or the rules are not loaded.",
					expr: orElse("count by (alertname) ("+firing+")",
						label("0 * absent(last_over_time("+firing+"[$__range] @ end()))", "alertname", "none")),
				},
				recoveryActions(8, 7),
			}},
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
					title: "Members and nodes", width: 12, height: 7, alerts: "ConsulSerfMemberFailed", colors: memberColors,
					about: "Members of the LAN pool by state, as the agents see them, and nodes in the catalog.",
					queries: []query{
						{`max by (CLUSTER, status) (consul_serf_member_count{SEL, pool="lan"})`, "{{status}}"},
						{"max by (CLUSTER) (consul_catalog_nodes{SEL})", "nodes in the catalog"},
					},
					overrides: []object{limitLine("nodes in the catalog", blue)},
				},
			}},
		},
	}
}

func recoveryActions(width, height int) panel {
	const decisions = "consul_responder_actions_total{SEL}"
	return panel{
		title: "Recovery actions", width: width, height: height, alerts: "ConsulResponderRefuses ConsulResponderFails",
		bars: true, stacked: true,
		about: "What the responder decided, and how it ended; its history says why. Not available where none runs.",
		expr: optionalOf(
			`sum by (what) (label_join(increase(`+decisions+`[$__rate_interval]), "what", ": ", "action", "result"))`,
			decisions, "what",
		),
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
			expr: `min by (server) (
  (` + rpcUp + ` == 0
    and on (CLUSTER, server)
  consul_port_probe_phase_duration_seconds{SEL, protocol="rpc", phase=~"tls|request"}) - 1
    or
  ` + rpcUp + `
)`,
		},
		{
			title: "Ports down", steps: badFrom(1),
			expr: `max by (server) (sum by (CLUSTER, server) (` + portUp() + ` == bool 0) and on (CLUSTER, server) ` +
				`consul_port_up{SEL, protocol="rpc"})`,
		},
		roleColumn(),
		{
			title: "Sees leader", steps: goodFrom(1), mappings: []object{either("no", "yes")},
			expr: "min by (server) (max by (CLUSTER, server) (consul_server_raft_has_leader{SEL}))",
		},
		{
			title: "Log behind", unit: "short", steps: quiet(badFromTwo(250, 1000)),
			expr: "max by (server) (consul_server_raft_log_lag_entries{SEL})",
		},
		{
			title: "Last contact", unit: "s", steps: quiet(badFromTwo(0.2, 0.5)),
			expr: "max by (server) (min by (CLUSTER, server) (consul_server_raft_last_contact_seconds{SEL}))",
		},
		{
			title: "Answer took", unit: "s", steps: quiet(warningFrom(1)),
			expr: `max by (server) (min by (CLUSTER, server) (consul_port_probe_duration_seconds{SEL, protocol="rpc"}))`,
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
		expr: `max by (server) (
  ` + leads + `
    +
  (2 * max by (CLUSTER, server) (consul_server_raft_state{SEL, state="candidate"}) or 0 * ` + leads + `)
)`,
	}
}

// alertsTable lists the alerts that fire, the worst first.
func alertsTable(width, height int) panel {
	by := "max by (alertname, severity, server, member, port, protocol, transport, service_name, node, check, " +
		"collector, peer, cluster, datacenter)"
	one := func(rank, matchers string) string { return rank + " * " + by + " (" + firingWith(matchers) + ")" }
	// Of the critical ones those come first that are about the whole cluster.
	list := strings.Join([]string{
		one("4", `severity="critical", server="", service_name=""`), one("3", `severity="critical"`),
		one("2", `severity="warning"`), one("1", `severity="info"`),
	}, "\nor\n")
	// What an alert is about is in whichever of these labels it has. Of a member, the name is the server's, if it is one.
	about := `label_join(label_replace(` + list + `, "server", "$1", "member", "(.+)"), ` +
		`"about", " ", "server", "protocol", "port", "transport", "service_name", "node", "check", "collector", "peer", ` +
		`"cluster", "datacenter")`
	return panel{
		kind: table, title: "Alerts that fire", width: width, height: height,
		about: "Alerts of the exporter's rules that fire now, and what they are about. Each has a page in docs/runbooks " +
			"that says what to do.",
		expr: orElse(
			orElse("max by (alertname, about) ("+about+")", label(rulesLoaded, "alertname", "no alert fires")),
			label("vector(-1)", "alertname", "Prometheus has not loaded the rules"),
		),
		transformations: []object{sorted("Value", true), columns("Value=Severity", "alertname=Alert", "about")},
		overrides: []object{override("Severity", shown(mapped([]entry{
			{"-1", "?", gray},
			{"0", "–", green},
			{"1", "info", blue},
			{"2", "warning", orange},
			{"3", "critical", red},
			{"4", "critical", red},
		})), cell, property{"custom.width", 80}, property{"custom.align", "left"})},
	}
}
