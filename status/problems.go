// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// kind is a row of the table: a problem that a single scrape can tell about. An alert of which there are two severities has two rows.
type kind struct {
	// alert is the one of the pack about it, which fires when the problem lasts.
	alert    string
	severity Severity
	// stops is whether the cluster does not serve as it should. Only the first of such problems is in the sentence.
	stops bool
	// early is whether the sentence tells about it before the voters.
	early bool
	// find reports each of these problems.
	find func(e *evidence, report report)
	// clause is what the sentence says about it, of the servers that have it; nil if the sentence only counts it.
	clause func(e *evidence, servers []string) string
}

// report notes a problem.
type report func(about subject, format string, args ...any)

// subject is what a problem is about.
type subject struct {
	// server is the name of the server, or of the agent; empty for the cluster.
	server string
	// labels are those that the alert has for it, besides its severity.
	labels map[string]string
}

var wholeCluster = subject{}

// ofServer is about a server.
func ofServer(name string) subject { return subject{name, map[string]string{"server": name}} }

// ofAgent is about the agent that was asked, which alerts do not name.
func (e *evidence) ofAgent() subject { return subject{server: e.agentName()} }

// ofPort is about a port of a server, or of the agent.
func ofPort(p *cluster.PortReport) subject {
	return subject{p.Server, map[string]string{"server": p.Server, "port": strconv.Itoa(p.Number()), "protocol": string(p.Protocol)}}
}

// with is the same with one more label.
func (s subject) with(label, value string) subject {
	labels := maps.Clone(s.labels)
	if labels == nil {
		labels = make(map[string]string)
	}
	labels[label] = value
	return subject{s.server, labels}
}

// finding is a problem, before it is known whether it follows from another one.
type finding struct {
	kind  *kind
	about subject
	text  string
}

// asAlert is the alert that fires if the problem lasts.
func (f *finding) asAlert() alerts.Alert {
	return alerts.Alert{Name: f.kind.alert, Labels: f.about.with("severity", string(f.kind.severity)).labels}
}

// judgeProblems returns what is wrong, worst first, and then in the order of the table. What follows from another problem is left out.
func (e *evidence) judgeProblems() []finding {
	var all []finding
	for i := range kinds {
		kinds[i].find(e, func(about subject, format string, args ...any) {
			all = append(all, finding{&kinds[i], about, fmt.Sprintf(format, args...)})
		})
	}
	var firing []alerts.Alert
	for i := range all {
		firing = append(firing, all[i].asAlert())
	}
	left := []finding{}
	for _, severity := range []Severity{SeverityCritical, SeverityWarning, SeverityInfo} {
		for i := range all {
			if all[i].kind.severity == severity && !alerts.HeldBack(firing[i], firing) {
				left = append(left, all[i])
			}
		}
	}
	return left
}

// judgeLevel judges by the problems.
func (e *evidence) judgeLevel(problems []finding) Level {
	switch {
	case !e.known():
		return LevelUnknown
	case slices.ContainsFunc(problems, func(f finding) bool { return f.kind.stops }):
		return LevelCritical
	case e.quorumUnknown():
		return LevelUnknown
	case slices.ContainsFunc(problems, func(f finding) bool { return f.kind.severity != SeverityInfo }):
		return LevelDegraded
	default:
		return LevelHealthy
	}
}
