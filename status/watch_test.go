// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
	"github.com/zervigo/consul_cluster_exporter/probe"
	"github.com/zervigo/consul_cluster_exporter/status"
)

// line is a change as the log has it, without the verdict.
func line(c status.Change) string {
	level := "info"
	if c.Bad {
		level = "warn"
	}
	text := fmt.Sprintf("%s %s=%s", level, c.What, c.State)
	for i := 0; i < len(c.Details); i += 2 {
		text += fmt.Sprintf(" %s=%v", c.Details[i], c.Details[i+1])
	}
	return text + ": " + c.Text
}

// scrapes are the lines of each of several scrapes, a minute apart.
func scrapes(w *status.Watch, all ...*status.Facts) (lines [][]string) {
	for i, f := range all {
		f.Start = noon.Add(time.Duration(i) * time.Minute)
		changes, _ := w.See(f)
		var of []string
		for _, c := range changes {
			of = append(of, line(c))
		}
		lines = append(lines, of)
	}
	return lines
}

// with changes facts.
func with(f *status.Facts, change func(f *status.Facts)) *status.Facts {
	change(f)
	return f
}

// agentDown is an agent that does not answer.
func agentDown(f *status.Facts) {
	f.Up, f.LAN, f.AgentErr = new(false), nil, errors.New("connection refused")
}

