// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package generator

import "strings"

// services only has queries that are cheap in a catalog with 25,000 instances: graphs use
// consul_catalog_service_instances, which has four series for a service. Metrics with four series for each check of an
// instance are only queried for the present.
func services() dashboard {
	const series = "max by (CLUSTER) (consul_exporter_catalog_series{SEL})"
	byService := func(status string) string { return instancesOf(status, "SERVICE") }
	return dashboard{
		name:      "services",
		title:     "Consul / Services",
		about:     "Which services and nodes do not work, which come and go, and which were taken out.",
		variables: []object{serviceVariable()},
		rows: []row{
			{"What is wrong", []panel{
				onlyChosen(servicesDownNames(6)),
				onlyChosen(instancesStat(8)),
				{
					kind: stat, title: "Nodes that fail",
					alerts:  "ConsulNodeCheckCritical ConsulNodeGone ConsulManyMembersFailed ConsulNodeMaintenanceLong",
					noValue: notAvailable,
					steps:   badFrom(1),
					about: "Nodes of which a check is critical, serfHealth included: all services on such a node are critical. And " +
						"nodes that were taken out for maintenance, with all services on them.",
					queries: []query{
						{
							`sum by (CLUSTER) (max by (CLUSTER, node) ` +
								`(consul_health_node_status{SEL, status="critical", check!="_node_maintenance"}))`,
							"critical",
						},
						{
							`sum by (CLUSTER) (max by (CLUSTER, node) (consul_health_node_status{SEL, status="maintenance"}))`,
							"maintenance",
						},
					},
					overrides: []object{override("maintenance", colored([]step{{lowest, green}, {1, blue}}))},
				},
				count("Services", 3, "Services in the catalog.", "max by (CLUSTER) (consul_catalog_services{SEL})"),
				{
					kind: stat, title: "Catalog", width: 3, alerts: "ConsulCatalogTooLarge ConsulResultsFiltered ConsulNoLeader",
					noValue: notAvailable, steps: warningFrom(1),
					about: "Whether all of the catalog is exported, and is of now. Old: the server that answers knows of no leader, " +
						"and what has happened since is missing. Too large: it has more series than --collector.catalog.max-series " +
						"allows, and only its totals are there. In part: the token may not read all of it.",
					mappings: []object{mapped([]entry{
						{"0", "complete", green}, {"1", "in part", orange}, {"2", "too large", orange}, {"3", "too large", orange},
					}), between(4, 7, "old", orange)},
					expr: `4 * (min by (CLUSTER) (consul_exporter_query_known_leader{SEL}) == bool 0)
  +
2 * (` + series + `
  > bool
(max by (CLUSTER) (consul_exporter_catalog_series_limit{SEL}) or Inf * ` + series + `))
  +
max by (CLUSTER) (consul_exporter_query_results_filtered_by_acls{SEL})`,
				},
				{
					kind: table, title: "Checks that fail", width: 14, height: 9,
					alerts: "ConsulServiceDown ConsulServiceVanished ConsulCatalogShrinks ConsulServiceInstancesCritical " +
						"ConsulNodeCheckCritical", noValue: notAvailable,
					about: "Checks of services and nodes that are critical or warning, 500 at most, without those for maintenance. " +
						"Why one fails is in its output: in Consul's UI, or in consul watch.",
					expr: orElse(
						`topk(500,
  2 * max by (service_name, service_id, node, check) (`+
							`consul_health_service_status{SEL, SERVICE, status="critical", check!~"_service_maintenance:.*"} == 1)
    or
  2 * max by (node, check) (consul_health_node_status{SEL, status="critical", check!="_node_maintenance"} == 1)
    or
  max by (service_name, service_id, node, check) (consul_health_service_status{SEL, SERVICE, status="warning"} == 1)
    or
  max by (node, check) (consul_health_node_status{SEL, status="warning"} == 1)
)`,
						none("consul_catalog_services{SEL}", "service_name", "no check fails"),
					),
					transformations: []object{
						sorted("Value", true), columns("Value=State", "service_name=Service", "service_id=Instance", "node", "check"),
					},
					overrides: []object{
						override("State", cell, property{"custom.width", 90}, property{"custom.align", "left"},
							colored(badFromTwo(1, 2)),
							shown(mapped([]entry{{"0", "–", green}, {"1", "warning", orange}, {"2", "critical", red}}), unknown)),
						override("Service", noValue("–")), override("Instance", noValue("–")),
						override("Node", noValue("–")), override("Check", noValue("–")),
					},
				},
				{
					kind: table, title: "Services that do not pass everywhere", width: 10, height: 9,
					alerts: "ConsulServiceDown ConsulServiceInstancesCritical ConsulServiceMaintenanceLong", noValue: notAvailable,
					mappings: []object{empty},
					about: "How many instances of each service are in which state, of the services that have any which does not " +
						"pass.",
					expr: orElse(
						"max by (service_name, status) (consul_catalog_service_instances{SEL, SERVICE} and on (CLUSTER, service_name) "+
							byService("warning|critical|maintenance")+" > 0)",
						label(none("consul_catalog_services{SEL}", "service_name", "every instance passes"), "status", "critical"),
					),
					transformations: []object{
						sorted("service_name", false), matrix("service_name", "status"), sorted("critical", true),
						columns(`service_name\status=Service`, "critical", "warning", "maintenance", "passing"),
					},
					overrides: []object{
						coloredCell("Critical", red), coloredCell("Warning", orange), coloredCell("Maintenance", blue),
					},
				},
			}},
			{"Over time", []panel{
				onlyChosen(instancesOverTime(12, 8)),
				{
					title: "Services with critical instances", width: 12, alerts: "ConsulServiceDown ConsulServiceInstancesCritical",
					stepped: true, stacked: true, sparse: true,
					about: "Services with the most critical instances, ten at most. Many at one time are mostly one node or one " +
						"service that others need.",
					expr: orElse(
						"topk(10, max by (service_name) ("+byService("critical")+") > 0)",
						label("0 * count(consul_catalog_services{SEL} > 0)", "service_name", "none"),
					), optionalMetric: "consul_catalog_service_instances{SEL}",
				},
			}},
			{"Consul's own summary, for when the catalog is too large or may not be read at once", []panel{
				count("Services in the summary", 5, aboutSummary, "max by (CLUSTER) (consul_catalog_overview_services{SEL})"),
				summaryStat("Nodes", 8, "Nodes by the worst of their own checks."),
				summaryStat("Checks", 7, "Checks of nodes and services by status."),
				{
					kind: stat, title: "Nodes read in part", whole: true, noValue: notAvailable, steps: warningFrom(1),
					about: "Nodes of which some services were not read, because Consul changes nodes when it is asked for all at " +
						"once and there are too many services to read one by one. The summary counts them, too.",
					expr: "max by (CLUSTER) (consul_catalog_nodes_unread{SEL})",
				},
				{
					title: "Service instances in the summary", width: 24, height: 7,
					alerts: "ConsulServiceDown ConsulServiceInstancesCritical", stacked: true, sparse: true, colors: statusColors,
					about: "Instances by the worst of their own checks. Checks of nodes do not count, and imported instances count, " +
						"too. " + aboutSummary,
					expr: "sum by (status) (max by (CLUSTER, service_name, status) " +
						"(consul_catalog_overview_service_instances{SEL, SERVICE}))",
					optionalMetric: "consul_catalog_overview_service_instances{SEL}",
				},
			}},
			{"What comes and goes, and what was taken out", []panel{
				{
					kind: table, title: "Flapping services", width: 8, height: 8, whole: true, noValue: notAvailable,
					mappings: []object{unknown},
					about: "How often the number of passing instances changed in the last hour, by service, the 20 most restless " +
						"ones. A deployment is a few changes; a check with a timeout that is too short goes on.",
					expr: orElse(
						`topk(20, max by (service_name) (`+
							`changes(consul_catalog_service_instances{SEL, SERVICE, status="passing"}[1h])) > 0)`,
						none("consul_catalog_services{SEL}", "service_name", "no service changed"),
					),
					transformations: []object{sorted("Value", true), columns("service_name=Service", "Value=Changes")},
					overrides:       []object{override("Changes", cell, colored([]step{{lowest, transparent}, {10, orange}}))},
				},
				{
					kind: table, title: "Flapping nodes", width: 8, height: 8, alerts: "ConsulManyMembersFailed", whole: true,
					noValue: notAvailable, mappings: []object{unknown},
					about: "How often gossip's check of a node (serfHealth) changed in the last hour, the 20 most restless ones: " +
						"agents that restart, or a network that loses packets.",
					expr: orElse(
						`topk(20, max by (node) (changes(consul_health_node_status{SEL, check="serfHealth", status="passing"}[1h])) > 0)`,
						none("consul_catalog_nodes{SEL}", "node", "no node changed"),
					),
					transformations: []object{sorted("Value", true), columns("node", "Value=Changes")},
					overrides:       []object{override("Changes", cell, colored([]step{{lowest, transparent}, {4, orange}}))},
				},
				{
					kind: table, title: "In maintenance", width: 8, height: 8,
					alerts: "ConsulServiceMaintenanceLong ConsulNodeMaintenanceLong", noValue: notAvailable,
					about: "Instances and nodes that somebody took out of use, 500 at most.",
					expr: orElse(
						`topk(500,
  max by (service_name, service_id, node) (consul_health_service_status{SEL, SERVICE, status="maintenance"} == 1)
    or
  max by (node) (consul_health_node_status{SEL, status="maintenance"} == 1)
)`,
						none("consul_catalog_services{SEL}", "service_name", "nothing is in maintenance"),
					),
					transformations: []object{
						sorted("node", false), labelColumns("service_name=Service", "service_id=Instance", "node"),
					},
				},
			}},
		},
	}
}

