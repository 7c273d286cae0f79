// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	_ "embed"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/terminal"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

//go:embed testdata/check.json
var checkJSON []byte

//go:embed testdata/check.txt
var checkText string

//go:embed testdata/nagios.txt
var nagiosOutput string

// statusOfFile is what a real cluster does not show at once: names of any alphabet and with escape sequences, ports
// that were only connected to or not asked, other numbers on one server, errors that are long, a server that is gone,
// and an agent that is not a server.
func statusOfFile(t *testing.T) *status.View {
	t.Helper()
	var v status.View
	must.Do(t, json.Unmarshal(checkJSON, &v))
	return &v
}

// printed is what a function prints where there is no terminal.
func printed(print func(report)) string {
	var b strings.Builder
	print(report{terminal.NewPrinter(&b, terminal.ColorAuto, terminal.Narrow)})
	return b.String()
}

// The text fits into 60 columns, and explains its marks.
func TestPrintStatus(t *testing.T) {
	t.Parallel()
	got := printed(func(p report) { printStatus(p, statusOfFile(t), false) })
	if diff := cmp.Diff(checkText, got); diff != "" {
		t.Errorf("text differs (-want +got):\n%s", diff)
	}
	for line := range strings.Lines(got) {
		if w := terminal.Width(strings.TrimSpace(line)); w > 60 {
			t.Errorf("%d columns are taken by %q", w, line)
		}
	}
}

