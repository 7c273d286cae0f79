// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/terminal"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// indent is before each row of a table.
const indent = "  "

// dash stands for what is not known or does not exist, and manyNumbers for the number of ports if it differs.
const dash, manyNumbers = "-", "*"

// styles are how levels, severities and the states of ports look.
var (
	levelStyles = map[status.Level]terminal.Style{
		status.LevelHealthy:  terminal.Green,
		status.LevelDegraded: terminal.Yellow,
		status.LevelCritical: terminal.Alarm,
		status.LevelUnknown:  terminal.Cyan,
	}
	severityStyles = map[status.Severity]terminal.Style{
		status.Critical: terminal.Alarm,
		status.Warning:  terminal.Yellow,
		status.Info:     terminal.Cyan,
	}
	portStyles = map[verdict.PortState]terminal.Style{
		verdict.PortUp:         terminal.Green,
		verdict.PortAccepts:    terminal.Cyan,
		verdict.PortHangs:      terminal.Alarm,
		verdict.PortDown:       terminal.Alarm,
		verdict.PortTurnedAway: terminal.Cyan,
		verdict.PortUnknown:    terminal.Cyan,
		verdict.PortNotAsked:   terminal.Dim,
	}
)

// row is a row of a table.
type row = []terminal.Cell

// printStatus prints the verdicts first, then what is wrong, and then what is known. The first line is Consul's own
// verdict, which is all that is printed if quiet.
func printStatus(p report, v *status.View, quiet bool) {
	p.verdict(v.Level, v.Problems, v.Verdict, quiet)
	if quiet {
		return
	}
	if v.Remedy != "" {
		p.Line(plain(indent), plain(v.Remedy))
	}
	if v.Services != nil {
		p.verdict(v.Services.Level, v.Services.Problems, servicesVerdict(v.Services), quiet)
	}
	p.section("Problems", problemRows(v.Problems))
	if v.Services != nil {
		p.section("Problems of services", problemRows(v.Services.Problems))
	}
	matrix := v.Matrix()
	p.grid("Ports: milliseconds to answer", portRows(matrix), portMarks(matrix))
	p.section("Why ports do not answer, or are not asked", troubleRows(v.PortTroubles()))
	p.grid("Raft", raftRows(v.Servers), raftMarks(v.Servers))
	p.section("Also", summaryRows(v))
}

// printServices prints the part about services; only the verdict if quiet.
func printServices(p report, v *status.View, quiet bool) {
	p.verdict(v.Services.Level, v.Services.Problems, servicesVerdict(v.Services), quiet)
	if !quiet {
		p.section("Problems of services", problemRows(v.Services.Problems))
		p.section("Also", summaryRows(v))
	}
}

// servicesVerdict is a verdict that says what it is about.
func servicesVerdict(s *status.ServicesStatus) string { return "Services: " + s.Verdict }

// report prints what was found.
type report struct{ *terminal.Printer }

func (p report) verdict(level status.Level, problems []status.Problem, verdict string, oneLine bool) {
	p.sentence(styled(string(level), levelStyles[status.Tone(level, problems)]), verdict, oneLine)
}

// sentence prints a word and what it is about, on one line however long that is, if wanted.
func (p report) sentence(word terminal.Cell, text string, oneLine bool) {
	cells := row{word, plain("  "), styled(text, terminal.Bold)}
	if oneLine {
		cells = append(cells, plain("")) // Only the last cell is wrapped.
	}
	p.Line(cells...)
}

// section prints a table, if there is anything in it.
func (p report) section(title string, rows []row) {
	if len(rows) > 0 {
		p.Line()
		p.Line(styled(title, terminal.Bold))
		p.Table(indent, rows)
	}
}

// grid prints a table, if there is anything in it, and what the marks in it mean.
func (p report) grid(title string, rows, marks []row) {
	if len(rows) == 0 {
		return
	}
	p.Line()
	p.Line(styled(title, terminal.Bold))
	p.Grid(indent, rows)
	if len(marks) > 0 {
		p.Line()
		p.Table(indent, marks)
	}
}

func plain(text string) terminal.Cell { return terminal.Cell{Text: text} }

