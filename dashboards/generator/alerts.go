// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package generator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/alerts"
)

// ofAlerts are the matchers of the chosen cluster's alerts. They have no label instance, and where nothing is known of
// a cluster any more, no label job either.
const ofAlerts = `ONE, job=~"$job|"`

// firing selects the alerts of the exporter's rules that fire.
const firing = `ALERTS{alertstate="firing", alertname=~"Consul.+", ` + ofAlerts + `}`

// firingWith narrows them down.
func firingWith(matchers string) string {
	return strings.TrimSuffix(firing, "}") + ", " + matchers + "}"
}

// recorded is what the exporter's rules record. Those for a selector or with a label of their own have recording rules
// of their own.
const recorded = `{__name__=~"consul:cluster_leaders:max(:.+)?", ONE, job="$job"}`

// rulesLoaded has a result, of value 0, where Prometheus has the exporter's rules.
const rulesLoaded = "0 * count(" + recorded + ")"

// inhibited are the alerts that fire and that Alertmanager holds back because another one says why.
func inhibited() string {
	parts := make([]string, 0, len(alerts.Causes()))
	for _, c := range alerts.Causes() {
		same := strings.Join(append([]string{"CLUSTER"}, c.Same...), ", ")
		parts = append(parts, fmt.Sprintf("%s and on (%s) %s", selected(c.Target), same, selected(c.Source)))
	}
	return "(\n  " + strings.Join(parts, "\n    or\n  ") + "\n)"
}

// selected are the alerts that fire and that a selector selects.
func selected(s alerts.Selector) string {
	names := `alertname=~"Consul.+"`
	if s.Names != nil {
		names = matcher("alertname", s.Names)
	}
	for _, l := range s.Labels {
		names += ", " + matcher(l.Label, l.Values)
	}
	return `ALERTS{alertstate="firing", ` + names + ", " + ofAlerts + "}"
}

// matcher is for one of these values of a label; any but the empty one if there are none.
func matcher(label string, values []string) string {
	switch len(values) {
	case 0:
		return label + `!=""`
	case 1:
		return label + `="` + values[0] + `"`
	default:
		return label + `=~"` + strings.Join(values, "|") + `"`
	}
}

// notified are the alerts of a severity that fire and that Alertmanager sends to somebody.
func notified(severity string) string {
	return firingWith(`severity="`+severity+`"`) + " unless " + inhibited()
}

// aboutLabels say what an alert is about: it has some of them, of those that are next to each other. The name of a
// member is the server's, if it is one.
var aboutLabels = []string{
	"server", "protocol", "port", "transport", "pool", "service_name", "node", "check", "collector", "endpoint",
	"peer", "rule", "instance",
}

// about gives the alerts of an expression a label of what they are about, and leaves it and their names. The labels
// that an alert lacks leave blanks.
func about(aggregator, expr string) string {
	named := fmt.Sprintf(`label_replace(%s, "server", "$1", "member", "(.+)")`, expr)
	joined := fmt.Sprintf(`label_join(%s, "about", " ", "%s")`, named, strings.Join(aboutLabels, `", "`))
	return fmt.Sprintf(`%s by (CLUSTER, alertname, about) (label_replace(%s, "about", "$1", "about", " *(.*?) *"))`,
		aggregator, joined)
}

// alertsTable lists the alerts that fire, the worst first. More are further labels that it shows.
func alertsTable(width, height int, more ...string) panel {
	one := func(rank, matchers string) string { return rank + " * " + firingWith(matchers) }
	// Of the critical ones those come first that are about the whole cluster.
	list := strings.Join([]string{
		"0.5 * " + inhibited(),
		one("4", `severity="critical", server="", service_name=""`), one("3", `severity="critical"`),
		one("2", `severity="warning"`), one("1", `severity="info"`),
	}, "\nor\n")
	since := `ALERTS_FOR_STATE{alertname=~"Consul.+", ` + ofAlerts + "} and ignoring (alertstate) " + firing
	// Without alerts, there is one row that says so.
	orNone := func(alerts, value string) string {
		return orElse(orElse(alerts, label(rulesLoaded+value, "alertname", "no alert fires")),
			label("vector(-1)"+value, "alertname", "Prometheus has not loaded the rules"))
	}
	return panel{
		kind: table, title: "Alerts that fire", width: width, height: height,
		about: "Alerts of the exporter's rules that fire now, what they are about, since when, and where it says what to " +
			"do. \"inhibited\": Alertmanager holds it back, because another alert says why.",
		queries: []query{
			{orNone(label(about("max", list), "runbook", "open"), ""), ""},
			{orNone("1000 * "+about("min", since), " * NaN"), ""},
		},
		transformations: []object{
			merged(), sorted(value(0), true),
			columns(slices.Concat([]string{value(0) + "=Severity"}, more,
				[]string{"alertname=Alert", "about", value(1) + "=Since", "runbook"})...),
		},
		overrides: []object{
			override("Severity", shown(mapped([]entry{
				{"-1", "?", gray},
				{"0", "–", green},
				{"0.5", "inhibited", gray},
				{"1", "info", blue},
				{"2", "warning", orange},
				{"3", "critical", red},
				{"4", "critical", red},
			})), cell, property{"custom.width", 80}, property{"custom.align", "left"}),
			override("Alert", property{"custom.width", 250}), override("About", noValue("")),
			override("Datacenter", property{"custom.width", 95}), override("Job", property{"custom.width", 80}),
			override("Since", property{"unit", "dateTimeFromNow"}, shown(unknown), property{"custom.width", 140}),
			override("Runbook", property{"custom.width", 80}, property{"links", []object{
				{"title": "What to do", "url": alerts.Runbook("${__data.fields.Alert}"), "targetBlank": true},
			}}),
		},
	}
}
