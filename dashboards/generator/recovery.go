// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package generator

// decisions counts what a responder did about alerts. A responder is scraped by a job of its own.
const decisions = "consul_responder_actions_total{ONE}"

// resultColors are those of decisions by how they ended.
var resultColors = map[string]string{
	"done": green, "failed": red, "timeout": red, "unknown": gray, "dry_run": blue, "refused_by_guard": orange,
	"cooldown": orange,
}

// recovery is what responders do about a cluster.
func recovery() row {
	return row{"Recovery", []panel{
		{
			kind: stat, title: "Responders", width: 3, height: 4, whole: true, noValue: "none",
			about: "Responders that run and have the labels of this cluster.",
			expr:  "count(consul_responder_alerts_received_total{ONE})",
		},
		{
			kind: stat, title: "Last action", width: 4, height: 4, unit: "dateTimeFromNow", noValue: "none",
			about: "When a responder last acted. Dry runs do not count.",
			expr:  "1000 * max(consul_responder_last_action_timestamp_seconds{ONE})",
		},
		{
			kind: table, title: "Decisions in the time shown", width: 9, height: 7, noValue: notAvailable, whole: true,
			alerts: "ConsulResponderRefuses ConsulResponderFails", mappings: []object{absent},
			about: "What responders decided, and how it ended; their history says why. Not available where none runs.",
			expr: orElse("round(sum by (rule, action, result) (increase("+decisions+"[$__range]))) > 0",
				label(orElse(label("0 * count("+decisions+")", "rule", "no decision"),
					label("NaN * absent("+decisions+")", "rule", notAvailable)), "result", "–")),
			transformations: []object{
				sorted("Value", true), columns("rule", "action", "result", "Value=Decisions"),
			},
			overrides: []object{override("Result", cell, fixedColor(transparent), shown(mapped([]entry{
				{"done", "done", green},
				{"failed", "failed", red},
				{"timeout", "timeout", red},
				{"unknown", "unknown", gray},
				{"dry_run", "dry run", blue},
				{"refused_by_guard", "refused by guard", orange},
				{"cooldown", "cooldown", orange},
			})))},
		},
		{
			title: "Recovery actions", width: 8, height: 7, alerts: "ConsulResponderRefuses ConsulResponderFails",
			bars: true, stacked: true, interval: "1m", colors: resultColors,
			about: "How the decisions of responders ended, when they were made. Not available where none runs.",
			expr: optionalOf(
				"sum by (result) (clamp_min("+decisions+" - "+atLastPoint(decisions)+", 0))", decisions, "result",
			),
		},
	}}
}
