// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package generator

import (
	"fmt"
	"strings"
)

// watched is there for each cluster that an exporter has watched in the last day, whether one does now or not.
const watched = "max by (CLUSTER) (last_over_time(consul_exporter_scrapes_total{SEL}[1d]))"

// What the fleet shows of each cluster. What is not known is no number.
var (
	margin        = "max by (CLUSTER) (consul_cluster_failure_margin{SEL})"
	silentServers = "sum by (CLUSTER) (" + rpcUp + " == bool 0)"
	failingPorts  = "sum by (CLUSTER) (" + portUp() + " == bool 0)"
	criticalNow   = alertsByCluster("critical")
	warningNow    = alertsByCluster("warning")
	downServices  = orFor("count by (CLUSTER) ("+servicesDown+")", "0 * ("+catalogRead+")")
)

// alertsByCluster counts the alerts of a severity that Alertmanager does not hold back. What is about no cluster, as
// that there are no exporters at all, is no row.
func alertsByCluster(severity string) string {
	const loaded = watched + " and on () " + recorded
	return orFor("count by (CLUSTER) ("+notified(severity)+") and on (CLUSTER) "+watched, "0 * ("+loaded+")")
}

// knownFor is the expression with no number for each cluster that it says nothing about.
func knownFor(expr string) string { return orFor(expr, "NaN * "+watched) }

func fleet() dashboard {
	return dashboard{
		name:    "fleet",
		title:   "Consul / Fleet",
		about:   "All Consul clusters, the worst first.",
		ofFleet: true,
		rows: []row{
			{"What is wrong", []panel{
				ofFleet(count("Clusters", 4, "Clusters that an exporter has watched in the last day.", "count("+watched+")")),
				ofFleet(clusters("Cannot be written to", "< 1", badFrom(1),
					"Clusters that have lost the quorum, have two leaders, or do not commit writes.")),
				ofFleet(clusters("State unknown", ">= 1 < 3", []step{{lowest, green}, {1, gray}},
					"Clusters that no exporter watches any more, and those whose exporters cannot tell whether there is a quorum.")),
				ofFleet(panel{
					kind: stat, title: "No voter to spare", steps: warningFrom(1),
					alerts: "ConsulQuorumAtRisk",
					about:  "Clusters of three voters or more that lose the quorum with the next failure.",
					expr:   orElse("count("+atRisk+")", "0 * count("+watched+")"),
				}),
				ofFleet(alertsStat("Critical alerts", "critical", badFrom(1))),
				ofFleet(alertsStat("Warnings", "warning", warningFrom(1))),
				ofFleet(clustersTable(columnsOfGrid, 14)),
				ofFleet(alertsOfFleet(columnsOfGrid, 9)),
			}},
			{"Over time", []panel{
				ofFleet(panel{
					title: "Clusters by quorum", band: true,
					alerts: "ConsulQuorumLost ConsulQuorumUnknown ConsulExporterMissing",
					about:  "How many clusters have a quorum, have lost it, or are not known to have one.",
					colors: quorumColors,
					expr: `count by (state) (max by (CLUSTER, state) (consul_cluster_quorum_state{SEL}) == 1
  unless on (CLUSTER) (max by (CLUSTER) (consul_cluster_quorum_state{SEL, state="held"}) == 1
    and on (CLUSTER, state) consul_cluster_quorum_state{SEL, state!="held"}))`,
				}),
				ofFleet(panel{
					title: "Elections", bars: true, stacked: true, interval: "1m", alerts: "ConsulLeaderChangesOften",
					about: "Clusters in which the term of Raft went up. Each election stops the writes of its cluster for seconds.",
					expr:  orNoCluster(termChanges + " > 0"), legend: clusterLegend,
				}),
				ofFleet(panel{
					title: "Failing ports", stepped: true, stacked: true,
					about: "Ports of all servers of a cluster from which no exporter gets an answer. Several clusters at one time: " +
						"the network between them and the exporters, or a change that was made to all.",
					expr: orNoCluster(failingPorts + " > 0"), legend: clusterLegend,
				}),
			}},
		},
	}
}

// orNoCluster names "none" where no cluster is to be shown.
func orNoCluster(expr string) string {
	return orElse(expr, label("0 * count("+watched+")", "cluster", "none"))
}

// alertsOfFleet also says which cluster an alert is about.
func alertsOfFleet(width, height int) panel {
	p := alertsTable(width, height, "cluster", "datacenter", "job")
	for _, column := range []string{"Cluster", "Datacenter", "Job"} {
		p.overrides = append(p.overrides, override(column, noValue("–")))
	}
	return p
}

