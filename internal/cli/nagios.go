// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/internal/terminal"
	"github.com/zervigo/consul_cluster_exporter/status"
)

// nagiosStates are the levels in the words of Nagios.
var nagiosStates = map[status.Level]string{
	status.LevelHealthy:  "OK",
	status.LevelDegraded: "WARNING",
	status.LevelCritical: "CRITICAL",
	status.LevelUnknown:  "UNKNOWN",
}

// performance is a figure as Nagios and its like draw it (performance data). The thresholds are ranges: "2:" is bad
// below 2, and "0" above 0.
type performance struct {
	label          string
	value          float64
	unit           string
	warn, critical string
	maximum        string
}

func (p performance) String() string {
	value := strconv.FormatFloat(p.value, 'f', -1, 64)
	if p.unit == "s" {
		value = strconv.FormatFloat(p.value, 'f', 4, 64)
	}
	fields := []string{p.label + "=" + value + p.unit, p.warn, p.critical, "0", p.maximum}
	return strings.TrimRight(strings.Join(fields, ";"), ";")
}

// nagiosStatus is the view as a plugin of Nagios prints it: the verdict and the figures, and in further lines the
// verdict on services and all problems.
func nagiosStatus(v *status.View) string {
	problems := v.Problems
	var figures []performance
	if q := v.Quorum; q != nil {
		figures = append(figures, performance{
			"voters_answering", float64(q.Reachable), "", fmt.Sprint(q.Voters, ":"), fmt.Sprint(q.Needed, ":"),
			strconv.Itoa(q.Voters),
		})
		if q.Margin != nil {
			figures = append(figures, performance{"failures_tolerated", float64(max(*q.Margin, 0)), "", "1:", "", ""})
		}
	}
	if r := v.ConsistentRead; r != nil && r.Seconds != nil {
		figures = append(figures, performance{"consistent_read", *r.Seconds, "s", "", "", ""})
	}
	if failing, all := portCounts(v); all > 0 {
		figures = append(figures, performance{"ports_failing", float64(failing), "", "0", "", strconv.Itoa(all)})
	}
	lines := []string{nagiosLine("CONSUL", v.Level, v.Verdict)}
	if v.Services != nil {
		lines = append(lines, nagiosLine("SERVICES", v.Services.Level, v.Services.Verdict))
		problems = slices.Concat(problems, v.Services.Problems)
	}
	return nagiosText(lines, problems, append(figures, catalogFigures(v)...), v.Seconds)
}

// nagiosServices is the same for the part about services.
func nagiosServices(v *status.View) string {
	lines := []string{nagiosLine("CONSUL SERVICES", v.Services.Level, v.Services.Verdict)}
	return nagiosText(lines, v.Services.Problems, catalogFigures(v), v.Seconds)
}

func nagiosLine(subject string, level status.Level, verdict string) string {
	return subject + " " + nagiosStates[level] + " - " + verdict
}

// nagiosText puts it together. The first line ends with the figures, after a bar, so names must have none.
func nagiosText(lines []string, problems []status.Problem, figures []performance, seconds float64) string {
	for _, p := range problems {
		lines = append(lines, fmt.Sprintf("%s %s: %s", p.Severity, p.Alert, p.Text))
	}
	for i, line := range lines {
		lines[i] = strings.ReplaceAll(terminal.Clean(line), "|", "/")
	}
	lines[0] += " |"
	for _, f := range append(figures, performance{"time", seconds, "s", "", "", ""}) {
		lines[0] += " " + f.String()
	}
	return strings.Join(lines, "\n") + "\n"
}

// catalogFigures count what is registered, if that is known.
func catalogFigures(v *status.View) []performance {
	c := v.Catalog
	if c == nil {
		return nil
	}
	total := 0
	for _, n := range c.Instances {
		total += n
	}
	return []performance{
		{"services_down", float64(c.Down), "", "", "0", strconv.Itoa(c.Services)},
		{"instances_critical", float64(c.Instances["critical"]), "", "0", "", strconv.Itoa(total)},
	}
}

// portCounts counts the ports that were probed and those of them that do not respond.
func portCounts(v *status.View) (failing, all int) {
	for _, r := range v.Matrix().Rows {
		for _, p := range r.Ports {
			if p == nil || p.Up == nil {
				continue
			}
			all++
			if p.State.Failed() {
				failing++
			}
		}
	}
	return failing, all
}
