// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

func TestRun_Path(t *testing.T) {
	file := filepath.Join(t.TempDir(), "consul")
	if err := os.WriteFile(file, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONSUL_CLUSTER_EXPORTER_TOOL_CONSUL", file)
	var stdout bytes.Buffer
	if err := run(t.Context(), []string{"-path", "consul"}, &stdout, io.Discard); err != nil {
		t.Fatal(err)
	}
	if got, want := stdout.String(), file+"\n"; got != want {
		t.Errorf("run() prints %q, want %q", got, want)
	}
}

// TestRun_Elsewhere takes a binary from the environment: nothing is to be built.
func TestRun_Elsewhere(t *testing.T) {
	t.Setenv("CONSUL_CLUSTER_EXPORTER_TOOL_CONSUL", "/opt/consul")
	var stdout bytes.Buffer
	if err := run(t.Context(), []string{"consul"}, &stdout, io.Discard); err != nil {
		t.Fatal(err)
	}
	if got, want := stdout.String(), "consul: /opt/consul, from CONSUL_CLUSTER_EXPORTER_TOOL_CONSUL\n"; got != want {
		t.Errorf("run() prints %q, want %q", got, want)
	}
}

func TestRun_BadArguments(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"unknown tool", []string{"nomad"}, `no tool "nomad"`},
		{"path of unknown tool", []string{"-path", "nomad"}, `no tool "nomad"`},
		{"path and names", []string{"-path", "consul", "amtool"}, "nothing else"},
		{"help", []string{"-h"}, flag.ErrHelp.Error()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := run(t.Context(), test.args, io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("run() error = %v, want one with %q", err, test.want)
			}
		})
	}
}

// TestBuild_Fails builds a package that does not exist: the go command's own
// words are shown and nothing is left behind.
func TestBuild_Fails(t *testing.T) {
	t.Parallel()
	root, err := toolbox.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tool := toolbox.Tool{Name: "nothing", Folder: "check", Package: "honnef.co/go/tools/cmd/nothing"}
	var stderr bytes.Buffer
	err = build(t.Context(), root, tool, "nothing", filepath.Join(dir, "nothing"), io.Discard, &stderr)
	if err == nil {
		t.Error("build() succeeds, want an error")
	}
	if !strings.Contains(stderr.String(), "honnef.co/go/tools/cmd/nothing") {
		t.Errorf("build() prints %q, want what the go command says", stderr.String())
	}
	mustBeEmpty(t, dir)
}

// TestBuild_Interrupted starts a build that is interrupted already.
func TestBuild_Interrupted(t *testing.T) {
	t.Parallel()
	root, err := toolbox.Root()
	if err != nil {
		t.Fatal(err)
	}
	tool, err := toolbox.Find("gofumpt")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = build(ctx, root, tool, "gofumpt", filepath.Join(dir, "gofumpt"), io.Discard, io.Discard)
	if err == nil || err.Error() != "interrupted" {
		t.Errorf("build() error = %v, want interrupted", err)
	}
	mustBeEmpty(t, dir)
}

func TestRemoveStale(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "consul")
	fresh, stale := unfinishedPrefix(binary)+"1", unfinishedPrefix(binary)+"2"
	old := time.Now().Add(-2 * staleAge)
	for _, file := range []string{binary, fresh, stale} {
		if err := os.WriteFile(file, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		if file == fresh {
			continue
		}
		if err := os.Chtimes(file, old, old); err != nil {
			t.Fatal(err)
		}
	}
	removeStale(binary)
	for _, file := range []string{binary, fresh} {
		if _, err := os.Stat(file); err != nil {
			t.Errorf("removeStale() removes %s, want it to stay", file)
		}
	}
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("removeStale() leaves %s (%v), want it removed", stale, err)
	}
}

func TestProgressWriter(t *testing.T) {
	t.Parallel()
	w := &progressWriter{}
	for _, part := range []string{
		"go: downloading example.com/a v1.0.0\nexample.com/a\nexamp", "le.com/b\n\n",
		"# example.com/c\n", "c.go:1:2: undefined: x\nthe end",
	} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("Write() = %d, %v, want %d", n, err, len(part))
		}
	}
	if got, want := string(w.messages()), "# example.com/c\nc.go:1:2: undefined: x\nthe end\n"; got != want {
		t.Errorf("messages() = %q, want %q", got, want)
	}
	if got := w.packages.Load(); got != 2 {
		t.Errorf("packages = %d, want 2", got)
	}
}

// mustBeEmpty fails the test if there is anything in the folder.
func mustBeEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) > 0 {
		t.Errorf("%s is left behind, want nothing", entries[0].Name())
	}
}
