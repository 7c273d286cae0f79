// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package dashboards_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/internal/grafana"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// exclusion is what is excluded from a rule of dashboard-linter: a dashboard, or one of its panels.
type exclusion struct{ Dashboard, Panel string }

// The rules of dashboard-linter hold, with its names, except where .lint says why not. It is in the linter's format,
// and has nothing that is not needed.
func TestLinter(t *testing.T) {
	t.Parallel()
	var config struct {
		Exclusions map[string]struct {
			Reason  string
			Entries []exclusion
		}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(must.Get(os.ReadFile(".lint"))(t)))
	decoder.KnownFields(true)
	must.Do(t, decoder.Decode(&config))
	broken := make(map[string][]exclusion)
	for _, b := range all(t) {
		for rule, panels := range b.broken(t) {
			// A rule that most panels break is excluded for the whole dashboard.
			excluded := exclusion{Dashboard: b.Title}
			if slices.Contains(config.Exclusions[rule].Entries, excluded) {
				broken[rule] = append(broken[rule], excluded)
				continue
			}
			for _, p := range panels {
				broken[rule] = append(broken[rule], exclusion{b.Title, p})
			}
		}
	}
	excluded := make(map[string][]exclusion)
	for rule, e := range config.Exclusions {
		if e.Reason == "" {
			t.Errorf("%s has no reason", rule)
		}
		excluded[rule] = e.Entries
	}
	byName := cmpopts.SortSlices(func(a, b exclusion) bool { return a.Dashboard+a.Panel < b.Dashboard+b.Panel })
	if diff := cmp.Diff(broken, excluded, byName); diff != "" {
		t.Errorf(".lint (-broken +excluded):\n%s", diff)
	}
}

// broken are the rules that a dashboard breaks, with the titles of the panels; "" is the dashboard itself.
func (b board) broken(t *testing.T) map[string][]string {
	t.Helper()
	rules := make(map[string][]string)
	check := func(rule, panel string, ok bool) {
		if !ok && !slices.Contains(rules[rule], panel) {
			rules[rule] = append(rules[rule], panel)
		}
	}
	var raw struct {
		Editable   bool
		Templating struct {
			List []struct {
				Type, Name, Label, AllValue string
				Multi                       bool
				Refresh                     int
				Datasource                  struct{ UID string }
			}
		}
	}
	must.Do(t, json.Unmarshal(b.raw, &raw))
	check("uneditable-dashboard", "", !raw.Editable)
	required := 0
	for _, v := range raw.Templating.List {
		source := v.Datasource.UID == "${datasource}"
		switch v.Name {
		case "datasource":
			required++
			check("template-datasource-rule", "", v.Type == "datasource" && v.Label == "Data source")
			continue
		case "job":
			required++
			check("template-job-rule", "", source && v.Label == "Job" && v.Multi && v.AllValue == ".+")
		case "instance":
			required++
			check("template-instance-rule", "", source && v.Label == "Instance" && v.Multi && v.AllValue == ".+")
		}
		check("template-on-time-change-reload-rule", "", v.Type == "query" && v.Refresh == 2)
	}
	check("template-datasource-rule", "", required == 3)
	for _, p := range b.Panels {
		if p.Type != "row" {
			brokenByPanel(t, p, check)
		}
	}
	return rules
}

func brokenByPanel(t *testing.T, p grafana.Panel, check func(rule, panel string, ok bool)) {
	t.Helper()
	var config struct{ Defaults struct{ Unit string } }
	must.Do(t, json.Unmarshal(p.FieldConfig, &config))
	check("panel-title-description-rule", p.Title, p.Title != "" && p.Description != "")
	check("panel-units-rule", p.Title, config.Defaults.Unit != "" && !strings.Contains(config.Defaults.Unit, ":"))
	check("panel-no-targets-rule", p.Title, len(p.Targets) > 0)
	for _, q := range p.Targets {
		check("panel-datasource-rule", p.Title, strings.Contains(string(q.Raw), `"uid": "${datasource}"`))
		for _, s := range selectors.FindAllStringSubmatch(q.Expr, -1) {
			check("target-job-rule", p.Title, regexp.MustCompile(`\bjob=~"\$job"`).MatchString(s[2]))
			check("target-instance-rule", p.Title, strings.Contains(s[2], `instance=~"$instance"`))
		}
		for _, r := range rates.FindAllStringSubmatch(q.Expr, -1) {
			check("target-rate-interval-rule", p.Title, r[1] == "$__rate_interval")
		}
		for _, c := range counters.FindAllStringIndex(q.Expr, -1) {
			rate := regexp.MustCompile(`(rate|irate|increase)\($`).MatchString(q.Expr[:c[0]])
			check("target-counter-agg-rule", p.Title, rate)
		}
	}
}
