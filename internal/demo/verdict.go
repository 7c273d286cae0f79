// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// verdict says in one sentence how the cluster is: what is broken, if anything, and then the quorum, the leader and how
// much more may fail.
func (s state) verdict() string {
	parts := s.trouble()
	switch {
	case !s.voters.known || !s.quorum.known || !s.reachable.known:
		return strings.Join(append(parts, "the exporter could not find out about the quorum"), "; ")
	case s.voters.value < 1:
		return strings.Join(append(parts, "the exporter knows of no voter"), "; ")
	}
	parts = append(parts, fmt.Sprintf("%s of %s %s, quorum is %s, %s", s.reachable, count(s.voters, "voter", "voters"),
		pick(s.reachable.is(1), "answers", "answer"), s.quorum, s.leadership()))
	return strings.Join(append(parts, s.outlook()), "; ")
}

// trouble returns what is broken besides.
func (s state) trouble() []string {
	var parts []string
	if s.agentUp.is(0) {
		parts = append(parts, "the agent that the exporter asks is down")
	}
	parts = append(parts, s.silence()...)
	if s.configurations.known && s.configurations.value > 1 {
		parts = append(parts, fmt.Sprintf("the servers have %s different Raft configurations", s.configurations))
	}
	if s.unknownPeers.known && s.unknownPeers.value > 0 {
		parts = append(parts, fmt.Sprintf("%s of no known member", count(s.unknownPeers, "Raft peer is", "Raft peers are")))
	}
	return parts
}

// well says whether nothing is broken: all that there is answers, and one server leads by everybody's account.
func (s state) well() bool {
	leaders := s.leaders()
	return len(s.trouble()) == 0 && len(leaders) == 1 && s.dissent(leaders[0]) == "" &&
		s.voters.known && s.reachable == s.voters
}

// silence says which servers do not answer on which ports, and why. Servers of which the same is to be said are named
// together.
func (s state) silence() []string {
	byText := make(map[string][]serverState)
	var texts []string // In the order of the servers.
	for _, server := range s.servers {
		text := server.silence(false)
		if text == "" {
			continue
		}
		if byText[text] == nil {
			texts = append(texts, text)
		}
		byText[text] = append(byText[text], server)
	}
	parts := make([]string, 0, len(texts))
	for _, text := range texts {
		servers := byText[text]
		names := make([]string, 0, len(servers))
		for _, server := range servers {
			names = append(names, server.name)
		}
		parts = append(parts, list(names)+" "+servers[0].silence(len(servers) > 1))
	}
	return parts
}

// silence says on which ports the server does not answer, and why, in words for one server or for many of which it is
// true; it is "" if the server answers on all.
func (s serverState) silence(many bool) string {
	down := slices.SortedFunc(maps.Keys(s.ports), comparePorts)
	down = slices.DeleteFunc(down, func(p port) bool { return s.ports[p].up })
	if len(down) == 0 {
		return ""
	}
	byReason := make(map[string][]string)
	var reasons []string // In the order of the ports.
	for _, p := range down {
		reason := s.ports[p].reason
		if byReason[reason] == nil {
			reasons = append(reasons, reason)
		}
		byReason[reason] = append(byReason[reason], p.String())
	}
	if len(reasons) == 1 && len(down) > 1 && len(down) == len(s.ports) {
		return fmt.Sprintf("%s %d ports%s", pick(many, "answer on none of their", "answers on none of its"),
			len(down), around(" (", reasons[0], ")"))
	}
	groups := make([]string, 0, len(reasons))
	for _, reason := range reasons {
		groups = append(groups, list(byReason[reason])+around(" (", reason, ")"))
	}
	return pick(many, "do not answer on ", "does not answer on ") + strings.Join(groups, " and on ")
}

// leadership says who leads, and which servers think otherwise.
func (s state) leadership() string {
	leaders := s.leaders()
	switch {
	case len(leaders) > 1:
		return fmt.Sprintf("split brain: %s call themselves leader", list(leaders))
	case len(leaders) == 0:
		return "no server leads" + around(" (", s.dissent(""), ")")
	default:
		return leaders[0] + " leads" + around(", but ", s.dissent(leaders[0]), "")
	}
}

// dissent says which servers name another leader than this one, or, if there is a leader, none.
func (s state) dissent(leader string) string {
	byOpinion := make(map[string][]string)
	var opinions []string // In the order of the servers.
	for _, server := range s.servers {
		if !server.hasLeader.known || server.leader == leader {
			continue
		}
		if byOpinion[server.leader] == nil {
			opinions = append(opinions, server.leader)
		}
		byOpinion[server.leader] = append(byOpinion[server.leader], server.name)
	}
	parts := make([]string, 0, len(opinions))
	for _, opinion := range opinions {
		names := byOpinion[opinion]
		single := len(names) == 1
		if opinion == "" {
			parts = append(parts, list(names)+pick(single, " knows of none", " know of none"))
		} else {
			parts = append(parts, list(names)+pick(single, " still names ", " still name ")+opinion)
		}
	}
	return strings.Join(parts, ", ")
}

// outlook says how many more voters may fail.
func (s state) outlook() string {
	switch {
	case !s.margin.known:
		return "how many more may fail is unknown"
	case s.margin.value < 0:
		return "the quorum is lost"
	case s.margin.value == 0:
		return "no further failure can be afforded"
	case s.margin.value == 1:
		return "one more may fail"
	default:
		return fmt.Sprintf("%s more may fail", s.margin)
	}
}

func pick(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

// count puts a number before its noun.
func count(n figure, one, many string) string { return n.String() + " " + pick(n.is(1), one, many) }

// around puts a text between two others, unless it is empty.
func around(before, text, after string) string {
	if text == "" {
		return ""
	}
	return before + text + after
}

// changes says which servers have come or gone since the scrape before; "" if none. A scrape that knows of no server at all
// says nothing about that.
func (s state) changes(before state) string {
	if len(s.servers) == 0 || len(before.servers) == 0 {
		return ""
	}
	var parts []string
	if names := s.serversNotIn(before); len(names) > 0 {
		parts = append(parts, list(names)+pick(len(names) == 1, " is", " are")+" new in the cluster")
	}
	if names := before.serversNotIn(s); len(names) > 0 {
		parts = append(parts, list(names)+pick(len(names) == 1, " is", " are")+" no longer in the cluster")
	}
	return strings.Join(parts, "; ")
}

// serversNotIn returns the names of those servers that the other state does not know.
func (s state) serversNotIn(other state) []string {
	var names []string
	for _, server := range s.servers {
		if !slices.ContainsFunc(other.servers, func(x serverState) bool { return x.name == server.name }) {
			names = append(names, server.name)
		}
	}
	return names
}
