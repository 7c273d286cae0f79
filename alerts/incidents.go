// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts

import (
	"fmt"
	"slices"
	"strings"
)

// subjects are the labels that say what in a cluster an alert is about, with what that is called: the first one that
// an alert has names it. Two alerts that differ in one of them are two incidents. In any other label, such as the port
// or the check, the alerts of one incident may differ.
var subjects = []struct{ label, word string }{
	{"service_name", "service"},
	{"server", "server"},
	{"member", "member"},
	{"node", "node"},
	{"peer", "peer"},
	{"instance", "exporter"},
	{"rule", "rule"},
}

// incident are the labels that Alertmanager is to group by besides the alert's name, where these tell clusters and
// packs apart.
func incident(names []string) []string {
	labels := slices.Clone(names)
	for _, s := range subjects {
		if !slices.Contains(labels, s.label) { // Alertmanager refuses to group by a label twice.
			labels = append(labels, s.label)
		}
	}
	return labels
}

// labelsOfGroup makes a template of Prometheus, which is about an alert, one of Alertmanager, which is about a group.
const labelsOfGroup = "{{ $labels := .CommonLabels }}"

// texts are parts of the messages in Alertmanager's example, as the lines of templates.
func (v values) texts() map[string][]string {
	cluster := []string{labelsOfGroup, v.cluster()}
	summary := "{{ or .CommonAnnotations.summary .GroupLabels.alertname }}"
	return map[string][]string{
		"cluster": cluster,
		"subject": append([]string{labelsOfGroup}, subjectLines("", "")...),
		// The title is the first thing that one reads of an incident, and on a telephone the only one.
		"title": slices.Concat(
			[]string{`{{ if eq .Status "resolved" }}Resolved: {{ end }}`}, cluster, subjectLines(", ", ": "+summary),
			[]string{"{{ if gt (len .Alerts.Firing) 1 }} ({{ len .Alerts.Firing }} alerts){{ end }}"},
		),
	}
}

// subjectLines name what in the cluster an incident is about, between two texts. Of the whole cluster they say nothing.
func subjectLines(before, after string) (lines []string) {
	between := ""
	for _, s := range subjects {
		lines = append(lines, fmt.Sprintf("%s{{ with $labels.%s }}%s%s {{ . }}", between, s.label, before, s.word))
		between = "{{ else }}"
	}
	return append(lines, strings.Repeat("{{ end }}", len(subjects))+after)
}

// folded makes of the lines of a template a text in YAML, behind so many spaces. Each line takes away the one before
// it.
func folded(lines []string, spaces int) string {
	start := strings.Repeat(" ", spaces)
	return start + strings.ReplaceAll(strings.Join(lines, "\n"), "\n{{ ", "\n"+start+"{{- ")
}
