// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

// asProgram makes the test's binary be the program itself, so that the tests run the real thing, with the race detector
// if they have it.
const asProgram = "DEMO_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(asProgram) == "":
	case len(os.Args) == 1:
		main()
	default:
		// The demo takes no arguments: this is it, being called as Prometheus by TestDemoPrometheusFails.
		fmt.Println("this is no Prometheus")
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// ready is in the last line that the demo prints before it begins to watch.
const ready = "whenever the verdict changes or an alert is sent:"

// The tests that start a whole demo do so one after the other, as two that start at the same moment can take the same port.

// patience is how long a test waits for what takes some seconds on an idle machine. The first build of the exporter takes a
// minute or two.
const patience = 4 * time.Minute

// program is a running demo.
type program struct {
	cmd    *exec.Cmd
	temp   string // Where it makes temporary files.
	stderr bytes.Buffer
	exited chan struct{} // Closed when it has ended and all output is read.

	mu     sync.Mutex
	stdout strings.Builder // Guarded by mu.
	more   chan struct{}   // Guarded by mu; closed and replaced when there is more output.
}

// startDemo starts the demo with these environment variables, and none that configure Consul.
func startDemo(t *testing.T, env ...string) *program {
	t.Helper()
	p := &program{temp: t.TempDir(), exited: make(chan struct{}), more: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "CONSUL_") && !strings.HasPrefix(variable, "CONSUL_CLUSTER_EXPORTER_TOOL_")
	})
	p.cmd.Env = append(p.cmd.Env, asProgram+"=1", "TMPDIR="+p.temp)
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(stdout)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("output:\n%s\nerrors:\n%s", p.output(), p.stderr.String())
		}
	})
	return p
}

func (p *program) read(stdout io.Reader) {
	defer close(p.exited)
	reader := bufio.NewReader(stdout)
	for {
		line, err := reader.ReadString('\n')
		p.mu.Lock()
		p.stdout.WriteString(line)
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
		if err != nil {
			break
		}
	}
	// How it ended is in cmd.ProcessState.
	_ = p.cmd.Wait()
}

// outputAndMore returns what the demo has printed so far, and a channel that is closed when there is more.
func (p *program) outputAndMore() (string, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stdout.String(), p.more
}

func (p *program) output() string {
	output, _ := p.outputAndMore()
	return output
}

// waitFor waits until what has been printed from this offset on matches the pattern, with line breaks and indents as
// single spaces. It returns the offset of the end of the output.
func (p *program) waitFor(t *testing.T, since int, pattern string) int {
	t.Helper()
	timeout := time.After(patience)
	for {
		output, more := p.outputAndMore()
		if regexp.MustCompile(pattern).MatchString(strings.Join(strings.Fields(output[since:]), " ")) {
			return len(output)
		}
		select {
		case <-more:
		case <-p.exited:
			t.Fatalf("the demo ended and never printed %q", pattern)
		case <-timeout:
			t.Fatalf("the demo does not print %q", pattern)
		}
	}
}

// waitExit waits until the demo has ended and asserts its exit code.
func (p *program) waitExit(t *testing.T, code int) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatal("the demo does not end")
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("exit code is %d (%v), want %d", got, p.cmd.ProcessState, code)
	}
}

// find returns the first group of the first match in the output.
func (p *program) find(t *testing.T, pattern string) string {
	t.Helper()
	match := regexp.MustCompile(pattern).FindStringSubmatch(p.output())
	if match == nil {
		t.Fatalf("the output does not match %s", pattern)
	}
	return match[1]
}

// pids returns the ids of all processes that the demo says it runs: servers, client, exporter, Prometheus and Alertmanager.
func (p *program) pids(t *testing.T) []int {
	t.Helper()
	var pids []int
	for _, match := range regexp.MustCompile(`(?m)^ +\S+ +pid (\d+) `).FindAllStringSubmatch(p.output(), -1) {
		pid, err := strconv.Atoi(match[1])
		if err != nil {
			t.Fatal(err)
		}
		if processGone(pid) {
			t.Errorf("process %d of the demo is not there", pid)
		}
		pids = append(pids, pid)
	}
	if len(pids) != 7 {
		t.Errorf("the output names %d processes, want 7", len(pids))
	}
	return pids
}

