// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package netns_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// reliability is the document with what a soak has seen.
const reliability = "docs/reliability.md"

// soakReport is what a soak has seen, as the document has it.
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
	fmt.Fprintf(&b, "\nIn %s the cluster was broken and mended %d times, and scraped %d times. ",
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
	content, err := os.ReadFile(reliability)
	harness.Must(t, err)
	before, rest, ok := strings.Cut(string(content), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no marks for the report", reliability)
	}
	harness.Must(t, os.WriteFile(reliability, []byte(before+begin+report+end+after), 0o644))
}