// Each change of state is one line, and so is its end, however many scrapes there are in between. What follows from
// another problem is no line.
func TestWatch(t *testing.T) {
	t.Parallel()
	turnedAway := healthy()
	for _, protocol := range []cluster.Protocol{cluster.ProtocolRPC, cluster.ProtocolSerfLAN, cluster.ProtocolDNS} {
		port(turnedAway, "server-3", protocol).Result = probe.Result{Reason: probe.ReasonTLS, Err: errors.New("no TLS")}
	}
	portsDown := func(protocols ...cluster.Protocol) *status.Facts {
		f := healthy()
		for _, p := range protocols {
			port(f, "server-3", p).Result = refused
		}
		return f
	}
	portUnknown := healthy()
	port(portUnknown, "server-3", cluster.ProtocolSerfLAN).Result = probe.NotMade(probe.ErrNoTurn)
	udpDown := healthy()
	udp := *port(udpDown, "server-2", cluster.ProtocolSerfLAN)
	udp.Transport, udp.Result = cluster.TransportUDP, probe.Result{Reason: probe.ReasonTimeout}
	udpDown.Ports = append(udpDown.Ports, udp)
	lost := func() *status.Facts { return healthy(says(one, 0), dead(two), hung(three)) }
	ledBy := func(leader int) *status.Facts {
		return factsOf(says(one, leader), says(two, leader), says(three, leader))
	}
	noRead := func(f *status.Facts) { f.Consistent = &cluster.ConsistentRead{} }
	read := func(f *status.Facts) { f.Consistent = &cluster.ConsistentRead{OK: true} }
	noDNS := func(f *status.Facts) *status.Facts {
		port(f, "server-1", cluster.ProtocolDNS).Result = refused
		return f
	}
	writes := func(scrapes int) *status.Facts {
		f := ledBy(1)
		f.ServerAgents = map[string]cluster.Agent{"id-1": {Raft: &cluster.RaftStats{CommitIndex: 900}}}
		f.Standing = inputs.Standing{Since: noon, Scrapes: scrapes}
		return f
	}
	ownFile := func() *status.Facts {
		return with(healthy(), func(f *status.Facts) { f.FailingFiles = []string{"ca.pem: no such file"} })
	}
	darkness := func() *status.Facts { return with(healthy(dead(one), dead(two), dead(three)), agentDown) }
	const gossip, rpc = cluster.ProtocolSerfLAN, cluster.ProtocolRPC
	var got strings.Builder
	for _, scene := range []struct {
		name  string
		facts []*status.Facts
	}{
		{"healthy", []*status.Facts{healthy(), healthy(), healthy()}},
		{"something small is wrong from the start", []*status.Facts{
			with(healthy(), func(f *status.Facts) { f.Filtered = []string{"/v1/agent/members"} }), healthy(),
		}},
		{"there is no leader from the start", []*status.Facts{ledBy(0), ledBy(0), healthy()}},
		{"a server hangs, and then its process is gone", []*status.Facts{
			healthy(), healthy(hung(three)), healthy(hung(three)), healthy(dead(three)), healthy(dead(three)), healthy(),
		}},
		{"a server is down from the start", []*status.Facts{healthy(dead(three)), healthy(dead(three)), healthy()}},
		{"nothing is known of a server that was down", []*status.Facts{
			healthy(), healthy(dead(three)), healthy(reporttest.NotAsked(three)), healthy(dead(three)), healthy(),
		}},
		{"a server is gone for good", []*status.Facts{
			healthy(), healthy(dead(three)), factsOf(reporttest.Says(one, 1, 2, 9), reporttest.Says(two, 1, 2, 9)), healthy(),
		}},
		{"the quorum is lost", []*status.Facts{healthy(), lost(), lost(), healthy(), healthy()}},
		{"the quorum is lost, and another server leads after that", []*status.Facts{healthy(), lost(), ledBy(2), ledBy(2)}},
		{"the quorum is lost, but the leader has not noticed at first", []*status.Facts{
			healthy(), healthy(hung(two), hung(three)), healthy(hung(two), hung(three)), lost(), healthy(),
		}},
		{"another server leads", []*status.Facts{ledBy(1), ledBy(2), ledBy(2), ledBy(3)}},
		{"a scrape in an election", []*status.Facts{ledBy(1), with(ledBy(0), noRead), with(ledBy(3), read), ledBy(3)}},
		{"an election that takes long", []*status.Facts{ledBy(1), ledBy(0), ledBy(0), ledBy(0), ledBy(3)}},
		{"split brain", []*status.Facts{healthy(), healthy(says(two, 2)), healthy(says(two, 2)), healthy()}},
		{"consistent reads fail", []*status.Facts{
			with(healthy(), read), with(healthy(), noRead), healthy(), with(healthy(), noRead), with(healthy(), read),
			with(healthy(), noRead), with(healthy(), read),
		}},
		{"writes stall", []*status.Facts{writes(0), writes(1), writes(2), writes(3), healthy(), ledBy(1)}},
		{"ports", []*status.Facts{
			healthy(), portsDown(gossip), portsDown(gossip), portsDown(gossip, rpc), portsDown(gossip, rpc),
			portsDown(gossip), portUnknown, healthy(),
		}},
		{"a port that one probe misses", []*status.Facts{healthy(), portsDown(gossip), healthy(), portsDown(gossip)}},
		{"a port that is down, beside one that comes and goes", []*status.Facts{
			healthy(), portsDown(gossip), portsDown(gossip, rpc), portsDown(gossip), portsDown(gossip, rpc), healthy(),
		}},
		{"two ports, and back", []*status.Facts{
			healthy(), portsDown(gossip, rpc), portsDown(gossip, rpc), healthy(),
		}},
		{"ports of a server that is then down", []*status.Facts{
			healthy(), portsDown(gossip), portsDown(gossip), healthy(dead(three)), healthy(),
		}},
		{"a server that is back, and not with all ports", []*status.Facts{
			healthy(), healthy(dead(three)), portsDown(gossip), portsDown(gossip), healthy(),
		}},
		{"ports for clients without a quorum", []*status.Facts{
			healthy(), noDNS(lost()), noDNS(lost()), noDNS(healthy()), noDNS(healthy()), noDNS(lost()), lost(), healthy(),
		}},
		{"gossip over UDP", []*status.Facts{healthy(), udpDown, udpDown, healthy()}},
		{"ports are not known for a scrape", []*status.Facts{
			healthy(), portsDown(gossip), portsDown(gossip), with(healthy(), func(f *status.Facts) { f.Ports = nil }),
			portsDown(gossip), healthy(),
		}},
		{"the agent is dead", []*status.Facts{
			healthy(), with(ledBy(1), agentDown), with(ledBy(1), agentDown), healthy(),
		}},
		{"the agent is dead from the start", []*status.Facts{
			with(factsOf(), func(f *status.Facts) { agentDown(f); f.Agent = nil }), healthy(),
		}},
		{"the agent is dead with the server that it is on", []*status.Facts{
			healthy(), with(healthy(dead(one), says(two, 2), says(three, 2)), agentDown), ledBy(2),
		}},
		{"one of two agents does not answer", []*status.Facts{
			with(healthy(), func(f *status.Facts) { f.Agents = agents(nil, nil) }),
			with(healthy(), func(f *status.Facts) { f.Agents = agents(errors.New("status 429"), nil) }),
			with(healthy(), func(f *status.Facts) { f.Agents = agents(nil, nil) }),
		}},
		{"the exporter is turned away", []*status.Facts{healthy(), turnedAway, turnedAway, turnedAway, healthy()}},
		{"the exporter has a problem of its own", []*status.Facts{healthy(), ownFile(), ownFile(), ownFile(), healthy()}},
		{"nothing answers any more", []*status.Facts{healthy(), darkness(), darkness(), darkness(), healthy()}},
		{"a peer that is left over", []*status.Facts{healthy(), healthy(dead(reporttest.Strange(three))), healthy()}},
	} {
		fmt.Fprintf(&got, "# %s\n", scene.name)
		for i, lines := range scrapes(new(status.Watch), scene.facts...) {
			fmt.Fprintf(&got, "%d. %s\n", i+1, strings.Join(append(lines, ""), "\n   "))
		}
		got.WriteString("\n")
	}
	golden(t, "watch.txt", strings.ReplaceAll(got.String(), "   \n", ""))
}

