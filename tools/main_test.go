// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

// A binary from the environment is printed, and nothing is to be built.
func TestRun_FromEnvironment(t *testing.T) {
	const variable = "CONSUL_CLUSTER_EXPORTER_TOOL_CONSUL"
	file := filepath.Join(t.TempDir(), "consul")
	must.Do(t, os.WriteFile(file, nil, 0o755))
	t.Setenv(variable, file)
	for args, want := range map[string]string{
		"-path consul": file + "\n",
		"consul":       "consul: " + file + ", from " + variable + "\n",
	} {
		var stdout bytes.Buffer
		must.Do(t, run(t.Context(), strings.Fields(args), &stdout, io.Discard))
		if got := stdout.String(); got != want {
			t.Errorf("%s prints %q; want %q", args, got, want)
		}
	}
}

func TestRun_BadArguments(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"nomad":       `no tool "nomad", only consul, `,
		"-path nomad": `no tool "nomad", only consul, `, "-path consul amtool": "nothing else",
		"-h": flag.ErrHelp.Error(),
	} {
		err := run(t.Context(), strings.Fields(args), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v; want one with %q", args, err, want)
		}
	}
}

// A build that fails shows what the go command says, and one that is interrupted says so. Neither leaves anything
// behind.
func TestBuild_Fails(t *testing.T) {
	t.Parallel()
	root := must.Get(toolbox.Root())(t)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		ctx                  context.Context
		command, err, stderr string
	}{
		{t.Context(), "cmd/nothing", "exit status 1", "honnef.co/go/tools/cmd/nothing"},
		{canceled, "cmd/staticcheck", errInterrupted.Error(), ""},
	} {
		dir := t.TempDir()
		var stderr bytes.Buffer
		b := &builder{root, io.Discard, &stderr}
		tool := toolbox.Tool{Name: "nothing", Folder: "check", Module: "honnef.co/go/tools", Command: tc.command}
		err := b.build(tc.ctx, tool, "nothing", filepath.Join(dir, "nothing"))
		if err == nil || err.Error() != tc.err || !strings.Contains(stderr.String(), tc.stderr) {
			t.Errorf("%s: error %v, and it prints %q; want %s and %q", tc.command, err, &stderr, tc.err, tc.stderr)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: %v is left behind (%v)", tc.command, left, err)
		}
	}
}

func TestRemoveStale(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "consul")
	fresh, stale := unfinishedPrefix(binary)+"1", unfinishedPrefix(binary)+"2"
	old := time.Now().Add(-2 * staleAge)
	for _, file := range []string{binary, fresh, stale} {
		must.Do(t, os.WriteFile(file, nil, 0o755))
		if file != fresh {
			must.Do(t, os.Chtimes(file, old, old))
		}
	}
	removeStale(binary)
	got := must.Get(filepath.Glob(filepath.Join(filepath.Dir(binary), "*")))(t)
	if !slices.Equal(got, []string{fresh, binary}) {
		t.Errorf("removeStale() leaves %q; want %q", got, []string{fresh, binary})
	}
}

func TestReadOutput(t *testing.T) {
	t.Parallel()
	const output = "go: downloading example.com/a v1.0.0\nexample.com/a\nexample.com/b\n\n" +
		"# example.com/c\nc.go:1:2: undefined: x\nthe end"
	var packages atomic.Int64
	messages := readOutput(strings.NewReader(output), &packages)
	if want := "# example.com/c\nc.go:1:2: undefined: x\nthe end\n"; messages != want || packages.Load() != 2 {
		t.Errorf("messages %q, %d packages; want %q and 2", messages, packages.Load(), want)
	}
}
