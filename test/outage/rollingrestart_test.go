// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// statusOf runs the command check and returns what it says in JSON.
func statusOf(t *testing.T, a *consultest.Agent, args ...string) (code int, st status.View) {
	t.Helper()
	code, stdout, stderr := harness.CheckOf(t, a, append(args, "--output=json")...)
	if err := json.Unmarshal([]byte(stdout), &st); err != nil || stderr != "" {
		t.Fatalf("check printed %q and %q, which is not JSON: %v", stdout, stderr, err)
	}
	return code, st
}

// statusUntil runs the command check until the exit code and the alerts of its problems are these.
func statusUntil(t *testing.T, within time.Duration, a *consultest.Agent, want int, alerts []string, args ...string) status.View {
	t.Helper()
	var st status.View
	harness.WaitFor(t, within, fmt.Sprintf("exit code %d and the problems %q", want, alerts), func() string {
		var code int
		if code, st = statusOf(t, a, args...); code == want && slices.Equal(harness.AlertsOf(st), alerts) {
			return ""
		}
		return fmt.Sprintf("exit code %d, %s: %s, problems %+v, missing %+v", code, st.Level, st.Verdict, st.Problems, st.Missing)
	})
	return st
}

// stopAnswer is what --safe-to-stop answers in JSON.
type stopAnswer struct {
	verdict.Stop
	Error string `json:"error"`
}

// stopOf asks whether a server can be stopped.
func stopOf(t *testing.T, a *consultest.Agent, server string, args ...string) (code int, answer stopAnswer) {
	t.Helper()
	code, stdout, stderr := harness.CheckOf(t, a, append(args, "--safe-to-stop="+server, "--output=json")...)
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil {
		t.Fatalf("check printed %q and %q, which is not JSON: %v", stdout, stderr, err)
	}
	if answer.Server != server || answer.Safe != (code == cli.ExitSafe) || (answer.Error != "") != (code == cli.ExitUnknown) {
		t.Errorf("exit code %d does not go with %+v", code, answer)
	}
	return code, answer
}

