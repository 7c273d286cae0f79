// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/contact"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// sentence sums up the cluster in one sentence: what is worst, what the quorum is and who leads, which servers do not
// answer, and how many more failures can be tolerated. It never begins with a name, so no name is capitalized.
func (e *evidence) sentence(problems []finding) string {
	if !e.known() {
		return wording.Capital(e.nothingKnown()) + "."
	}
	worst := e.clauses(problems, headline)
	return wording.Capital(wording.Join("; ", slices.Concat(
		worst[:min(len(worst), 1)], e.clauses(problems, beforeVoters), []string{e.voters()},
		e.clauses(problems, afterVoters), []string{e.outlook(), others(problems)},
	)...)) + "."
}

// clauses are about the problems that are mentioned in this place.
func (e *evidence) clauses(problems []finding, at place) []string {
	var clauses []string
	for i := range kinds {
		k := &kinds[i]
		servers := wording.Names(problems, func(p finding) (string, bool) { return p.Server, p.kind == k })
		if k.place == at && len(servers) > 0 {
			clauses = append(clauses, k.clause(e, servers))
		}
	}
	return clauses
}

// others counts the problems that the sentence does not name; empty if there are none.
func others(problems []finding) string {
	n, noun := 0, "problem"
	for _, p := range problems {
		switch {
		case p.kind.place != counted:
			noun = "other problem"
		case p.Severity != Info:
			n++
		}
	}
	return wording.If(n > 0, "there %s %s", wording.Word(n, "is", "are"), wording.Plural(n, noun, noun+"s"))
}

// noAnswer says which agents do not answer, when none does.
func (e *evidence) noAnswer() string {
	if len(e.Agents) < 2 {
		return e.trouble().What
	}
	return wording.List(wording.Names(e.Agents, func(a cluster.AgentState) (string, bool) {
		return contact.OfAgent(a.Address, a.Err).What, true
	}))
}

// trouble is why the agent in use is of no use.
func (e *evidence) trouble() contact.Trouble { return contact.OfAgent(e.Address, e.AgentErr) }

// remedy is what to do first about what the sentence says, if that is a matter of how the exporter is set up. Nothing
// distracts from a cluster that does not serve as it should.
func (e *evidence) remedy(level Level) string {
	denied := func(m Missing) bool { return m.Denied }
	switch {
	case level == LevelCritical:
		return ""
	case e.agentDown() || (!e.known() && e.AgentErr != nil && e.Up != nil):
		return e.trouble().Do
	case slices.ContainsFunc(e.Missing, denied):
		return contact.GiveToken
	default:
		return wording.If(e.enterpriseAsked(func(string) bool { return true }), contact.LeaveOutNamespace)
	}
}

// nothingKnown is for when no server could be asked.
func (e *evidence) nothingKnown() string {
	agent := "the agent at " + e.Address.String()
	servers := slices.ContainsFunc(e.Missing, func(m Missing) bool { return m.What == missingServers })
	switch {
	case e.Up == nil:
		return agent + " could not be queried, and no server is known that could be queried instead"
	case !*e.Up:
		return e.noAnswer()
	case !servers:
		return agent + " answers; only that is asked, and nothing about the cluster"
	case e.AgentErr != nil:
		return e.trouble().What
	default:
		return agent + " answers and names no server"
	}
}

// voters has the voters, the quorum and, if there is one, the leader.
func (e *evidence) voters() string {
	if e.Quorum.NeverBootstrapped {
		return "" // Those that have not joined yet have no vote.
	}
	leads := ""
	switch leaders := e.Leadership.Leaders; {
	case len(leaders) != 1:
	case e.Quorum.State != verdict.QuorumHeld: // It steps down when it has noticed.
		leads = leaders[0] + " still calls itself leader"
	default:
		leads = leaders[0] + " leads" + wording.Since(e.LeaderSince, e.Start)
	}
	return wording.Join(", ", e.Quorum.String(),
		wording.If(e.Quorum.Unknown > 0, "%d %s unknown", e.Quorum.Unknown, wording.Word(e.Quorum.Unknown, "is", "are")),
		fmt.Sprintf("quorum is %d", e.Quorum.Needed), leads)
}

// outlook is what may still happen, or cannot.
func (e *evidence) outlook() string {
	margin, known := e.Quorum.Margin()
	switch leaders := len(e.Leadership.Leaders); {
	case e.Quorum.NeverBootstrapped:
		return "nothing can be written until the others join"
	case leaders > 1 || e.Writes.State == verdict.WritesStalled:
		return ""
	case !known || (leaders == 0 && !e.Leadership.Known()):
		return "how many more failures can be tolerated is unknown"
	case margin < 0:
		return "nothing can be written until " + e.neededBack(-margin)
	case leaders == 0:
		return "nothing can be written until one is elected"
	case margin == 0:
		return "no further failure can be tolerated"
	case margin == 1:
		return "one more failure can be tolerated"
	default:
		return fmt.Sprintf("%d more failures can be tolerated", margin)
	}
}

// neededBack says which of the lost voters must answer again, so many of them. A server that has lost its vote is of no
// use.
func (e *evidence) neededBack(n int) string {
	lost := wording.Names(e.servers, func(s *verdict.Server) (string, bool) {
		return s.Server.Name, e.Voters[s.Server.Name] == verdict.VoterLost
	})
	if n == len(lost) {
		return wording.List(lost) + " " + wording.Word(n, "answers", "answer") + " again"
	}
	return fmt.Sprintf("%d of %s %s again", n, wording.List(lost), wording.Word(n, "answers", "answer"))
}
