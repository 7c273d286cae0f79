// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// joined is the pack with these settings as one file.
func joined(t *testing.T, settings map[string]string) alerts.File {
	t.Helper()
	return alerts.File{Name: "joined.yml", Content: alerts.Join(harness.PackFiles(t, settings))}
}

func packAlerts(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, r := range harness.AlertRules(t, joined(t, nil)) {
		if !slices.Contains(names, r.Alert) {
			names = append(names, r.Alert)
		}
	}
	return names
}

// Every alert has what those who are woken by it need.
func TestContract_Alerts(t *testing.T) {
	t.Parallel()
	for _, r := range harness.AlertRules(t, joined(t, nil)) {
		t.Run(r.Alert+"/"+r.Labels["severity"], func(t *testing.T) {
			if !strings.HasPrefix(r.Alert, "Consul") {
				t.Error("the name does not begin with Consul")
			}
			if !slices.Contains(severities, r.Labels["severity"]) {
				t.Errorf("the severity is %q", r.Labels["severity"])
			}
			if r.For == "" {
				t.Error("there is no for")
			}
			annotations := slices.Sorted(maps.Keys(r.Annotations))
			if diff := cmp.Diff([]string{"description", "runbook_url", "summary"}, annotations); diff != "" {
				t.Errorf("annotations differ (-want +got):\n%s", diff)
			}
			if s := r.Annotations["summary"]; !sentence.MatchString(s) || strings.Contains(s, "{{") {
				t.Errorf("the summary is no sentence that is always the same: %q", s)
			}
			if d := r.Annotations["description"]; !sentence.MatchString(d) {
				t.Errorf("the description is no sentence: %q", d)
			}
			want := "https://github.com/zervigo/consul_cluster_exporter/blob/main/docs/runbooks/" + r.Alert + ".md"
			if got := r.Annotations["runbook_url"]; got != want {
				t.Errorf("the runbook is %s; want %s", got, want)
			}
		})
	}
}

// sentence is one line that begins with a capital letter or a template and ends with a period.
var sentence = regexp.MustCompile(`^[A-Z{].*\.$`)

// notKept are alerts that do not keep firing for long enough to survive a restart of the exporter, with the reason.
var notKept = map[string]string{
	"ConsulPortErrors":       "looks back over five minutes",
	"ConsulGossipHealthPoor": "looks back over five minutes",
	"ConsulRaftLogCorrupt":   "looks back over ten minutes",
	"ConsulResponderRefuses": "looks back over an hour",
	"ConsulResponderFails":   "looks back over an hour",
}

// An exporter that is restarted in an outage, or that cannot see any more, resolves nothing.
func TestContract_KeepFiring(t *testing.T) {
	t.Parallel()
	for _, r := range harness.AlertRules(t, joined(t, nil)) {
		least := 5 * time.Minute
		if r.Labels["severity"] == "critical" {
			least = 10 * time.Minute
		}
		if got, why := keeps(t, r), notKept[r.Alert]; (got < least) != (why != "") {
			t.Errorf("%s (%s) keeps firing for %s; want %s; exception: %q", r.Alert, r.Labels["severity"], got, least, why)
		}
	}
}

// What holds a critical alert back keeps firing for longer, or the alert would page just before it ends.
func TestContract_KeepFiring_Causes(t *testing.T) {
	t.Parallel()
	rules := harness.AlertRules(t, joined(t, nil))
	for _, c := range alerts.Causes() {
		for _, source := range rules {
			for _, target := range rules {
				critical := target.Labels["severity"] == "critical" && source.Labels["severity"] == "critical"
				if !critical || !slices.Contains(c.Source.Names, source.Alert) || !slices.Contains(c.Target.Names, target.Alert) {
					continue
				}
				if notKept[target.Alert] == "" && keeps(t, source) <= keeps(t, target) {
					t.Errorf("%s keeps firing for %s, and %s, which it holds back, for %s",
						source.Alert, source.KeepFiringFor, target.Alert, target.KeepFiringFor)
				}
			}
		}
	}
}

// lookBack are alerts that pend in their expression, and not by their for.
var lookBack = []string{"ConsulServiceVanished", "ConsulEvenVoters"}

// What holds an alert back pends no longer than it, or of one fault two alerts would be sent, and first the symptom.
func TestContract_For_Causes(t *testing.T) {
	t.Parallel()
	rules := harness.AlertRules(t, joined(t, nil))
	pends := make(map[string]time.Duration) // The shortest of each alert.
	for _, r := range rules {
		d := time.Duration(must.Get(model.ParseDuration(r.For))(t))
		if least, ok := pends[r.Alert]; !ok || d < least {
			pends[r.Alert] = d
		}
	}
	for _, c := range alerts.Causes() {
		for _, source := range c.Source.Names {
			for _, target := range c.Target.Names {
				if !slices.Contains(lookBack, target) && pends[source] > pends[target] {
					t.Errorf("%s pends for %s, and %s, which it holds back, for %s", source, pends[source], target, pends[target])
				}
			}
		}
	}
}

func keeps(t *testing.T, r harness.AlertRule) time.Duration {
	t.Helper()
	if r.KeepFiringFor == "" {
		return 0
	}
	return time.Duration(must.Get(model.ParseDuration(r.KeepFiringFor))(t))
}

