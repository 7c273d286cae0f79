// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// asProgram makes the test binary be the demo, so that the tests run the real thing, with the race detector if they
// have it.
const asProgram = "TEST_AS_DEMO"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	for _, port := range []string{"9090", "9093", "9107"} {
		if listener, err := net.Listen("tcp4", "127.0.0.1:"+port); err == nil {
			taken = append(taken, listener)
		}
	}
	harness.Main(m)
}

// taken are the ports that demos prefer, so that each has to find others. Two that start at the same moment would both
// find one free.
var taken []net.Listener

const (
	// ready is in the last line that the demo prints before it begins to watch.
	ready = `increase\(consul_cluster_leader_changes_total\[5m\]\) elections`
	// patience is how long a test waits for what takes seconds on an idle machine, and the first build of the exporter
	// minutes.
	patience = 4 * time.Minute
)

// toolVars are the environment variables that name the programs that demos run, and prometheusVar is one of them.
var toolVars = map[string]string{
	"consul": "CONSUL_CLUSTER_EXPORTER_TOOL_CONSUL", "prometheus": prometheusVar,
	"alertmanager": "CONSUL_CLUSTER_EXPORTER_TOOL_ALERTMANAGER",
}

const prometheusVar = "CONSUL_CLUSTER_EXPORTER_TOOL_PROMETHEUS"

// running is a demo in its own process.
type running struct {
	cmd    *exec.Cmd
	folder string // Has its output, and in "tmp" its temporary files.
	exited chan struct{}
}

func startDemo(t *testing.T, env ...string) *running {
	t.Helper()
	return startCommand(t, exec.Command(os.Args[0]), env...)
}

// startCommand starts a command that is, or starts, a demo.
func startCommand(t *testing.T, cmd *exec.Cmd, env ...string) *running {
	t.Helper()
	consultest.WaitTurn(t)
	d := &running{cmd: cmd, folder: t.TempDir(), exited: make(chan struct{})}
	temp := filepath.Join(d.folder, "tmp")
	must.Do(t, os.Mkdir(temp, 0o700))
	cmd.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+temp)
	for tool, variable := range toolVars { // Whatever is on PATH.
		cmd.Env = append(cmd.Env, variable+"="+must.Get(toolbox.Path(tool))(t))
	}
	cmd.Env = append(cmd.Env, env...)
	for name, output := range map[string]*io.Writer{"stdout": &cmd.Stdout, "stderr": &cmd.Stderr} {
		file := must.Get(os.Create(filepath.Join(d.folder, name)))(t)
		defer file.Close()
		if *output == nil {
			*output = file
		}
	}
	must.Do(t, cmd.Start())
	go func() {
		_ = cmd.Wait() // How it ended is in ProcessState.
		close(d.exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-d.exited
		if t.Failed() {
			t.Logf("output:\n%s\nerrors:\n%s", d.output(), d.errors())
		}
	})
	return d
}

func (d *running) output() string { return d.file("stdout") }
func (d *running) errors() string { return d.file("stderr") }

func (d *running) file(name string) string {
	content, _ := os.ReadFile(filepath.Join(d.folder, name))
	return string(content)
}

// waitFor waits until what was printed from this offset on matches the pattern, with line breaks and indents as
// single spaces. It returns the offset of the end of the output.
func (d *running) waitFor(t *testing.T, since int, pattern string) (end int) {
	t.Helper()
	harness.WaitFor(t, patience, "the demo prints "+pattern, func() string {
		gone := false
		select {
		case <-d.exited: // The output is complete.
			gone = true
		default:
		}
		output := d.output()
		output = output[:strings.LastIndexByte(output, '\n')+1] // Lines that are complete.
		if regexp.MustCompile(pattern).MatchString(strings.Join(strings.Fields(output[since:]), " ")) {
			end = len(output)
			return ""
		}
		if gone {
			t.Fatalf("the demo ended and never printed %q", pattern)
		}
		return "it does not"
	})
	return end
}

// find returns the first group of the first match in the output.
func (d *running) find(t *testing.T, pattern string) string {
	t.Helper()
	match := regexp.MustCompile(pattern).FindStringSubmatch(d.output())
	if match == nil {
		t.Fatalf("the output does not match %s", pattern)
	}
	return match[1]
}

// processes waits until everything runs, and returns the ids of the processes by name.
func (d *running) processes(t *testing.T) map[string]*os.Process {
	t.Helper()
	d.waitFor(t, 0, ready)
	processes := make(map[string]*os.Process)
	for _, match := range regexp.MustCompile(`(?m)^ +(\S+) +pid (\d+) `).FindAllStringSubmatch(d.output(), -1) {
		p := must.Get(os.FindProcess(must.Get(strconv.Atoi(match[2]))(t)))(t)
		if !alive(p) {
			t.Errorf("%s, process %d, does not run", match[1], p.Pid)
		}
		processes[match[1]] = p
	}
	if len(processes) != 7 {
		t.Errorf("the output names the processes %v; want those of four agents and three other programs", processes)
	}
	return processes
}

