// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// logReader reads the log of an exporter bit by bit.
type logReader struct {
	*testing.T

	e    *harness.Exporter
	read int
}

var (
	logLevel  = regexp.MustCompile(`^level=(\w+) ts=\S+ caller=\S+ msg=`)
	logChange = regexp.MustCompile(` change=(\w+) state=(\w+)(?: server=([\w-]+))?`)
)

// scrape scrapes several times, and returns the new lines of the log as "level change state server", or with what there
// is instead if they are not about the cluster.
func (l *logReader) scrape() (lines []string) {
	l.Helper()
	for range 4 {
		l.e.Scrape(l.T)
	}
	text := l.e.Log.String()
	l.Logf("log:\n%s", text[l.read:])
	for line := range strings.Lines(text[l.read:]) {
		level := logLevel.FindStringSubmatch(line)
		if level == nil {
			l.Fatalf("a line without its keys: %s", line)
		}
		what := strings.TrimSpace(strings.TrimPrefix(line, level[0]))
		if m := logChange.FindStringSubmatch(line); m != nil {
			// The first line of a scrape has the verdict, unless it is the verdict.
			if len(lines) == 0 && m[1] != "start" && !strings.Contains(line, ` verdict="`) {
				l.Errorf("a line without a verdict: %s", line)
			}
			what = strings.TrimSpace(strings.Join(m[1:], " "))
		}
		lines = append(lines, level[1]+" "+what)
	}
	l.read = len(text)
	return lines
}

// expect expects these lines, in any order: two servers break one after the other.
func (l *logReader) expect(what string, want ...string) {
	l.Helper()
	got := l.scrape()
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		l.Errorf("%s: lines of the log (-want +got):\n%s", what, diff)
	}
}

// The log has one line for each change of state, and one for each root cause, however often the exporter is scraped.
func TestLog(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{
		Servers: 3, Clients: 1, Config: withGRPC(nil), Deviations: []consultest.Deviation{
			consultest.KeepDead.Because("the servers that are killed are those that come back"),
		},
	})
	harness.Settle(t, c)
	client, leader := c.Clients[0], harness.LeaderOf(t, c)
	e := harness.StartExporter(t, nil, "--consul.server="+client.URL(), "--probe.timeout=500ms")
	l := &logReader{T: t, e: e, read: len(e.Log.String())}
	e.Await(t, harness.Samples{harness.AnsweringVoters: 3, "consul_cluster_failure_margin": 1})
	if first := l.scrape(); len(first) != 2 || first[0] != "info start healthy" ||
		!strings.HasPrefix(first[1], "info \"this Consul does not have") {
		t.Errorf("the first scrape of a healthy cluster logs %q; want that it is well, and has no license", first)
	}
	l.expect("nothing happens")

	follower := harness.Others(c, leader)[0]
	must.Do(t, c.TransferLeadership(harness.Soon(t), follower))
	l.awaitLeader(c, follower)
	l.expect("another server leads", "info leader elected")

	must.Do(t, client.Kill())
	l.expect("the agent is killed", "warn agent failing")
	must.Do(t, client.Restart(harness.Soon(t)))
	harness.Settle(t, c)
	l.expect("the agent is back", "info agent answering")

	rest := harness.Others(c, leader)
	for _, a := range rest {
		must.Do(t, a.Kill())
	}
	harness.WaitFor(t, time.Minute, "the survivor to notice", func() string {
		named, err := leader.Client().Status().Leader()
		return harness.Unless(err == nil && named == "", "it names %q, %v", named, err)
	})
	l.expect("the quorum is lost", "warn quorum lost", "warn server down "+rest[0].Name, "warn server down "+rest[1].Name)
	for _, a := range rest {
		must.Do(t, a.Restart(harness.Soon(t)))
	}
	harness.Settle(t, c)
	l.expect("the quorum is back", "info quorum held", "info server answering "+rest[0].Name,
		"info server answering "+rest[1].Name)
}

// awaitLeader waits until each server and the client name this leader.
func (l *logReader) awaitLeader(c *consultest.Cluster, leader *consultest.Agent) {
	l.Helper()
	harness.WaitFor(l.T, time.Minute, leader.Name+" to lead", func() string {
		for _, a := range c.Agents() {
			named, err := a.Client().Status().Leader()
			if err != nil || !strings.HasPrefix(named, leader.Addr+":") {
				return fmt.Sprintf("%s names %q, %v", a, named, err)
			}
		}
		return ""
	})
}