// assertNothingLeft asserts that none of the processes exists and no file is left.
func (p *program) assertNothingLeft(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		if !processGone(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
	files, err := os.ReadDir(p.temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Errorf("the file %s is left", file.Name())
	}
}

// sent returns which alerts were sent, and whether firing or resolved, in the order of their notifications.
func (p *program) sent() []string {
	var sent []string
	for _, match := range regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d \w+: (Consul\w+ \w+)`).FindAllStringSubmatch(p.output(), -1) {
		sent = append(sent, match[1])
	}
	return sent
}

func TestDemo(t *testing.T) {
	// The variables of somebody's own cluster must not matter.
	p := startDemo(t, durationVar+"=30", "CONSUL_HTTP_ADDR=192.0.2.1:1", "CONSUL_HTTP_TOKEN=theirs", "CONSUL_NAMESPACE=theirs")
	p.waitFor(t, 0, ready)
	pids := p.pids(t)
	for i := 1; i <= 3; i++ {
		p.find(t, fmt.Sprintf(`(?m)^ +server-%d +(up \d)`, i))
	}
	p.waitFor(t, 0, `Verdict .*3 of 3 voters answer, quorum is 2, server-\d leads; one more may fail`)
	prometheusURL := p.find(t, `(?m)^ +Prometheus .* (http://\S+)$`)
	waitPortsUp(t, prometheusURL)
	expectReadmeExpressions(t, prometheusURL)
	expectAlerting(t, prometheusURL, p.find(t, `(?m)^ +Alertmanager .* (http://\S+)$`))
	if n := len(regexp.MustCompile(`(?m)^ +\S.* Consul\w+ after \d+[smhd]\.$`).FindAllString(p.output(), -1)); n != 5 {
		t.Errorf("the output names %d alerts with the time that they take, want 5", n)
	}

	p.waitExit(t, 0)
	p.assertNothingLeft(t, pids)
	if p.stderr.Len() > 0 {
		t.Errorf("it complains: %s", p.stderr.String())
	}
	if sent := p.sent(); len(sent) > 0 {
		t.Errorf("alerts %v were sent while all was well", sent)
	}
	for line := range strings.Lines(p.output()) {
		// A path to a program is as long as it is.
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width && !strings.Contains(line, "TOOL=") && !strings.Contains(line, "EXPORTER=") {
			t.Errorf("%d columns, want %d at most: %s", n, width, line)
		}
	}
}

// waitPortsUp waits until this Prometheus has scraped that port 8300 of three servers is up.
func waitPortsUp(t *testing.T, prometheusURL string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		servers, err := portsUp(ctx, prometheusURL)
		if err != nil {
			t.Fatalf("ask Prometheus: %v", err)
		}
		if slices.Equal(servers, []string{"server-1", "server-2", "server-3"}) {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("Prometheus has port 8300 of %v up, want that of three servers", servers)
		}
	}
}

// portsUp returns the servers whose port 8300 is up, sorted, by Prometheus's account.
func portsUp(ctx context.Context, prometheusURL string) ([]string, error) {
	results, err := ask(ctx, prometheusURL, `consul_port_up{port="8300"} == 1`)
	if err != nil {
		return nil, err
	}
	var servers []string
	for _, r := range results {
		servers = append(servers, r.Metric["server"])
	}
	slices.Sort(servers)
	return servers, nil
}

// result is one series of the answer to a query: its labels, and the time and value.
type result struct {
	Metric map[string]string
	Value  [2]any
}

// number is the value, which Prometheus writes as a string.
func (r result) number(t *testing.T) float64 {
	t.Helper()
	text, _ := r.Value[1].(string)
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatalf("value of %v: %v", r.Metric, err)
	}
	return n
}