func alive(p *os.Process) bool { return p.Signal(syscall.Signal(0)) == nil }

// expectExit waits until the demo has ended, and expects its exit code, errors that begin like this, and that no
// process and no file is left.
func (d *running) expectExit(t *testing.T, code int, errs string, processes map[string]*os.Process) {
	t.Helper()
	select {
	case <-d.exited:
	case <-time.After(patience):
		t.Fatal("the demo does not end")
	}
	if got := d.cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("exit code is %d (%v), want %d", got, d.cmd.ProcessState, code)
	}
	if got := d.errors(); !strings.HasPrefix(got, errs) || strings.Count(got, "\n") != code {
		t.Errorf("errors are %q, want %d line of %q", got, code, errs)
	}
	expectGone(t, processes)
	if files, err := os.ReadDir(filepath.Join(d.folder, "tmp")); err != nil || len(files) > 0 {
		t.Errorf("files %v are left (%v)", files, err)
	}
}

func expectGone(t *testing.T, processes map[string]*os.Process) {
	t.Helper()
	harness.WaitFor(t, patience, "no process is left", func() (left string) {
		for name, p := range processes {
			if alive(p) {
				left += name + " "
			}
		}
		return left
	})
}

// sent returns which alerts were sent, and whether firing or resolved.
func (d *running) sent() []string {
	var sent []string
	alerts := regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d +\w+ +(Consul\w+ \w+)`)
	for _, match := range alerts.FindAllStringSubmatch(d.output(), -1) {
		sent = append(sent, match[1])
	}
	return sent
}

// All is well, nothing is sent, and the demo ends by itself.
func TestDemo(t *testing.T) {
	t.Parallel()
	// The variables of the user's own cluster must not matter.
	d := startDemo(t, durationVar+"=30", "CONSUL_HTTP_ADDR=192.0.2.1:1", "CONSUL_HTTP_TOKEN=theirs")
	processes := d.processes(t)
	d.waitFor(t, 0, `:\d\d healthy 3 of 3 voters answer, quorum is 2, server-\d leads`)
	commands := regexp.MustCompile(`(?m)^    (?:\$\()?go run .*$`).FindAllString(d.output(), -1)
	harness.WaitFor(t, patience, "the commands about alerts print none", func() string {
		// On a busy machine a follower hears from the leader late now and then, which is over by the next evaluation.
		printed := runShell(t, ".", "set -e\n"+strings.Join(commands, "\n")+"\necho done")
		if len(commands) == 3 && strings.HasSuffix(printed, "done\n") && !strings.Contains(printed, "Consul") {
			return ""
		}
		return strings.Join(commands, "\n") + "\n" + printed
	})
	if n := len(regexp.MustCompile(`(?m)^ +\S.* Consul\w+ after \d+[smhd]\.$`).FindAllString(d.output(), -1)); n != 5 {
		t.Errorf("the output names %d alerts with the time that they take, want 5", n)
	}

	d.expectExit(t, 0, "", processes)
	if sent := d.sent(); len(sent) > 0 {
		t.Errorf("alerts %v were sent while all was well", sent)
	}
	for line := range strings.Lines(d.output()) {
		// Paths of programs may be longer.
		if n := utf8.RuneCountInString(line); n > 101 && !regexp.MustCompile("TOOL_|EXPORTER=").MatchString(line) {
			t.Errorf("%d columns, want 100 at most: %s", n-1, line)
		}
	}
}

// A leader that hangs is reported, and that it is back. Without Prometheus and Alertmanager the demo goes on, without
// the exporter it cannot.
func TestDemo_Faults(t *testing.T) {
	t.Parallel()
	d := startDemo(t)
	processes := d.processes(t)
	leader, pid := d.find(t, `Hang the leader, (server-\d),`), d.find(t, `kill -STOP (\d+)\n`)
	at := d.waitFor(t, 0, `:\d\d healthy 3 of 3 voters answer`)
	runShell(t, t.TempDir(), "kill -STOP "+pid)
	// Autopilot soon removes it from the voters, and it goes on to be reported.
	at = d.waitFor(t, at, `:\d\d degraded 2 of [23] voters answer, quorum is 2, server-\d leads.*; `+leader+` hangs; `)
	// The rules are those for production: three minutes pass, as the next failure is an outage.
	at = d.waitFor(t, at, `:\d\d pager ConsulQuorumAtRisk firing: `)
	runShell(t, t.TempDir(), "kill -CONT "+pid)
	d.waitFor(t, at, `:\d\d healthy 3 of 3 voters answer, quorum is 2, server-\d leads`)
	if sent := d.sent(); !slices.Equal(sent, []string{"ConsulQuorumAtRisk firing"}) {
		t.Errorf("alerts %v were sent, want that the quorum is at risk and nothing else", sent)
	}
	for _, name := range []string{"Prometheus", "Alertmanager"} {
		must.Do(t, processes[name].Kill())
		d.waitFor(t, at, `:\d\d demo `+name+` ended with signal: killed`)
	}
	must.Do(t, processes["exporter"].Kill())
	d.expectExit(t, 1, "demo: error: exporter ended with signal: killed; ", processes)
}

// A signal, or the end of the process that started the demo, ends it properly, even while it starts or builds.
func TestDemo_EndsWhileItStarts(t *testing.T) {
	t.Parallel()
	d := startDemo(t)
	d.waitFor(t, 0, "Starting a Consul cluster")
	must.Do(t, d.cmd.Process.Signal(os.Interrupt))
	d.expectExit(t, 0, "", nil)

	d = startDemo(t, withoutTools(t, "exec sleep 600")...)
	d.waitFor(t, 0, "demo alertmanager and prometheus will join when built")
	must.Do(t, d.cmd.Process.Signal(syscall.SIGTERM))
	d.expectExit(t, 0, "", nil)

	d = startCommand(t, exec.Command("sh", "-c", os.Args[0]+" & wait"))
	d.waitFor(t, 0, "Starting a Consul cluster")
	must.Do(t, d.cmd.Process.Kill())
	harness.WaitFor(t, patience, "the demo ends with the shell that started it", func() string {
		const end = "The demo ends: the process that started it is gone.\nAll processes are stopped and all files removed.\n"
		if strings.HasSuffix(d.output(), end) {
			return ""
		}
		return d.output()
	})
}

// If the cluster cannot be started, everything else is ended.
func TestDemo_CannotStart(t *testing.T) {
	t.Parallel()
	consultest.WaitTurn(t) // Once for all.
	for _, tc := range []struct {
		env, want string
		args      []string
	}{
		{prometheusVar + "=/nonexistent", prometheusVar + " names no usable prometheus", nil},
		{
			"CONSUL_CLUSTER_EXPORTER_TOOL_CONSUL=/nonexistent",
			"CONSUL_CLUSTER_EXPORTER_TOOL_CONSUL names no usable consul", nil,
		},
		{"PATH=/nonexistent", `build the exporter: exec: "go": executable file not found`, nil},
		{durationVar + "=soon", durationVar + ` is "soon"; want a number of seconds above 0`, nil},
		{"", "the demo takes no arguments; " + durationVar + "=30 in the environment ends it", []string{"30"}},
	} {
		t.Run(tc.want, func(t *testing.T) {
			d := startCommand(t, exec.Command(os.Args[0], tc.args...), tc.env)
			d.expectExit(t, 1, "demo: error: "+tc.want, nil)
		})
	}
}

// The demo ends when nobody reads its output.
func TestDemo_Unread(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	must.Do(t, err)
	must.Do(t, r.Close())
	cmd := exec.Command(os.Args[0])
	cmd.Stdout = w
	d := startCommand(t, cmd)
	must.Do(t, w.Close())
	d.expectExit(t, 0, "", nil)
}

func TestDemoDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "30": 30 * time.Second, "0.5": 500 * time.Millisecond, "0": -1, "-1": -1, "NaN": -1, "1e300": -1, "30s": -1,
	} {
		t.Setenv(durationVar, text)
		if got, err := demoDuration(); (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%s=%q: got %v, %v, want %v", durationVar, text, got, err, want)
		}
	}
}

func TestAlertmanagerConfig(t *testing.T) {
	t.Parallel()
	content := string(must.Get(alertmanagerConfig("http://192.0.2.1/"))(t))
	for text, want := range map[string]int{
		"{url: http://192.0.2.1/}": 4, ".example/": 0, "pagerduty": 0, "\n  group_wait: 5s\n": 1,
		"\n  group_interval: 10s\n": 1,
	} {
		if n := strings.Count(content, text); n != want {
			t.Errorf("%q is there %d times, want %d:\n%s", text, n, want, content)
		}
	}
}

func TestNotification_Lines(t *testing.T) {
	t.Parallel()
	labels, annotations := map[string]string{"alertname": "X"}, map[string]string{"description": "A is so."}
	fires, resolved := alert{"firing", labels, annotations}, alert{"resolved", labels, annotations}
	got := notification{Alerts: []alert{fires, resolved, fires, fires, fires}}.lines()
	want := []string{"X firing: A is so.", "X resolved; it was: A is so.", "X firing: A is so.", "and 2 more like these"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
