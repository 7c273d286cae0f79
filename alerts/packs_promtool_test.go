// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// environments are what two packs in one Prometheus are for.
var environments = []string{"dev", "prod"}

// Two packs in one Prometheus, each for one environment: the tests of the pack pass in both, with clusters that have
// the same name in either. So the selector has lost nothing in any join, and no pack sees the other's clusters. Those
// that take days are left out: they are about time, and the same rules have other tests.
func TestPromtool_TwoPacks(t *testing.T) {
	t.Parallel()
	packs := t.TempDir()
	for _, env := range environments {
		writePack(t, filepath.Join(packs, env), map[string]string{"selector": `env="` + env + `"`})
	}
	for _, file := range testFiles(t) {
		if strings.Contains(file, "_days_") {
			continue
		}
		path := filepath.Join(packs, filepath.Base(file))
		must.Do(t, os.WriteFile(path, must.Get(yaml.Marshal(inBoth(t, file)))(t), 0o600))
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			harness.RunTool(t, "promtool", "test", "rules", path)
		})
	}
}

// writePack writes the rule files of a pack to a folder.
func writePack(t *testing.T, dir string, settings map[string]string) {
	t.Helper()
	must.Do(t, os.MkdirAll(dir, 0o700))
	for _, f := range harness.PackFiles(t, settings) {
		must.Do(t, os.WriteFile(filepath.Join(dir, f.Name), f.Content, 0o600))
	}
}

