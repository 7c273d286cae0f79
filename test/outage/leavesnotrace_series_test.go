// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// seriesFile has, for each family and each configuration of the table, how many series there are: an exporter that
// asks nothing is quiet as well. With -update it is written.
const seriesFile = "test/outage/testdata/leavesnotrace.txt"

// unsteady are the families whose series come and go with what happens to be measured, logged or answered.
var unsteady = []string{
	"consul_exporter_consul_requests_total", // By status code, those of a cluster in trouble among them.
	"consul_agent_",                         // What an agent has measured in its last ten seconds.
	"consul_serf_rtt_seconds",               // Of members whose coordinates a leader has written, which takes its time.
}

// seriesCounts has the number of series by configuration and family.
type seriesCounts struct {
	mu  sync.Mutex
	all map[string]map[string]int // Guarded by mu.
}

// countSeries counts the series by family, and of the ports those that are up and those that are verified.
func countSeries(s harness.Samples) map[string]int {
	counts := make(map[string]int)
	for series, value := range s {
		family, _, _ := strings.Cut(series, "{")
		comesAndGoes := slices.ContainsFunc(unsteady, func(prefix string) bool { return strings.HasPrefix(family, prefix) })
		if !strings.HasPrefix(family, "consul_") || comesAndGoes {
			continue
		}
		counts[family]++
		switch family {
		case "consul_port_up", "consul_port_protocol_verified",
			"consul_exporter_collector_success", "consul_exporter_collector_supported":
			if value == 1 {
				counts[family+"==1"]++
			}
		}
	}
	return counts
}

// expect scrapes until the numbers of series are those of the file, or with -update, until they have settled, and
// then looks at the ports.
func (c *seriesCounts) expect(t *testing.T, name string, e *harness.Exporter, scene *quietScene) {
	t.Helper()
	c.mu.Lock()
	want := c.all[name]
	c.mu.Unlock()
	var last harness.Samples
	if *harness.Update {
		last = scrapeUntilSettled(t, e)
		c.mu.Lock()
		c.all[name] = countSeries(last)
		c.mu.Unlock()
	} else {
		for deadline := time.Now().Add(time.Minute); ; wait(t, time.Second/2) {
			last = e.Scrape(t)
			diff := cmp.Diff(want, countSeries(last))
			if diff == "" {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("numbers of series (-%s +got):\n%s\nin the scrape\n%s", seriesFile, diff, last)
				break
			}
		}
	}
	expectVerified(t, last, scene.verified)
}

// scrapeUntilSettled scrapes until the numbers of series have not changed for longer than an agent that has started
// must have been up to be asked for its telemetry.
func scrapeUntilSettled(t *testing.T, e *harness.Exporter) (last harness.Samples) {
	t.Helper()
	since := time.Now()
	harness.WaitFor(t, 5*time.Minute, "the numbers of series stay the same", func() string {
		before := countSeries(last)
		last = e.Scrape(t)
		if now := countSeries(last); !maps.Equal(now, before) {
			since = time.Now()
			return cmp.Diff(before, now)
		}
		if time.Since(since) < 75*time.Second {
			return "not long enough"
		}
		return ""
	})
	return last
}

// expectVerified fails unless exactly these ports are up and verified.
func expectVerified(t *testing.T, s harness.Samples, verified map[*consultest.Agent][]harness.PortID) {
	t.Helper()
	want := make(harness.Samples)
	for server, ports := range verified {
		for _, p := range ports {
			want[p.Series("consul_port_up", server)] = 1
			want[p.Series("consul_port_protocol_verified", server)] = 1
		}
	}
	s.Expect(t, want)
	for series, value := range s {
		labels, isUp := strings.CutPrefix(series, "consul_port_up")
		if isUp && value == 1 && want[series] != 1 && s["consul_port_protocol_verified"+labels] == 1 {
			t.Errorf("%s is 1 and verified; want it not to be", series)
		}
	}
}

// readSeriesCounts reads the file: families in lines, configurations in columns.
func readSeriesCounts(t *testing.T) *seriesCounts {
	t.Helper()
	c := &seriesCounts{all: make(map[string]map[string]int)}
	content, err := os.ReadFile(seriesFile)
	if os.IsNotExist(err) && *harness.Update {
		return c
	}
	must.Do(t, err)
	var names []string
	for line := range strings.Lines(string(content)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "|")
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		if names == nil {
			for _, name := range fields[1:] {
				c.all[name] = make(map[string]int)
			}
			names = fields
			continue
		}
		for i, field := range fields[1:] {
			if field == "" {
				continue
			}
			n := must.Get(strconv.Atoi(field))(t)
			c.all[names[i+1]][fields[0]] = n
		}
	}
	return c
}

// write writes the file, with -update.
func (c *seriesCounts) write(t *testing.T) {
	t.Helper()
	if !*harness.Update {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	families := make(map[string]bool)
	for _, counts := range c.all {
		for family := range counts {
			families[family] = true
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-60s", "family")
	for _, row := range quietTable {
		fmt.Fprintf(&b, " | %s", row.name)
	}
	b.WriteString("\n")
	for _, family := range slices.Sorted(maps.Keys(families)) {
		fmt.Fprintf(&b, "%-60s", family)
		for _, row := range quietTable {
			count := ""
			if n, ok := c.all[row.name][family]; ok {
				count = strconv.Itoa(n)
			}
			fmt.Fprintf(&b, " | %*s", len(row.name), count)
		}
		b.WriteString("\n")
	}
	must.Do(t, os.WriteFile(seriesFile, []byte(b.String()), 0o600))
}