func styled(text string, style terminal.Style) terminal.Cell {
	return terminal.Cell{Text: text, Style: style}
}

// header makes the cells of the first row of a table.
func header(texts ...string) row {
	var cells row
	for _, text := range texts {
		cells = append(cells, styled(text, terminal.Dim))
	}
	return cells
}

func problemRows(problems []status.Problem) []row {
	var rows []row
	for _, p := range problems {
		rows = append(rows, row{styled(string(p.Severity), severityStyles[p.Severity]), plain(p.Alert), plain(p.Text)})
	}
	return rows
}

// portRows are a row for each server, below the numbers and names of the ports.
func portRows(m status.Matrix) []row {
	if len(m.Columns) == 0 {
		return nil
	}
	numbers, names, variants := []string{""}, []string{""}, []string{""}
	for _, c := range m.Columns {
		number := manyNumbers
		if c.Number > 0 {
			number = strconv.Itoa(c.Number)
		}
		name, variant := columnName(c)
		numbers, names, variants = append(numbers, number), append(names, name), append(variants, variant)
	}
	rows := []row{header(numbers...), header(names...)}
	if strings.Join(variants, "") != "" {
		rows = append(rows, header(variants...))
	}
	for _, r := range m.Rows {
		cells := row{plain(r.Name)}
		for _, p := range r.Ports {
			cells = append(cells, portCell(p))
		}
		rows = append(rows, cells)
	}
	return rows
}

// portMarks explain what is in the table of ports, except for numbers.
func portMarks(m status.Matrix) []row {
	var rows []row
	for _, meaning := range m.Meanings() {
		rows = append(rows, mark(styled(string(meaning.State), portStyles[meaning.State]), meaning.Text))
	}
	if slices.ContainsFunc(m.Rows, func(r status.Row) bool { return slices.Contains(r.Ports, nil) }) {
		rows = append(rows, mark(plain(dash), "no such port"))
	}
	if slices.ContainsFunc(m.Columns, func(c status.Column) bool { return c.Number == 0 }) {
		rows = append(rows, mark(plain(manyNumbers), "the number differs or is unknown"))
	}
	return rows
}

// mark explains a mark.
func mark(cell terminal.Cell, meaning string) row { return row{cell, styled(meaning, terminal.Dim)} }

// columnName is a short name of the protocol in the column, and what distinguishes it from the same on another port.
func columnName(c status.Column) (name, variant string) {
	name, tls := strings.CutSuffix(strings.TrimPrefix(string(c.Protocol), "serf_"), "_tls")
	switch {
	case tls:
		variant = "tls"
	case c.Transport == cluster.TransportUDP:
		variant = c.Transport
	}
	return name, variant
}

// portCell is how long a port took to answer, in milliseconds, or its state.
func portCell(p *status.PortStatus) terminal.Cell {
	switch {
	case p == nil:
		return styled(dash, terminal.Dim)
	case p.State == verdict.PortUp:
		return styled(wording.Milliseconds(p.Seconds), portStyles[p.State])
	default:
		return styled(string(p.State), portStyles[p.State])
	}
}

// troubleRows say for each server why its ports do not answer, or are not asked.
func troubleRows(troubles []status.PortTrouble) []row {
	var rows []row
	for _, t := range troubles {
		why := cmp.Or(t.Reason, string(t.State))
		if t.State == verdict.PortNotAsked { // The text says more than the reason.
			why = string(t.State)
		}
		rows = append(rows, row{
			plain(t.Server), styled(why, portStyles[t.State]), plain(strings.Join(t.Ports, ", ") + ": " + t.Text),
		})
	}
	return rows
}

