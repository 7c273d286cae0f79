// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"bufio"
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

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// stopAnswer is what --safe-to-stop answers in JSON.
type stopAnswer struct {
	verdict.Stop
	Error string `json:"error"`
}

// expectStop asks whether a server can be stopped until the answer is this and has the text in its reasons, its hint or its error.
func (p *play) expectStop(server string, want int, text string) {
	p.Helper()
	expectStop(p.T, p.asked, server, want, text, p.args...)
}

func expectStop(t *testing.T, a *consultest.Agent, server string, want int, text string, args ...string) {
	t.Helper()
	args = append(args, "--safe-to-stop="+server, "--output=json")
	harness.WaitFor(t, 20*time.Second, fmt.Sprintf("safe to stop %s: exit code %d and %q", server, want, text), func() string {
		code, stdout, stderr := harness.CheckOf(t, a, args...)
		var answer stopAnswer
		if err := json.Unmarshal([]byte(stdout), &answer); err != nil {
			t.Fatalf("check printed %q and %q, which is not JSON: %v", stdout, stderr, err)
		}
		unknown := answer.Error != ""
		if answer.Server != server || answer.Safe != (code == cli.ExitSafe) || unknown != (code == cli.ExitUnknown) {
			t.Errorf("exit code %d does not go with %+v", code, answer)
		}
		why := strings.Join(answer.Reasons, " ") + " " + answer.Hint + answer.Error
		if code == want && strings.Contains(why, text) {
			return ""
		}
		return fmt.Sprintf("exit code %d, %q", code, why)
	})
}

// TestCheck_FiveServers has Consul's defaults, except that a dead server stays in the cluster.
func TestCheck_FiveServers(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 5, Config: asShipped(harness.KeepDead())})
	playAll(t, c, []scene{
		{name: "one is dead", breaks: func(p *play) { p.kill(p.followers[1]) }, then: func(p *play) {
			name := p.followers[2].Name
			p.expectStop(name, cli.ExitSafe,
				"Without "+name+" 3 of 5 voters can be counted on, and the quorum is 3: none more may fail.")
		}},
		{name: "rolling restart", flags: []string{"--probe.timeout=500ms"}, then: (*play).rollingRestart},
		{
			name: "no vote",
			breaks: func(p *play) { // It comes back after it has left, and would get its vote 10 s later.
				p.stabilizeFor(time.Hour)
				harness.Must(p.T, p.followers[1].Leave(p.Context()))
				harness.Must(p.T, p.followers[1].Restart(p.Context()))
			},
			then: func(p *play) {
				p.expectStop(p.followers[1].Name, cli.ExitSafe, p.followers[1].Name+" has no vote.")
			},
			repair: func(p *play) { p.stabilizeFor(10 * time.Second) },
		},
	}, (*play).look)
}

// stabilizeFor sets how long a server must be well before autopilot gives it a vote.
func (p *play) stabilizeFor(d time.Duration) {
	p.Helper()
	operator := p.leader.Client().Operator()
	config, err := operator.AutopilotGetConfiguration(nil)
	harness.Must(p.T, err)
	config.ServerStabilizationTime = api.NewReadableDuration(d)
	harness.Must(p.T, operator.AutopilotSetConfiguration(config, nil))
}

// rollingRestart runs the script of docs/check.md, with hosts that take some seconds for the restart that they have confirmed, and watches
// meanwhile that the quorum is kept.
func (p *play) rollingRestart() {
	p.Helper()
	dir := p.TempDir()
	restarts := restartOverSSH(p.T, p.c, dir)
	executable(p.T, filepath.Join(dir, cli.Name), fmt.Sprintf("#!/bin/sh\nexec env %s=1 %q \"$@\"\n", harness.AsExporter, os.Args[0]))
	p.e.Await(p.T, harness.Samples{"consul_cluster_failure_margin": 2})
	watched, stopWatch := context.WithCancel(p.Context())
	margins := watchMargin(watched, p.T, p.e)

	cmd := exec.CommandContext(p.Context(), "/bin/sh", "-s", "server-1", "server-2", "server-3", "server-4", "server-5")
	cmd.Stdin = strings.NewReader(docsScript(p.T, "rolling-restart"))
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "CONSUL_HTTP_ADDR="+p.c.Servers[1].URL(),
		"CONSUL_CLUSTER_EXPORTER_PROBE_TIMEOUT=500ms")
	out, err := cmd.CombinedOutput()
	stopWatch()
	seen := <-margins
	p.Logf("the script printed\n%s\nmargins and how often they were seen: %v", out, seen)
	if err != nil {
		p.Fatalf("the script ended with %v", err)
	}
	if got := slices.Sorted(maps.Keys(restarts())); len(got) != 5 { // Of five servers.
		p.Errorf("restarted are %q; want all five", got)
	}
	if !strings.Contains(string(out), "waiting: ") {
		p.Error("the script never waited")
	}
	total := 0
	for margin, n := range seen {
		total += n
		if margin < 0 {
			p.Errorf("the margin was %v in %d scrapes; want never below 0, and always known", margin, n)
		}
	}
	if total < 20 || seen[2] == total {
		p.Errorf("margins were %v; want some dozens, not all with five servers up", seen)
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
