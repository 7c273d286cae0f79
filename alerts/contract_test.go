// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/collector"
)

// rule is a recording rule or an alert, as Prometheus reads it.
type rule struct {
	Record      string            `yaml:"record"`
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	KeepFiring  string            `yaml:"keep_firing_for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// variant is an alert of one severity; the same alert may have several.
type variant struct{ alert, severity string }

func (r rule) variant() variant { return variant{r.Alert, r.Labels["severity"]} }

// rules are all of the pack with the defaults.
func rules(t *testing.T) []rule {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	decode(t, alerts.Join(pack(t, nil)), &file)
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 50 {
		t.Fatalf("the pack has %d rules; want 50 at least", len(all))
	}
	return all
}

// decode reads one YAML document, which has nothing that into does not know.
func decode(t *testing.T, content []byte, into any) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(content))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		t.Fatalf("there is more than one document (%v)", err)
	}
}

func alertsOf(all []rule) []rule {
	return slices.DeleteFunc(slices.Clone(all), func(r rule) bool { return r.Alert == "" })
}

// Every alert has what those who are woken by it need.
func TestContract_Alerts(t *testing.T) {
	t.Parallel()
	for _, r := range alertsOf(rules(t)) {
		t.Run(r.Alert+"/"+r.Labels["severity"], func(t *testing.T) {
			if !strings.HasPrefix(r.Alert, "Consul") {
				t.Error("the name does not begin with Consul")
			}
			if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
				t.Errorf("the severity is %q", r.Labels["severity"])
			}
			if r.For == "" {
				t.Error("there is no for")
			}
			if diff := cmp.Diff([]string{"description", "runbook_url", "summary"}, slices.Sorted(maps.Keys(r.Annotations))); diff != "" {
				t.Errorf("annotations differ (-want +got):\n%s", diff)
			}
			if s := r.Annotations["summary"]; !isSentence(s) || strings.Contains(s, "{{") {
				t.Errorf("the summary is no sentence that is always the same: %q", s)
			}
			if d := r.Annotations["description"]; !isSentence(d) {
				t.Errorf("the description is no sentence: %q", d)
			}
			want := "https://github.com/zervigo/consul_cluster_exporter/blob/main/docs/runbooks/" + r.Alert + ".md"
			if got := r.Annotations["runbook_url"]; got != want {
				t.Errorf("the runbook is %s; want %s", got, want)
			}
		})
	}
}

// isSentence reports whether it is one line that begins with a capital letter or a template and ends with a period.
func isSentence(s string) bool {
	return len(s) > 1 && strings.HasSuffix(s, ".") && strings.TrimSpace(s) == s && !strings.Contains(s, "\n") &&
		(s[0] == '{' || s[0] >= 'A' && s[0] <= 'Z')
}

// Every alert has a page in docs/runbooks, and every page an alert.
func TestContract_Runbooks(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join("..", "docs", "runbooks", "*"))
	if err != nil {
		t.Fatal(err)
	}
	without := make(map[string]bool)
	for _, r := range alertsOf(rules(t)) {
		without[r.Alert] = true
	}
	for _, page := range pages {
		if filepath.Base(page) == "README.md" {
			continue // Lists them.
		}
		if info, err := os.Stat(page); err != nil || info.Size() == 0 {
			t.Errorf("%s is empty (%v)", page, err)
		}
		alert, ok := strings.CutSuffix(filepath.Base(page), ".md")
		if !ok || !without[alert] {
			t.Errorf("%s is for no alert", page)
		}
		delete(without, alert)
	}
	for _, alert := range slices.Sorted(maps.Keys(without)) {
		t.Errorf("%s has no runbook", alert)
	}
}

// Every alert of each severity has a test in which it fires at one time and not at another. Tests name only alerts that there are, as any
// other never fires.
func TestContract_Tests(t *testing.T) {
	t.Parallel()
	untested := make(map[variant]bool)
	for _, r := range alertsOf(rules(t)) {
		untested[r.variant()] = true
	}
	known := maps.Clone(untested)
	for _, file := range testFiles(t) {
		for _, g := range testGroups(t, file) {
			for v := range known {
				if silent, fires := g.times(v); silent > 0 && fires > 0 {
					delete(untested, v)
				}
			}
			for _, at := range g.Alerts {
				if !slices.ContainsFunc(slices.Collect(maps.Keys(known)), func(v variant) bool { return v.alert == at.Name }) {
					t.Errorf("%s: %s: there is no alert %s", file, g.Name, at.Name)
				}
			}
			if len(g.Alerts) > 0 && !slices.ContainsFunc(g.Alerts, func(at alertTest) bool { return strings.HasPrefix(g.Name, at.Name) }) {
				t.Errorf("%s: the test %q has not the name of an alert that it is about", file, g.Name)
			}
		}
	}
	for v := range untested {
		t.Errorf("no test has %s (%s) both fire and not fire", v.alert, v.severity)
	}
}

// testGroup is a test of promtool's.
type testGroup struct {
	Name        string      `yaml:"name"`
	Interval    string      `yaml:"interval"`
	Series      []yaml.Node `yaml:"input_series"`
	Alerts      []alertTest `yaml:"alert_rule_test"`
	Expressions []yaml.Node `yaml:"promql_expr_test"`
}

// alertTest is which alerts of one name fire at one time.
type alertTest struct {
	Time  string `yaml:"eval_time"`
	Name  string `yaml:"alertname"`
	Fires []struct {
		Labels      map[string]string `yaml:"exp_labels"`
		Annotations map[string]string `yaml:"exp_annotations"`
	} `yaml:"exp_alerts"`
}

// testGroups reads a file of promtool's tests.
func testGroups(t *testing.T, path string) []testGroup {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Rules    []string    `yaml:"rule_files"`
		Interval string      `yaml:"evaluation_interval"`
		Tests    []testGroup `yaml:"tests"`
	}
	decode(t, content, &file)
	return file.Tests
}

// times counts when the alert does not fire, and when it does.
func (g testGroup) times(v variant) (silent, fires int) {
	for _, at := range g.Alerts {
		if at.Name != v.alert {
			continue
		}
		silent++
		for _, alert := range at.Fires {
			if alert.Labels["severity"] == v.severity {
				silent--
				fires++
				break
			}
		}
	}
	return silent, fires
}

// fromElsewhere are the metrics in the rules that are not the collectors', each with where it comes from.
var fromElsewhere = map[string]string{
	"up":                      "Prometheus itself, for each target",
	"scrape_duration_seconds": "Prometheus itself, for each target",
	"consul_exporter_config_last_reload_successful": "package web, with --config.file",
	"consul_responder_actions_total":                "package responder, where it runs",
}

// Rules use only metrics that there are. Every recording rule is used by an alert, directly; that a dashboard uses it is not enough, as then
// it belongs there.
func TestContract_Metrics(t *testing.T) {
	t.Parallel()
	all := rules(t)
	known := maps.Clone(fromElsewhere)
	for _, f := range collector.AllFamilies() {
		known[f.Name] = "a collector"
	}
	used := make(map[string]bool)
	recorded := make(map[string]bool)
	for _, r := range all {
		names, err := metricNames(r.Expr)
		if err != nil || len(names) == 0 {
			t.Errorf("%s%s: there is no metric in %s (%v)", r.Record, r.Alert, r.Expr, err)
		}
		for _, name := range names {
			// A rule sees those before it.
			if known[name] == "" && !recorded[name] {
				t.Errorf("%s%s uses %s, which nothing exports or records before it", r.Record, r.Alert, name)
			}
			used[name] = used[name] || r.Alert != ""
		}
		if r.Record != "" {
			if !strings.HasPrefix(r.Record, "consul:") {
				t.Errorf("the recording rule %s does not begin with consul:", r.Record)
			}
			recorded[r.Record] = true
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
