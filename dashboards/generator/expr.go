// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package generator

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Expressions are written with these words in place of what all of them repeat:
//
//	{SEL}      the series of the chosen exporters of a cluster
//	{FLEET}    the same, of all chosen clusters
//	{SEL, ...} the same, with further matchers
//	ONE        the matchers for the chosen cluster, without its job: what else tells about it may have another one
//	ANY        the same for all chosen clusters
//	SERVER     the matcher for the chosen servers
//	SERVICE    the matcher for the chosen services
//	CLUSTER    the labels that tell clusters apart
//	PORT       the labels that tell ports apart, with those of their cluster
var words = strings.NewReplacer(
	"{SEL", `{cluster="$cluster", datacenter="$datacenter", job="$job", instance=~"$instance"`,
	"{FLEET", `{cluster=~"$cluster", datacenter=~"$datacenter", job=~"$job", instance=~"$instance"`,
	"ONE", `cluster="$cluster", datacenter="$datacenter"`,
	"ANY", `cluster=~"$cluster", datacenter=~"$datacenter"`,
	"SERVER", `server=~"$server"`,
	"SERVICE", `service_name=~"$service"`,
	"CLUSTER", "cluster, datacenter, job",
	"PORT", "cluster, datacenter, job, server, port, protocol, transport",
)

// portUp is 1 for each port that any exporter gets an answer from, else 0.
func portUp(matchers ...string) string {
	return "max by (PORT) (consul_port_up{" + strings.Join(append([]string{"SEL"}, matchers...), ", ") + "})"
}

// narrowed selects the chosen servers only.
func narrowed(expr string) string { return strings.ReplaceAll(expr, "{SEL", "{SEL, SERVER") }

// ofFleet makes a panel about one cluster one about all that are chosen.
func ofFleet(p panel) panel {
	p.expr = acrossClusters(p.expr)
	for i, q := range p.queries {
		p.queries[i].expr = acrossClusters(q.expr)
	}
	return p
}

func acrossClusters(expr string) string {
	return strings.NewReplacer("{SEL", "{FLEET", "ONE", "ANY", `job="$job"`, `job=~"$job"`).Replace(expr)
}

// changed is 1 for each result of an expression that had another value at the last point of the graph, and 0 for all
// others: each change is at one point, however many exporters see it. The range of a rate would have it at several, and
// miss what is between two of them.
func changed(expr string) string { return expr + " != bool " + atLastPoint(expr) }

func atLastPoint(expr string) string { return strings.ReplaceAll(expr, "}", "} offset $__interval") }

// termChanges is the same for the term of Raft of each cluster, which every election raises.
var termChanges = term + " > bool " + atLastPoint(term)

// term is known of a server without its HTTP API from its last log entry only.
const term = "max by (CLUSTER) (consul_server_raft_term{SEL} or consul_server_raft_last_log_term{SEL})"

// label gives all results of an expression a label.
func label(expr, name, value string) string {
	return fmt.Sprintf(`label_replace(%s, %q, %q, "", "")`, expr, name, value)
}

// orElse adds a result for when the expression has none at all.
func orElse(expr, otherwise string) string {
	return expr + "\nor on ()\n" + otherwise
}

// none is for when there is nothing to list: a result with this text if the metric is above 0, which tells that there
// is something that could be listed and Consul does not hide it; or else "not available".
func none(metric, name, text string) string {
	absent := label("NaN * absent("+metric+" > 0)", name, notAvailable)
	return orElse(label("0 * count("+metric+" > 0)", name, text), absent)
}

// notAvailable is shown for what does not exist, by design.
const notAvailable = "not available"

// notKnown is shown for what exists and could not be read.
const notKnown = "not known"

// optional is an expression for a graph, of a metric that not every version, edition or agent has. If there is none
// in all the time shown, it has one result that is no number, with the legend "not available".
func optional(expr, legendLabel string) string {
	return optionalOf(expr, selector.FindString(expr), legendLabel)
}

// optionalOf is the same where the expression does not begin with the metric and its matchers.
func optionalOf(expr, metric, legendLabel string) string {
	return optionalNow(expr, "last_over_time("+metric+"[$__range] @ end())", legendLabel)
}

// optionalNow is the same for a panel of the present.
func optionalNow(expr, metric, legendLabel string) string {
	return orElse(expr, label("NaN * absent("+metric+")", legendLabel, notAvailable))
}

// selector is a metric with its matchers.
var selector = regexp.MustCompile(`\w+\{[^}]*\}`)

// groupedBy returns the labels of the first clause "by", without those that tell clusters or ports apart.
func groupedBy(expr string) []string {
	var labels []string
	if by := byClause.FindStringSubmatch(expr); by != nil {
		labels = strings.Split(by[1], ", ")
	}
	return slices.DeleteFunc(labels, func(label string) bool { return label == "CLUSTER" || label == "PORT" })
}

var byClause = regexp.MustCompile(`\bby \(([^)]*)\)`)

// figures is one expression for a table that has a row for each server, or whatever the label row says, and a column
// for each figure.
type figures struct {
	row     string
	columns []column
}

// column is a figure: an expression with no labels but that of the row.
type column struct {
	title, expr string
	unit        string
	steps       []step
	mappings    []object
}

// expr joins the expressions of all columns; each result has its column's title in the label "figure".
func (f figures) expr() string {
	parts := make([]string, 0, len(f.columns))
	for _, c := range f.columns {
		parts = append(parts, label(c.expr, "figure", c.title))
	}
	return strings.Join(parts, "\nor\n")
}
