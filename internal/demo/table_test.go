// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestDescribeRealScrapes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		scrape, before, want string
	}{
		{scrape: "healthy", want: `
  PORT      rpc
            8300
  server-1  up 2.9 ms
  server-2  up 3.7 ms
  server-3  up 1.9 ms

  RAFT      role      calls leader  term  last log index  lag
  server-1  follower  server-2      2     18              0
  server-2  leader    server-2      2     18              0
  server-3  follower  server-2      2     18              0

  Members  4 alive, 0 leaving, 0 left, 0 failed
  Verdict  3 of 3 voters answer, quorum is 2, server-2 leads; one more may fail
`},
		{scrape: "hung", before: "healthy", want: `
  PORT      rpc
            8300
  server-1  up 4.8 ms
  server-2  DOWN timeout
  server-3  up 5.8 ms

  RAFT      role      calls leader  term  last log index  lag
  server-1  follower  server-2      2     18              0
  server-2  -         -             -     -               -
  server-3  follower  server-2      2     18              0

  Members  4 alive, 0 leaving, 0 left, 0 failed
  Verdict  server-2 does not answer on 8300 (timeout); 2 of 3 voters answer, quorum is 2, no server
           leads (server-1 and server-3 still name server-2); no further failure can be afforded
`},
		{scrape: "no-leader", before: "elected", want: `
  PORT      rpc
            8300
  server-1  up 0.4 ms
  server-2  DOWN timeout
  server-3  DOWN timeout

  RAFT      role       calls leader  term  last log index  lag
  server-1  candidate  nobody        3     20              0
  server-2  -          -             -     -               -
  server-3  -          -             -     -               -

  Members  3 alive, 0 leaving, 0 left, 1 failed
  Verdict  server-2 and server-3 do not answer on 8300 (timeout); 1 of 3 voters answers, quorum is
           2, no server leads; the quorum is lost
`},
		{scrape: "split-brain", want: `
  PORT      rpc
            8300
  server-1  up 2.4 ms
  server-2  up 2.4 ms

  RAFT      role    calls leader  term  last log index  lag
  server-1  leader  server-1      2     14              0
  server-2  leader  server-2      2     14              0

  Members  2 alive, 0 leaving, 0 left, 0 failed
  Verdict  the servers have 2 different Raft configurations; 1 of 1 voter answers, quorum is 1,
           split brain: server-1 and server-2 call themselves leader; no further failure can be
           afforded
`},
		{scrape: "agent-dead", want: `
  PORT      rpc
            8300
  server-1  DOWN refused
  server-2  up 1.1 ms
  server-3  up 1.7 ms

  RAFT      role      calls leader  term  last log index  lag
  server-1  -         -             -     -               -
  server-2  follower  server-3      3     28              0
  server-3  leader    server-3      3     28              0

  Members  unknown
  Verdict  the agent that the exporter asks is down; server-1 does not answer on 8300 (refused); 2
           of 3 voters answer, quorum is 2, server-3 leads; no further failure can be afforded
`},
	}
	for _, test := range tests {
		t.Run(test.scrape, func(t *testing.T) {
			t.Parallel()
			var before metrics
			if test.before != "" {
				before = fixture(t, test.before)
			}
			got := newState(fixture(t, test.scrape), before).describe()
			if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), got); diff != "" {
				t.Errorf("description (-want +got):\n%s", diff)
			}
		})
	}
}

// manyPorts is a server with all the ports that Consul has, one of them down and one unverified, and a server with one.
func manyPorts() string {
	var b strings.Builder
	for _, port := range []string{
		"8300 rpc tcp", "8301 serf_lan tcp", "8301 serf_lan udp", "8302 serf_wan tcp", "8302 serf_wan udp", "8500 http tcp",
		"8502 grpc tcp", "8503 grpc_tls tcp", "8600 dns tcp", "8600 dns udp",
	} {
		fields := strings.Fields(port)
		labels := fmt.Sprintf(`{server="server-1",port=%q,protocol=%q,transport=%q`, fields[0], fields[1], fields[2])
		up := 1
		if fields[0] == "8500" {
			up = 0
			fmt.Fprintf(&b, "consul_port_probe_failures_total%s,reason=%q} 7\n", labels, "unreachable")
		}
		verified := 1
		if fields[1] == "serf_wan" {
			verified = 0
		}
		fmt.Fprintf(&b, "consul_port_up%s} %d\n", labels, up)
		fmt.Fprintf(&b, "consul_port_protocol_verified%s} %d\n", labels, verified)
		fmt.Fprintf(&b, "consul_port_probe_duration_seconds%s} 0.0123\n", labels)
	}
	b.WriteString(`consul_port_up{server="server-2",port="8300",protocol="rpc",transport="tcp"} 1` + "\n")
	return b.String()
}

func TestPortTableContinuesBelow(t *testing.T) {
	t.Parallel()
	const want = `
  PORT      rpc       serf_lan  serf_lan  serf_wan    serf_wan    http              grpc
            8300      8301      8301/udp  8302        8302/udp    8500              8502
  server-1  up 12 ms  up 12 ms  up 12 ms  open 12 ms  open 12 ms  DOWN unreachable  up 12 ms
  server-2  up        -         -         -           -           -                 -

  PORT      grpc_tls  dns       dns
            8503      8600      8600/udp
  server-1  up 12 ms  up 12 ms  up 12 ms
  server-2  -         -         -
`
	got := newState(text(t, manyPorts()), nil).portTable()
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	for line := range strings.Lines(got) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
			t.Errorf("%d columns, want %d at most: %s", n, width, line)
		}
	}
}

func TestTableShowsAColumnThatIsTooWide(t *testing.T) {
	t.Parallel()
	wide := strings.Repeat("ü", 2*width)
	got := table([][]string{{"a", wide, "b"}, {"long title", "x", "y"}})
	want := "  a           " + wide + "\n  long title  x\n\n  a           b\n  long title  y\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
