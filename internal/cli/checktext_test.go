// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// What a real cluster does not show at once: names of any alphabet and with escape sequences, ports that were only
// connected to or not asked, other numbers on one server, errors that are long, and an agent besides the servers.
func TestPrintStatus(t *testing.T) {
	t.Parallel()
	const odd = "服务器-2\x1b[2J"
	up := func(port int, protocol cluster.Protocol, seconds float64) status.PortStatus {
		return status.PortStatus{
			Port: port, Protocol: protocol, Transport: "tcp", State: verdict.PortUp, Up: new(true), Verified: true,
			Seconds: seconds,
		}
	}
	down := func(port int, protocol cluster.Protocol, reason, err string) status.PortStatus {
		return status.PortStatus{
			Port: port, Protocol: protocol, Transport: "tcp", State: verdict.PortDown, Up: new(false), Verified: true,
			Reason: reason, Error: err,
		}
	}
	gossip := up(8301, cluster.ProtocolSerfLAN, 0.0004)
	gossip.State = verdict.PortAccepts
	silent := status.PortStatus{
		Port: 8301, Protocol: cluster.ProtocolSerfLAN, Transport: "udp", State: verdict.PortUnknown,
	}
	hung := down(8310, cluster.ProtocolRPC, "timeout", "no answer to a request on the open connection: read answer: "+
		"read tcp 127.0.0.1:5->10.0.0.2:8310: i/o timeout")
	hung.State = verdict.PortHangs
	v := &status.View{
		Time: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), Seconds: 3.014,
		Level: status.LevelCritical, Verdict: "The quorum is lost; " + odd + " hangs.",
		Problems: []status.Problem{
			{
				Severity: status.Critical, Alert: "ConsulServerHung", Server: odd,
				Text: odd + " accepts connections and answers none: the process is stopped, deadlocked, or waits for its disk.",
			},
			{Severity: status.Info, Alert: "ConsulEvenVoters", Text: "The number of voters is even, 2."},
		},
		Agent: status.AgentStatus{
			Address: "unix:///run/consul.sock", Up: new(true), Name: "клиент",
			Ports: []status.PortStatus{up(8500, cluster.ProtocolHTTP, 0.012)},
		},
		Servers: []status.ServerStatus{
			{
				Name: "server-1", Voter: true, RaftState: cluster.RaftCandidate, HasLeader: new(false),
				Term: new(uint64(12)), LastLogIndex: new(uint64(123456)), LogLag: new(uint64(0)),
				LastContactSeconds: new(12.3456), AutopilotHealthy: new(false),
				Ports: []status.PortStatus{
					up(8300, cluster.ProtocolRPC, 1.25), gossip, silent,
					down(8503, cluster.ProtocolGRPCTLS, "tls", "TLS handshake: x509: certificate signed by unknown authority"),
					down(8600, cluster.ProtocolDNS, "tls", "other"),
				},
			},
			{Name: odd, Ports: []status.PortStatus{hung}},
		},
		Members: []verdict.Pool{{
			Pool: "lan", Count: 3, ByStatus: map[string]int{"alive": 1, "failed": 1, "left": 1},
			NotAlive: []verdict.PoolMember{{Name: odd, Status: "failed"}, {Name: "gone", Status: "left"}},
		}},
		Catalog: &verdict.Catalog{
			Nodes: 1, Services: 2, Instances: map[string]int{"passing": 2, "critical": 1, "maintenance": 0},
		},
		Missing: []status.Missing{{What: "autopilot", Reason: "context deadline exceeded"}},
	}
	const want = `critical  The quorum is lost; 服务器-2\x1b[2J hangs.

Problems
  critical  ConsulServerHung  服务器-2\x1b[2J accepts connections and answers none: the process is
                              stopped, deadlocked, or waits for its disk.
  info      ConsulEvenVoters  The number of voters is even, 2.

Ports: milliseconds to answer
                   *      8301     8301     8500  8503  8600
                   rpc    lan      lan      http  grpc  dns
                                   udp            tls
  server-1         1250   accepts  unknown  -     down  down
  服务器-2\x1b[2J  hangs  -        -        -     -     -
  клиент           -      -        -        12    -     -

Why ports do not answer, or are not asked
  server-1         tls      8503, 8600: TLS handshake: x509: certificate signed by unknown authority
  服务器-2\x1b[2J  timeout  8310: no answer to a request on the open connection: read answer: i/o
                            timeout

Raft
                   vote  state      calls leader  term  index   lag  contact   autopilot
  server-1         yes   candidate  nobody        12    123456  0    12346 ms  unhealthy
  服务器-2\x1b[2J  no    -          -             -     -       -    -         -

Besides
  members, lan  1 alive, 1 failed, 1 left (failed: 服务器-2\x1b[2J)
  catalog       1 node, 2 services, 3 instances: 2 passing, 1 critical
  not known     autopilot: context deadline exceeded
  agent         unix:///run/consul.sock, клиент
  asked         at 2026-03-04 12:00:00 UTC, for 3.01 s
`
	var b strings.Builder
	if err := printStatus(&b, v); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("text differs (-want +got):\n%s", diff)
	}
}

// JSON for a terminal has no character that it would obey, and is the same JSON.
func TestPrintJSON(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := printJSON(&b, map[string]string{"name": "a\x1b\u009b\u202e\U000e0041<é"}); err != nil {
		t.Fatal(err)
	}
	if want := "{\n  \"name\": \"a\\u001b\\u009b\\u202e\\udb40\\udc41\\u003cé\"\n}\n"; b.String() != want {
		t.Errorf("got %q; want %q", b.String(), want)
	}
}
