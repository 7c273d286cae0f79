// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package consultest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

func TestMerge(t *testing.T) {
	t.Parallel()
	type object = map[string]any
	for _, test := range []struct{ base, over, want object }{
		{object{"a": 1}, nil, object{"a": 1}},
		{nil, object{"a": 1}, object{"a": 1}},
		{object{"a": 1, "b": 2}, object{"a": 3}, object{"a": 3, "b": 2}},
		{
			object{"a": object{"b": object{"c": 1, "d": 2}}},
			object{"a": object{"b": object{"c": 3}}},
			object{"a": object{"b": object{"c": 3, "d": 2}}},
		},
		{object{"a": []any{1, 2}}, object{"a": []any{3}}, object{"a": []any{3}}},
		{object{"a": 1}, object{"a": object{"b": 2}}, object{"a": object{"b": 2}}},
		{object{"a": object{"b": 2}}, object{"a": 1}, object{"a": 1}},
	} {
		if diff := cmp.Diff(test.want, merge(test.base, test.over)); diff != "" {
			t.Errorf("merge() (-want +got):\n%s", diff)
		}
	}
}

func TestParseLog(t *testing.T) {
	t.Parallel()
	const (
		warning = `{"@level":"warn","@message":"Request error","@module":"agent.http",` +
			`"@timestamp":"2026-11-22T16:31:30.902304Z","url":"/v1/x"}`
		banner = `==> Starting Consul agent...`
		crash  = `panic: runtime error: index out of range`
		other  = `{"no":"log line"}`
	)
	got := parseLog([]byte(banner + "\n\n" + warning + "\n" + crash + "\n" + other + "\n" + `{"@level":"error","@mess`))
	want := []LogLine{
		{Message: banner, Raw: banner},
		{
			Time: time.Date(2026, 11, 22, 16, 31, 30, 902304000, time.UTC), Level: "WARN",
			Module: "agent.http", Message: "Request error", Raw: warning,
		},
		{Level: "ERROR", Message: crash, Raw: crash},
		{Message: other, Raw: other},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parseLog() (-want +got):\n%s", diff)
	}
}

func TestAtLeast(t *testing.T) {
	t.Parallel()
	lines := []LogLine{{Level: "INFO"}, {Level: "ERROR"}, {}, {Level: "TRACE"}, {Level: "WARN"}}
	for level, want := range map[string]string{"TRACE": "IETW", "INFO": "IEW", "WARN": "EW", "ERROR": "E"} {
		got := ""
		for _, line := range AtLeast(lines, level) {
			got += line.Level[:1]
		}
		if got != want {
			t.Errorf("AtLeast(%s) has the levels %s; want %s", level, got, want)
		}
	}
}

// A connection of the test itself is in the kernel's table.
func TestAgent_Connections(t *testing.T) {
	t.Parallel()
	listener := must.Get(new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.7:0"))(t)
	defer listener.Close()
	agent := &Agent{Addr: "127.0.0.7"}
	expect := func(want int) {
		t.Helper()
		// A table that changes while it is read can lack an entry.
		eventually(t, fmt.Sprintf("%d connections", want), func() bool {
			n := must.Get(agent.Connections(listener.Addr().(*net.TCPAddr).Port))(t)
			from := must.Get(agent.ConnectionsFrom("127.0.0.1"))(t)
			return n == want && from == want
		})
	}
	expect(0)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}
	conn := must.Get(dialer.DialContext(t.Context(), "tcp4", listener.Addr().String()))(t)
	defer conn.Close()
	expect(1)
}

func TestLogLine_Kind(t *testing.T) {
	t.Parallel()
	kind := func(text string) string { return parseLogLine(text).Kind() }
	for _, test := range []struct{ raw, want string }{
		{
			`{"@level":"error","@message":"Request error","@module":"agent.http",` +
				`"@timestamp":"2026-11-22T16:31:30.902304Z","error":"rpc error: No cluster leader",` +
				`"from":"127.0.0.1:4711","method":"GET","url":"/v1/connect/ca/roots?stale"}`,
			"[ERROR] agent.http: Request error error=rpc error: No cluster leader from=* method=GET " +
				"url=/v*/connect/ca/roots?stale",
		},
		{
			`{"@level":"warn","@message":"heartbeat timeout reached, starting election","@module":"agent.server.raft",` +
				`"last-leader-addr":"127.4.4.2:8300","last-leader-id":"e4ab2f4b-0000-4000-8000-0123456789ab","took":"1.5ms"}`,
			"[WARN] agent.server.raft: heartbeat timeout reached, starting election " +
				"last-leader-addr=* last-leader-id=* took=*",
		},
		{"panic: index 7 out of range", "panic: index * out of range"},
	} {
		if got := kind(test.raw); got != test.want {
			t.Errorf("Kind() = %q; want %q", got, test.want)
		}
	}
	if kind(`{"@level":"warn","@message":"a","x":1}`) == kind(`{"@level":"warn","@message":"a","y":1}`) {
		t.Error("lines with different fields are of one kind")
	}
}

func TestRemoveStale(t *testing.T) {
	t.Parallel()
	dead := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	must.Do(t, dead.Run())
	const prefix = "consultest-"
	temp := t.TempDir()
	stale, alive := fmt.Sprint(prefix, dead.Process.Pid, "-1"), fmt.Sprint(prefix, os.Getpid(), "-1")
	for _, dir := range []string{stale, alive, prefix + "notes", prefix + "0-1"} {
		must.Do(t, os.MkdirAll(filepath.Join(temp, dir, "data"), 0o700))
	}
	removeStale(temp, prefix)
	got := must.Get(filepath.Glob(filepath.Join(temp, "*")))(t)
	for i := range got {
		got[i] = filepath.Base(got[i])
	}
	if diff := cmp.Diff([]string{prefix + "0-1", alive, prefix + "notes"}, got); diff != "" {
		t.Errorf("removeStale() leaves (-want +got):\n%s", diff)
	}
}
