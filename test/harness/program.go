// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
	"github.com/zervigo/consul_cluster_exporter/status"
)

// RunProgram runs the program in this process until it ends by itself.
func RunProgram(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return run(ctx, args)
}

func run(ctx context.Context, args []string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = cli.Run(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

// CheckOf runs the check command against an agent, in this process, with probes that do not wait long.
func CheckOf(t *testing.T, a *consultest.Agent, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return run(t.Context(), append([]string{"check", "--consul.server=" + a.URL(), "--probe.timeout=500ms"}, args...))
}

// Unwrapped is a text with single spaces between its words: that of check is wrapped where a line is full.
func Unwrapped(text string) string { return strings.Join(strings.Fields(text), " ") }

// AlertsOf returns the names of the alerts of all problems, of Consul and of its tenants, with the server.
func AlertsOf(st status.View) []string {
	var names []string
	problems := st.Problems
	if st.Services != nil {
		problems = slices.Concat(problems, st.Services.Problems)
	}
	for _, p := range problems {
		names = append(names, strings.TrimSpace(p.Alert+" "+p.Server))
	}
	return names
}

// PackFiles are the files of the pack with these settings.
func PackFiles(t *testing.T, settings map[string]string) []alerts.File {
	t.Helper()
	return must.Get(alerts.Pack(settings))(t)
}

// RunTool runs a tool until it ends, and returns what it prints.
func RunTool(tb testing.TB, tool string, args ...string) string {
	tb.Helper()
	out, err := exec.CommandContext(tb.Context(), must.Get(toolbox.Path(tool))(tb), args...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s %v: %v: %s", tool, args, err, out)
	}
	return string(out)
}
