// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// Every alert of each severity has a test in which it resolves: it fires, and later it does not.
func TestCoverage_Resolves(t *testing.T) {
	t.Parallel()
	type variant struct{ alert, severity string }
	resolved := make(map[variant]bool)
	for _, file := range testFiles(t) {
		var content struct {
			Tests []struct {
				Alerts []struct {
					At    string   `yaml:"eval_time"`
					Name  string   `yaml:"alertname"`
					Fires []firing `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		must.Do(t, yaml.Unmarshal(must.Get(os.ReadFile(file))(t), &content))
		for _, g := range content.Tests {
			first := make(map[variant]time.Duration)
			last := make(map[variant]time.Duration)
			for _, a := range g.Alerts {
				at := time.Duration(must.Get(model.ParseDuration(a.At))(t))
				for _, severity := range severities {
					v := variant{a.Name, severity}
					fires := slices.ContainsFunc(a.Fires, func(f firing) bool { return f.Labels["severity"] == severity })
					if was, ok := first[v]; fires && (!ok || at < was) {
						first[v] = at
					}
					if !fires {
						last[v] = max(last[v], at)
					}
				}
			}
			for v, at := range first {
				resolved[v] = resolved[v] || last[v] > at
			}
		}
	}
	for _, r := range harness.AlertRules(t, joined(t, nil)) {
		if v := (variant{r.Alert, r.Labels["severity"]}); !resolved[v] {
			t.Errorf("no test has %s (%s) resolve", v.alert, v.severity)
		}
	}
}
