// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// statusRefresh is how often the page reloads itself, in seconds.
const statusRefresh = 10

// statusView is a document in the words of the page.
type statusView struct {
	statusDocument

	Style template.CSS
	// Refresh is how often the page reloads itself, in seconds; 0 is never.
	Refresh int
	Links   []pageLink
	// Title is that of the window.
	Title string
	// Figures are what a glance is for.
	Figures []figure
	// Raft has a row for each server.
	Raft []raftRow
}

// figure is a number with its name. Bad makes it stand out.
type figure struct {
	Name, Value string
	Bad         bool
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

func newStatusView(d statusDocument, links []pageLink, refresh bool) *statusView {
	v := &statusView{
		statusDocument: d,
		Style:          template.CSS(statusCSS), // It is part of the program.
		Links:          links,
		Title:          fmt.Sprintf("%s: Consul%s", d.Level, wording.Prefixed(" ", d.Agent.Datacenter)),
		Figures:        figures(&d.View),
	}
	if refresh {
		v.Refresh = statusRefresh
	}
	for _, s := range d.Servers {
		v.Raft = append(v.Raft, newRaftRow(&d.View, s))
	}
	return v
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
		if q.Margin != nil {
			add("Failures tolerated", *q.Margin < 1, "%d", max(*q.Margin, 0))
		} else {
			add("Failures tolerated", false, "unknown")
		}
	}
	if l := s.Leadership; l != nil {
		first := wording.ListOf(l.Leaders[:min(len(l.Leaders), 1)], len(l.Leaders))
		if first == "" && !l.Known {
			add("Leader", false, "unknown")
		} else {
			add("Leader", len(l.Leaders) != 1, "%s", cmp.Or(first, "none"))
		}
	}
	if r := s.ConsistentRead; r != nil {
		took := "fails"
		if r.Seconds != nil {
			took = seconds(*r.Seconds)
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
	cell := portCell{string(p.State), portClasses[p.State], cmp.Or(p.Reason, p.Note)}
	if p.State == verdict.PortUp && p.Reason != "" {
		cell.Class = "fair" // It answered, but refused the request.
	}
	if cell.Detail == "" && p.Up != nil {
		cell.Detail = seconds(p.Seconds)
	}
	return cell
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
	if c := s.LastContactSeconds; c != nil && s.RaftState != cluster.RaftLeader {
		r.LastContact, r.BadContact = seconds(*c)+" ago", has("ConsulRaftLastContact")
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

// seconds writes a duration with two digits or so.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d == 0:
		return "0 s"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2g ms", s*1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", s)
	default:
		return d.Round(time.Second).String()
	}
}

// Took is how long it took.
func (v *statusView) Took() string { return seconds(v.Seconds) }