// raftRows are what the servers say about Raft.
func raftRows(servers []status.ServerStatus) []row {
	if len(servers) == 0 {
		return nil
	}
	rows := []row{header("", "vote", "state", "calls leader", "term", "index", "lag", "contact", "autopilot")}
	for i := range servers {
		s := &servers[i]
		vote := "no"
		if s.Voter {
			vote = "yes"
		}
		if s.Missing != nil {
			vote = string(s.Missing.How)
		}
		leader := func(known bool) terminal.Cell {
			if !known {
				return styled("nobody", terminal.Alarm)
			}
			return plain(s.Leader)
		}
		rows = append(rows, row{
			plain(s.Name), plain(vote), stateCell(s.RaftState), known(s.HasLeader, leader),
			known(s.Term, number), known(s.LastLogIndex, number), known(s.LogLag, number),
			known(s.LastContactSeconds, lastContact), known(s.AutopilotHealthy, health),
		})
	}
	return rows
}

// raftMarks explain what is in the table about Raft, except for numbers and Raft's own words.
func raftMarks(servers []status.ServerStatus) []row {
	var rows []row
	for _, how := range []struct {
		how     cluster.Departure
		meaning string
	}{
		{cluster.DepartureLeft, "left the cluster in order"},
		{cluster.DepartureRemoved, "no longer part of the cluster: it failed before"},
		{cluster.DepartureGone, "no longer part of the cluster, not known how"},
	} {
		if slices.ContainsFunc(servers, func(s status.ServerStatus) bool {
			return s.Missing != nil && s.Missing.How == how.how
		}) {
			rows = append(rows, mark(plain(string(how.how)), how.meaning))
		}
	}
	for _, r := range raftRows(servers) {
		if slices.ContainsFunc(r, func(c terminal.Cell) bool { return c.Text == dash }) {
			return append(rows, mark(plain(dash), "unknown"))
		}
	}
	return rows
}

func stateCell(state cluster.RaftState) terminal.Cell {
	switch state {
	case "":
		return plain(dash)
	case cluster.RaftLeader:
		return styled(string(state), terminal.Bold)
	case cluster.RaftFollower:
		return plain(string(state))
	default:
		return styled(string(state), terminal.Yellow)
	}
}

// known is the cell of a value; a dash if it is not known.
func known[T any](value *T, cell func(T) terminal.Cell) terminal.Cell {
	if value == nil {
		return plain(dash)
	}
	return cell(*value)
}

func number(n uint64) terminal.Cell { return plain(strconv.FormatUint(n, 10)) }

// lastContact is how long ago the server heard of the leader.
func lastContact(seconds float64) terminal.Cell { return plain(wording.Milliseconds(seconds) + " ms") }

func health(healthy bool) terminal.Cell {
	if !healthy {
		return styled("unhealthy", terminal.Yellow)
	}
	return plain("healthy")
}

// summaryRows are a line each on members, catalog, what is unavailable, and who was asked.
func summaryRows(v *status.View) []row {
	var rows []row
	for i := range v.Members {
		rows = append(rows, row{plain("members, " + v.Members[i].Pool), plain(poolText(&v.Members[i]))})
	}
	if v.Catalog != nil {
		rows = append(rows, row{plain("catalog"), plain(catalogText(v.Catalog))})
	}
	for _, missing := range missingTexts(v) {
		rows = append(rows, row{plain("unavailable"), plain(missing)})
	}
	// The worst problem is the first.
	if all := slices.Concat(v.Problems, servicesProblems(v)); len(all) > 0 && all[0].Runbook != "" {
		rows = append(rows, row{plain("runbook"), plain(all[0].Runbook)})
	}
	if v.Memory != "" {
		rows = append(rows, row{plain("memory"), plain(v.Memory)})
	}
	agent := v.Agent.Address
	if v.Agent.Name != "" {
		agent += ", " + v.Agent.Name + wording.Prefixed(" in ", v.Agent.Datacenter)
	}
	asked := fmt.Sprintf("at %s, for %.2f s", v.Time.Format("2006-01-02 15:04:05 MST"), v.Seconds)
	return append(rows, row{plain("agent"), plain(agent)}, row{plain("asked"), plain(asked)})
}

func servicesProblems(v *status.View) []status.Problem {
	if v.Services == nil {
		return nil
	}
	return v.Services.Problems
}