// expectStop asks until the answer is this and has the text among its reasons, its hint or its error.
func expectStop(t *testing.T, a *consultest.Agent, server string, want int, text string, args ...string) stopAnswer {
	t.Helper()
	var answer stopAnswer
	harness.WaitFor(t, 20*time.Second, fmt.Sprintf("safe to stop %s: exit code %d and %q", server, want, text), func() string {
		var code int
		code, answer = stopOf(t, a, server, args...)
		said := strings.Join(answer.Reasons, " ") + " " + answer.Hint + answer.Error
		if code == want && strings.Contains(said, text) {
			return ""
		}
		return fmt.Sprintf("exit code %d, %q", code, said)
	})
	return answer
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const oddClient = "клиент\x1b[31m"
	c := consultest.Start(t, consultest.Options{
		Servers: 3, Clients: 1,
		NodeName: func(role string, i int) string {
			if role == "client" {
				return oddClient
			}
			return fmt.Sprintf("server-%d", i)
		},
		Config: map[string]any{"autopilot": map[string]any{"cleanup_dead_servers": false, "max_trailing_logs": 20}},
	})
	leader := harness.LeaderOf(t, c)
	well, other := harness.Others(c, leader)[0], harness.Others(c, leader)[1]

	t.Run("healthy", func(t *testing.T) {
		st := statusUntil(t, 30*time.Second, well, cli.ExitHealthy, nil)
		want := fmt.Sprintf("3 of 3 voters answer, quorum is 2, %s leads; one more may fail.", leader)
		if st.Level != status.LevelHealthy || st.Verdict != want || len(st.Missing) != 0 {
			t.Errorf("%s: %s, missing %+v; want healthy: %s", st.Level, st.Verdict, st.Missing, want)
		}
		for _, s := range st.Servers {
			if s.Version != consulVersion(t, leader) || !s.Voter || s.Serf != "alive" || s.Leader != leader.Name || *s.LogLag > 20 || !*s.AutopilotHealthy ||
				(s.RaftState == cluster.RaftLeader) != (s.Name == leader.Name) || len(s.Ports) != 10 {
				t.Errorf("server is %+v", s)
			}
			for _, p := range s.Ports {
				if p.Up == nil || !*p.Up || !p.Verified || p.Seconds <= 0 || p.Reason != "" {
					t.Errorf("port of %s is %+v; want it up", s.Name, p)
				}
			}
		}
		if lan := st.Members[0]; lan.Count != 4 || lan.ByStatus["alive"] != 4 || len(lan.NotAlive) != 0 {
			t.Errorf("members are %+v", lan)
		}
		if st.Catalog.Nodes != 4 || st.Catalog.Services != 1 || !st.ConsistentRead.OK || st.Autopilot.FailureTolerance != 1 {
			t.Errorf("catalog %+v, consistent read %+v, autopilot %+v", st.Catalog, st.ConsistentRead, st.Autopilot)
		}
	})
	t.Run("as text", func(t *testing.T) {
		code, stdout, stderr := harness.CheckOf(t, c.Clients[0])
		for _, want := range []string{
			"^healthy  3 of 3 voters answer, quorum is 2, server-[123] leads; one more may fail.\n",
			`\n {18}8300  8301  8301  8302  8302  8500  8502  8600  8600\n {18}rpc   lan   lan   wan   wan   http  grpc  dns   dns\n`,
			`\n  server-1 {8}[0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9.]+ +-     -     -     -\n`,
			`\n  клиент\\x1b\[31m  -     -     -     -     -     [0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9.]+\n`,
			"\n  " + leader.Name + "  yes   leader    " + leader.Name + "      [0-9]+ +[0-9]+ +[0-9]+ +0 ms +healthy\n",
			`\n  members, lan  4 alive\n  catalog       4 nodes, 1 service, 3 instances: 3 passing\n  agent         http://127[0-9.]+:8500, клиент\\x1b\[31m in dc1\n  asked         at 20`,
		} {
			if !regexp.MustCompile(want).MatchString(stdout) {
				t.Errorf("text does not match %q", want)
			}
		}
		if code != cli.ExitHealthy || stderr != "" || strings.Contains(stdout, "\x1b") {
			t.Errorf("exit code %d, stderr %q, printed\n%q", code, stderr, stdout)
		}
		if _, stdout, _ := harness.CheckOf(t, c.Clients[0], "--output=json"); strings.Contains(stdout, "\x1b") {
			t.Error("JSON has an escape character")
		}
		if t.Failed() {
			t.Log(stdout)
		}
	})
	t.Run("safe to stop", func(t *testing.T) {
		expectStop(t, well, other.Name, cli.ExitSafe, "Without "+other.Name+" 2 of 3 voters can be counted on, and the quorum is 2: none more may fail.")
		expectStop(t, well, leader.Name, cli.ExitSafe, "transfer the leadership first")
		expectStop(t, well, "server-9", cli.ExitUnknown, `no such server: "server-9"; the servers are: server-1, server-2, server-3`)
		code, stdout, stderr := harness.CheckOf(t, well, "--safe-to-stop="+other.Name)
		want := fmt.Sprintf("yes  %[1]s can be stopped.\n  Without %[1]s 2 of 3 voters can be counted on, and the quorum is 2: none more may fail.\n", other)
		if code != cli.ExitSafe || stdout != want || stderr != "" {
			t.Errorf("exit code %d, printed %q and %q; want %q", code, stdout, stderr, want)
		}
	})
	t.Run("a follower hangs", func(t *testing.T) {
		harness.Must(t, other.Stop())
		st := statusUntil(t, 20*time.Second, well, cli.ExitDegraded, []string{"ConsulServerHung " + other.Name, "ConsulQuorumAtRisk"})
		want := fmt.Sprintf("2 of 3 voters answer, quorum is 2, %s leads; %s hangs; no more may fail.", leader, other)
		if st.Verdict != want {
			t.Errorf("verdict %q; want %q", st.Verdict, want)
		}
		expectStop(t, well, well.Name, cli.ExitUnsafe, other.Name+" cannot be counted on: port 8300 does not answer (timeout).")
		expectStop(t, well, other.Name, cli.ExitSafe, other.Name+" does not answer, so nothing is lost with it.")
	})
	t.Run("the follower wakes up and lags", func(t *testing.T) { expectLag(t, leader, well, other) })
	t.Run("no leader", func(t *testing.T) {
		gone := harness.LeaderOf(t, c)
		left := harness.Others(c, gone)[0]
		harness.Must(t, gone.Stop())
		st := statusUntil(t, 5*time.Second, left, cli.ExitCritical, []string{"ConsulNoLeader", "ConsulServerHung " + gone.Name, "ConsulQuorumAtRisk"})
		want := fmt.Sprintf("No server leads; 2 of 3 voters answer, quorum is 2; %s hangs; nothing can be written until one is elected.", gone)
		if st.Verdict != want {
			t.Errorf("verdict %q; want %q", st.Verdict, want)
		}
		harness.Must(t, gone.Continue())
		harness.LeaderOf(t, c)
	})
	t.Run("the quorum is lost", func(t *testing.T) {
		survivor := harness.Others(c, harness.LeaderOf(t, c))[0] // The leader would call itself so for a moment yet.
		var hung []string                                        // In the order of their names.
		for _, a := range harness.Others(c, survivor) {
			harness.Must(t, a.Stop())
			hung = append(hung, a.Name)
		}
		problems := []string{"ConsulQuorumLost", "ConsulServerHung " + hung[0], "ConsulServerHung " + hung[1]}
		st := statusUntil(t, 30*time.Second, survivor, cli.ExitCritical, problems)
		want := fmt.Sprintf("The quorum is lost; 1 of 3 voters answers, quorum is 2; %s and %s hang; nothing can be written until 1 more voter answers again.", hung[0], hung[1])
		if st.Level != status.LevelCritical || st.Verdict != want {
			t.Errorf("%s: %s; want critical: %s", st.Level, st.Verdict, want)
		}
		expectStop(t, survivor, survivor.Name, cli.ExitUnsafe, "There is no leader.")
	})
	t.Run("the agent is dead", func(t *testing.T) {
		harness.Must(t, c.Clients[0].Kill())
		code, st := statusOf(t, c.Clients[0])
		want := fmt.Sprintf("The agent at %s does not answer, and no server is known that could be asked instead.", c.Clients[0].URL())
		if code != cli.ExitUnknown || st.Level != status.LevelUnknown || st.Verdict != want || !slices.Equal(harness.AlertsOf(st), []string{"ConsulAgentUnreachable"}) {
			t.Errorf("exit code %d, %s: %s, %q; want %d: %s", code, st.Level, st.Verdict, harness.AlertsOf(st), cli.ExitUnknown, want)
		}
		expectStop(t, c.Clients[0], well.Name, cli.ExitUnknown, "connection refused); without an agent the servers are not known, so name another one with --consul.server")
	})
}

