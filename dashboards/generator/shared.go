// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package generator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// clusterLegend names a cluster, where there are several.
const clusterLegend = "{{cluster}} {{datacenter}} {{job}}"

// statusColors are those of checks and instances, memberColors those of members and servers.
var (
	statusColors = map[string]string{"passing": green, "warning": orange, "critical": red, "maintenance": blue}
	memberColors = map[string]string{"alive": green, "leaving": orange, "left": gray, "failed": red}
)

// coloredFromOne gives these series of a stat their color, unless they are 0.
func coloredFromOne(colors map[string]string) []object {
	var overrides []object
	for _, name := range slices.Sorted(maps.Keys(colors)) {
		overrides = append(overrides, override(name, colored([]step{{lowest, neutral}, {1, colors[name]}})))
	}
	return overrides
}

// orFor adds, for each cluster of which the first expression knows nothing, what the second one knows.
func orFor(expr, otherwise string) string { return expr + "\nor on (CLUSTER)\n" + otherwise }

// noneFor names "none" for each cluster where this expression is above 0, which tells that there is something that
// could be named, and "not available" for each where it is 0.
func noneFor(expr, name string) string {
	return orFor(label("0 * ("+expr+" > 0)", name, "none"), label("NaN * "+expr, name, notAvailable))
}

// withoutLinks is for the dashboard that a panel of the overview leads to.
func withoutLinks(p panel) panel {
	p.links = nil
	return p
}

// The panels that several dashboards have.

func quorumStat(width int) panel {
	return panel{
		kind: stat, title: "Voters to spare", width: width, alerts: "ConsulQuorumLost ConsulQuorumAtRisk ConsulQuorumUnknown",
		steps: []step{{lowest, red}, {0, orange}, {enoughForFew, green}}, whole: true,
		mappings: []object{
			mapped([]entry{{quorumHeld, "held", green}, {quorumUnknown, "unknown", gray}}),
			between(nil, -1, "quorum lost", red),
		},
		about: "How many more voters can fail before the quorum is lost. At 0 the next failure stops all writes; when it " +
			"is lost, nothing can be written, no service can register, and consistent reads fail. A single server always has " +
			"0. \"held\": there is a quorum, but not all voters can be seen. \"unknown\": no exporter can tell.",
		expr: voterMargin(), links: []object{linkTo("raft", "Raft")},
	}
}

func leaderStat(width int) panel {
	return panel{
		kind: stat, title: "Leader", width: width, alerts: "ConsulNoLeader ConsulSplitBrain", names: true,
		steps: []step{{lowest, red}, {1, green}, {2, red}},
		about: "The server that calls itself leader. There must be one: without it nothing can be written, and with two " +
			"(split brain) writes contradict each other.",
		expr: orFor(
			`(max by (CLUSTER, server) (consul_server_raft_is_leader{SEL}) == 1)
  * on (CLUSTER) group_left ()
max by (CLUSTER) (consul_cluster_leaders{SEL})`,
			label("max by (CLUSTER) (consul_cluster_leaders{SEL})", "server", "none"),
		), legend: "{{server}}",
		links: []object{linkTo("raft", "Raft")},
	}
}

func failingPortsStat(width int, links ...object) panel {
	return panel{
		kind: stat, title: "Failing ports", width: width, steps: badFrom(1),
		about:  "Ports of all servers from which no exporter gets an answer in the port's own protocol.",
		alerts: "ConsulPortDown",
		expr:   "sum by (CLUSTER) (" + portUp() + " == bool 0)", links: links,
	}
}

// failingPortsOverTime narrows the servers down by a matcher, if there is one.
func failingPortsOverTime(width, height int, servers string) panel {
	up := portUp()
	if servers != "" {
		up = portUp(servers)
	}
	return panel{
		title: "Failing ports, by server", width: width, height: height, alerts: "ConsulServerDown ConsulServerHung",
		stepped: true, stacked: true,
		about: "How many ports of each server do not answer. All of one server: it is down or hangs. One of all servers: a " +
			"firewall, or a change of configuration.",
		expr: "sum by (CLUSTER, server) (" + up + " == bool 0)",
	}
}

