// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fixture reads a scrape that was taken from a real cluster: three servers and a client, without the families that the demo
// does not read.
func fixture(t *testing.T, name string) metrics {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", name+".prom"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	m, err := parseMetrics(file)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// text reads a scrape from a test.
func text(t *testing.T, exposition string) metrics {
	t.Helper()
	m, err := parseMetrics(strings.NewReader(exposition))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestVerdictOfRealScrapes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, before, scrape string
		want                 string
	}{
		{
			name:   "healthy",
			scrape: "healthy",
			want:   "3 of 3 voters answer, quorum is 2, server-2 leads; one more may fail",
		},
		{
			name:   "the leader hangs",
			before: "healthy",
			scrape: "hung",
			want: "server-2 does not answer on 8300 (timeout); 2 of 3 voters answer, quorum is 2, " +
				"no server leads (server-1 and server-3 still name server-2); no further failure can be afforded",
		},
		{
			name:   "the others have elected another one",
			before: "hung",
			scrape: "elected",
			want: "server-2 does not answer on 8300 (timeout); 2 of 3 voters answer, quorum is 2, " +
				"server-3 leads; no further failure can be afforded",
		},
		{
			name:   "two servers hang and there is no leader",
			before: "elected",
			scrape: "no-leader",
			want: "server-2 and server-3 do not answer on 8300 (timeout); 1 of 3 voters answers, quorum is 2, " +
				"no server leads; the quorum is lost",
		},
		{
			name:   "the agent is dead",
			before: "no-leader",
			scrape: "agent-dead",
			want: "the agent that the exporter asks is down; server-1 does not answer on 8300 (refused); " +
				"2 of 3 voters answer, quorum is 2, server-3 leads; no further failure can be afforded",
		},
		{
			name:   "split brain",
			scrape: "split-brain",
			want: "the servers have 2 different Raft configurations; 1 of 1 voter answers, quorum is 1, " +
				"split brain: server-1 and server-2 call themselves leader; no further failure can be afforded",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var before metrics
			if test.before != "" {
				before = fixture(t, test.before)
			}
			got := newState(fixture(t, test.scrape), before).verdict()
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

// aVerdict is a quorum of five voters, four of which answer.
const aVerdict = `
consul_cluster_voters 5
consul_cluster_quorum 3
consul_cluster_reachable_voters 4
`

func TestVerdictOfOddScrapes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, scrape, want string
	}{
		{
			name:   "empty",
			scrape: "",
			want:   "the exporter could not find out about the quorum",
		},
		{
			name:   "nothing is known but that the agent is down",
			scrape: "consul_up 0\n",
			want:   "the agent that the exporter asks is down; the exporter could not find out about the quorum",
		},
		{
			name:   "no voter",
			scrape: "consul_cluster_voters 0\nconsul_cluster_quorum 1\nconsul_cluster_reachable_voters 0\n",
			want:   "the exporter knows of no voter",
		},
		{
			name:   "no margin",
			scrape: aVerdict,
			want:   "4 of 5 voters answer, quorum is 3, no server leads; how many more may fail is unknown",
		},
		{
			name: "opinions differ",
			scrape: aVerdict + `consul_cluster_failure_margin 2
consul_server_info{server="a",address="10.0.0.1:8300"} 1
consul_server_info{server="b",address="10.0.0.2:8300"} 1
consul_server_info{server="c",address="10.0.0.3:8300"} 1
consul_server_info{server="d",address="10.0.0.4:8300"} 1
consul_server_raft_is_leader{server="a"} 1
consul_server_raft_has_leader{server="a"} 1
consul_server_raft_has_leader{server="b"} 0
consul_server_raft_has_leader{server="c"} 1
consul_server_raft_has_leader{server="d"} 0
consul_server_raft_reported_leader_info{server="a",leader="10.0.0.1:8300"} 1
consul_server_raft_reported_leader_info{server="c",leader="10.0.0.9:8300"} 1
`,
			want: "4 of 5 voters answer, quorum is 3, a leads, but b and d know of none, c still names 10.0.0.9:8300; " +
				"2 more may fail",
		},
		{
			name: "left-overs",
			scrape: aVerdict + "consul_cluster_failure_margin 1\n" +
				"consul_cluster_unknown_raft_peers 1\n",
			want: "1 Raft peer is of no known member; 4 of 5 voters answer, quorum is 3, no server leads; one more may fail",
		},
		{
			name: "some ports are down for different reasons",
			scrape: aVerdict + `consul_cluster_failure_margin 1
consul_port_up{server="a",port="8300",protocol="rpc",transport="tcp"} 0
consul_port_up{server="a",port="8301",protocol="serf_lan",transport="tcp"} 0
consul_port_up{server="a",port="8301",protocol="serf_lan",transport="udp"} 0
consul_port_up{server="a",port="8500",protocol="http",transport="tcp"} 0
consul_port_up{server="a",port="8600",protocol="dns",transport="udp"} 1
consul_port_probe_failures_total{server="a",port="8300",protocol="rpc",transport="tcp",reason="timeout"} 3
consul_port_probe_failures_total{server="a",port="8301",protocol="serf_lan",transport="tcp",reason="timeout"} 3
consul_port_probe_failures_total{server="a",port="8301",protocol="serf_lan",transport="udp",reason="timeout"} 3
consul_port_probe_failures_total{server="a",port="8500",protocol="http",transport="tcp",reason="refused"} 2
consul_port_probe_failures_total{server="a",port="8500",protocol="http",transport="tcp",reason="timeout"} 1
`,
			want: "a does not answer on 8300, 8301 and 8301/udp (timeout) and on 8500 (refused); " +
				"4 of 5 voters answer, quorum is 3, no server leads; one more may fail",
		},
		{
			name: "all ports are down and nothing says why",
			scrape: aVerdict + `consul_cluster_failure_margin 1
consul_port_up{server="a",port="8300",protocol="rpc",transport="tcp"} 0
consul_port_up{server="a",port="8600",protocol="dns",transport="udp"} 0
consul_port_up{server="b",port="8300",protocol="rpc",transport="tcp"} 0
consul_port_up{server="b",port="8600",protocol="dns",transport="udp"} 0
`,
			want: "a and b answer on none of their 2 ports; " +
				"4 of 5 voters answer, quorum is 3, no server leads; one more may fail",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := newState(text(t, test.scrape), nil).verdict()
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

// A port's reason is the one that grew since the scrape before, whatever was the reason for older failures.
func TestReasonIsTheLatest(t *testing.T) {
	t.Parallel()
	const (
		port     = `{server="a",port="8300",protocol="rpc",transport="tcp"`
		down     = "consul_port_up" + port + "} 0\n"
		failures = "consul_port_probe_failures_total" + port
	)
	before := text(t, down+failures+`,reason="timeout"} 90`+"\n"+failures+`,reason="refused"} 1`+"\n")
	now := text(t, down+failures+`,reason="timeout"} 90`+"\n"+failures+`,reason="refused"} 2`+"\n")
	if got, want := newState(now, before).verdict(), "a does not answer on 8300 (refused); the exporter could not find out about the quorum"; got != want {
		t.Errorf("verdict is %q, want %q", got, want)
	}
}

func TestWatcherTellsChanges(t *testing.T) {
	t.Parallel()
	first := fixture(t, "healthy")
	var w watcher

	healthy := "3 of 3 voters answer, quorum is 2, server-2 leads; one more may fail"
	steps := []struct {
		name    string
		metrics metrics
		err     error
		want    string
	}{
		{"the first scrape", first, nil, healthy},
		{"the same again", first, nil, ""},
		{"the exporter fails", nil, errors.New("it is gone"), "the exporter cannot be read: it is gone"},
		{"it still fails", nil, errors.New("it is gone"), ""},
		{"it is back", first, nil, healthy},
		{"a server hangs", fixture(t, "hung"), nil, newState(fixture(t, "hung"), first).verdict()},
		{
			"other servers", fixture(t, "split-brain"), nil,
			"server-3 is no longer in the cluster; " + newState(fixture(t, "split-brain"), nil).verdict(),
		},
		{"the servers are back", first, nil, "server-3 is new in the cluster; " + healthy},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, w.note(step.metrics, step.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}
