// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestDemoDuration(t *testing.T) {
	for _, test := range []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"", 0, true},
		{"30", 30 * time.Second, true},
		{"0.5", 500 * time.Millisecond, true},
		{"0", 0, false},
		{"-1", 0, false},
		{"NaN", 0, false},
		{"1e300", 0, false},
		{"30s", 0, false},
	} {
		t.Setenv(durationVar, test.text)
		got, err := demoDuration()
		if got != test.want || (err == nil) != test.ok {
			t.Errorf("%s=%q: got %v, %v, want %v and ok %v", durationVar, test.text, got, err, test.want, test.ok)
		}
	}
}

func TestClearConsulEnvironment(t *testing.T) {
	t.Setenv("CONSUL_HTTP_TOKEN", "secret")
	t.Setenv("CONSUL_CLUSTER_EXPORTER_LOG_LEVEL", "debug")
	t.Setenv("CONSUL_CLUSTER_EXPORTER_TOOL_X", "/bin/x")
	clearConsulEnvironment()
	for name, want := range map[string]bool{
		"CONSUL_HTTP_TOKEN":                 false,
		"CONSUL_CLUSTER_EXPORTER_LOG_LEVEL": false,
		"CONSUL_CLUSTER_EXPORTER_TOOL_X":    true,
	} {
		if _, got := os.LookupEnv(name); got != want {
			t.Errorf("%s is there: %v, want %v", name, got, want)
		}
	}
}

func TestComplainIndentsFurtherLines(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	complain(&b, os.ErrNotExist)
	if got, want := b.String(), "demo: error: file does not exist\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCompilerError(t *testing.T) {
	t.Parallel()
	const output = "# github.com/zervigo/consul_cluster_exporter\n./main.go:3:1: syntax error\n./main.go:9:9: another one\n"
	if got, want := compilerError([]byte(output)), "./main.go:3:1: syntax error"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFreeAddressAvoidsWhatIsTaken(t *testing.T) {
	t.Parallel()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	taken := listener.Addr().(*net.TCPAddr)
	got, err := freeAddress(t.Context(), taken.Port)
	if err != nil {
		t.Fatal(err)
	}
	if got == taken.String() || !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("got %s, want a free address on 127.0.0.1", got)
	}
}

func TestRemoveStaleLeavesTheLiving(t *testing.T) {
	t.Parallel()
	// No process has an id as high as this.
	const gone = 1 << 30
	temp := t.TempDir()
	stale := filepath.Join(temp, dirPrefix+strconv.Itoa(gone)+"-1")
	mine := filepath.Join(temp, dirPrefix+strconv.Itoa(os.Getpid())+"-1")
	odd := filepath.Join(temp, dirPrefix+"notes")
	for _, dir := range []string{stale, mine, odd} {
		if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	removeStale(temp)
	for dir, want := range map[string]bool{stale: false, mine: true, odd: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", filepath.Base(dir), err == nil, want)
		}
	}
}
