// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"cmp"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strconv"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// statusRefresh is how often the page refreshes itself, in seconds.
const statusRefresh = 10

// statusView is a document in the words of the page.
type statusView struct {
	statusDocument

	Style   template.CSS
	Script  template.JS
	Refresh int
	Links   []pageLink
	// Title is that of the window.
	Title string
	// Tone is the level in whose color the page's head is, and ServicesTone is the same for the part about services.
	Tone, ServicesTone status.Level
	// Answers are what a glance is for, and Figures are more of the same.
	Answers []answer
	Figures []figure
	// ProblemRows and ServiceRows are the problems of Consul and of services.
	ProblemRows, ServiceRows []problemRow
	// Raft has a row for each server.
	Raft []raftRow
}

// answer is what the first row says to a question. Class is how it looks: good, fair, bad, or as everything else.
type answer struct {
	Question, Answer, Note string
	Class                  string
}

// figure is a number with its name. Bad makes it stand out.
type figure struct {
	Name, Value string
	Bad         bool
}

// problemRow is a problem, with the address of its alert in Prometheus if that is known.
type problemRow struct {
	status.Problem

	InPrometheus string
}

// portCell is one port of one server.
type portCell struct {
	// State is that of the port, or empty when the server has no such port.
	State string
	// Class is how it looks: good, fair, bad or none.
	Class string
	// Detail is the time it took, or the reason.
	Detail string
}

type raftRow struct {
	status.ServerStatus

	State, Leader, Term, LastIndex, Lag, LastContact, Vote, Autopilot string
	// Bad says of the columns of the same names whether they stand out.
	BadState, BadLeader, BadLag, BadContact, BadSerf, BadAutopilot bool
}

func newStatusView(d statusDocument, links []pageLink, prometheus string) *statusView {
	v := &statusView{
		statusDocument: d,
		Style:          template.CSS(statusCSS), // It is part of the program.
		Script:         template.JS(statusJS),
		Refresh:        statusRefresh,
		Links:          links,
		Title:          fmt.Sprintf("%s: Consul%s", d.Level, wording.Prefixed(" ", d.Agent.Datacenter)),
		Tone:           status.Tone(d.Level, d.Problems),
		Answers:        answers(&d.View),
		Figures:        figures(&d.View),
		ProblemRows:    problemRows(d.Problems, prometheus),
	}
	if d.Services != nil {
		v.ServiceRows = problemRows(d.Services.Problems, prometheus)
		v.ServicesTone = status.Tone(d.Services.Level, d.Services.Problems)
	}
	for _, s := range d.Servers {
		v.Raft = append(v.Raft, newRaftRow(&d.View, s))
	}
	return v
}

func problemRows(problems []status.Problem, prometheus string) []problemRow {
	var rows []problemRow
	for _, p := range problems {
		row := problemRow{Problem: p}
		if prometheus != "" {
			row.InPrometheus = prometheus + "/graph?g0.tab=1&g0.expr=" +
				url.QueryEscape(fmt.Sprintf("ALERTS{alertname=%q}", p.Alert))
		}
		rows = append(rows, row)
	}
	return rows
}

// answers are those of the first row: is it safe, who leads, since when, and what changed.
func answers(s *status.View) []answer {
	all := []answer{safety(s)}
	if l := s.Leadership; l != nil {
		all = append(all, leader(l), leaderSince(s))
	}
	if s.LastChange != nil {
		return append(all, answer{"Last change", s.LastChange.Text, "at " + s.LastChange.Time.Format(timeFormat), ""})
	}
	return append(all, answer{"Last change", "none seen", "since the exporter started", ""})
}

// safety is whether the cluster serves, and can go on after the next failure.
func safety(s *status.View) answer {
	a := answer{Question: "Is it safe?"}
	switch q := s.Quorum; {
	case s.Level == status.LevelCritical:
		a.Answer, a.Note, a.Class = "no", "it does not serve as it should", "bad"
	case s.Level == status.LevelUnknown || q == nil || q.Margin == nil:
		a.Answer, a.Note, a.Class = "unknown", "evidence is missing", "fair"
	case *q.Margin < 1 && q.Voters > 1:
		a.Answer, a.Note, a.Class = "at risk", "no further failure can be tolerated", "bad"
	case *q.Margin < 1:
		a.Answer, a.Note, a.Class = "at risk", "there is one voter only", "fair"
	default:
		a.Answer, a.Class = "yes", "good"
		a.Note = wording.Plural(*q.Margin, "more failure", "more failures") + " can be tolerated"
	}
	return a
}

func leader(l *status.LeadershipStatus) answer {
	a := answer{Question: "Leader"}
	switch first := wording.ListOf(l.Leaders[:min(len(l.Leaders), 1)], len(l.Leaders)); {
	case first != "":
		a.Answer = first
	case l.Known:
		a.Answer = "none"
	default:
		a.Answer = "unknown"
	}
	if len(l.Leaders) != 1 && (l.Known || len(l.Leaders) > 1) {
		a.Class = "bad"
	}
	return a
}