// expectLag wakes up a follower that hangs and has missed so much that it is not counted on until it has caught up.
func expectLag(t *testing.T, leader, well, lagging *consultest.Agent) {
	t.Helper()
	value := bytes.Repeat([]byte("x"), 400<<10) // Consul takes 512 kB at most.
	for i := range 150 {
		_, err := leader.Client().KV().Put(&api.KVPair{Key: fmt.Sprintf("lag/%d", i), Value: value}, nil)
		harness.Must(t, err)
	}
	harness.Must(t, lagging.Continue())
	expectStop(t, well, well.Name, cli.ExitUnsafe, "entries behind, more than 20.")
	code, stdout, stderr := harness.CheckOf(t, well, "--safe-to-stop="+well.Name, "--wait=60s")
	if code != cli.ExitSafe || !strings.HasPrefix(stdout, "yes  "+well.Name+" can be stopped.\n") {
		t.Errorf("exit code %d, printed %q and %q; want yes", code, stdout, stderr)
	}
}

func TestCheck_SplitBrain(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 2, Bootstrap: consultest.BootstrapAlone})
	harness.Must(t, c.Join(t.Context(), c.Servers[0], c.Servers[1]))
	harness.WaitFor(t, 20*time.Second, "a split brain", func() string {
		code, st := statusOf(t, c.Servers[0])
		if code != cli.ExitCritical || len(st.Problems) == 0 || st.Problems[0].Alert != "ConsulSplitBrain" {
			return fmt.Sprintf("exit code %d: %s, %+v", code, st.Verdict, st.Problems)
		}
		if !strings.HasPrefix(st.Verdict, "Split brain: server-1 and server-2 call themselves leader; 1 of 1 voter answers, quorum is 1") {
			t.Errorf("verdict is %q", st.Verdict)
		}
		return ""
	})
	expectStop(t, c.Servers[0], "server-2", cli.ExitUnsafe, "Split brain: server-1, server-2 all call themselves leader.")
}

