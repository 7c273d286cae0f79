// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// Alerts that are named more than once here.
const (
	alertUnreachable = "ConsulAgentUnreachable"
	alertImpaired    = "ConsulExporterImpaired"
)

// Change is a change between two scrapes, which is a line in the log.
type Change struct {
	// What changed, and what its State is now: a row of States.
	What, State string
	// Bad is whether this is a problem.
	Bad bool
	// Text is a sentence: that of the problem, or that it is over.
	Text string
	// Details are keys and values: which server, for example.
	Details []any

	// name tells apart the subjects of a kind: a server or an agent.
	name string
}

// Watch finds the changes from one scrape of a cluster to the next. The zero value has seen no scrape. It is not safe
// for concurrent use.
type Watch struct {
	// at is when the latest scrape began.
	at time.Time
	// first is whether the latest scrape is the first one. told is nil before that.
	first bool
	told  map[subject]*told
	// seen are the ports of each server that failed in the latest scrape that could tell.
	seen map[string][]string
	// cause is the alert about why collectors fail in the latest scrape, and causeBefore in the one before; empty if there
	// is no reason for that. impaired is whether this program has a problem of its own.
	cause, causeBefore string
	impaired           bool
}

// subject is something that has a state of its own: there is a quorum, and each server.
type subject struct{ what, name string }

// told is what the log has about a subject, and what was seen in the latest scrape that could tell.
type told struct {
	state, seen string
	// at are the times of the latest lines, at most maxLines of them.
	at []time.Time
}

// In linesWithin there are at most maxLines about a subject. What it is after that is logged when they are over.
const (
	maxLines    = 10
	linesWithin = 10 * time.Minute
)

// Cause is the alert about what is to blame when something could not be read in the latest scrape; empty if nothing is
// known that would explain it. What has just ended may have been to blame at the beginning of the scrape. Servers that
// do not answer explain that there is no answer, and not one that is wrong or too large.
func (w *Watch) Cause(err error) string {
	cause := cmp.Or(w.cause, w.causeBefore)
	switch {
	case probe.IsOwnFault(err):
		return wording.If(w.impaired, "%s", alertImpaired)
	case cause == alertUnreachable || cluster.IsUnserved(err):
		return cause
	default:
		return ""
	}
}

// See returns what has changed since the scrape before, and the verdict. A scrape that began before the latest one, or
// in which there was no time for the servers, says nothing new. Of what a scrape cannot tell, the state stays as it
// was. The first scrape has all problems, or a line about the start if there are none.
func (w *Watch) See(f *Facts) (changes []Change, verdict string) {
	outOfTime := len(f.Reports) == 0 && len(f.Topology.Servers) > 0
	if outOfTime || f.Start.Before(w.at) {
		return nil, ""
	}
	w.at = f.Start
	e := newEvidence(f)
	found, firing := e.findProblems()
	problems, _ := judgeProblems(found, firing)
	w.cause, w.causeBefore = causeOfFailures(e, firing), w.cause
	w.impaired = slices.ContainsFunc(found, func(f finding) bool { return f.Alert == alertImpaired })
	if w.first = w.told == nil; w.first {
		w.told, w.seen = make(map[subject]*told), make(map[string][]string)
	}
	for _, o := range w.observe(e, problems) {
		changes = w.note(&o, changes)
	}
	changes = together(changes)
	w.forget(e)
	verdict = e.sentence(problems)
	if w.first && len(changes) == 0 {
		level := e.judgeLevel(problems)
		changes = []Change{{
			What: watchStart, State: string(level), Bad: level == LevelCritical || level == LevelUnknown, Text: verdict,
		}}
		if len(problems) > 0 {
			names := wording.Names(problems, func(f finding) (string, bool) { return f.Alert, true })
			changes[0].Details = []any{"alerts", strings.Join(slices.Compact(names), ",")}
		}
	}
	return changes, verdict
}

// maxAlike is how many servers have a line of their own about the same change in one scrape.
const maxAlike = 5

// together makes one line of what is the same for many servers.
func together(changes []Change) []Change {
	type kind struct{ what, state string }
	names := make(map[kind][]string)
	for _, c := range changes {
		names[kind{c.What, c.State}] = append(names[kind{c.What, c.State}], c.name)
	}
	var lines []Change
	for _, c := range changes {
		alike := names[kind{c.What, c.State}]
		switch {
		case len(alike) <= maxAlike:
			lines = append(lines, c)
		case c.name == alike[0]:
			c.Text += fmt.Sprintf(" The same is true of %s.", wording.List(alike[1:]))
			lines = append(lines, c)
		}
	}
	return lines
}

// causeOfFailures is why collectors fail: the agent, or what the alerts about them follow from.
func causeOfFailures(e *evidence, firing []alerts.Alert) string {
	if e.agentDown() {
		return alertUnreachable
	}
	i := slices.IndexFunc(firing, func(a alerts.Alert) bool {
		return alerts.HeldBack([]alerts.Alert{a})(alerts.Alert{Name: "ConsulCollectorFails"})
	})
	if i < 0 {
		return ""
	}
	return firing[i].Name
}

// note adds what was observed to the changes, if the log does not have it.
func (w *Watch) note(o *observation, changes []Change) []Change {
	key := subject{o.What, o.name}
	before := w.told[key]
	if before == nil {
		before = &told{state: o.before}
		w.told[key] = before
	}
	once := !w.first && before.seen != o.state && slices.Contains(brief[o.What], o.State)
	before.seen = o.state
	switch {
	case before.state == o.state || once:
		return changes
	case before.state == "" && o.What == watchLeader: // The first one is no change.
		before.state = o.state
		return changes
	case len(before.at) == maxLines && w.at.Sub(before.at[0]) < linesWithin:
		return changes
	}
	if o.What == watchLeader {
		if last := len(changes) - 1; last >= 0 && changes[last].What == watchQuorum {
			changes[last].Text += fmt.Sprintf(" Before, %s led.", before.state)
			before.state = o.state
			return changes
		}
		o.Text = fmt.Sprintf("The leader is now %s. Before, %s led.", o.state, before.state)
		o.Details = append(o.Details, "before", before.state)
	}
	before.at = append(before.at, w.at)
	before.at = before.at[max(0, len(before.at)-maxLines):]
	before.state = o.state
	return append(changes, o.Change)
}

// failingPorts are those of a server that the log has as failing, and that were seen to fail in the scrape before.
func (w *Watch) failingPorts(server string) (logged, seen []string) {
	if before := w.told[subject{watchPorts, server}]; before != nil && before.state != "" {
		logged = strings.Split(before.state, ",")
	}
	return logged, w.seen[server]
}

// forget forgets servers that are gone: that is in the log as what happened to the memory of them.
func (w *Watch) forget(e *evidence) {
	if !e.known() {
		return
	}
	names := make(map[string]bool)
	for _, s := range e.servers {
		names[s.Server.Name] = true
	}
	for _, p := range e.agentPorts {
		names[p.Server] = true
	}
	for key := range w.told {
		if (key.what == watchServer || key.what == watchPorts) && !names[key.name] {
			delete(w.told, key)
			delete(w.seen, key.name)
		}
	}
}