func whoLeads(width, height int) panel {
	return panel{
		title: "Who leads", width: width, height: height, alerts: "ConsulNoLeader ConsulSplitBrain ConsulLeaderChangesOften",
		band: true,
		about: "Servers that call themselves leader. The sum is 1 at all times but for elections, which take seconds: a " +
			"gap is no leader, 2 is a split brain.",
		expr: "max by (CLUSTER, server) (consul_server_raft_is_leader{SEL})",
	}
}

func count(title string, width int, about, expr string, links ...object) panel {
	return panel{
		kind: stat, title: title, width: width, whole: true, noValue: notAvailable, about: about, expr: expr, links: links,
	}
}

// instances counts the instances by status, whatever the number of services and exporters.
const instances = "sum by (status) (max by (CLUSTER, service_name, status) (consul_catalog_service_instances{SEL}))"

// instancesOf counts the instances of each service that have one of these statuses.
func instancesOf(status string, more ...string) string {
	const of = "max by (CLUSTER, service_name) (consul_catalog_service_instances{%s, status=~%q})"
	return fmt.Sprintf(of, strings.Join(append([]string{"SEL"}, more...), ", "), status)
}

// noneBut are services of which some instances have one status and none has the others.
func noneBut(status, others string) string {
	return instancesOf(status) + " > 0 unless on (CLUSTER, service_name) " + instancesOf(others) + " > 0"
}

// Services of which some instances are critical and none serves, and those of which all were taken out. Their values
// are above 0.
var (
	servicesDown     = noneBut("critical", "passing|warning")
	servicesTakenOut = noneBut("maintenance", "passing|warning|critical")
	// catalogRead is there for each cluster of which the catalog may be read: the servers themselves are a service.
	catalogRead = "max by (CLUSTER) (consul_catalog_services{SEL}) > 0"
)

const aboutServicesDown = "Services of which no instance is passing or warning: red if some are critical, blue if " +
	"all were taken out for maintenance. Consul names nobody who asks for them an address."

// servicesDownCount is for few columns: names take more.
func servicesDownCount(width int) panel {
	return panel{
		kind: stat, title: "Services down", width: width,
		alerts: "ConsulServiceDown ConsulServiceMaintenanceLong ConsulNodeMaintenanceLong", noValue: notAvailable,
		steps: badFrom(1), about: aboutServicesDown,
		queries: []query{
			{orFor("count by (CLUSTER) ("+servicesDown+")", "0 * ("+catalogRead+")"), "critical"},
			{orFor("count by (CLUSTER) ("+servicesTakenOut+")", "0 * ("+catalogRead+")"), "taken out"},
		},
		overrides: []object{override("taken out", colored([]step{{lowest, green}, {1, blue}}))},
		links:     []object{linkTo("services", "Services")},
	}
}

func servicesDownNames(width int) panel {
	p := servicesDownCount(width)
	p.about += " Five at most."
	p.names = true
	p.steps = []step{{lowest, green}, {0.5, blue}, {1, red}}
	p.expr = orFor(
		"topk by (CLUSTER) (5, ("+servicesDown+") or 0.5 * (("+servicesTakenOut+") > bool 0))",
		noneFor("max by (CLUSTER) (consul_catalog_services{SEL})", "service_name"),
	)
	p.legend = "{{service_name}}"
	p.overrides = nil
	return p
}

const aboutStatus = "An instance's status is the worst of its own checks and its node's. One in maintenance was " +
	"taken out by somebody. "

func instancesStat(width int) panel {
	return panel{
		kind: stat, title: "Service instances by state", width: width,
		alerts: "ConsulServiceDown ConsulServiceInstancesCritical", whole: true, noValue: notAvailable,
		about: aboutStatus + "The servers' own service, consul, is among them.", expr: instances, legend: "{{status}}",
		overrides: coloredFromOne(statusColors), links: []object{linkTo("services", "Services")},
	}
}

func instancesOverTime(width, height int) panel {
	return panel{
		title: "Service instances by state, over time", width: width, height: height,
		alerts: "ConsulServiceDown ConsulServiceInstancesCritical", stacked: true, sparse: true, colors: statusColors,
		about:    aboutStatus + "A step in all states at one time is a node or an agent, not a service.",
		optional: true, expr: instances,
	}
}