func TestCheck_ACL(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, ACL: true})
	server := c.Servers[0]
	st := statusUntil(t, 20*time.Second, server, cli.ExitDegraded, []string{"ConsulCollectorRefused"})
	if len(st.Servers) != 3 || *st.Quorum.Margin != 1 ||
		!regexp.MustCompile(`^3 of 3 voters answer, quorum is 2, 127[0-9.]+:8300 leads; Consul refuses to tell a part of it; one more may fail.$`).MatchString(st.Verdict) {
		t.Errorf("verdict is %q, of %d servers", st.Verdict, len(st.Servers))
	}
	expectStop(t, server, server.HostPort(consultest.PortServer), cli.ExitUnknown, "may the token read operator?")

	token, err := c.NewToken(t.Context(), harness.ReadmePolicy(t))
	harness.Must(t, err)
	flag := "--consul.token-file=" + harness.Secret(t, token)
	// Without a token of their own the agents' DNS names no servers, which is no problem.
	statusUntil(t, 30*time.Second, server, cli.ExitHealthy, nil, flag)
	expectStop(t, server, server.Name, cli.ExitSafe, "the quorum is 2", flag)
}

// With five servers one can be dead, the rest are restarted one after the other by the script of docs/check.md, and one that comes back after
// it has left has no vote.
func TestCheck_FiveServers(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 5, Config: map[string]any{
		"autopilot": map[string]any{"cleanup_dead_servers": false, "server_stabilization_time": "1h"},
	}})
	t.Run("one is dead", func(t *testing.T) {
		dead := harness.Others(c, harness.LeaderOf(t, c))[0]
		harness.Must(t, dead.Kill())
		stop := harness.Others(c, dead)[0]
		expectStop(t, harness.Others(c, dead, stop)[0], stop.Name, cli.ExitSafe, "Without "+stop.Name+" 3 of 5 voters can be counted on, and the quorum is 3: none more may fail.")
		harness.Must(t, dead.Restart(t.Context()))
	})
	t.Run("rolling restart", func(t *testing.T) { rollingRestart(t, c) })
	t.Run("no vote", func(t *testing.T) {
		returned := harness.Others(c, harness.LeaderOf(t, c))[0]
		harness.Must(t, returned.Leave(t.Context()))
		harness.Must(t, returned.Restart(t.Context()))
		expectStop(t, harness.Others(c, returned)[0], returned.Name, cli.ExitSafe, returned.Name+" has no vote.")
	})
}

// rollingRestart runs the script of docs/check.md, with hosts that take some seconds for the restart that they have confirmed, and watches
// meanwhile, ten times a second or so, that the quorum is kept.
func rollingRestart(t *testing.T, c *consultest.Cluster) {
	t.Helper()
	dir := t.TempDir()
	restarts := restartOverSSH(t, c, dir)
	script := docsScript(t, "rolling-restart")
	executable(t, filepath.Join(dir, cli.Name), fmt.Sprintf("#!/bin/sh\nexec env %s=1 %q \"$@\"\n", harness.AsExporter, os.Args[0]))

	e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL(), "--probe.timeout=500ms")
	e.ScrapeUntil(t, 30*time.Second, "all five answer", func(s harness.Samples) bool { return s["consul_cluster_failure_margin"] == 2 })
	watched, stopWatch := context.WithCancel(t.Context())
	margins := watchMargin(watched, t, e)

	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-s", "server-1", "server-2", "server-3", "server-4", "server-5")
	cmd.Stdin = strings.NewReader(script)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "CONSUL_HTTP_ADDR="+c.Servers[1].URL(), "CONSUL_CLUSTER_EXPORTER_PROBE_TIMEOUT=500ms")
	out, err := cmd.CombinedOutput()
	stopWatch()
	seen := <-margins
	t.Logf("the script printed\n%s\nmargins and how often they were seen: %v", out, seen)
	if err != nil {
		t.Fatalf("the script ended with %v", err)
	}
	if got := slices.Sorted(maps.Keys(restarts())); !slices.Equal(got, []string{"server-1", "server-2", "server-3", "server-4", "server-5"}) {
		t.Errorf("restarted are %q; want all five", got)
	}
	if !strings.Contains(string(out), "waiting: ") {
		t.Error("the script never waited")
	}
	total := 0
	for margin, n := range seen {
		total += n
		if margin < 0 {
			t.Errorf("the margin was %v in %d scrapes; want never below 0, and always known", margin, n)
		}
	}
	if total < 20 || seen[2] == total {
		t.Errorf("margins were %v; want some dozens, not all with five servers up", seen)
	}
}

