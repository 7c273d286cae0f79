// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// MissingStatus says that a server was known and that Consul no longer names it.
type MissingStatus struct {
	// How is how it went.
	How cluster.Departure `json:"how"`
	// Since is when it was first missing.
	Since time.Time `json:"since"`
}

func newMissingStatus(a *cluster.Absence) *MissingStatus {
	if a == nil {
		return nil
	}
	return &MissingStatus{a.How, a.Since.UTC().Truncate(time.Second)}
}

// leftLongAgo is how long fewer voters than expected are no problem if the others left in order: servers are also
// replaced that way.
const leftLongAgo = time.Hour

// votersMissing finds that there are fewer voters than there should be, by what is remembered.
func votersMissing(e *evidence) string {
	if !e.lacksVoters() {
		return ""
	}
	return fmt.Sprintf("%s%s.", wording.Capital(votersMissingClause(e, nil)),
		wording.Prefixed(": ", wording.List(wording.Names(e.servers, func(s *verdict.Server) (string, bool) {
			return s.Server.Name + " (" + e.departure(s) + ")", s.Server.Missing() && s.Server.Absence.Voter
		}))))
}

func votersMissingClause(e *evidence, _ []string) string {
	return fmt.Sprintf("%d of %s %s missing", e.Shortage.Missing,
		wording.Plural(e.Shortage.Expected, "expected voter", "expected voters"),
		wording.Word(e.Shortage.Missing, "is", "are"))
}

// lacksVoters reports whether voters are missing, except for those that have just left in order.
func (e *evidence) lacksVoters() bool {
	leaving := 0
	for _, s := range e.servers {
		a := s.Server.Absence
		if a != nil && a.Voter && a.How == cluster.DepartureLeft && e.Start.Sub(a.Since) < leftLongAgo {
			leaving++
		}
	}
	return e.known() && e.Shortage.Missing > leaving
}

// departed is a sentence about how a missing server went, after a space; empty for others.
func (e *evidence) departed(s *verdict.Server) string {
	if !s.Server.Missing() {
		return ""
	}
	return " It is no longer part of the cluster (" + e.departure(s) + ")."
}

// departure says how and since when a server is missing.
func (e *evidence) departure(s *verdict.Server) string {
	a := s.Server.Absence
	if a == nil {
		return ""
	}
	how := map[cluster.Departure]string{
		cluster.DepartureLeft: "left", cluster.DepartureRemoved: "removed after it failed", cluster.DepartureGone: "gone",
	}
	return how[a.How] + ", missing" + wording.Since(a.Since, e.Start)
}