// A healthy cluster of three on the default ports needs no explanation, and fits, too.
func TestPrintStatus_Healthy(t *testing.T) {
	t.Parallel()
	v := status.View{Level: status.LevelHealthy, Verdict: "All is well."}
	v.Agent.Address = "http://localhost:8500"
	for _, name := range []string{"consul-server-1", "consul-server-2", "consul-server-3"} {
		s := status.ServerStatus{
			Name: name, Voter: true, RaftState: cluster.RaftFollower, HasLeader: new(true), Leader: "consul-server-1",
			Term: new(uint64(3)), LastLogIndex: new(uint64(123456)), LogLag: new(uint64(0)),
			LastContactSeconds: new(0.063), AutopilotHealthy: new(true),
		}
		for i, p := range cluster.Protocols() {
			s.Ports = append(s.Ports, status.PortStatus{
				Protocol: p, Port: p.DefaultPort(), Transport: cluster.TransportTCP, State: verdict.PortUp, Up: new(true),
				Seconds: 0.001 * float64(i+1),
			})
		}
		v.Servers = append(v.Servers, s)
	}
	const want = `healthy  All is well.

Ports: milliseconds to answer
                   8300  8301  8302  8500
                   rpc   lan   wan   http
  consul-server-1  1.0   2.0   3.0   4.0
  consul-server-2  1.0   2.0   3.0   4.0
  consul-server-3  1.0   2.0   3.0   4.0

                   8501   8502  8503  8600
                   https  grpc  grpc  dns
                                tls
  consul-server-1  5.0    6.0   7.0   8.0
  consul-server-2  5.0    6.0   7.0   8.0
  consul-server-3  5.0    6.0   7.0   8.0

Raft
                   vote  state     calls leader     term
  consul-server-1  yes   follower  consul-server-1  3
  consul-server-2  yes   follower  consul-server-1  3
  consul-server-3  yes   follower  consul-server-1  3

                   index   lag  contact  autopilot
  consul-server-1  123456  0    63 ms    healthy
  consul-server-2  123456  0    63 ms    healthy
  consul-server-3  123456  0    63 ms    healthy

Also
  agent  http://localhost:8500
  asked  at 0001-01-01 00:00:00 UTC, for 0.00 s
`
	got := printed(func(p report) { printStatus(p, &v, false) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("text differs (-want +got):\n%s", diff)
	}
}

// With --quiet there is one line, however long it is.
func TestQuiet(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("It is a long story. ", 9) + "The end."
	v := status.View{
		Level: status.LevelDegraded, Verdict: long,
		Services: &status.ServicesStatus{Level: status.LevelCritical, Verdict: long},
	}
	for _, tc := range []struct {
		name  string
		print func(report)
		want  string
	}{
		{"status", func(p report) { printStatus(p, &v, true) }, "degraded  " + long},
		{"services", func(p report) { printServices(p, &v, true) }, "critical  Services: " + long},
		{"no", func(p report) {
			printAnswer(p, &stopAnswer{Stop: verdict.Stop{
				Server: "a", Answer: verdict.AnswerNo, Reasons: []string{long, "Really."}, Hint: "wait",
			}}, true)
		}, "no  a must not be stopped now. " + long + " Really."},
		{"error", func(p report) {
			printAnswer(p, &stopAnswer{Stop: verdict.Stop{Server: "a", Answer: verdict.AnswerUnknown}, Error: long}, true)
		}, "unknown  Cannot tell: " + long},
		{"release", func(p report) {
			printRelease(p, &releaseAnswer{Server: "a", Answer: verdict.AnswerNo, Reason: long}, true)
		}, "no  a is not back: " + long + "."},
	} {
		if got := printed(tc.print); got != tc.want+"\n" {
			t.Errorf("%s: printed %q; want %q", tc.name, got, tc.want)
		}
	}
}

// Nagios gets one line with figures, and then the problems, and no bar in a name.
func TestNagios(t *testing.T) {
	t.Parallel()
	v := statusOfFile(t)
	v.Quorum = &status.QuorumStatus{Quorum: verdict.Quorum{Voters: 3, Needed: 2, Reachable: 1}, Margin: new(-1)}
	v.ConsistentRead = &status.ConsistentReadStatus{OK: true, Seconds: new(0.00213)}
	v.Services = &status.ServicesStatus{
		Level: status.LevelDegraded, Verdict: "3 instances of 2 services: 1 critical.", Problems: []status.Problem{
			{Severity: status.Warning, Alert: "ConsulServiceDown", Text: "a|b is down."},
		},
	}
	unknown := status.View{Level: status.LevelUnknown, Verdict: "The agent at http://a:8500 does not answer.", Seconds: 2}
	got := nagiosStatus(v) + "\n" + nagiosServices(v) + "\n" + nagiosStatus(&unknown)
	if diff := cmp.Diff(nagiosOutput, got); diff != "" {
		t.Errorf("output differs (-want +got):\n%s", diff)
	}
	for level := range LevelCodes {
		if nagiosStates[level] == "" {
			t.Errorf("level %s has no word for Nagios", level)
		}
	}
}

// With --watch, the last look that was finished decides about the exit code.
func TestWatch(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var b strings.Builder
	looks := 0
	code, err := watch(ctx, terminal.NewPrinter(&b, terminal.ColorAuto, terminal.Narrow), time.Millisecond, func() found {
		if looks++; looks == 3 {
			cancel()
		}
		return found{code: looks, text: func(p report) { p.Line(plain(strconv.Itoa(looks))) }}
	})
	got := regexp.MustCompile(`\d\d:\d\d:\d\d`).ReplaceAllString(b.String(), "TIME")
	const head = "TIME, every 1ms, Ctrl-C to quit\n"
	if want := head + "1\n\n" + head + "2\n"; err != nil || code != 2 || got != want {
		t.Errorf("code %d, error %v, printed %q; want 2 and %q", code, err, got, want)
	}
}

// JSON for a terminal has no character that it would obey, and is the same JSON.
func TestPrintJSON(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	must.Do(t, printJSON(&b, map[string]string{"name": "a\x1b\u009b\u202e\U000e0041<é"}))
	if want := "{\n  \"name\": \"a\\u001b\\u009b\\u202e\\udb40\\udc41\\u003cé\"\n}\n"; b.String() != want {
		t.Errorf("got %q; want %q", b.String(), want)
	}
}