// The lines about something that comes and goes are bounded. What it is in the end is logged.
func TestWatch_Bounded(t *testing.T) {
	t.Parallel()
	var w status.Watch
	var lines []string
	at := func(f *status.Facts, second int) {
		f.Start = noon.Add(time.Duration(second) * time.Second)
		changes, _ := w.See(f)
		for _, c := range changes {
			lines = append(lines, fmt.Sprintf("%d %s %s", second, c.What, c.State))
		}
	}
	at(healthy(), 0)
	for second := 10; second < 600; second += 20 {
		at(healthy(hung(three)), second)
		at(healthy(), second+10)
	}
	at(healthy(hung(three)), 600)
	at(healthy(hung(three)), 660)
	want := []string{
		"0 start healthy", "10 server hung", "20 server answering", "30 server hung", "40 server answering",
		"50 server hung", "60 server answering", "70 server hung", "80 server answering", "90 server hung",
		"100 server answering", "660 server hung",
	}
	if diff := gocmp.Diff(want, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// A scrape that began before the latest one and ends after it says nothing, nor does one that ran out of time.
func TestWatch_Overlap(t *testing.T) {
	t.Parallel()
	var w status.Watch
	scrapes(&w, healthy(), healthy())
	if changes, verdict := w.See(healthy(hung(three))); len(changes) > 0 || verdict != "" {
		t.Errorf("a scrape from before: %+v, %q; want nothing", changes, verdict)
	}
	late := with(healthy(), func(f *status.Facts) { f.Start, f.Reports, f.Ports = noon.Add(time.Hour), nil, nil })
	if changes, verdict := w.See(late); len(changes) > 0 || verdict != "" {
		t.Errorf("a scrape without time for the servers: %+v, %q; want nothing", changes, verdict)
	}
}

// What is the same for many servers is one line.
func TestWatch_Many(t *testing.T) {
	t.Parallel()
	const servers = 12
	reports := make([]cluster.Report, servers)
	for i := range reports {
		reports[i] = reporttest.Says(reporttest.Server(i+1), 1, servers, 1000)
	}
	whole := factsOf(reports...)
	broken := slices.Clone(reports)
	for i := range 6 {
		broken[servers-1-i] = dead(reporttest.Server(servers - i))
	}
	got := scrapes(new(status.Watch), whole, factsOf(broken...), whole)
	const down = "warn server=down server=server-7 alert=ConsulServerDown: server-7 answers on none of its ports " +
		"(refused): the process or its host is gone, or the network is broken. The same is true of "
	const back = "info server=answering server=server-7: server-7 answers again. The same is true of "
	for i, want := range []string{down, back} {
		lines := slices.DeleteFunc(got[i+1], func(line string) bool { return !strings.Contains(line, " server=") })
		if want += "server-8, server-9, server-10, server-11 and server-12."; !slices.Equal(lines, []string{want}) {
			t.Errorf("scrape %d logs %q; want %q", i+1, lines, want)
		}
	}
}

// What collectors could not read follows from the agent, from the lack of a leader, or from this program.
func TestWatch_Cause(t *testing.T) {
	t.Parallel()
	theirs, ours, wrong := context.DeadlineExceeded, probe.ErrNoTurn, errors.New("decode the answer: no JSON")
	for _, tc := range []struct {
		name         string
		facts        *status.Facts
		theirs, ours string
	}{
		{"healthy", healthy(), "", ""},
		{"a hung server", healthy(hung(three)), "", ""},
		{"the agent is dead", with(healthy(), agentDown), "ConsulAgentUnreachable", ""},
		{"the quorum is lost", healthy(says(one, 0), dead(two), dead(three)), "ConsulQuorumLost", ""},
		{"no leader", healthy(says(one, 0), says(two, 0), says(three, 0)), "ConsulNoLeader", ""},
		{"the quorum is unknown", healthy(hung(two), hung(three)), "ConsulQuorumUnknown", ""},
		{
			"own files", with(healthy(), func(f *status.Facts) { f.FailingFiles = []string{"a: gone"} }), "",
			"ConsulExporterImpaired",
		},
	} {
		var w status.Watch
		w.See(tc.facts)
		if theirs, ours := w.Cause(theirs), w.Cause(ours); theirs != tc.theirs || ours != tc.ours {
			t.Errorf("%s: %q and %q; want %q and %q", tc.name, theirs, ours, tc.theirs, tc.ours)
		}
		// Only an agent that is of no use explains a wrong answer.
		if cause := w.Cause(wrong); cause != "" && cause != "ConsulAgentUnreachable" {
			t.Errorf("%s: %s is to blame for a wrong answer", tc.name, cause)
		}
	}
	var w status.Watch
	scrapes(&w, with(healthy(), agentDown), healthy())
	first := w.Cause(theirs)
	if w.See(with(healthy(),
		func(f *status.Facts) { f.Start = noon.Add(time.Hour) })); first != "ConsulAgentUnreachable" ||
		w.Cause(theirs) != "" {
		t.Errorf("when the agent is back: %q, and then %q; want that it was to blame, and then nothing", first,
			w.Cause(theirs))
	}
	if cause := new(status.Watch).Cause(context.DeadlineExceeded); cause != "" {
		t.Errorf("before the first scrape: %q; want none", cause)
	}
}