// ask asks this Prometheus for the current value of an expression.
func ask(ctx context.Context, prometheusURL, expression string) ([]result, error) {
	var data struct{ Result []result }
	err := get(ctx, prometheusURL+"/api/v1/query?"+url.Values{"query": {expression}}.Encode(), &data)
	return data.Result, err
}

// get reads the data of an answer of Prometheus's API.
func get(ctx context.Context, url string, data any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", answer.Status, answer.Error)
	}
	return nil
}

// expectReadmeExpressions runs the expressions of README.md about ports. Each has a result for every port, with a value that can
// be.
func expectReadmeExpressions(t *testing.T, prometheusURL string) {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "<!-- port expressions")
	table, _, _ = strings.Cut(table, "<!-- end of port expressions -->")
	expressions := regexp.MustCompile("(?m)^\\| ([^|]+) \\| `(.+)` \\|$").FindAllStringSubmatch(table, -1)
	now := float64(time.Now().Unix())
	between := map[string][2]float64{
		"name and state":                    {0, 1},
		"response time":                     {1e-6, 5},
		"last check":                        {now - 60, now + 60},
		"last success":                      {now - 60, now + 60},
		"errors since the exporter started": {0, 200}, // Port 8503 of a young server is down, and the demo asks often.

		"success rate over five minutes": {0.1, 1},
	}
	if len(expressions) != len(between) {
		t.Errorf("README.md has %d expressions about ports; want %d", len(expressions), len(between))
	}
	for _, e := range expressions {
		bounds, ok := between[e[1]]
		if !ok {
			t.Errorf("nothing is known of %q in README.md", e[1])
			continue
		}
		results, err := ask(t.Context(), prometheusURL, e[2])
		if err != nil {
			t.Errorf("%s: %v", e[2], err)
			continue
		}
		if len(results) != 3*10 { // Ten ports of each server.
			t.Errorf("%s has %d results; want 30", e[2], len(results))
		}
		for _, r := range results {
			for _, label := range []string{"server", "port", "protocol", "transport"} {
				if r.Metric[label] == "" {
					t.Errorf("a result of %s has no label %s: %v", e[2], label, r.Metric)
				}
			}
			if v := r.number(t); v < bounds[0] || v > bounds[1] {
				t.Errorf("%s of %v is %v; want %v to %v", e[1], r.Metric, v, bounds[0], bounds[1])
			}
		}
	}
}

func TestDemoTellsThatTheLeaderHangs(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no SIGSTOP")
	}
	p := startDemo(t)
	at := p.waitFor(t, 0, ready)
	pids := p.pids(t)
	leader := p.find(t, `Hang the leader, (server-\d):`)
	pid := p.find(t, `kill -STOP (\d+)\n`)
	command(t, "kill", "-STOP", pid)
	at = p.waitFor(t, at, leader+` (does not answer on 8300|answers on none).*\(timeout\).* 2 of 3 voters answer, quorum is 2, `)
	at = p.waitFor(t, at, `2 of 3 voters answer, quorum is 2, server-\d leads.*; no further failure can be afforded`)
	// The rules are those for production: a minute passes.
	at = p.waitFor(t, at, `:\d\d pager: ConsulServerHung firing: .*`+leader)
	command(t, "kill", "-CONT", pid)
	p.waitFor(t, at, `3 of 3 voters answer, quorum is 2, server-\d leads.*; one more may fail`)
	if sent := p.sent(); !slices.Equal(sent, []string{"ConsulServerHung firing"}) {
		t.Errorf("alerts %v were sent, want that one server hung and nothing else", sent)
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.waitExit(t, 0)
	p.assertNothingLeft(t, pids)
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if output, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, output)
	}
}

// SIGTERM while the cluster starts ends the demo in good order as well.
func TestDemoEndsWhileItStarts(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no SIGTERM")
	}
	p := startDemo(t)
	p.waitFor(t, 0, "Starting a Consul cluster")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.waitExit(t, 0)
	p.assertNothingLeft(t, nil)
}

