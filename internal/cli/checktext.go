// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/terminal"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// indent is before each row of a table.
const indent = "  "

// dash is for what is not known or not there.
const dash = "-"

var levelStyles = map[status.Level]terminal.Style{
	status.LevelHealthy:  terminal.Green,
	status.LevelDegraded: terminal.Yellow,
	status.LevelCritical: terminal.Alarm,
	status.LevelUnknown:  terminal.Cyan,
}

var severityStyles = map[status.Severity]terminal.Style{
	status.Critical: terminal.Alarm,
	status.Warning:  terminal.Yellow,
	status.Info:     terminal.Cyan,
}

// printStatus prints the verdict first, then what is wrong, and then what is known.
func printStatus(w io.Writer, st *status.View) error {
	p := terminal.NewPrinter(w)
	p.Line(terminal.Cell{Text: string(st.Level), Style: levelStyles[st.Level]}, plain("  "), terminal.Cell{Text: st.Verdict, Style: terminal.Bold})
	section := func(title string, rows [][]terminal.Cell) {
		if len(rows) > 0 {
			p.Line()
			p.Line(terminal.Cell{Text: title, Style: terminal.Bold})
			p.Table(indent, rows)
		}
	}
	section("Problems", problemRows(st.Problems))
	section("Ports: milliseconds to answer", portRows(st))
	section("Why ports do not answer, or are not asked", troubleRows(st))
	section("Raft", raftRows(st))
	section("Besides", summaryRows(st))
	return p.Err()
}

func plain(text string) terminal.Cell { return terminal.Cell{Text: text} }

// header makes the cells of the first row of a table.
func header(texts ...string) []terminal.Cell {
	cells := make([]terminal.Cell, 0, len(texts))
	for _, text := range texts {
		cells = append(cells, terminal.Cell{Text: text, Style: terminal.Dim})
	}
	return cells
}

func problemRows(problems []status.Problem) [][]terminal.Cell {
	var rows [][]terminal.Cell
	for _, p := range problems {
		rows = append(rows, []terminal.Cell{{Text: string(p.Severity), Style: severityStyles[p.Severity]}, plain(p.Alert), plain(p.Text)})
	}
	return rows
}

// summaryRows are a line each on members, catalog, what is not known, and who was asked.
func summaryRows(st *status.View) [][]terminal.Cell {
	var rows [][]terminal.Cell
	for _, pool := range st.Members {
		rows = append(rows, []terminal.Cell{plain("members, " + pool.Pool), plain(poolText(&pool))})
	}
	if c := st.Catalog; c != nil {
		total := 0
		for _, n := range c.Instances {
			total += n
		}
		source := ""
		if c.Summary {
			source = " (Consul's own summary)"
		}
		rows = append(rows, []terminal.Cell{plain("catalog"), plain(fmt.Sprintf("%s, %s, %s: %s%s",
			plural(c.Nodes, "node"), plural(c.Services, "service"), plural(total, "instance"),
			countsText(c.Instances, []string{"passing", "warning", "critical", "maintenance", "unknown"}), source))})
	}
	rows = append(rows, missingRows(st)...)
	agent := st.Agent.Address
	if st.Agent.Name != "" {
		agent += ", " + st.Agent.Name + around(" in ", st.Agent.Datacenter)
	}
	return append(rows,
		[]terminal.Cell{plain("agent"), plain(agent)},
		[]terminal.Cell{plain("asked"), plain(fmt.Sprintf("at %s, for %.2f s", st.Time.Format("2006-01-02 15:04:05 MST"), st.Seconds))},
	)
}

// missingRows say what is not known. When the agent does not answer, that is why for all.
func missingRows(st *status.View) [][]terminal.Cell {
	var rows [][]terminal.Cell
	if st.Agent.Up != nil && !*st.Agent.Up && len(st.Missing) > 0 {
		var all []string
		for _, m := range st.Missing {
			all = append(all, m.What)
		}
		return append(rows, []terminal.Cell{plain("not known"), plain(strings.Join(all, ", ") + ": " + st.Missing[0].Reason)})
	}
	for _, m := range st.Missing {
		rows = append(rows, []terminal.Cell{plain("not known"), plain(m.What + ": " + m.Reason)})
	}
	return rows
}

// plural puts a number before a noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// around puts a text before another one, unless that is empty.
func around(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}

// poolText counts the members by status, and names those that failed.
func poolText(pool *verdict.Pool) string {
	text := countsText(pool.ByStatus, []string{"alive", "failed", "leaving", "left"})
	var failed []string
	for _, m := range pool.NotAlive {
		if m.Status == cluster.StatusFailed.String() {
			failed = append(failed, m.Name)
		}
	}
	if len(failed) > 0 {
		text += " (failed: " + strings.Join(failed, ", ") + ")"
	}
	return text
}

// countsText lists those counts that are not 0, in the order of the keys.
func countsText(counts map[string]int, keys []string) string {
	var parts []string
	for _, key := range keys {
		if counts[key] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[key], key))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// printAnswer prints whether the server can be stopped, and why.
func printAnswer(w io.Writer, a *stopAnswer) error {
	p := terminal.NewPrinter(w)
	switch {
	case a.Error != "":
		p.Line(terminal.Cell{Text: "unknown", Style: terminal.Cyan}, plain("  "), terminal.Cell{
			Text: "There is no telling whether " + a.Server + " can be stopped: " + a.Error, Style: terminal.Bold,
		})
		return p.Err()
	case a.Safe:
		p.Line(terminal.Cell{Text: "yes", Style: terminal.Green}, plain("  "), terminal.Cell{Text: a.Server + " can be stopped.", Style: terminal.Bold})
	default:
		p.Line(terminal.Cell{Text: "no", Style: terminal.Alarm}, plain("  "), terminal.Cell{Text: a.Server + " must not be stopped now.", Style: terminal.Bold})
	}
	for _, reason := range a.Reasons {
		p.Line(plain(indent), plain(reason))
	}
	if a.Hint != "" {
		p.Line(plain(indent), terminal.Cell{Text: "Hint: " + a.Hint, Style: terminal.Yellow})
	}
	return p.Err()
}

// printWaiting prints what is waited for.
func printWaiting(w io.Writer, at time.Time, why string) {
	p := terminal.NewPrinter(w)
	p.Line(terminal.Cell{Text: at.Format(time.TimeOnly) + "  waiting: ", Style: terminal.Dim}, plain(why))
}