// watchMargin scrapes every 200 ms until ctx is done, and then returns how often it has seen which margin; that of a scrape without one
// is below all others.
func watchMargin(ctx context.Context, t *testing.T, e *harness.Exporter) <-chan map[float64]int {
	t.Helper()
	result := make(chan map[float64]int, 1)
	go func() {
		seen := make(map[float64]int)
		for ctx.Err() == nil {
			margin := math.Inf(-1)
			_, body, err := e.Get(context.WithoutCancel(ctx), "/metrics?collect[]=raft", 10*time.Second)
			if m := regexp.MustCompile(`(?m)^consul_cluster_failure_margin (\S+)$`).FindStringSubmatch(body); err == nil && m != nil {
				if n, err := strconv.ParseFloat(m[1], 64); err == nil {
					margin = n
				}
			}
			seen[margin]++
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		result <- seen
	}()
	return result
}

// restartOverSSH puts a command ssh into the folder that, whatever it is told to run, kills the server and has it start again some seconds
// later, like a host that boots. It returns what has been restarted.
func restartOverSSH(t *testing.T, c *consultest.Cluster, dir string) (restarts func() map[string]int) {
	t.Helper()
	request, done := filepath.Join(dir, "request"), filepath.Join(dir, "done")
	harness.Must(t, exec.CommandContext(t.Context(), "mkfifo", "-m", "600", request, done).Run())
	executable(t, filepath.Join(dir, "ssh"), fmt.Sprintf("#!/bin/sh\nset -eu\necho \"$1\" > %q\nread -r answer < %q\ntest \"$answer\" = ok\n", request, done))
	counts := make(map[string]int)
	booted := make(chan error, len(c.Servers))
	ended := make(chan struct{})
	// Open on both sides, the pipes neither end nor block.
	requests, err := os.OpenFile(request, os.O_RDWR, 0)
	harness.Must(t, err)
	answers, err := os.OpenFile(done, os.O_RDWR, 0)
	harness.Must(t, err)
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(requests); lines.Scan(); {
			i := slices.IndexFunc(c.Servers, func(a *consultest.Agent) bool { return a.Name == lines.Text() })
			if i < 0 {
				break
			}
			counts[lines.Text()]++
			answer := "ok"
			if err := c.Servers[i].Kill(); err != nil {
				answer = err.Error()
			}
			go func() {
				<-time.After(4 * time.Second) // The host boots.
				booted <- c.Servers[i].Restart(context.WithoutCancel(t.Context()))
			}()
			fmt.Fprintln(answers, answer)
		}
	}()
	return func() map[string]int {
		_, err := fmt.Fprintln(requests, "end")
		harness.Must(t, err)
		<-ended
		for range counts {
			harness.Must(t, <-booted)
		}
		requests.Close()
		answers.Close()
		return counts
	}
}

func executable(t *testing.T, path, content string) {
	t.Helper()
	harness.Must(t, os.WriteFile(path, []byte(content), 0o755))
}

// docsScript returns the script of docs/check.md that has the name in its first comment.
func docsScript(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile("docs/check.md")
	harness.Must(t, err)
	m := regexp.MustCompile("(?s)```sh\n(#!/bin/sh\n# " + name + " .*?)```").FindSubmatch(content)
	if m == nil {
		t.Fatalf("docs/check.md has no script %s", name)
	}
	return string(m[1])
}