// atRisk are the clusters that have no voter to spare and should.
var atRisk = margin + " == 0 and on (CLUSTER) max by (CLUSTER) (consul_cluster_expected_voters{SEL}) > 2"

// clusters counts those whose quorum compares so.
func clusters(title, compares string, steps []step, text string) panel {
	return panel{
		kind: stat, title: title, steps: steps, about: text,
		alerts: "ConsulQuorumLost ConsulQuorumUnknown ConsulSplitBrain ConsulWritesStalled ConsulExporterMissing",
		expr:   orElse("count(("+quorumOfCluster()+") "+compares+")", "0 * count("+watched+")"),
	}
}

func alertsStat(title, severity string, steps []step) panel {
	return panel{
		kind: stat, title: title, steps: steps, noValue: "no rules",
		about: "Alerts of the exporter's rules that fire and that Alertmanager does not hold back because of others.",
		expr:  orElse("count("+notified(severity)+")", rulesLoaded),
	}
}

// Values of the column Quorum: below 1 nothing can be written.
var quorumStates = []entry{
	{"0", "lost", red},
	{"0.2", "split brain", red},
	{"0.4", "writes stalled", red},
	{"1", "not watched", gray},
	{"2", "unknown", gray},
	{"3", "held", green},
}

// quorumOfCluster is one of these values for each cluster. The exporter that sees most is believed, as in the alerts.
func quorumOfCluster() string {
	state := func(value, family, state string) string {
		return fmt.Sprintf(`%s + 0 * (max by (CLUSTER) (%s{SEL, state=%q}) == 1)`, value, family, state)
	}
	return strings.Join([]string{
		"0.2 + 0 * (max by (CLUSTER) (consul_cluster_leaders{SEL}) > 1)",
		state("0.4", "consul_cluster_writes_state", "stalled"),
		state("3", "consul_cluster_quorum_state", "held"),
		state("0", "consul_cluster_quorum_state", "lost"),
		state("2", "consul_cluster_quorum_state", "unknown"),
		"1 + 0 * " + watched,
	}, "\n  or on (CLUSTER)\n")
}

// leaderOfCluster has the leader's name in the label server.
func leaderOfCluster() string {
	leaders := "max by (CLUSTER) (consul_cluster_leaders{SEL})"
	return strings.Join([]string{
		label("0 * ("+leaders+" > 1)", "server", "several"),
		"topk by (CLUSTER) (1, max by (CLUSTER, server) (consul_cluster_leader_info{SEL}))",
		label("0 * ("+leaders+" == 0)", "server", "none"),
		label("NaN * "+watched, "server", "–"),
	}, "\n  or on (CLUSTER)\n")
}

// versionOfCluster has the version of its servers in the label version, or how many there are.
func versionOfCluster() string {
	const versions = `count by (CLUSTER, version) (consul_server_info{SEL, version!=""})`
	several := "count by (CLUSTER) (" + versions + ") > 1"
	return strings.Join([]string{
		`label_replace(count_values by (CLUSTER) ("version", ` + several + `), "version", "$1 versions", "version", "(.*)")`,
		versions,
		label("NaN * "+watched, "version", "–"),
	}, "\n  or on (CLUSTER)\n")
}

// linked gives each cluster a label with the variables of a link to it. A label that a cluster lacks is empty there.
func linked(expr string) string {
	for _, l := range []string{"cluster", "datacenter", "job"} {
		expr = fmt.Sprintf(`label_replace(%s, "var_%s", "var-%s=$1", %q, "(.*)")`, expr, l, l, l)
	}
	return `max by (CLUSTER, link) (label_join(` + expr + `, "link", "&", "var_cluster", "var_datacenter", "var_job"))`
}

// rank is higher the more a cluster needs somebody. Each fault is worse than all those after it together.
func rank() string {
	quorum := "(" + quorumOfCluster() + ")"
	faults := []string{
		quorum + " < bool 1", quorum + " < bool 3", "(" + knownFor(alertCount("critical")) + ") > bool 0",
		"(" + knownFor(atRisk) + ") == bool 0", "(" + knownFor(silentServers) + ") > bool 0",
		"(" + knownFor(failingPorts) + ") > bool 0", "(" + knownFor(downServices) + ") > bool 0",
		"(" + knownFor(alertCount("warning")) + ") > bool 0",
	}
	terms := make([]string, 0, len(faults))
	for i, fault := range faults {
		terms = append(terms, fmt.Sprintf("%d * (%s)", 1<<(len(faults)-1-i), fault))
	}
	return strings.Join(terms, "\n+\n")
}

