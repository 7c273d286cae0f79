// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// Consul notices none of the exporter's scrapes and none of its checks, however it is configured and whatever has
// happened to it: here in a sample of what TestProveLeavesNoTrace plays.
func TestLeavesNoTrace(t *testing.T) {
	t.Parallel()
	leaveNoTrace(t, burden{scrapes: 15, checks: 2}, 5)
}

// A burden is what Consul has to bear in each configuration.
type burden struct{ scrapes, checks int }

// consulsLastWord is how long Consul may take to log that a request failed, also when nobody waits for it anymore:
// some 11 s when there is no leader, and 14 s for the peerings.
const consulsLastWord = 15 * time.Second

// leaveNoTrace plays the table, several configurations at one time: they mostly wait.
func leaveNoTrace(t *testing.T, b burden, atOnce int) {
	t.Helper()
	counts := readSeriesCounts(t)
	rows := make(chan quietRow)
	var players sync.WaitGroup
	for range atOnce {
		players.Go(func() {
			for row := range rows {
				t.Run(row.name, func(t *testing.T) { row.play(t, b, counts) })
			}
		})
	}
	for _, row := range quietTable {
		rows <- row
	}
	close(rows)
	players.Wait()
	counts.write(t)
}

// A quietRow is a configuration of Consul, and what the exporter is to see of it without leaving a trace.
type quietRow struct {
	name string
	// start starts the clusters and waits until they are as configured.
	start func(t *testing.T) *quietScene
	// exits are the exit codes of the command check: several where Consul's state goes on changing.
	exits []int
	// unforeseen are the lines at WARN or above, by what their kind contains, that each server may log once for each
	// process of the exporter, with the reason why the exporter cannot know beforehand.
	unforeseen map[string]string
}

// A quietScene is a row's clusters while they run.
type quietScene struct {
	// agents are those whose logs, members and connections count: all.
	agents []*consultest.Agent
	// args are the exporter's.
	args []string
	// verified are the ports that answer in their protocol, in the end.
	verified map[*consultest.Agent][]harness.PortID
	// fault breaks the clusters, if that is what the row is about, without asking them anything; heal mends them and
	// waits until they are as before.
	fault, heal func()
}

// play scrapes and checks, and compares what the agents logged meanwhile with what they log as well when nobody asks
// them anything.
func (row quietRow) play(t *testing.T, b burden, counts *seriesCounts) {
	t.Helper()
	s := row.start(t)
	members, connections := s.members(t), s.connections(t)
	start, marks := time.Now(), s.marks()
	e := harness.StartExporter(t, nil, s.args...)
	if s.fault != nil {
		e.Scrape(t)
		s.fault()
	}
	for range b.checks {
		row.check(t, s.args)
	}
	growth := s.scrapeMany(t, e, b.scrapes)
	counts.expect(t, row.name, e, s)
	must.Do(t, e.Stop())
	growth.expect(t, b)
	wait(t, time.Until(start.Add(consulsLastWord)))
	logged := s.logged(marks)
	took := time.Since(start)

	if s.heal != nil {
		s.heal()
	}
	harness.WaitFor(t, time.Minute, "the members are those that there were", func() string {
		return cmp.Diff(members, s.members(t))
	})
	harness.WaitFor(t, 15*time.Second, "the exporter's connections are closed", func() string {
		return cmp.Diff(connections, s.connections(t))
	})
	s.expectQuiet(t, logged, took, 1+b.checks, row.allowed(b))
}

// check runs the command, as a process of its own.
func (row quietRow) check(t *testing.T, args []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], slices.Concat([]string{"check"}, args)...)
	cmd.Env = append(os.Environ(), harness.AsExporter+"=1")
	out, err := cmd.CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatalf("run check: %v", err)
	}
	if code := cmd.ProcessState.ExitCode(); !slices.Contains(row.exits, code) {
		t.Errorf("check: exit code %d; want one of %v; it prints\n%.1000s", code, row.exits, out)
	}
}

// allowed returns how many lines of a kind a server may log because of the exporter: none unless the row names it.
func (row quietRow) allowed(b burden) func(kind string) int {
	return func(kind string) int {
		for part := range row.unforeseen {
			if strings.Contains(kind, part) {
				return 1 + b.checks
			}
		}
		return 0
	}
}

// wait lets the time pass that must pass.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// growth is the least that each of the exporter's gauges was in its first and in its last scrapes: what comes and
// goes does not count.
type growth struct{ first, last harness.Samples }

// growing are the gauges that must not grow, and the slack that each has.
var growing = map[string]float64{
	"go_goroutines": 8, "process_open_fds": 8,
	"go_memstats_heap_inuse_bytes": 8 << 20, "process_resident_memory_bytes": 48 << 20,
}

// scrapeMany scrapes; each scrape says that the agent is up.
func (s *quietScene) scrapeMany(t *testing.T, e *harness.Exporter, scrapes int) growth {
	t.Helper()
	g := growth{make(harness.Samples), make(harness.Samples)}
	window := scrapes / 5
	for i := range scrapes {
		body := e.ScrapeText(t)
		if !strings.Contains(body, "\nconsul_up 1\n") {
			t.Fatalf("a scrape does not say that the agent is up:\n%s", body)
		}
		lowest := g.first
		switch {
		case i >= scrapes-window:
			lowest = g.last
		case i < window, i >= 2*window: // What is kept for later scrapes is there after the first ones.
			continue
		}
		read := harness.ParseSamples(t, body)
		for gauge := range growing {
			least(lowest, gauge, read[gauge])
		}
	}
	return g
}