// ruleTests is a file for promtool test rules. Values and times stay as they are written.
type ruleTests struct {
	RuleFiles []string `yaml:"rule_files"`
	Interval  string   `yaml:"evaluation_interval"`
	Tests     []struct {
		Name, Interval string
		Series         []inputSeries `yaml:"input_series"`
		Alerts         []struct {
			At    string     `yaml:"eval_time"`
			Name  string     `yaml:"alertname"`
			Fires []expAlert `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
		Queries []struct {
			Expr    string
			At      string      `yaml:"eval_time"`
			Samples []expSample `yaml:"exp_samples"`
		} `yaml:"promql_expr_test"`
	}
}

type inputSeries struct{ Series, Values string }

type expAlert struct {
	Labels      map[string]string `yaml:"exp_labels"`
	Annotations map[string]string `yaml:"exp_annotations"`
}

type expSample struct {
	Labels string
	Value  float64
}

// recorded is the name of what a rule records.
var recorded = regexp.MustCompile(`consul:[\w:]+`)

// inCluster is how a description begins that names the cluster.
var inCluster = regexp.MustCompile(`^(?:Cluster|Job) [^:]*`)

// inBoth is a file of tests with each series and each alert in both environments. Queries look at one of them.
func inBoth(t *testing.T, file string) (tests ruleTests) {
	t.Helper()
	must.Do(t, yaml.Unmarshal(must.Get(os.ReadFile(file))(t), &tests))
	var rules []string
	for _, env := range environments {
		for _, path := range tests.RuleFiles {
			rules = append(rules, filepath.Join(env, filepath.Base(path)))
		}
	}
	tests.RuleFiles = rules
	for i := range tests.Tests {
		test := &tests.Tests[i]
		test.Series = inEach(test.Series, func(s inputSeries, env string) inputSeries {
			return inputSeries{withLabel(s.Series, env), s.Values}
		})
		for j, at := range test.Alerts {
			test.Alerts[j].Fires = inEach(at.Fires, func(a expAlert, env string) expAlert {
				a.Labels, a.Annotations = maps.Clone(a.Labels), maps.Clone(a.Annotations)
				a.Labels["env"] = env
				if text := a.Annotations["description"]; text != "" {
					a.Annotations["description"] = inCluster.ReplaceAllString(text, "$0, env "+env)
				}
				return a
			})
		}
		for j, query := range test.Queries {
			expr := strings.ReplaceAll(query.Expr, "ALERTS{", `ALERTS{env="prod",`)
			test.Queries[j].Expr = recorded.ReplaceAllString(expr, "$0:env_prod")
			for k, sample := range query.Samples {
				if name := recorded.FindString(sample.Labels); name != "" {
					labels := withLabel(strings.TrimPrefix(sample.Labels, name), "prod")
					query.Samples[k].Labels = name + ":env_prod" + labels
				}
			}
		}
	}
	return tests
}

// withLabel is a series of one environment.
func withLabel(series, env string) string {
	name, rest, ok := strings.Cut(series, "{")
	if !ok {
		rest = "}"
	}
	return name + `{env="` + env + `",` + rest
}

// inEach has each thing once for each environment.
func inEach[T any](things []T, in func(T, string) T) (all []T) {
	for _, thing := range things {
		for _, env := range environments {
			all = append(all, in(thing, env))
		}
	}
	return all
}

// Packs with other thresholds, severities and delays do not touch each other: neither those for two environments nor
// those for two teams that watch the same clusters.
func TestPromtool_Thresholds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for pack, settings := range map[string]map[string]string{
		"prod": {"selector": `env="prod"`, "label": "team=sre"},
		"dev": {
			"selector": `env="dev"`, "label": "team=dev", "raft-log-lag": "5000", "certificate-critical": "1d",
			"severity": "ConsulQuorumLost=warning,ConsulCertificateExpires=info", "for": "ConsulQuorumLost=10m",
			"disable": "ConsulNoLeader",
		},
		"strict": {"selector": `env="shared"`, "label": "team=database", "raft-log-lag": "100", "group-by": "cluster"},
		"loose":  {"selector": `env="shared"`, "label": "team=web", "raft-log-lag": "5000"},
	} {
		writePack(t, filepath.Join(dir, pack), settings)
	}
	path := filepath.Join(dir, "test.yml")
	must.Do(t, os.WriteFile(path, must.Get(os.ReadFile(filepath.Join("testdata", "packs", "thresholds.yml")))(t), 0o600))
	for _, name := range promtools {
		harness.RunTool(t, name, "test", "rules", path)
	}
}

// The flags about services choose which of them have alerts, also for what vanishes, and whether they page.
func TestPromtool_Services(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for pack, settings := range map[string]map[string]string{
		"off":    {"selector": `env="off"`, "service-alerts": "off"},
		"pages":  {"selector": `env="pages"`, "service-alerts": "critical", "services": "web|api-.*"},
		"chosen": {"selector": `env="chosen"`, "service-tag": `al"ert`, "service-meta": "alert=true"},
	} {
		writePack(t, filepath.Join(dir, pack), settings)
	}
	path := filepath.Join(dir, "test.yml")
	must.Do(t, os.WriteFile(path, must.Get(os.ReadFile(filepath.Join("testdata", "packs", "services.yml")))(t), 0o600))
	for _, name := range promtools {
		harness.RunTool(t, name, "test", "rules", path)
	}
}

// Each format, with choices and without, is what Prometheus loads, with the same rules.
func TestPromtool_Formats(t *testing.T) {
	t.Parallel()
	for kind, settings := range map[string]map[string]string{
		"defaults": nil,
		"choices":  {"selector": `env="prod"`, "label": "team=platform", "disable": "ConsulEvenVoters"},
	} {
		want := joined(t, settings).Content
		for format, unpack := range map[string]func(*testing.T, []byte) []byte{
			alerts.FormatRules:          func(_ *testing.T, content []byte) []byte { return content },
			alerts.FormatPrometheusRule: spec,
			alerts.FormatMixin:          rendered,
		} {
			t.Run(kind+"/"+format, func(t *testing.T) {
				t.Parallel()
				content := must.Get(alerts.Single(format, settings))(t)
				if !strings.HasPrefix(string(content), alerts.Marker+"\n") {
					t.Errorf("the first line is not that of the program's own files:\n%s", content)
				}
				path := harness.WriteFile(t, "rules.yml", string(unpack(t, content)))
				for _, name := range promtools {
					harness.RunTool(t, name, "check", "rules", "--lint=all", "--lint-fatal", path)
				}
				expectRules(t, must.Get(os.ReadFile(path))(t), want)
			})
		}
	}
}

// expectRules expects two rule files to have the same rules in groups of the same names, in whatever order.
func expectRules(t *testing.T, got, want []byte) {
	t.Helper()
	have := make(map[string]int)
	for count, content := range map[int][]byte{1: want, -1: got} {
		var file struct {
			Groups []struct {
				Name  string
				Rules []any
			}
		}
		must.Do(t, yaml.Unmarshal(content, &file))
		for _, g := range file.Groups {
			for _, r := range g.Rules {
				have[strings.TrimSuffix(g.Name, ".rules")+"\n"+string(must.Get(yaml.Marshal(r))(t))] += count
			}
		}
	}
	for r, count := range have {
		if count != 0 {
			t.Errorf("a rule is missing (1) or too many (-1): %d\n%s", count, r)
		}
	}
}

// spec is what the Prometheus Operator gives to Prometheus.
func spec(t *testing.T, content []byte) []byte {
	t.Helper()
	var object struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct{ Name string }
		Spec       yaml.Node
	}
	must.Do(t, yaml.Unmarshal(content, &object))
	if object.APIVersion != "monitoring.coreos.com/v1" || object.Kind != "PrometheusRule" ||
		!regexp.MustCompile(`^consul-cluster-exporter(-env-prod-for-team-platform)?$`).MatchString(object.Metadata.Name) {
		t.Errorf("the object is %+v", object)
	}
	return must.Get(yaml.Marshal(&object.Spec))(t)
}

// rendered is what those who import a mixin give to Prometheus.
func rendered(t *testing.T, content []byte) []byte {
	t.Helper()
	mixin := harness.WriteFile(t, "mixin.libsonnet", string(content))
	// As with other mixins, from which it takes nothing away.
	program := `
		local other = { prometheusAlerts+:: { groups+: [] }, prometheusRules+:: { groups+: [] } };
		local mixin = other + (import 'mixin.libsonnet');
		{ groups: mixin.prometheusRules.groups + mixin.prometheusAlerts.groups }`
	return []byte(harness.RunTool(t, "jsonnet", "--jpath", filepath.Dir(mixin), "--exec", program))
}
