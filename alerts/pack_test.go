// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// The files in this folder are what the pack and the example are with the defaults, and there are no others.
func TestPack_Files(t *testing.T) {
	t.Parallel()
	example := must.Get(alerts.Alertmanager(nil))(t)
	var names []string
	for _, f := range append(harness.PackFiles(t, nil), example) {
		names = append(names, f.Name)
		if *harness.Update {
			must.Do(t, os.WriteFile(f.Name, f.Content, 0o644))
		}
		content := must.Get(os.ReadFile(f.Name))(t)
		if diff := cmp.Diff(string(f.Content), string(content)); diff != "" {
			t.Errorf("%s differs from its template; run: make rules (-template +file)\n%s", f.Name, diff)
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, must.Get(filepath.Glob("*.yml"))(t)); diff != "" {
		t.Errorf("files (-templates +folder):\n%s", diff)
	}
}

// Other labels take the place of the defaults wherever these were: in the grouping, and in each inhibition.
func TestAlertmanager_GroupBy(t *testing.T) {
	t.Parallel()
	defaults := must.Get(alerts.Alertmanager(nil))(t)
	got := must.Get(alerts.Alertmanager(map[string]string{"group-by": "environment,dc"}))(t)
	content := string(got.Content)
	inhibitions := strings.Count(content, "\n    equal: [")
	if n := strings.Count(content, "environment, dc"); n != 1+inhibitions || inhibitions == 0 {
		t.Errorf("the labels are there %d times; want once in the grouping and in each of %d inhibitions", n, inhibitions)
	}
	back := strings.ReplaceAll(content, "environment, dc", "cluster, datacenter, job")
	if diff := cmp.Diff(string(defaults.Content), back); diff != "" {
		t.Errorf("more than the labels differs:\n%s", diff)
	}
}

// otherSettings has another value than the default for each setting.
func otherSettings() map[string]string {
	others := map[string]string{
		"group-by": "cluster", "runbook-url": "https://wiki.example/{alert}",
		"port-error-rate": "0.1", "raft-saturation": "0.7", "leader-changes": "7",
		"raft-last-contact-warning": "250ms", "raft-last-contact-critical": "2s",
		"gossip-score-warning": "3", "gossip-score-critical": "6", "certificate-warning": "20d", "certificate-critical": "2d",
		"ca-root-warning": "20d", "ca-root-critical": "5d", "license-warning": "20d", "license-critical": "5d",
	}
	for _, s := range alerts.Settings() {
		if others[s.Name] != "" {
			continue
		}
		others[s.Name] = "5555" // Of a count, and without a unit it is no duration.
		if strings.HasSuffix(s.Default, "s") || strings.HasSuffix(s.Default, "d") {
			others[s.Name] = "1h17m"
		}
	}
	return others
}

// Each setting changes the rules, so that none is there in vain.
func TestPack_Settings(t *testing.T) {
	t.Parallel()
	defaults := joined(t, nil).Content
	for name, value := range otherSettings() {
		if bytes.Equal(joined(t, map[string]string{name: value}).Content, defaults) {
			t.Errorf("--%s=%s changes nothing", name, value)
		}
	}
}

// Numbers are written as every PromQL reads them: one that begins with 0 would be octal.
func TestPack_Numbers(t *testing.T) {
	t.Parallel()
	numbers := map[string]string{"raft-log-lag": "0750", "port-error-rate": "0x1p-2", "raft-saturation": "1e-1"}
	got := string(joined(t, numbers).Content)
	for _, want := range []string{
		"consul:server_raft_log_lag_entries:max > 750\n", "consul:port_failure_ratio:rate5m > 0.25 < 1\n",
		`{stat="mean"}) > 0.1` + "\n", "more than 25%.", "more than\n            10%:",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the rules do not have %q", want)
		}
	}
}

func TestPack_BadSettings(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ setting, values, want string }{
		{"group-by", "|a,b c|__name__", `"" is no list of names of labels; want for example cluster,datacenter`},
		{"group-by", "a, b,a", `"" has the label a twice`},
		{"runbook-url", "wiki/{alert}|https://wiki.example", "not a URL with http or https that has {alert} in it"},
		{"port-latency", "1|0s|-1s", `"" is no duration above 0 as Prometheus writes it; want for example 500ms, 90s or 14d`},
		{"port-error-rate", "5%|1|NaN", `"" is no number between 0 and 1; want for example 0.05`},
		{"raft-log-lag", "0|1e3", `"" is no whole number above 0`},
		{"certificate-warning", "3d", "3d is not more than 3d, which is critical"},
		{"raft-last-contact-warning", "500ms", "500ms is not less than 500ms, which is critical"},
	} {
		for value := range strings.SplitSeq(tc.values, "|") {
			given := map[string]string{tc.setting: value}
			want := "--" + tc.setting + ": " + strings.Replace(tc.want, `""`, strconv.Quote(value), 1)
			_, err := alerts.Pack(given)
			_, same := alerts.Alertmanager(given)
			if err == nil || same == nil || err.Error() != want || same.Error() != want {
				t.Errorf("--%s=%q: errors %v and %v; want %s", tc.setting, value, err, same, want)
			}
		}
	}
	_, err := alerts.Pack(map[string]string{"port-latency": "x", "leader-changes": "-1"})
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("error %v; want two problems in two lines", err)
	}
}
