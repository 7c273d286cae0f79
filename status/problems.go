// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
)

// finding is a problem, before it is known whether it follows from another one.
type finding struct {
	alert  alert
	server string
	port   int // 0 when it is not about one port.
	text   string
}

// findings gathers problems.
type findings []finding

func (fs *findings) add(a alert, server, format string, args ...any) {
	*fs = append(*fs, finding{alert: a, server: server, text: fmt.Sprintf(format, args...)})
}

func (fs *findings) addPort(a alert, server string, port int, format string, args ...any) {
	*fs = append(*fs, finding{a, server, port, fmt.Sprintf(format, args...)})
}

// judgeProblems returns what is wrong, worst first.
func judgeProblems(f *Facts, st *View) []Problem {
	var all findings
	all.servingOf(st)
	all.hangingAndDown(st)
	all.quorumOf(st)
	for i := range st.Servers {
		all.raftOf(f, &st.Servers[i])
		if !st.staleRaftPeer(&st.Servers[i]) {
			all.portsOf(f, st.Servers[i].Name, st.Servers[i].Ports)
		}
	}
	all.exporterOf(f)
	all.agentOf(f, st)
	all.answersOf(f)
	all.gossipOf(f)
	all.dnsOf(f)
	all.catalogOf(f, st)
	problems := []Problem{}
	for _, severity := range []Severity{SeverityCritical, SeverityWarning, SeverityInfo} {
		for i := range all {
			if all[i].alert.severity == severity && !all.followsAny(&all[i]) {
				problems = append(problems, Problem{severity, all[i].alert.name, all[i].server, all[i].text})
			}
		}
	}
	return problems
}

// followsAny reports whether the finding follows from another one.
func (fs findings) followsAny(target *finding) bool {
	return slices.ContainsFunc(inhibitions, func(i inhibition) bool {
		return slices.ContainsFunc(fs, func(source finding) bool { return i.follows(&source, target) })
	})
}

// judgeLevel judges by the problems.
func judgeLevel(st *View) Level {
	switch {
	case len(st.Servers) == 0:
		return LevelUnknown
	case slices.ContainsFunc(st.Problems, func(p Problem) bool { return slices.Contains(notServing, p.Alert) }):
		return LevelCritical
	case st.Quorum.undetermined():
		return LevelUnknown
	case slices.ContainsFunc(st.Problems, func(p Problem) bool { return p.Severity != SeverityInfo }):
		return LevelDegraded
	default:
		return LevelHealthy
	}
}
