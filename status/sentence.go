// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/wording"
)

// maxNamed is how many names a sentence has room for.
const maxNamed = 8

// sentence says in one sentence how the cluster is: what is worst, what the quorum is and who leads, which servers do not answer, and how
// many more may fail. It begins with a word or a number of its own and never with a name, so that no name gets a capital letter that it does
// not have.
func (e *evidence) sentence(problems []finding) string {
	if !e.known() {
		return wording.Capital(e.nothingKnown()) + "."
	}
	parts := []string{e.headline(problems)}
	parts = append(parts, e.clauses(problems, true)...)
	parts = append(parts, e.voters())
	parts = append(parts, e.clauses(problems, false)...)
	parts = append(parts, e.outlook(), others(problems))
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
	return wording.Capital(strings.Join(parts, "; ")) + "."
}

// headline is the worst of what keeps the cluster from serving; empty when it serves.
func (e *evidence) headline(problems []finding) string {
	for _, p := range problems {
		if p.kind.stops {
			return p.kind.clause(e, nil)
		}
	}
	if e.quorumUnknown() {
		return "whether there is a quorum is unknown"
	}
	return ""
}

// clauses are what is said about the problems that are told one by one, early or not.
func (e *evidence) clauses(problems []finding, early bool) []string {
	var clauses []string
	for i := range kinds {
		k := &kinds[i]
		if k.clause == nil || k.stops || k.early != early {
			continue
		}
		var servers []string
		for _, p := range problems {
			if p.kind == k {
				servers = append(servers, p.about.server)
			}
		}
		if len(servers) > 0 {
			clauses = append(clauses, k.clause(e, servers))
		}
	}
	return clauses
}

// others counts the problems that the sentence does not tell about; empty if there are none.
func others(problems []finding) string {
	n, noun := 0, "problem"
	for _, p := range problems {
		switch {
		case p.kind.clause != nil:
			noun = "other problem"
		case p.kind.severity != SeverityInfo:
			n++
		}
	}
	if n == 0 {
		return ""
	}
	verb := "are"
	if n == 1 {
		verb = "is"
	}
	return "there " + verb + " " + wording.Plural(n, noun, noun+"s")
}

// nothingKnown is for when no server could be asked.
func (e *evidence) nothingKnown() string {
	agent := "the agent at " + e.Address.String()
	servers := slices.ContainsFunc(e.Missing, func(m Missing) bool { return m.What == missingServers })
	switch {
	case e.Up == nil:
		return agent + " could not be queried, and no server is known that could be queried instead"
	case !*e.Up:
		return agent + " does not answer, and no server is known that could be asked instead"
	case !servers:
		return agent + " answers; only that is asked, and nothing about the cluster"
	case slices.ContainsFunc(e.Missing, func(m Missing) bool { return m.Denied }):
		return agent + " answers and names no server: the token is missing, was revoked, or has too few rights"
	default:
		return agent + " answers and names no server"
	}
}

// voters has the voters, the quorum and, if there is one, the leader.
func (e *evidence) voters() string {
	clause := answering(e.Quorum)
	if e.Quorum.Unknown > 0 {
		clause += fmt.Sprintf(", %d could not be probed", e.Quorum.Unknown)
	}
	clause += fmt.Sprintf(", quorum is %d", e.Quorum.Needed)
	switch leaders := e.Leadership.Leaders; {
	case len(leaders) != 1:
	case e.quorumLost(): // It steps down when it has noticed.
		clause += fmt.Sprintf(", %s calls itself leader still", leaders[0])
	default:
		clause += fmt.Sprintf(", %s leads%s", leaders[0], since(e.LeaderSince, e.Start))
	}
	return clause
}

// since says a time as one would on the day of now.
func since(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	layout := "15:04 MST"
	if now.Sub(t) >= 24*time.Hour {
		layout = "2 January 15:04 MST"
	}
	return " since " + t.Format(layout)
}

// outlook is what may still happen, or cannot.
func (e *evidence) outlook() string {
	margin, known := e.Quorum.Margin()
	switch leaders := len(e.Leadership.Leaders); {
	case leaders > 1:
		return ""
	case !known:
		return "how many more failures can be tolerated is unknown"
	case margin < 0:
		return fmt.Sprintf("nothing can be written until %s again", wording.Plural(-margin, "more voter answers", "more voters answer"))
	case leaders == 0:
		return "nothing can be written until one is elected"
	case margin == 0:
		return "no more may fail"
	case margin == 1:
		return "one more may fail"
	default:
		return fmt.Sprintf("%d more may fail", margin)
	}
}
