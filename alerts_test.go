// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/alerts"
)

// packFiles are the files of the pack with these settings.
func packFiles(t *testing.T, settings map[string]string) []alerts.File {
	t.Helper()
	files, err := alerts.Pack(settings)
	must(t, err)
	return files
}

// Without a folder all rules go to standard output, as one file; flags and environment variables change them.
func TestAlerts_Stdout(t *testing.T) {
	clearEnv(t)
	expect := func(settings map[string]string, args ...string) {
		t.Helper()
		code, stdout, stderr := runProgram(t, append([]string{"alerts"}, args...)...)
		if diff := cmp.Diff(string(alerts.Join(packFiles(t, settings))), stdout); code != 0 || stderr != "" || diff != "" {
			t.Errorf("%v: exit code %d, stderr %q, the rules differ (-want +got):\n%s", args, code, stderr, diff)
		}
	}
	expect(nil)
	expect(map[string]string{"port-latency": "250ms", "group-by": "region"}, "--port-latency=250ms", "--group-by=region")
	t.Setenv("CONSUL_CLUSTER_EXPORTER_PORT_LATENCY", "3s")
	expect(map[string]string{"port-latency": "3s"})
}

// With a folder the rules go into it, file by file, and their names to standard output; files of before are overwritten.
func TestAlerts_OutputDir(t *testing.T) {
	clearEnv(t)
	dir := filepath.Join(t.TempDir(), "new", "rules")
	for _, value := range []string{"5000", "6000"} {
		files := packFiles(t, map[string]string{"raft-log-lag": value})
		code, stdout, stderr := runProgram(t, "alerts", "--output-dir="+dir, "--raft-log-lag="+value)
		var want strings.Builder
		for _, f := range files {
			path := filepath.Join(dir, f.Name)
			want.WriteString(path + "\n")
			content, err := os.ReadFile(path)
			must(t, err)
			if diff := cmp.Diff(string(f.Content), string(content)); diff != "" {
				t.Errorf("%s differs (-want +got):\n%s", path, diff)
			}
		}
		if code != 0 || stdout != want.String() || stderr != "" {
			t.Errorf("exit code %d, stdout %q, stderr %q; want 0 and %q", code, stdout, stderr, want.String())
		}
		entries, err := os.ReadDir(dir)
		must(t, err)
		if len(entries) != len(files) {
			t.Errorf("there are %d files in the folder; want %d", len(entries), len(files))
		}
	}
}

func TestAlerts_Bad(t *testing.T) {
	clearEnv(t)
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, tc := range []struct {
		name string
		args []string
		want []string // One line each, in this order.
	}{
		{"values", []string{"--port-error-rate=5%", "--port-latency=1", "--leader-changes=0"}, []string{
			`--port-latency: "1" is no duration above 0 as Prometheus writes it; want for example 500ms, 90s or 14d`,
			`--port-error-rate: "5%" is no number between 0 and 1; want for example 0.05`,
			`--leader-changes: "0" is no whole number above 0`,
		}},
		{"order", []string{"--gossip-score-warning=5"}, []string{"--gossip-score-warning: 5 is not less than 4, which is critical"}},
		{"folder", []string{"--output-dir=" + file}, []string{"--output-dir: mkdir " + file + ": not a directory"}},
		{"flag", []string{"--port-latenzy=1s"}, []string{"unknown long flag '--port-latenzy', try --help"}},
		{"argument", []string{"raft.yml"}, []string{"unexpected raft.yml, try --help"}},
		{"flag of the exporter", []string{"--consul.server=localhost"}, []string{"unknown long flag '--consul.server', try --help"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := runProgram(t, append([]string{"alerts"}, tc.args...)...)
			want := ""
			for _, line := range tc.want {
				want += "consul_cluster_exporter: error: " + line + "\n"
			}
			if code != 1 || stdout != "" || stderr != want {
				t.Errorf("exit code %d, printed %q and\n%s\nwant exit code 1 and only\n%s", code, stdout, stderr, want)
			}
		})
	}
}
