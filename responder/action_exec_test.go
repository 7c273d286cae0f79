// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package responder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// These tests are not parallel: for a moment a program that begins has the locks of histories, too, which others open
// and close at the same time.

// runScript runs a shell script as the action does.
func runScript(t *testing.T, script string, a *Alert, limit time.Duration) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	e := &execCommand{ExecConfig: ExecConfig{"/bin/sh", []string{"-c", script}, limit}, rule: "r"}
	return e.run(ctx, a, func(*Process) {})
}

func TestExec_Result(t *testing.T) {
	const lines, line = 3000, "a line of forty characters is in the way"
	long := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do echo %q; i=$((i+1)); done; printf '\377'`, lines, line)
	kept := strings.Repeat(line+"\n", lines)[:maxOutput]
	for _, tc := range []struct{ name, script, want, err string }{
		{"both streams, in /", "echo out; echo err >&2; pwd", "out\nerr\n/\n", ""},
		{"a failure", "echo oh; exit 3", "oh\n", "exit status 3"},
		{"what is no text", `printf 'a\377b'`, "a\uFFFDb", ""},
		{"long output", long, kept + fmt.Sprintf("\n(%d bytes more)", lines*(len(line)+1)+1-maxOutput), ""},
	} {
		out, err := runScript(t, tc.script, &Alert{}, time.Minute)
		if out != tc.want || (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err {
			t.Errorf("%s: output %.100q, error %v; want %.100q and %q", tc.name, out, err, tc.want, tc.err)
		}
	}
	secret := &execCommand{ExecConfig: ExecConfig{Command: "/bin/sh", Args: []string{"-c", "s3cret"}}}
	p, _ := secret.judge(about("a"), &view{})
	if want := "Run /bin/sh with 2 arguments"; p.what != want {
		t.Errorf("the plan is %s; want %s", p.what, want)
	}
	missing := &execCommand{ExecConfig: ExecConfig{Command: "/missing"}}
	if _, err := missing.run(t.Context(), &Alert{}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v; want that there is no such file", err)
	}
}

// A program that takes too long is killed, with what it has started.
func TestExec_Timeout(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	out, err := runScript(t, "echo begun; sleep 600 & echo $! > "+pidFile+"; wait", &Alert{}, 2*time.Second)
	killed := err != nil && strings.Contains(err.Error(), "ran for longer than 2s and was killed")
	if !killed || !errors.Is(err, context.DeadlineExceeded) || out != "begun\n" {
		t.Errorf("output %q, error %v; want that it was killed", out, err)
	}
	content := must.Get(os.ReadFile(pidFile))(t)
	pid := must.Get(strconv.Atoi(strings.TrimSpace(string(content))))(t)
	for deadline := time.Now().Add(30 * time.Second); syscall.Kill(pid, 0) == nil; <-time.After(10 * time.Millisecond) {
		if stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); strings.Contains(string(stat), ") Z ") {
			break // Dead, and nobody has looked.
		}
		if time.Now().After(deadline) {
			t.Fatal("what the program started lives on")
		}
	}
}

// A program may leave something running, as one that starts a service does. It is not waited for.
func TestExec_LeavesRunning(t *testing.T) {
	out := must.Get(runScript(t, "sleep 600 & echo $!", &Alert{}, time.Minute))(t)
	pid := must.Get(strconv.Atoi(strings.TrimSpace(out)))(t)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("what it left running is gone: %v", err)
	}
}

// Whatever the alert says, the program is the same, and gets it as it is, and nothing else of the environment.
func TestExec_HostileAlert(t *testing.T) {
	dir := t.TempDir()
	hostile := "$(touch " + dir + "/a) `touch " + dir + "/b`; touch " + dir + "/c\n\"'|&>" + dir + "/d \\"
	a := &Alert{
		Labels: map[string]string{
			"alertname": hostile, "server": hostile, "PATH": "/evil", "a b": hostile, "x=y": hostile, "nul": "a\x00b",
			"LD_PRELOAD": "/evil.so",
		},
		Annotations: map[string]string{"summary": hostile},
	}
	out, err := runScript(t, `printf '%s|' "$CONSUL_RESPONDER_LABEL_server" "$CONSUL_RESPONDER_ANNOTATION_summary" `+
		`"$CONSUL_RESPONDER_LABEL_nul" "$CONSUL_RESPONDER_RULE" "$PATH" "$LD_PRELOAD" "$HOME"`, a, time.Minute)
	if want := hostile + "|" + hostile + "|a\uFFFDb|r|" + execPath + "|||"; err != nil || out != want {
		t.Errorf("error %v, output\n%q; want\n%q", err, out, want)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("files %v, error %v; want that nothing was run", files, err)
	}
}

// A host that refuses counts as dead only if the operator says so, or a hook confirms it.
func TestRemove_Confirm(t *testing.T) {
	dead := healthyView(5).kill(5)
	for want, config := range map[string]RemoveConfig{
		"its host says that nothing listens on port 8300, which is also how it looks": {SilentHostIsDead: true},
		"The hook does not confirm that it is dead: exit status 1.": {
			Confirm: &ExecConfig{"/bin/sh", []string{"-c", `test "$CONSUL_RESPONDER_ANNOTATION_node_id" = no`}, time.Minute},
		},
		"": {
			Confirm: &ExecConfig{"/bin/sh", []string{"-c", `test "$CONSUL_RESPONDER_ANNOTATION_node_id" = id-5`}, time.Minute},
		},
	} {
		r := &removeDeadPeer{
			guards: guards{expected: 5, require: RequireConfig{MinVoters: 3}}, operator: &operator{}, RemoveConfig: config,
			look: func(context.Context) *view { return dead },
		}
		r.observe(dead.death, time.Now().Add(-time.Minute))
		_, d := r.judge(about("server-5"), dead)
		d.expect(t, "hook", want)
	}
}

// A hook can take an hour: what was true before it was asked is looked at again.
func TestRemove_ConfirmTakesLong(t *testing.T) {
	replaced := healthyView(5).kill(5)
	replaced.stop.Topology.Peers[4].ID, replaced.stop.Reports[4].Server.ID = "id-6", "id-6"
	replaced.death.Leader.Servers[4].ID, replaced.stop.Autopilot.Servers[4].ID = "id-6", "id-6"
	for _, seen := range replaced.death.MembersSeen {
		seen[4].ID = "id-6"
	}
	for want, after := range map[string]*view{
		"server-5 is alive in Serf":                          healthyView(5),
		"After the action 0 more may fail":                   healthyView(5).kill(5).hang(4),
		"was asked about the peer id-5, and it is id-6 now.": replaced,
	} {
		r := &removeDeadPeer{
			guards: guards{expected: 5, require: RequireConfig{MinVoters: 3, Margin: 1}}, operator: &operator{},
			RemoveConfig: RemoveConfig{Confirm: &ExecConfig{"/bin/true", nil, time.Minute}},
			look:         func(context.Context) *view { return after },
		}
		p, d := r.judge(about("server-5"), healthyView(5).kill(5))
		d.expect(t, "after the hook", want)
		if p.what != "" {
			t.Errorf("the plan is %q", p.what)
		}
	}
}
