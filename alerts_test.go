// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

// check runs a tool that checks files, and returns what it says.
func check(t *testing.T, tool string, args ...string) string {
	t.Helper()
	binary, err := toolbox.Path(tool)
	must(t, err)
	out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", tool, args, err, out)
	}
	return string(out)
}

// Prometheus loads all that is in the folder, and Alertmanager what is in the one below.
func TestAlertsToFolder(t *testing.T) {
	clearEnv(t)
	dir := filepath.Join(t.TempDir(), "new", "consul")
	code, stdout, stderr := runProgram(t, "alerts", "--output-dir="+dir, "--group-by=environment,dc")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	names := []string{"cluster.yml", "exporter.yml", "ports.yml", "raft.yml", "services.yml", "alertmanager/alertmanager.example.yml"}
	var want []string
	for _, name := range names {
		want = append(want, filepath.Join(dir, filepath.FromSlash(name)))
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(stdout), "\n")); diff != "" {
		t.Errorf("files it says it wrote (-want +got):\n%s", diff)
	}

	config := filepath.Join(dir, "..", "prometheus.yml")
	must(t, os.WriteFile(config, fmt.Appendf(nil, "rule_files: [%q]\n", filepath.Join(dir, "*.yml")), 0o600))
	if out := check(t, "promtool", "check", "config", config); !strings.Contains(out, "SUCCESS: 5 rule files found\n") {
		t.Errorf("promtool finds other than five rule files:\n%s", out)
	}
	example := want[len(want)-1]
	if out := check(t, "amtool", "check-config", example); !strings.Contains(out, "3 receivers") {
		t.Errorf("amtool finds other than three receivers:\n%s", out)
	}
	content, err := os.ReadFile(example)
	must(t, err)
	if !strings.Contains(string(content), "group_by: [alertname, environment, dc]\n") {
		t.Errorf("Alertmanager groups by other labels than the rules:\n%s", content)
	}
}

// To standard output go the rules, as one file, and nothing else.
func TestAlertsToStandardOutput(t *testing.T) {
	clearEnv(t)
	code, stdout, stderr := runProgram(t, "alerts", "--raft-log-lag=4321")
	rules, err := alerts.Pack(map[string]string{"raft-log-lag": "4321"})
	must(t, err)
	if diff := cmp.Diff(string(alerts.Join(rules)), stdout); code != 0 || stderr != "" || diff != "" {
		t.Errorf("exit code %d: %s (-want +got)\n%s", code, stderr, diff)
	}
	if !strings.Contains(stdout, "> 4321\n") {
		t.Error("the rules do not have the threshold that was asked for")
	}
}

func TestAlertsCannotBeWritten(t *testing.T) {
	clearEnv(t)
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"--leader-changes=many"}, `--leader-changes: "many" is no whole number above 0`},
		{[]string{"--output-dir=" + file}, "--output-dir: mkdir " + file + ": not a directory"},
	} {
		code, stdout, stderr := runProgram(t, slices.Concat([]string{"alerts"}, tc.args)...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, tc.want) {
			t.Errorf("%v: exit code %d, output %q, errors %q; want %s", tc.args, code, stdout, stderr, tc.want)
		}
	}
}