// Every alert has a page in docs/runbooks, and every page an alert.
func TestContract_Runbooks(t *testing.T) {
	t.Parallel()
	pages := must.Get(filepath.Glob(filepath.Join("..", "docs", "runbooks", "*")))(t)
	want := []string{"README.md", "by-symptom.md"} // Both lead to them.
	for _, alert := range packAlerts(t) {
		want = append(want, alert+".md")
	}
	var got []string
	for _, page := range pages {
		got = append(got, filepath.Base(page))
		if info, err := os.Stat(page); err != nil || info.Size() == 0 {
			t.Errorf("%s is empty (%v)", page, err)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("runbooks differ (-want +got):\n%s", diff)
	}
}

// Every alert of each severity has a test in which it fires at one time and not at another. Tests name only alerts that
// there are, as any other never fires.
func TestContract_Tests(t *testing.T) {
	t.Parallel()
	type variant struct{ alert, severity string }
	untested := make(map[variant]bool)
	for _, r := range harness.AlertRules(t, joined(t, nil)) {
		untested[variant{r.Alert, r.Labels["severity"]}] = true
	}
	names := packAlerts(t)
	for _, file := range testFiles(t) {
		for _, g := range testGroups(t, file) {
			fired, silent := make(map[variant]bool), make(map[variant]bool)
			for _, at := range g.Alerts {
				if !slices.Contains(names, at.Name) {
					t.Errorf("%s: %s: there is no alert %s", file, g.Name, at.Name)
				}
				for _, severity := range severities {
					v := variant{at.Name, severity}
					fires := slices.ContainsFunc(at.Fires, func(f firing) bool { return f.Labels["severity"] == severity })
					fired[v], silent[v] = fired[v] || fires, silent[v] || !fires
					if fired[v] && silent[v] {
						delete(untested, v)
					}
				}
			}
			named := slices.ContainsFunc(g.Alerts, func(at alertTest) bool { return strings.HasPrefix(g.Name, at.Name) })
			if len(g.Alerts) > 0 && !named {
				t.Errorf("%s: the test %q does not begin with an alert that it is about", file, g.Name)
			}
		}
	}
	for v := range untested {
		t.Errorf("no test has %s (%s) both fire and not fire", v.alert, v.severity)
	}
}

var severities = []string{"critical", "warning", "info"}

type testGroup struct {
	Name   string      `yaml:"name"`
	Alerts []alertTest `yaml:"alert_rule_test"`
}

// alertTest is which alerts of one name fire at one time.
type alertTest struct {
	Name  string   `yaml:"alertname"`
	Fires []firing `yaml:"exp_alerts"`
}

type firing struct {
	Labels map[string]string `yaml:"exp_labels"`
}

func testGroups(t *testing.T, path string) []testGroup {
	t.Helper()
	var file struct{ Tests []testGroup }
	must.Do(t, yaml.Unmarshal(must.Get(os.ReadFile(path))(t), &file))
	return file.Tests
}

// fromElsewhere are the metrics in the rules that are not the collectors', each with where it comes from.
var fromElsewhere = map[string]string{
	"up":                      "Prometheus itself, for each target",
	"scrape_duration_seconds": "Prometheus itself, for each target",
	"consul_exporter_config_last_reload_successful": "package web, with --config.file",
	"consul_responder_actions_total":                "package responder, where it runs",
}

// notMetrics is everything in PromQL except names of metrics: strings, matchers, ranges, grouping, calls of functions,
// keywords and numbers. Anything that it does not know is taken for a metric, which there is not.
var notMetrics = regexp.MustCompile(`"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|group_left)\s*\([^)]*\)|` +
	`\b\w+(?:\s+(?:by|without)\s*\([^)]*\))?\s*\(|\b(?:and|or|unless|bool|offset)\b|\b\d[\w.]*`)

var metricName = regexp.MustCompile(`[a-zA-Z_:][\w:]*`)

// Rules use only metrics that there are. Every recording rule is used by an alert, if only through another one: what
// only a dashboard uses belongs there.
func TestContract_Metrics(t *testing.T) {
	t.Parallel()
	type rule struct{ Record, Alert, Expr string }
	var file struct{ Groups []struct{ Rules []rule } }
	must.Do(t, yaml.Unmarshal(joined(t, nil).Content, &file))
	var rules []rule
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	known := maps.Clone(fromElsewhere)
	for _, f := range collector.AllFamilies() {
		known[f.Name] = "a collector"
	}
	used := make(map[string]bool)
	recorded := make(map[string][]string)
	for _, r := range rules {
		names := metricName.FindAllString(notMetrics.ReplaceAllString(r.Expr, " "), -1)
		if len(names) == 0 {
			t.Errorf("%s%s: there is no metric in %s", r.Record, r.Alert, r.Expr)
		}
		for _, name := range names {
			// A rule sees those before it, and what it recorded itself.
			if known[name] == "" && recorded[name] == nil && name != r.Record {
				t.Errorf("%s%s uses %s, which nothing exports or records before it", r.Record, r.Alert, name)
			}
			used[name] = used[name] || r.Alert != ""
		}
		if r.Record != "" {
			if !strings.HasPrefix(r.Record, "consul:") {
				t.Errorf("the recording rule %s does not begin with consul:", r.Record)
			}
			recorded[r.Record] = names
		}
	}
	for range rules { // In each round what the used ones use.
		for name, names := range recorded {
			for _, of := range names {
				used[of] = used[of] || used[name]
			}
		}
	}
	for name := range recorded {
		if !used[name] {
			t.Errorf("no alert uses the recording rule %s", name)
		}
	}
	for name := range fromElsewhere {
		if !used[name] {
			t.Errorf("no alert uses %s any more", name)
		}
	}
}