// Nothing survives the demo's own violent death.
func TestDemoIsKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux kills children with their parent")
	}
	p := startDemo(t)
	p.waitFor(t, 0, ready)
	pids := p.pids(t)
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.exited
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); !processGoneAll(pids) && time.Now().Before(deadline); {
		<-ticker.C
	}
	// What is left on disk is removed by the next demo; of the cluster's folder its own package takes care.
	removeStale(p.temp)
	stale, err := os.ReadDir(p.temp)
	if err != nil {
		t.Fatal(err)
	}
	stale = slices.DeleteFunc(stale, func(file os.DirEntry) bool { return !strings.HasPrefix(file.Name(), dirPrefix) })
	if len(stale) > 0 || !processGoneAll(pids) {
		t.Errorf("files %v are left, or one of the processes %v", stale, pids)
	}
}

// Without Prometheus and Alertmanager the demo goes on, without the exporter it cannot.
func TestDemoLosesItsPrograms(t *testing.T) {
	p := startDemo(t)
	p.waitFor(t, 0, ready)
	pids := p.pids(t)
	kill(t, pids[5])
	p.waitFor(t, 0, `:\d\d prometheus has ended with signal: killed`)
	kill(t, pids[6])
	p.waitFor(t, 0, `:\d\d alertmanager has ended with signal: killed`)
	kill(t, pids[4])
	p.waitExit(t, 1)
	p.assertNothingLeft(t, pids)
	if got, want := p.stderr.String(), "demo: error: exporter has ended with signal: killed; "; !strings.HasPrefix(got, want) {
		t.Errorf("it says %q, want %q", got, want)
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	process, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
}

func processGoneAll(pids []int) bool {
	return !slices.ContainsFunc(pids, func(pid int) bool { return !processGone(pid) })
}

func TestDemoCannotStart(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, env, want string }{
		{
			name: "Prometheus is missing",
			env:  "CONSUL_CLUSTER_EXPORTER_TOOL_PROMETHEUS=/nonexistent/prometheus",
			want: "CONSUL_CLUSTER_EXPORTER_TOOL_PROMETHEUS names no usable prometheus",
		},
		{
			name: "Alertmanager is missing",
			env:  "CONSUL_CLUSTER_EXPORTER_TOOL_ALERTMANAGER=/nonexistent/alertmanager",
			want: "CONSUL_CLUSTER_EXPORTER_TOOL_ALERTMANAGER names no usable alertmanager",
		},
		{
			name: "Consul is missing",
			env:  "CONSUL_CLUSTER_EXPORTER_TOOL_CONSUL=/nonexistent/consul",
			want: "CONSUL_CLUSTER_EXPORTER_TOOL_CONSUL names no usable consul",
		},
		{
			name: "the go command is missing",
			env:  "PATH=/nonexistent",
			want: "build the exporter: exec: \"go\": executable file not found in $PATH",
		},
		{
			name: "the time is nonsense",
			env:  durationVar + "=soon",
			want: durationVar + ` is "soon"; want a number of seconds above 0`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := startDemo(t, test.env)
			p.waitExit(t, 1)
			p.assertNothingLeft(t, nil)
			got := p.stderr.String()
			if !strings.HasPrefix(got, "demo: error: "+test.want) || strings.Count(got, "\n") != 1 {
				t.Errorf("it says %q, want one line with %q", got, test.want)
			}
		})
	}
}

// Whatever of the demo's programs fails to start, the others are ended. What pretends to be Prometheus here ends at once.
func TestDemoPrometheusFails(t *testing.T) {
	p := startDemo(t, "CONSUL_CLUSTER_EXPORTER_TOOL_PROMETHEUS="+os.Args[0])
	p.waitExit(t, 1)
	p.assertNothingLeft(t, nil)
	if got, want := p.stderr.String(), "demo: error: prometheus has ended with exit status 2; its last line: this is no Prometheus\n"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}
