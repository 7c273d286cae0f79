// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package responder

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// These tests are not parallel: for a moment a program that begins has the locks of histories, too, which others open
// and close at the same time.

// command makes an action of a shell script, which the tests know to be safe.
func command(script string, limit time.Duration) *execCommand {
	return &execCommand{rule: "r", command: "/bin/sh", args: []string{"-c", script}, limit: limit}
}

func runCommand(t *testing.T, e *execCommand, a *Alert) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), e.limit)
	defer cancel()
	return e.run(ctx, a)
}

func TestExec_Result(t *testing.T) {
	out, err := runCommand(t, command("echo out; echo err >&2; pwd", time.Minute), &Alert{})
	if err != nil || out != "out\nerr\n/\n" {
		t.Errorf("output %q, error %v; want both streams, and that it ran in /", out, err)
	}
	out, err = runCommand(t, command("echo oh; exit 3", time.Minute), &Alert{})
	if err == nil || err.Error() != "exit status 3" || out != "oh\n" {
		t.Errorf("output %q, error %v; want oh and exit status 3", out, err)
	}
	if _, err = runCommand(t, &execCommand{command: "/missing", limit: time.Minute}, &Alert{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v; want that there is no such file", err)
	}
}

// A program that takes too long is killed, with what it has started.
func TestExec_Timeout(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	out, err := runCommand(t, command("echo begun; sleep 600 & echo $! > "+pidFile+"; wait", 2*time.Second), &Alert{})
	if !errors.Is(err, context.DeadlineExceeded) || out != "begun\n" || !strings.Contains(err.Error(), "ran for longer than 2s and was killed") {
		t.Errorf("output %q, error %v; want that it was killed", out, err)
	}
	content, err := os.ReadFile(pidFile)
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	must(t, err)
	for deadline := time.Now().Add(30 * time.Second); syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) { //nolint:forbidigo // Between two looks.
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
	out, err := runCommand(t, command("sleep 600 & echo $!", time.Minute), &Alert{})
	if err != nil {
		t.Fatalf("error %v; want none", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out))
	must(t, err)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("what it left running is gone: %v", err)
	}
}

func TestExec_LongOutput(t *testing.T) {
	out, err := runCommand(t, command(`i=0; while [ $i -lt 3000 ]; do echo "a line of forty characters is in the way"; i=$((i+1)); done; printf '\377'`, time.Minute), &Alert{})
	must(t, err)
	if kept, rest, _ := strings.Cut(out, "\n("); len(kept) != maxOutput || rest != strconv.Itoa(3000*41+1-maxOutput)+" bytes more)" {
		t.Errorf("%d bytes are kept, and then %q", len(kept), rest)
	}
	out, err = runCommand(t, command(`printf 'a\377b'`, time.Minute), &Alert{})
	if err != nil || out != "a\uFFFDb" {
		t.Errorf("output %q, error %v; want what is no text to be replaced", out, err)
	}
}

// Whatever the alert says, the program is the same, and gets it as it is.
func TestExec_HostileAlert(t *testing.T) {
	dir := t.TempDir()
	hostile := "$(touch " + dir + "/a) `touch " + dir + "/b`; touch " + dir + "/c\n\"'|&>" + dir + "/d \\"
	a := &Alert{
		Labels:      map[string]string{"alertname": hostile, "server": hostile, "PATH": "/evil", "a b": hostile, "x=y": hostile, "nul": "a\x00b", "LD_PRELOAD": "/evil.so"},
		Annotations: map[string]string{"summary": hostile},
	}
	out, err := runCommand(t, command(`printf '%s|' "$CONSUL_RESPONDER_LABEL_server" "$CONSUL_RESPONDER_ANNOTATION_summary" "$CONSUL_RESPONDER_LABEL_nul" "$PATH" "$LD_PRELOAD"`, time.Minute), a)
	if want := hostile + "|" + hostile + "|a\uFFFDb|" + execPath + "||"; err != nil || out != want {
		t.Errorf("error %v, output\n%q; want\n%q", err, out, want)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("files %v, error %v; want that nothing was run", files, err)
	}
}
