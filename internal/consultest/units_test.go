// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package consultest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMerge(t *testing.T) {
	t.Parallel()
	type object = map[string]any
	tests := []struct {
		name             string
		base, over, want object
	}{
		{"nothing over", object{"a": 1}, nil, object{"a": 1}},
		{"over nothing", nil, object{"a": 1}, object{"a": 1}},
		{"replace", object{"a": 1, "b": 2}, object{"a": 3}, object{"a": 3, "b": 2}},
		{
			"deep",
			object{"a": object{"b": object{"c": 1, "d": 2}}},
			object{"a": object{"b": object{"c": 3}}},
			object{"a": object{"b": object{"c": 3, "d": 2}}},
		},
		{"a list is replaced", object{"a": []any{1, 2}}, object{"a": []any{3}}, object{"a": []any{3}}},
		{"an object over a value", object{"a": 1}, object{"a": object{"b": 2}}, object{"a": object{"b": 2}}},
		{"a value over an object", object{"a": object{"b": 2}}, object{"a": 1}, object{"a": 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, merge(test.base, test.over)); diff != "" {
				t.Errorf("merge() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPIPort(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		ports     map[string]any
		preferTLS bool
		want      string
	}{
		{"default", nil, false, "http 8500"},
		{"another port", map[string]any{"http": 9500}, false, "http 9500"},
		{"TLS", map[string]any{"http": -1, "https": 8501}, true, "https 8501"},
		{"HTTPS only, without TLS for the rest", map[string]any{"http": -1, "https": 9501}, false, "https 9501"},
		{"both, with TLS", map[string]any{"http": 8500, "https": 8501}, true, "https 8501"},
		{"both, without TLS", map[string]any{"https": 8501}, false, "http 8500"},
		{"none", map[string]any{"http": -1}, false, "an error"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			config, err := plain(map[string]any{"ports": test.ports})
			if err != nil {
				t.Fatal(err)
			}
			scheme, port, err := apiPort(config, test.preferTLS)
			got := fmt.Sprintf("%s %d", scheme, port)
			if err != nil {
				got = "an error"
			}
			if got != test.want {
				t.Errorf("apiPort() = %s, want %s", got, test.want)
			}
		})
	}
}

func TestParseLog(t *testing.T) {
	t.Parallel()
	const (
		warning = `{"@level":"warn","@message":"Request error","@module":"agent.http","@timestamp":"2026-11-22T16:31:30.902304Z","url":"/v1/x"}`
		banner  = `==> Starting Consul agent...`
		crash   = `panic: runtime error: index out of range`
		other   = `{"no":"log line"}`
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
	tests := []struct {
		level string
		want  []LogLine
	}{
		{"TRACE", []LogLine{{Level: "INFO"}, {Level: "ERROR"}, {Level: "TRACE"}, {Level: "WARN"}}},
		{"INFO", []LogLine{{Level: "INFO"}, {Level: "ERROR"}, {Level: "WARN"}}},
		{"WARN", []LogLine{{Level: "ERROR"}, {Level: "WARN"}}},
		{"ERROR", []LogLine{{Level: "ERROR"}}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, AtLeast(lines, test.level)); diff != "" {
			t.Errorf("AtLeast(%s) (-want +got):\n%s", test.level, diff)
		}
	}
}

// TestEstablished looks for a connection of its own in the kernel's table.
func TestEstablished(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	count := func() int {
		table, readErr := os.ReadFile("/proc/net/tcp")
		if readErr != nil {
			t.Fatal(readErr)
		}
		return established(table, netip.MustParseAddrPort(listener.Addr().String()))
	}
	if got := count(); got != 0 {
		t.Errorf("established() = %d for a listener, want 0", got)
	}
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp4", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got := count(); got != 1 {
		t.Errorf("established() = %d for a connection, want 1", got)
	}
}

func TestPoll(t *testing.T) {
	t.Parallel()
	calls := 0
	err := poll(t.Context(), "the third time", func(ctx context.Context) error {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("a check has no deadline")
		}
		if calls++; calls < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || calls != 3 {
		t.Errorf("poll() = %v after %d calls, want nil after 3", err, calls)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = poll(ctx, "the impossible", func(context.Context) error { return errors.New("never") })
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "impossible") || !strings.Contains(err.Error(), "never") {
		t.Errorf("poll() error = %v, want a timeout that says what for and why", err)
	}

	hopeless := errors.New("hopeless")
	err = poll(t.Context(), "nothing", func(context.Context) error { return fmt.Errorf("look: %w", fatal(hopeless)) })
	if !errors.Is(err, hopeless) {
		t.Errorf("poll() error = %v, want the fatal one", err)
	}
}

func TestRemoveStale(t *testing.T) {
	t.Parallel()
	dead := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	temp := t.TempDir()
	stale := fmt.Sprintf("%s%d-1", dirPrefix, dead.Process.Pid)
	alive := fmt.Sprintf("%s%d-1", dirPrefix, os.Getpid())
	for _, dir := range []string{stale, alive, dirPrefix + "notes", dirPrefix + "0-1"} {
		if err := os.MkdirAll(filepath.Join(temp, dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	removeStale(temp)
	var got []string
	entries, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	want := []string{dirPrefix + "0-1", alive, dirPrefix + "notes"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("removeStale() leaves (-want +got):\n%s", diff)
	}
}