func (g growth) expect(t *testing.T, b burden) {
	t.Helper()
	if b.scrapes < 100 {
		return // Too few to tell growth from what comes and goes.
	}
	for gauge, slack := range growing {
		if g.last[gauge] > g.first[gauge]+slack {
			t.Errorf("%s grew from %v to %v", gauge, g.first[gauge], g.last[gauge])
		}
	}
}

// least keeps the value if it is less than the one that is there.
func least(s harness.Samples, name string, value float64) {
	if before, ok := s[name]; !ok || value < before {
		s[name] = value
	}
}

// members is who belongs to the pools and to Raft, as each running agent has it.
func (s *quietScene) members(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, a := range s.agents {
		if !a.Running() {
			continue
		}
		for _, wan := range []bool{false, true} {
			members := must.Get(a.Client().Agent().Members(wan))(t)
			slices.SortFunc(members, func(a, b *api.AgentMember) int { return strings.Compare(a.Name, b.Name) })
			for _, m := range members {
				fmt.Fprintf(&b, "%s, wan %v: %s %s:%d %d %v\n", a, wan, m.Name, m.Addr, m.Port, m.Status, m.Tags)
			}
		}
		if a.Server {
			b.WriteString(raftOf(t, a))
		}
	}
	return b.String()
}

// raftOf is the Raft configuration as a server has it, which it tells of itself when it has no leader, too.
func raftOf(t *testing.T, a *consultest.Agent) string {
	t.Helper()
	self := must.Get(a.Client().Agent().Self())(t)
	raft, _ := self["Stats"]["raft"].(map[string]any)
	peers := strings.Split(strings.Trim(fmt.Sprint(raft["latest_configuration"]), "[{}]"), "} {")
	slices.Sort(peers)
	return fmt.Sprintf("%s, raft: %q\n", a, peers)
}

// connections are how many the agents have from the address that the exporter has as well: from it, from this test,
// and from peers.
func (s *quietScene) connections(t *testing.T) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for _, a := range s.agents {
		n := must.Get(a.ConnectionsFrom("127.0.0.1"))(t)
		counts[a.Addr] = n
	}
	return counts
}

// marks are the ends of the agents' logs.
func (s *quietScene) marks() []int {
	var marks []int
	for _, a := range s.agents {
		marks = append(marks, a.LogMark())
	}
	return marks
}

// logLines are how often lines of each kind have been logged.
type logLines map[string]*loggedLines

type loggedLines struct {
	count    int
	byServer map[*consultest.Agent]int
	latest   string
}

// fromHere is in the lines about a request that came from the exporter's address, or from this test's, and in no
// others but those of peers.
const fromHere = "127.0.0.1:"

// logged are the lines at WARN or above since the marks, by kind.
func (s *quietScene) logged(marks []int) logLines {
	all := make(logLines)
	for i, a := range s.agents {
		for _, line := range consultest.AtLeast(a.LogsSince(marks[i]), "WARN") {
			kind := line.Kind()
			if strings.Contains(line.Raw, fromHere) {
				kind += " (" + fromHere + ")"
			}
			if all[kind] == nil {
				all[kind] = &loggedLines{byServer: make(map[*consultest.Agent]int)}
			}
			all[kind].count++
			all[kind].byServer[a]++
			all[kind].latest = a.Name + ": " + line.Raw
		}
	}
	return all
}

// most is how many of the lines the server has that has the most of them.
func (l *loggedLines) most() int { return slices.Max(slices.Collect(maps.Values(l.byServer))) }

// expectQuiet fails for what the agents logged beyond what is allowed, and beyond what they log without an exporter,
// too: they are watched in the same state for as long again, or until all is explained. A kind of lines that Consul
// writes by itself may come twice as often in one period as in another, and twice more. One that does not name the
// exporter's address may also come in one and not at all in the other, most of all where something breaks: if the
// exporter caused it, each of its processes would have caused one at least.
func (s *quietScene) expectQuiet(
	t *testing.T, logged logLines, took time.Duration, processes int, allowed func(kind string) int,
) {
	t.Helper()
	maps.DeleteFunc(logged, func(kind string, l *loggedLines) bool { return l.most() <= allowed(kind) })
	if len(logged) == 0 {
		return
	}
	wait(t, consulsLastWord) // What was asked last may be logged only now.
	for control := 1; ; control++ {
		if s.control(t, logged, took, processes); len(logged) == 0 {
			return
		}
		if s.fault == nil || control == 3 {
			break
		}
		s.heal() // How often Consul logs a fault depends on who is elected when.
	}
	for kind, l := range logged {
		t.Errorf("%d lines because of the exporter: %s; the latest: %s", l.count, kind, l.latest)
	}
}

// control lets as much time pass as the exporter had, with the same fault, and takes out what is logged then, too.
func (s *quietScene) control(t *testing.T, logged logLines, took time.Duration, processes int) {
	t.Helper()
	marks, end := s.marks(), time.Now().Add(took)
	if s.fault != nil {
		s.fault()
	}
	for ; len(logged) > 0 && time.Now().Before(end); wait(t, 100*time.Millisecond) {
		control := s.logged(marks)
		maps.DeleteFunc(logged, func(kind string, l *loggedLines) bool {
			if c := control[kind]; c != nil {
				return l.count <= 2*c.count+2
			}
			return l.count < processes && !strings.Contains(kind, fromHere)
		})
	}
}
