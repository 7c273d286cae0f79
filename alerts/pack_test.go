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
	if diff := cmp.Diff(beforeReceivers(string(defaults.Content)), beforeReceivers(back)); diff != "" {
		t.Errorf("more than the labels differs:\n%s", diff)
	}
}

// beforeReceivers is the part of Alertmanager's example that is about routes and inhibition.
func beforeReceivers(example string) string {
	before, _, _ := strings.Cut(example, "\nreceivers:\n")
	return before
}

// otherSettings has another value than the default for each setting.
func otherSettings() map[string]string {
	others := map[string]string{
		"profile": "core", "selector": `env="prod"`, "dashboard-url": "https://grafana.example/d/{dashboard}",
		"disable": "ConsulServersDisagree,ConsulEvenVoters", "severity": "ConsulQuorumAtRisk=warning,ConsulNoLeader=warning",
		"for": "ConsulQuorumLost=3m", "label": "team=platform",
		"service-alerts": "critical", "services": "web|api-.*", "service-tag": `al"ert`, "service-meta": "alert=true",
		"catalog-loss": "0.3", "group-by": "cluster", "runbook-url": "https://wiki.example/{alert}",
		"port-error-rate": "0.1", "rpc-error-rate": "0.3", "raft-saturation": "0.7", "leader-changes": "7",
		"gossip-score": "3", "members-failed-warning": "0.2", "members-failed-critical": "0.6",
		"certificate-warning": "20d", "certificate-critical": "2d",
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
	others := otherSettings()
	for _, s := range alerts.Lists() {
		if others[s.Name] == "" {
			t.Errorf("--%s is not tested", s.Name)
		}
	}
	for name, value := range others {
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
		{"runbook-url", "wiki/{alert}|https://wiki.example", "not a URL with http or https that has {alert} " +
			"in it; want for example https://wiki.example/{alert}"},
		{
			"dashboard-url", "grafana|https://grafana.example/d/raft|https://me:secret@grafana.example/d/{dashboard}",
			"not a URL with http or https that has {dashboard} in it; want for example https://grafana.example/d/{dashboard}",
		},
		{"profile", "|most", `there is no profile ""; want core or all`},
		{"selector", `prod|{env="prod"}|env=prod|env="prod"} or up{|,`, `"" is not what stands between the braces of a ` +
			`selector; want for example env="prod"`},
		{"selector", `__name__="up"`, `the rules name their metrics themselves; want for example env="prod"`},
		{"selector", `server="a"`, `server is a label that tells things in a cluster apart; want one that tells clusters ` +
			`apart, for example env="prod"`},
		{"selector", `env="prod",instance=~"a.*"`, `instance is a label that tells things in a cluster apart; want one ` +
			`that tells clusters apart, for example env="prod"`},
		{"disable", "ConsulServerDwn", `there is no alert ""; did you mean ConsulServerDown?`},
		{"disable", "ServerHung", `there is no alert ""; did you mean ConsulServerHung?`},
		{"disable", "consulnoleader", `there is no alert ""; did you mean ConsulNoLeader?`},
		{"disable", "ConsulNoLeader,ConsulEvenVoters,ConsulNoLeader", "ConsulNoLeader is there twice"},
		{"severity", "ConsulNoLeader|=warning|ConsulNoLeader=", `"" is not ALERT=SEVERITY; want for example ` +
			"ConsulServiceDown=warning"},
		{"severity", "ConsulNoLeader=page", `there is no severity "page", only critical, warning and info; want for ` +
			"example ConsulServiceDown=warning"},
		{"severity", "ConsulNoLeeder=info", `there is no alert "ConsulNoLeeder"; did you mean ConsulNoLeader?`},
		{"for", "ConsulNoLeader|10m", `"" is not ALERT=DURATION; want for example ConsulServerDown=10m`},
		{"for", "ConsulNoLeader=5", `"5" is no duration as Prometheus writes it; want for example ConsulServerDown=10m`},
		{"for", "ConsulVersionSkew=2h", "ConsulVersionSkew waits for as long as --version-skew says; want for example " +
			"--version-skew=2d"},
		{"label", "team|team=", `"" is not LABEL=VALUE; want for example team=platform`},
		{"label", "a-b=c", `"a-b" is no name of a label; want for example team=platform`},
		{"label", "team={{ x }}", `"{{ x }}" is a template, and no value; want for example team=platform`},
		{"label", "severity=critical", "there is --severity for severities; want for example team=platform"},
		{"label", "alertname=x", "alertname is the alert's name; want for example team=platform"},
		{"label", "cluster=x", "alerts have the label cluster already; want for example team=platform"},
		{"label", "server=x", "alerts have the label server already; want for example team=platform"},
		{"service-alerts", "|on", `there is no ""; want off, warning or critical`},
		{"services", "web(|*", `"" is no regular expression; want for example payments-.*`},
		{"service-meta", "alert|=true|alert=", `"" is not KEY=VALUE; want for example alert=true`},
		{"catalog-loss", "1|50%", `"" is no number between 0 and 1; want for example 0.05`},
		{"port-latency", "1|0s|-1s", `"" is no duration above 0 as Prometheus writes it; want for example 500ms, 90s or 14d`},
		{"port-error-rate", "5%|1|NaN", `"" is no number between 0 and 1; want for example 0.05`},
		{"raft-log-lag", "0|1e3", `"" is no whole number above 0`},
		{"certificate-warning", "3d", "3d must be more than 3d, the value of --certificate-critical"},
		{"members-failed-warning", "0.5", "0.5 must be less than 0.5, the value of --members-failed-critical"},
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
	left := map[string]string{"profile": "core", "severity": "ConsulPortSlow=info", "for": "ConsulEvenVoters=1m"}
	_, err := alerts.Pack(left)
	want := "--severity: ConsulPortSlow is left out, by --profile, --disable or --service-alerts\n" +
		"--for: ConsulEvenVoters is left out, by --profile, --disable or --service-alerts"
	if err == nil || err.Error() != want {
		t.Errorf("error %v; want %s", err, want)
	}
	_, err = alerts.Pack(map[string]string{"disable": strings.Join(packAlerts(t), ",")})
	if want := "--disable: no alert is left"; err == nil || err.Error() != want {
		t.Errorf("error %v; want %s", err, want)
	}
	_, err = alerts.Pack(map[string]string{"port-latency": "x", "leader-changes": "-1"})
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("error %v; want two problems in two lines", err)
	}
}
