// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"
	"time"
)

// Leadership is who leads, by the account of each server that answered.
type Leadership struct {
	// Leaders are the names of the servers that call themselves leader: one when all is well, none during an
	// election, two or more in a split brain.
	Leaders []string
	// Reported are the distinct addresses that any server calls leader, in the order of the servers.
	Reported []string
	// Without is the number of servers that answered and know of no leader.
	Without int
	// Unknown is the number of voters that could not be asked.
	Unknown int
}

// Known reports whether the leaders are: while there is none and a voter could not be asked, that one may lead.
func (l Leadership) Known() bool { return len(l.Leaders) > 0 || l.Unknown == 0 }

func judgeLeadership(reports []Report) Leadership {
	var l Leadership
	seen := make(map[string]bool)
	for _, r := range reports {
		switch {
		case r.RPC.Skipped && r.Server.Voter:
			l.Unknown++
		case !r.RPC.Raft.LeaderKnown:
		case r.RPC.Raft.Leader == "":
			l.Without++
		default:
			if !seen[r.RPC.Raft.Leader] {
				seen[r.RPC.Raft.Leader] = true
				l.Reported = append(l.Reported, r.RPC.Raft.Leader)
			}
			if r.LeadsItself() {
				l.Leaders = append(l.Leaders, r.Server.Name)
			}
		}
	}
	return l
}

// leaderAddress returns the address of the only server that calls itself leader; empty if there is none, or several.
func leaderAddress(reports []Report) string {
	address := ""
	for _, r := range reports {
		if !r.LeadsItself() {
			continue
		}
		if address != "" {
			return ""
		}
		address = r.RPC.Raft.Leader
	}
	return address
}

// Elections counts the changes of leader or term that it is shown. The zero value is ready; it is not safe for
// concurrent use.
type Elections struct {
	seen   bool
	leader string
	term   uint64
	total  uint64
}

// Observe takes what the servers said in one scrape and returns the number of changes since the first. Between two
// scrapes there may have been several elections; each raises the term by one at least and the winner writes a log entry
// with its term at once, so the growth of the last log term counts them. The first observation changes nothing, nor
// does a scrape in which nobody leads or two do: the change counts when a single leader is there again.
func (e *Elections) Observe(reports []Report) uint64 {
	leader, term, ok := soleLeader(reports)
	switch {
	case !ok:
	case !e.seen:
		e.seen = true
		e.leader, e.term = leader, term
	case term > e.term:
		e.total += term - e.term
		e.leader, e.term = leader, term
	case leader != e.leader || term < e.term: // A lower term: the cluster was set up anew.
		e.total++
		e.leader, e.term = leader, term
	}
	return e.total
}

// tenure is since when the present leader leads, as far as that was watched. The zero value is ready; it is not safe for concurrent use.
type tenure struct {
	// last is when the latest scrape began in which a server answered.
	last   time.Time
	leader string
	term   uint64
	// since is zero for a leader that led when the watch began.
	since time.Time
}

// observe takes what the servers said in a scrape that began at that time. Scrapes overlap: one that began before another is no news.
func (t *tenure) observe(reports []Report, at time.Time) {
	if at.Before(t.last) || !slices.ContainsFunc(reports, func(r Report) bool { return r.RPC.Raft.LeaderKnown }) {
		return
	}
	watched := !t.last.IsZero()
	t.last = at
	leader, term, ok := soleLeader(reports)
	if !ok || (leader == t.leader && term == t.term) {
		return
	}
	t.leader, t.term, t.since = leader, term, time.Time{}
	if watched {
		t.since = at
	}
}

// sinceOf returns since when the one leader of these reports leads; zero when that is not known.
func (t *tenure) sinceOf(reports []Report) time.Time {
	if leader, term, ok := soleLeader(reports); ok && leader == t.leader && term == t.term {
		return t.since
	}
	return time.Time{}
}

// soleLeader returns the only server that calls itself leader, and the term of its last log entry.
func soleLeader(reports []Report) (name string, term uint64, ok bool) {
	for _, r := range reports {
		if !r.LeadsItself() || !r.RPC.Raft.StatsKnown {
			continue
		}
		if ok {
			return "", 0, false
		}
		name, term, ok = r.Server.Name, r.RPC.Raft.LastLogTerm, true
	}
	return name, term, ok
}
