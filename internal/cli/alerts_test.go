// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// Without a folder all rules go to standard output, as one file; flags and environment variables change them.
func TestAlerts_Stdout(t *testing.T) {
	expect := func(settings map[string]string, args ...string) {
		t.Helper()
		code, stdout, stderr := harness.RunProgram(t, append([]string{"alerts"}, args...)...)
		if diff := cmp.Diff(string(alerts.Join(harness.PackFiles(t, settings))), stdout); code != 0 || stderr != "" ||
			diff != "" {
			t.Errorf("%v: exit code %d, stderr %q, the rules differ (-want +got):\n%s", args, code, stderr, diff)
		}
	}
	expect(nil)
	expect(map[string]string{"port-latency": "250ms", "group-by": "region"}, "--port-latency=250ms", "--group-by=region")
	expect(map[string]string{"selector": `env="prod",region="eu"`, "disable": "ConsulEvenVoters,ConsulPortSlow"},
		`--selector=env="prod",region="eu"`, "--disable", "ConsulEvenVoters", "--disable=ConsulPortSlow")
	expect(map[string]string{"label": "team=a,owner=b", "severity": "ConsulNoLeader=info", "for": "ConsulNoLeader=5m"},
		"--label=team=a, owner=b", "--severity=ConsulNoLeader=info", "--for", "ConsulNoLeader=5m")
	t.Setenv("CONSUL_CLUSTER_EXPORTER_PORT_LATENCY", "3s")
	t.Setenv("CONSUL_CLUSTER_EXPORTER_DISABLE", "ConsulEvenVoters\nConsulPortSlow")
	expect(map[string]string{"port-latency": "3s", "disable": "ConsulEvenVoters,ConsulPortSlow"})
}

// The other formats are one file each, on standard output and in a folder, beside the example for Alertmanager.
func TestAlerts_Formats(t *testing.T) {
	t.Parallel()
	for format, name := range map[string]string{"prometheusrule": "prometheusrule.yaml", "mixin": "mixin.libsonnet"} {
		want := must.Get(alerts.Single(format, map[string]string{"profile": "core"}))(t)
		code, stdout, stderr := harness.RunProgram(t, "alerts", "--profile=core", "--format="+format)
		if diff := cmp.Diff(string(want), stdout); code != 0 || stderr != "" || diff != "" {
			t.Errorf("%s: exit code %d, stderr %q, it differs (-want +got):\n%s", format, code, stderr, diff)
		}
		dir := t.TempDir()
		for range 2 { // Also over the files of before.
			code, stdout, stderr = harness.RunProgram(t, "alerts", "--profile=core", "--format="+format, "--output-dir="+dir)
			file, example := filepath.Join(dir, name), filepath.Join(dir, "alertmanager", "alertmanager.example.yml")
			if code != 0 || stderr != "" || stdout != file+"\n"+example+"\n" {
				t.Errorf("%s: exit code %d, stderr %q, stdout %q", format, code, stderr, stdout)
			}
			if diff := cmp.Diff(string(want), string(must.Get(os.ReadFile(file))(t))); diff != "" {
				t.Errorf("%s differs (-want +got):\n%s", file, diff)
			}
		}
	}
}

// What is wrong with the flags is said at once, one problem in a line, and nothing is written.
func TestAlerts_Errors(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "rules")
	for want, args := range map[string][]string{
		"--disable: there is no alert \"ConsulServerDwn\"; did you mean ConsulServerDown?": {"--disable=ConsulServerDwn"},
		"--format: there is no format \"yaml\"; want rules, prometheusrule or mixin":       {"--format=yaml"},
		"--profile: there is no profile \"some\"; want core or all": {
			"--profile=some", "--format=mixin",
		},
	} {
		code, stdout, stderr := harness.RunProgram(t, append([]string{"alerts", "--output-dir=" + dir}, args...)...)
		if code != 1 || stdout != "" || stderr != "consul_cluster_exporter: error: "+want+"\n" {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q; want %q", args, code, stdout, stderr, want)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is there (%v)", dir, err)
	}
}

// With a folder the files go into it, and their names to standard output; files of before are overwritten. Prometheus
// loads all that is in the folder, and Alertmanager what is in the one below.
func TestAlerts_OutputDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "consul")
	if code, _, stderr := harness.RunProgram(t, "alerts", "--output-dir="+dir); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	code, stdout, stderr := harness.RunProgram(t, "alerts", "--output-dir="+dir, "--group-by=environment,dc")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	names := []string{
		"cluster.yml", "exporter.yml", "ports.yml", "raft.yml", "responder.yml", "services.yml",
		"alertmanager/alertmanager.example.yml",
	}
	var want []string
	for _, name := range names {
		want = append(want, filepath.Join(dir, filepath.FromSlash(name)))
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(stdout), "\n")); diff != "" {
		t.Errorf("files it says it wrote (-want +got):\n%s", diff)
	}

	config := filepath.Join(dir, "..", "prometheus.yml")
	must.Do(t, os.WriteFile(config, fmt.Appendf(nil, "rule_files: [%q]\n", filepath.Join(dir, "*.yml")), 0o600))
	if out := harness.RunTool(t, "promtool", "check", "config", config); !strings.Contains(out,
		"SUCCESS: 6 rule files found\n") {
		t.Errorf("promtool finds other than six rule files:\n%s", out)
	}
	example := want[len(want)-1]
	for _, amtool := range []string{"amtool", "amtool-0.25"} {
		if out := harness.RunTool(t, amtool, "check-config", example); !strings.Contains(out, "4 receivers") {
			t.Errorf("%s finds other than four receivers:\n%s", amtool, out)
		}
	}
	content := must.Get(os.ReadFile(example))(t)
	if !strings.Contains(string(content), "group_by: [alertname, environment, dc, service_name, ") {
		t.Errorf("Alertmanager groups by other labels than the rules:\n%s", content)
	}
}