// poolText counts the members by status, and names those that failed.
func poolText(pool *verdict.Pool) string {
	failed := wording.Names(pool.NotAlive, func(m verdict.PoolMember) (string, bool) {
		return m.Name, m.Status == cluster.StatusFailed.String()
	})
	text := countsText(pool.ByStatus, "alive", "failed", "leaving", "left")
	return text + wording.If(len(failed) > 0, " (failed: %s)", strings.Join(failed, ", "))
}

func catalogText(c *verdict.Catalog) string {
	total := 0
	for _, n := range c.Instances {
		total += n
	}
	return fmt.Sprintf("%s, %s, %s: %s%s",
		wording.Plural(c.Nodes, "node", "nodes"), wording.Plural(c.Services, "service", "services"),
		wording.Plural(total, "instance", "instances"),
		countsText(c.Instances, "passing", "warning", "critical", "maintenance", "unknown"),
		wording.If(c.Summary, " (Consul's own summary)"))
}

// countsText lists those counts that are not 0, in the order of the keys.
func countsText(counts map[string]int, keys ...string) string {
	var parts []string
	for _, key := range keys {
		if counts[key] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[key], key))
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "none")
}

// missingTexts say what is unavailable, and why, once for each cause. If the agent does not answer, that is why for
// all.
func missingTexts(v *status.View) []string {
	agentDown := v.Agent.Up != nil && !*v.Agent.Up
	var causes, texts []string
	whats, reasons := make(map[string][]string), make(map[string]string)
	for _, m := range v.Missing {
		why := cause(m.Reason)
		if agentDown && len(causes) > 0 {
			why = causes[0]
		}
		if whats[why] == nil {
			causes, reasons[why] = append(causes, why), m.Reason
		}
		whats[why] = append(whats[why], m.What)
	}
	for _, why := range causes {
		reason := why
		if len(whats[why]) == 1 || agentDown {
			reason = reasons[why]
		}
		texts = append(texts, strings.Join(whats[why], ", ")+": "+reason)
	}
	return texts
}

// cause is a reason without what was read.
func cause(reason string) string {
	for strings.HasPrefix(reason, "read /") {
		_, reason, _ = strings.Cut(reason, ": ")
	}
	return reason
}

// printAnswer prints whether the server can be stopped, and why; on one line if quiet.
func printAnswer(p report, a *stopAnswer, quiet bool) {
	var text string
	word := styled(string(a.Answer), terminal.Cyan)
	switch {
	case a.Error != "":
		text = "Cannot tell: " + a.Error
	case a.Answer == verdict.AnswerUnknown:
		text = "Cannot tell whether " + a.Server + " can be stopped."
	case a.Safe:
		word, text = styled("yes", terminal.Green), a.Server+" can be stopped."
	default:
		word, text = styled("no", terminal.Alarm), a.Server+" must not be stopped now."
	}
	if quiet {
		p.sentence(word, strings.Join(append([]string{text}, a.Reasons...), " "), quiet)
		return
	}
	p.sentence(word, text, quiet)
	for _, reason := range a.Reasons {
		p.Line(plain(indent), plain(reason))
	}
	if a.Hint != "" {
		p.Line(plain(indent), styled("Hint: "+a.Hint, terminal.Yellow))
	}
	if a.Memory != "" {
		p.Line(plain(indent), styled("Memory: "+a.Memory, terminal.Dim))
	}
}

// printRelease prints whether a reservation is released; on one line if quiet.
func printRelease(p report, a *releaseAnswer, quiet bool) {
	word, text := styled("released", terminal.Green), a.Server+" is back: "+a.Reason+"."
	switch a.Answer {
	case verdict.AnswerNo:
		word, text = styled("no", terminal.Alarm), a.Server+" is not back: "+a.Reason+"."
	case verdict.AnswerUnknown:
		word, text = styled("unknown", terminal.Cyan), "Cannot tell whether "+a.Server+" is back: "+a.Reason
	}
	p.sentence(word, text, quiet)
}

// printWaiting prints what is waited for.
func printWaiting(w io.Writer, color terminal.Color, at time.Time, why string) {
	p := terminal.NewPrinter(w, color, terminal.Narrow)
	p.Line(styled(at.Format(time.TimeOnly)+"  waiting: ", terminal.Dim), plain(why))
}