const aboutSummary = "Consul's summary of the catalog is up to nine seconds old, and absent until the server that " +
	"answers has made its first one."

// summaryStat is a family of Consul's summary by status.
func summaryStat(of string, width int, about string) panel {
	family := "consul_catalog_overview_" + strings.ToLower(of)
	return panel{
		kind: stat, title: of + " in the summary", width: width, whole: true, noValue: notAvailable,
		about: about + " " + aboutSummary, legend: "{{status}}", overrides: coloredFromOne(statusColors),
		expr: "sum by (status) (max by (CLUSTER, status) (" + family + "{SEL}))",
	}
}

// serviceVariable narrows the dashboard down to services. None is chosen where there is no catalog, and then all match.
func serviceVariable() object {
	v := variable("service_name", "Service", words.Replace("consul_catalog_service_instances{SEL}"), ".*")
	v["name"] = "service"
	return v
}

// onlyChosen narrows a panel of the overview, with instances, down to the chosen services.
func onlyChosen(p panel) panel {
	p.expr = strings.ReplaceAll(p.expr, "_instances{SEL", "_instances{SEL, SERVICE")
	return withoutLinks(p)
}

// coloredCell colors the cells of a column, unless they are 0.
func coloredCell(name, color string) object {
	return override(name, cell, colored([]step{{lowest, transparent}, {1, color}}))
}