func leaderSince(s *status.View) answer {
	a := answer{Question: "Leads since", Answer: unknownText}
	switch l := s.Leadership; {
	case len(l.Leaders) != 1:
	case l.Since == nil:
		a.Answer, a.Note = "unknown", "elected before the exporter started"
	default:
		a.Answer, a.Note = l.Since.Format(timeFormat), "for "+wording.Rounded(s.Time.Sub(*l.Since))
	}
	return a
}

// figures are those that there are.
func figures(s *status.View) []figure {
	var all []figure
	add := func(name string, bad bool, format string, args ...any) {
		all = append(all, figure{name, fmt.Sprintf(format, args...), bad})
	}
	if q := s.Quorum; q != nil {
		add("Voters that answer", q.Reachable < q.Voters, "%d of %d", q.Reachable, q.Voters)
		add("Quorum", false, "%d", q.Needed)
	}
	if r := s.ConsistentRead; r != nil {
		took := "fails"
		if r.Seconds != nil {
			took = milliseconds(*r.Seconds)
		}
		add("Consistent read", !r.OK, "%s", took)
	}
	if a := s.Autopilot; a != nil {
		add("Autopilot", !a.Healthy, "%s", health(a.Healthy))
	}
	return all
}

func health(healthy bool) string {
	if healthy {
		return "healthy"
	}
	return "unhealthy"
}

// portClasses are how the states of ports look.
var portClasses = map[verdict.PortState]string{
	verdict.PortUp: "good", verdict.PortAccepts: "fair", verdict.PortHangs: "bad", verdict.PortDown: "bad",
	verdict.PortTurnedAway: "fair", verdict.PortUnknown: "none", verdict.PortNotAsked: "none",
}

// Cell is how a port is shown.
func (v *statusView) Cell(p *status.PortStatus) portCell {
	if p == nil {
		return portCell{}
	}
	cell := portCell{string(p.State), portClasses[p.State], p.Reason}
	if p.State == verdict.PortUp && p.Reason != "" {
		cell.Class = "fair" // It answered, but refused the request.
	}
	if cell.Detail == "" && p.Up != nil {
		cell.Detail = milliseconds(p.Seconds)
	}
	return cell
}

// PortErrors are the reasons in PortTroubles that are errors.
func (v *statusView) PortErrors() []status.PortTrouble {
	return slices.DeleteFunc(v.PortTroubles(), func(t status.PortTrouble) bool { return t.Plain })
}

// newRaftRow is about one server. Without the members of Serf nothing is known of its state there.
func newRaftRow(v *status.View, s status.ServerStatus) raftRow {
	has := func(alert string) bool {
		return slices.ContainsFunc(v.Problems, func(p status.Problem) bool { return p.Alert == alert && p.Server == s.Name })
	}
	membersKnown := len(v.Members) > 0
	if !membersKnown {
		s.Serf = unknownText
	}
	r := raftRow{
		ServerStatus: s, State: cmp.Or(string(s.RaftState), unknownText), Leader: unknownText,
		Term: number(s.Term), LastIndex: number(s.LastLogIndex), Lag: number(s.LogLag),
		LastContact: unknownText, Vote: "yes", Autopilot: unknownText,
		BadState: s.RaftState == cluster.RaftCandidate || s.RaftState == "",
		BadLag:   has("ConsulRaftLogLag"),
		BadSerf:  membersKnown && s.Serf != cluster.StatusAlive.String(),
	}
	if !s.Voter {
		r.Vote = "no"
	}
	if s.Missing != nil {
		r.Vote, r.BadSerf = string(s.Missing.How), true
	}
	if s.HasLeader != nil {
		r.Leader, r.BadLeader = cmp.Or(s.Leader, "nobody"), !*s.HasLeader
	}
	if c := s.LastContactSeconds; c != nil {
		r.LastContact, r.BadContact = milliseconds(*c), has("ConsulRaftLastContact")
	}
	if h := s.AutopilotHealthy; h != nil {
		r.Autopilot, r.BadAutopilot = health(*h), !*h
	}
	return r
}

// unknownText stands for unknown values.
const unknownText = "–"

func number(n *uint64) string {
	if n == nil {
		return unknownText
	}
	return strconv.FormatUint(*n, 10)
}

// timeFormat is how times are shown that need no seconds.
const timeFormat = "2006-01-02 15:04 MST"

func milliseconds(seconds float64) string { return wording.Milliseconds(seconds) + " ms" }

// Took is how long it took.
func (v *statusView) Took() string { return fmt.Sprintf("%.2f s", v.Seconds) }
