// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package netns_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// A soakComplaint is a kind of line at WARN or above that a server may log because of the exporter while something is
// broken: before a request, nobody can know that a server has forgotten, or not yet learned, what it knew a second ago.
// The lines match the expression.
type soakComplaint struct{ kind, lines string }

var soakComplaints = []soakComplaint{
	{"the server has just started, or the token was just deleted: it does not know the token", "ACL not found"},
	{
		"the server names a leader that it cannot reach any more, or not yet",
		"rpc error|leadership lost|No cluster leader|not the leader|leader not found",
	},
	{"the server has just started: the mesh has no authority yet", "CA has not finished initializing"},
}

// complaintsSlack is for how long after a trial a line may still be about it: what was under way is answered. The
// rest of wellLasts must have none.
const complaintsSlack = 2 * time.Second

// complaints counts, by kind, the lines at WARN or above that servers logged because of the exporter. It fails for
// each of another kind, and for each of a time in which nothing was broken.
func (s *soak) complaints(t *testing.T, trials []soakTrial) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for i, a := range s.cluster.Servers {
		for _, line := range consultest.AtLeast(a.LogsSince(s.marks[i]), "WARN") {
			if !harness.ByExporter(line) {
				continue
			}
			kind := complaintKind(line)
			if kind == "" || !during(trials, line.Time) {
				t.Errorf("%s logged because of the exporter: %s", a, line.Raw)
			}
			counts[kind]++
		}
	}
	return counts
}

// complaintKind is "" for lines of no kind.
func complaintKind(line consultest.LogLine) string {
	for _, c := range soakComplaints {
		if regexp.MustCompile(c.lines).MatchString(line.Raw) {
			return c.kind
		}
	}
	return ""
}

// during reports whether something was broken at the time.
func during(trials []soakTrial, at time.Time) bool {
	return slices.ContainsFunc(trials, func(trial soakTrial) bool {
		return at.After(trial.began) && at.Before(trial.ended.Add(complaintsSlack))
	})
}

// complaintsText is the document's table of the lines.
func complaintsText(counts map[string]int) string {
	var b strings.Builder
	b.WriteString("Lines at WARN or above that the exporter caused in the servers' logs, all of them while something " +
		"was broken:\n\n| why | lines |\n|---|---:|\n")
	for _, c := range soakComplaints {
		fmt.Fprintf(&b, "| %s | %d |\n", c.kind, counts[c.kind])
	}
	return b.String()
}
