// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package netns_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// reliability is the document with what a soak has seen.
const reliability = "docs/reliability.md"

// soakReport is the document's report of a soak.
func soakReport(trials []soakTrial, seen []soakScrape) string {
	var b strings.Builder
	b.WriteString("\n| fault | what the exporter shows | tried | shown, s | at the latest, s | healthy again, s |" +
		" at the latest, s |\n|---|---|---:|---:|---:|---:|---:|\n")
	for _, f := range soakFaults {
		var shown, well []float64
		for _, trial := range trials {
			if trial.fault == f.name {
				shown, well = append(shown, trial.shown.Seconds()), append(well, trial.well.Seconds())
			}
		}
		if len(shown) > 0 {
			fmt.Fprintf(&b, "| %s | %s | %d | %.1f | %.1f | %.1f | %.1f |\n", f.name, f.shows, len(shown),
				median(shown), slices.Max(shown), median(well), slices.Max(well))
		}
	}
	took := make([]float64, 0, len(seen))
	for _, scrape := range seen {
		took = append(took, scrape.took.Seconds())
	}
	fmt.Fprintf(&b, "\nIn %s the cluster was broken and fixed %d times, and scraped %d times. ",
		soakTime.String(), len(trials), len(seen))
	fmt.Fprintf(&b, "Every scrape was answered: half of them within %.2f s, the slowest after %.1f s of the 10 s that "+
		"Prometheus grants.", median(took), slices.Max(took))
	b.WriteString("\n\n| the exporter's | first third of the time | last third | most |\n|---|---:|---:|---:|\n")
	for _, r := range soakResources {
		first, last, most := r.thirds(seen)
		fmt.Fprintf(&b, "| %s | %.0f | %.0f | %.0f |\n", r.name, first, last, most)
	}
	b.WriteString("\n")
	return b.String()
}

// writeReliability puts a report into the document, between its marks.
func writeReliability(t *testing.T, report string) {
	t.Helper()
	const begin, end = "<!-- written by make reliability -->\n", "<!-- end of what make reliability wrote -->"
	before, rest, ok := strings.Cut(string(must.Get(os.ReadFile(reliability))(t)), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no marks for the report", reliability)
	}
	must.Do(t, os.WriteFile(reliability, []byte(before+begin+report+end+after), 0o644))
}

// A soakComplaint is a kind of line at WARN or above that a server may log because of the exporter while something is
// broken: before a request, nobody can know that a server has forgotten, or not yet learned, what it knew a second ago.
// The lines match the expression. If there is a fault, only that one is an excuse.
type soakComplaint struct{ kind, lines, fault string }

var soakComplaints = []soakComplaint{
	{"the server has just started, or the token was just deleted: it does not know the token", "ACL not found", ""},
	{
		"the server names a leader that it cannot reach any more, or not yet",
		"rpc error|leadership lost|No cluster leader|not the leader|leader not found", "",
	},
	{"the server has just started: the mesh has no authority yet", "CA has not finished initializing", ""},
	{
		"the firewall came between the connection and what the exporter sent first",
		"failed to read byte.*i/o timeout", rpcBlocked,
	},
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
			kind := complaintKind(line, trials)
			if kind == "" {
				t.Errorf("%s logged because of the exporter: %s", a, line.Raw)
			}
			counts[kind]++
		}
	}
	return counts
}

// complaintKind is "" for lines of no kind, and for those of a time in which nothing was broken.
func complaintKind(line consultest.LogLine, trials []soakTrial) string {
	i := slices.IndexFunc(trials, func(trial soakTrial) bool {
		return line.Time.After(trial.began) && line.Time.Before(trial.ended.Add(complaintsSlack))
	})
	for _, c := range soakComplaints {
		if i >= 0 && regexp.MustCompile(c.lines).MatchString(line.Raw) && (c.fault == "" || c.fault == trials[i].fault) {
			return c.kind
		}
	}
	return ""
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
