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

// verdictSentence says in one sentence how the cluster is: what is worst, what the quorum is and who leads, which servers do not
// answer, and how many more may fail. It begins with a word or a number of its own and never with a name, so that no name gets a
// capital letter that it does not have.
func verdictSentence(st *View) string {
	if st.Quorum == nil {
		return wording.Capital(nothingKnown(st)) + "."
	}
	s := sentence{st: st, told: slices.Clone(notServing)}
	s.add(headline(st))
	if len(s.tell(alertExporterImpaired)) > 0 {
		s.add("the exporter itself has a problem")
	}
	if len(s.tell(alertAgentUnreachable)) > 0 {
		s.add(fmt.Sprintf("the agent at %s does not answer", st.Agent.Address))
	}
	s.add(quorumClause(st))
	s.add(ofServers(s.tell(alertServerHung), "hangs", "hang"))
	s.add(ofServers(s.tell(alertServerDown), "is down", "are down"))
	s.add(ofServers(s.tell(alertRPCPortDown), "does not answer on port 8300", "do not answer on port 8300"))
	s.add(ofServers(s.tell(alertServerWithoutLeader), "knows of no leader", "know of no leader"))
	if len(s.tell(alertCollectorRefused)) > 0 {
		s.add("Consul refuses to tell a part of it")
	}
	s.tell(alertQuorumAtRisk) // Is in the outlook.
	s.add(outlook(st))
	s.add(s.others())
	return wording.Capital(strings.Join(s.parts, "; ")) + "."
}

// sentence is one in the making.
type sentence struct {
	st    *View
	parts []string
	// told are the names of the alerts that it tells about.
	told []string
}

func (s *sentence) add(part string) {
	if part != "" {
		s.parts = append(s.parts, part)
	}
}

// tell notes that the sentence tells about an alert, and returns which servers have that problem.
func (s *sentence) tell(a alert) []string {
	s.told = append(s.told, a.name)
	var servers []string
	for _, p := range s.st.Problems {
		if p.Alert == a.name {
			servers = append(servers, p.Server)
		}
	}
	return servers
}

// others counts the problems that the sentence does not tell about; empty if there are none.
func (s *sentence) others() string {
	n, noun := 0, "problem"
	for _, p := range s.st.Problems {
		switch {
		case slices.Contains(s.told, p.Alert):
			noun = "other problem"
		case p.Severity != SeverityInfo:
			n++
		}
	}
	switch n {
	case 0:
		return ""
	case 1:
		return "there is 1 " + noun
	default:
		return fmt.Sprintf("there are %d %ss", n, noun)
	}
}

// ofServers says the same of one server or of several; empty if there are none.
func ofServers(servers []string, one, many string) string {
	switch len(servers) {
	case 0:
		return ""
	case 1:
		return servers[0] + " " + one
	default:
		return wording.List(servers, maxNamed) + " " + many
	}
}

// nothingKnown is for when no server could be asked.
func nothingKnown(st *View) string {
	agent := "the agent at " + st.Agent.Address
	missing := func(what string) bool {
		return slices.ContainsFunc(st.Missing, func(m Missing) bool { return m.What == what })
	}
	switch {
	case st.Agent.Up == nil:
		return agent + " could not be queried, and no server is known that could be queried instead"
	case !*st.Agent.Up:
		return agent + " does not answer, and no server is known that could be asked instead"
	case !missing(missingServers):
		return agent + " answers; only that is asked, and nothing about the cluster"
	case slices.ContainsFunc(st.Missing, func(m Missing) bool { return m.Denied }):
		return agent + " answers and names no server: the token is missing, was revoked, or has too few rights"
	default:
		return agent + " answers and names no server"
	}
}

// headline is the worst of what keeps the cluster from serving; empty when it serves.
func headline(st *View) string {
	for _, p := range st.Problems {
		switch p.Alert {
		case alertSplitBrain.name:
			return fmt.Sprintf("split brain: %s call themselves leader", wording.List(st.Leadership.Leaders, maxNamed))
		case alertQuorumLost.name:
			return "the quorum is lost"
		case alertNoLeader.name:
			return "no server leads"
		case alertServersDisagree.name:
			if len(st.Leadership.Reported) > 1 {
				return "the servers disagree about who leads: " + opinions(st.Servers)
			}
			return fmt.Sprintf("the servers have %d different Raft configurations", st.Leadership.Configurations)
		case alertConsistentReadsFail.name:
			return "consistent reads fail"
		}
	}
	if st.Quorum.undetermined() {
		return "whether there is a quorum is unknown"
	}
	return ""
}

// quorumClause has the voters, the quorum and, if there is one, the leader.
func quorumClause(st *View) string {
	q := st.Quorum
	clause := q.answering()
	if q.Unknown > 0 {
		clause += fmt.Sprintf(", %d could not be probed", q.Unknown)
	}
	clause += fmt.Sprintf(", quorum is %d", q.Needed)
	switch leaders := st.Leadership.Leaders; {
	case len(leaders) != 1:
	case q.Margin != nil && *q.Margin < 0: // It steps down when it has noticed.
		clause += fmt.Sprintf(", %s calls itself leader still", leaders[0])
	default:
		clause += fmt.Sprintf(", %s leads%s", leaders[0], since(st.Leadership.Since, st.Time))
	}
	return clause
}

// since says a time as one would on the day of now.
func since(t *time.Time, now time.Time) string {
	if t == nil {
		return ""
	}
	layout := "15:04 MST"
	if now.Sub(*t) >= 24*time.Hour {
		layout = "2 January 15:04 MST"
	}
	return " since " + t.Format(layout)
}

// outlook is what may still happen, or cannot.
func outlook(st *View) string {
	if len(st.Leadership.Leaders) > 1 {
		return ""
	}
	if st.Quorum.Margin == nil {
		return "how many more failures can be tolerated is unknown"
	}
	switch margin := *st.Quorum.Margin; {
	case margin < 0:
		return fmt.Sprintf("nothing can be written until %s again", wording.Plural(-margin, "more voter answers", "more voters answer"))
	case len(st.Leadership.Leaders) == 0:
		return "nothing can be written until one is elected"
	case margin == 0:
		return "no more may fail"
	case margin == 1:
		return "one more may fail"
	default:
		return fmt.Sprintf("%d more may fail", margin)
	}
}