// alertCount counts those that are held back, too.
func alertCount(severity string) string {
	return "count by (CLUSTER) (" + firingWith(`severity="`+severity+`"`) + ")"
}

// clustersTable has a query for each column. All of them have a result for each cluster.
func clustersTable(width, height int) panel {
	dash, text := []object{unknown}, []step{{lowest, transparent}}
	list := []struct {
		column
		// field is the label that the column shows, in place of the value.
		field string
	}{
		{column: column{
			title: "Quorum", expr: linked(quorumOfCluster()), mappings: []object{mapped(quorumStates)}, steps: goodFrom(3),
		}},
		{column: column{
			title: "Spare voters", expr: knownFor(shownMargin()), mappings: dash,
			steps: []step{{lowest, red}, {0, orange}, {enoughForFew, green}},
		}},
		{column: column{title: "Leader", expr: leaderOfCluster(), mappings: []object{mapped([]entry{
			{"none", "none", red}, {"several", "several", red}, {"–", "–", gray},
		})}, steps: text}, field: "server"},
		{column: column{title: "Silent servers", expr: knownFor(silentServers), steps: quiet(badFrom(1)), mappings: dash}},
		{column: column{title: "Failing ports", expr: knownFor(failingPorts), steps: quiet(badFrom(1)), mappings: dash}},
		{column: column{title: "Services down", expr: knownFor(downServices), steps: quiet(badFrom(1)), mappings: dash}},
		{column: column{title: "Critical", expr: knownFor(criticalNow), steps: quiet(badFrom(1)), mappings: dash}},
		{column: column{title: "Warnings", expr: knownFor(warningNow), steps: quiet(warningFrom(1)), mappings: dash}},
		{column: column{title: "Version", expr: versionOfCluster(), mappings: dash, steps: text}, field: "version"},
		{column: column{
			title: "Watched since", expr: knownFor("1000 * min by (CLUSTER) (process_start_time_seconds{SEL})"),
			unit: "dateTimeFromNow", mappings: dash,
		}},
	}
	p := panel{
		kind: table, title: "Clusters, the worst first", width: width, height: height,
		alerts: "ConsulQuorumLost ConsulQuorumUnknown ConsulQuorumAtRisk ConsulSplitBrain ConsulNoLeader " +
			"ConsulExporterMissing",
		about: "One row for each cluster. Click on a cluster for its overview. \"not watched\": no exporter " +
			"of the cluster answers Prometheus, and nothing is known. \"unknown\": the exporters cannot tell. Critical and " +
			"Warnings count the alerts that Alertmanager does not hold back. A cluster is watched since the oldest of its " +
			"exporters was started, and stays here for a day after the last one is gone.",
	}
	order := []string{"cluster", "datacenter", "job"}
	var hidden []string
	for i, c := range list {
		p.queries = append(p.queries, query{c.expr, c.title})
		p.overrides = append(p.overrides, c.override(notKnown))
		if c.field != "" {
			hidden = append(hidden, value(i))
			order = append(order, c.field+"="+c.title)
			continue
		}
		order = append(order, value(i)+"="+c.title)
	}
	p.queries = append(p.queries, query{rank(), "Rank"})
	hidden = append(hidden, value(len(list)))
	p.transformations = []object{
		merged(), sorted("job", false), sorted("datacenter", false), sorted("cluster", false), sorted(value(len(list)), true),
		without(columns(order...), hidden...),
	}
	p.overrides = append(p.overrides, toOverview...)
	for _, narrow := range []string{"Datacenter", "Job", "Critical", "Warnings", "Version"} {
		p.overrides = append(p.overrides, override(narrow, property{"custom.width", 90}))
	}
	return p
}

// toOverview are the overrides of a table with a label link, which is not shown.
var toOverview = []object{
	override("link", property{"custom.hidden", true}, property{"custom.hideFrom", object{"viz": true}}),
	overviewLink("Cluster"), overviewLink("Datacenter"), overviewLink("Job"), overviewLink("Quorum"),
	override("Cluster", nameWidth),
	override("Quorum", property{"custom.align", "left"}),
}

func overviewLink(column string) object {
	return override(column, property{"links", []object{{
		"title": "Overview of this cluster",
		"url":   "/d/consul-overview?${datasource:queryparam}&${__data.fields.link:raw}&${__url_time_range}",
	}}})
}
