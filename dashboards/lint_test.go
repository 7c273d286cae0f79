// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package dashboards_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/dashboards"
	"github.com/zervigo/consul_cluster_exporter/internal/grafana"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

type board struct {
	grafana.Dashboard
	file string
	raw  []byte
}

func all(t *testing.T) []board {
	t.Helper()
	var boards []board
	for _, f := range must.Get(dashboards.Files())(t) {
		boards = append(boards, board{must.Get(grafana.Parse(f.Content))(t), f.Name, f.Content})
	}
	return boards
}

// panel is one panel of a dashboard that is no heading of a row.
type panel struct {
	grafana.Panel
	where string
}

func panels(t *testing.T) []panel {
	t.Helper()
	var list []panel
	for _, b := range all(t) {
		for _, p := range b.Panels {
			if p.Type != "row" {
				list = append(list, panel{p, b.file + ": " + p.Title})
			}
		}
	}
	return list
}

type expression struct {
	board
	where, expr string
	// substituted is the same without variables.
	substituted string
	// instant is whether it is asked for the present only.
	instant bool
}

// packs selects what the rules record by the name that it has by default, or in a pack for a selector.
var packs = regexp.MustCompile(`\{__name__=~"([\w:]+)\(:\.\+\)\?", `)

func expressions(t *testing.T) []expression {
	t.Helper()
	var list []expression
	for _, b := range all(t) {
		add := func(where, expr string, instant bool) {
			query := b.Substitute(expr, nil)
			list = append(list, expression{b, b.file + ": " + where, packs.ReplaceAllString(expr, "$1{"), query, instant})
		}
		for _, p := range b.Panels {
			for _, q := range p.Targets {
				add(p.Title+" "+q.RefID, q.Expr, q.Instant)
			}
		}
		for _, a := range b.Annotations.List {
			add("annotation "+a.Name, a.Expr, false)
		}
		for _, v := range b.Templating.List {
			if v.Type == "query" {
				add("variable "+v.Name, series(t, v), true)
			}
		}
	}
	return list
}

func series(t *testing.T, v grafana.Variable) string {
	t.Helper()
	selector, _, err := v.Series()
	must.Do(t, err)
	return selector
}

// A graph has the colors of states, or neutral ones: none of Grafana's palettes, which have red and green.
func TestColors(t *testing.T) {
	t.Parallel()
	for _, p := range panels(t) {
		var config struct {
			Defaults struct{ Color struct{ Mode string } }
		}
		must.Do(t, json.Unmarshal(p.FieldConfig, &config))
		want := cmp.Or(map[string]string{"timeseries": "shades"}[p.Type], "thresholds")
		if mode := config.Defaults.Color.Mode; mode != want {
			t.Errorf("%s: the color's mode is %s; want %s", p.where, mode, want)
		}
	}
}

// Only the first row is open: what is in the others is queried when somebody looks at it.
func TestRows(t *testing.T) {
	t.Parallel()
	for _, b := range all(t) {
		rows := 0
		for _, p := range b.Panels {
			if p.Type == "row" {
				if p.Collapsed != (rows > 0) {
					t.Errorf("%s: row %s is collapsed: %v", b.file, p.Title, p.Collapsed)
				}
				rows++
			}
		}
	}
}

// Servers and members are grouped with the labels of their cluster, so that none is merged with one of the same name
// in another cluster.
func TestGroups(t *testing.T) {
	t.Parallel()
	for _, e := range expressions(t) {
		for _, by := range regexp.MustCompile(`\bby \(([^)]*)\)`).FindAllStringSubmatch(e.expr, -1) {
			labels := strings.Split(by[1], ", ")
			names := slices.Contains(labels, "server") || slices.Contains(labels, "member")
			if names && !strings.Contains(by[1], "cluster, datacenter, job") {
				t.Errorf("%s: by (%s) merges clusters", e.where, by[1])
			}
		}
	}
}

// Grafana's own types have all fields that the dashboards have, with these types, and miss none that is required.
func TestSchema(t *testing.T) {
	t.Parallel()
	plugins.RegisterDefaultPlugins()
	for _, b := range all(t) {
		var d dashboard.Dashboard
		// What an annotation is titled and tagged by is up to the data source, and not in the types.
		raw := regexp.MustCompile(`,\s*"(titleFormat|tagKeys)": "[^"]*"`).ReplaceAll(b.raw, nil)
		if err := d.UnmarshalJSONStrict(raw); err != nil {
			t.Errorf("%s: %v", b.file, err)
		} else if err := d.Validate(); err != nil {
			t.Errorf("%s: %v", b.file, err)
		}
	}
	// The types of panels and of their queries are decoded leniently above.
	for _, p := range panels(t) {
		if err := new(dashboard.FieldConfigSource).UnmarshalJSONStrict(withoutLinks(t, p.FieldConfig)); err != nil {
			t.Errorf("%s: fieldConfig: %v", p.where, err)
		}
		for _, q := range p.Targets {
			if err := new(prometheus.Dataquery).UnmarshalJSONStrict(q.Raw); err != nil {
				t.Errorf("%s %s: %v", p.where, q.RefID, err)
			}
		}
	}
}

// withoutLinks takes the links out, which the types take for those of a dashboard to others.
func withoutLinks(t *testing.T, fieldConfig []byte) []byte {
	t.Helper()
	var config map[string]any
	must.Do(t, json.Unmarshal(fieldConfig, &config))
	delete(config["defaults"].(map[string]any), "links")
	return must.Get(json.Marshal(config))(t)
}

// Each dashboard has a title and a description, marks leader changes, and is not too large to be loaded fast.
func TestConventions(t *testing.T) {
	t.Parallel()
	titles := make(map[string]bool)
	for _, b := range all(t) {
		if b.UID != "consul-"+strings.TrimSuffix(b.file, ".json") || b.Description == "" || b.Title == "" || titles[b.Title] {
			t.Errorf("%s: title %q, uid %q, description %q", b.file, b.Title, b.UID, b.Description)
		}
		titles[b.Title] = true
		marks := b.Annotations.List
		if len(marks) != 1 || !strings.Contains(marks[0].Expr, "consul_cluster_leader_changes_total") {
			t.Errorf("%s: annotations %+v; want those of leader changes", b.file, marks)
		}
		if bytes := len(b.raw); bytes > 200_000 {
			t.Errorf("%s: %d bytes; want 200,000 at most", b.file, bytes)
		}
	}
}

// ofFleet is whether a dashboard may show several clusters.
func (b board) ofFleet() bool { return b.file == "fleet.json" }

// chosen is the matcher for a variable. What tells clusters apart has a single value, except on the fleet's dashboard.
func (b board) chosen(variable string) string {
	if slices.Contains([]string{"cluster", "datacenter", "job"}, variable) && !b.ofFleet() {
		return fmt.Sprintf(`%s="$%s"`, variable, variable)
	}
	return fmt.Sprintf(`%s=~"$%s"`, variable, variable)
}

// Each variable is narrowed down by those before it. Those that tell clusters apart have one value, the others can be
// all of them.
func TestVariables(t *testing.T) {
	t.Parallel()
	allValues := map[string]string{
		"cluster": ".*", "datacenter": ".*", "job": ".+", "instance": ".+", "server": ".*", "service": ".*",
	}
	for _, b := range all(t) {
		var names []string
		for _, v := range b.Templating.List {
			names = append(names, v.Name)
			where := b.file + ": variable " + v.Name
			if v.Type == "datasource" {
				continue
			}
			several, allValue := true, allValues[v.Name]
			if strings.Contains(b.chosen(v.Name), `="`) {
				several, allValue = false, ""
			}
			if v.Type != "query" || v.Multi != several || v.IncludeAll != several || v.AllValue != allValue {
				t.Errorf("%s: %+v; want a query, multi: %v, with all = %q", where, v, several, allValue)
			}
			for _, before := range names[1 : len(names)-1] {
				if want := b.chosen(before); !strings.Contains(series(t, v), want) {
					t.Errorf("%s: %s lacks %s", where, series(t, v), want)
				}
			}
			if v.Name != "service" && !strings.Contains(string(b.raw), strings.ReplaceAll(b.chosen(v.Name), `"`, `\"`)) {
				t.Errorf("%s: nothing uses it", where)
			}
		}
		if common := "datasource cluster datacenter job instance"; strings.Join(names[:5], " ") != common {
			t.Errorf("%s: variables %v; want %v first", b.file, names, common)
		}
	}
}

// What every panel must have so that people who have never seen it understand it.
func TestPanels(t *testing.T) {
	t.Parallel()
	units := []string{"none", "short", "s", "bytes", "percentunit", "reqps", "ops", "cps", "wps", "dateTimeFromNow"}
	seen := make(map[string]bool)
	for _, p := range panels(t) {
		if p.Title == "" || seen[p.where] || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s: no title, or one that another panel has, or too wide: %+v", p.where, p.GridPos)
		}
		seen[p.where] = true
		if about, _, _ := strings.Cut(p.Description, "\n"); len(about) < 20 || !strings.HasSuffix(about, ".") {
			t.Errorf("%s: description %q is no sentence", p.where, about)
		}
		var config struct {
			Defaults struct {
				Unit       string
				Thresholds struct{ Steps []struct{ Value float64 } }
			}
		}
		must.Do(t, json.Unmarshal(p.FieldConfig, &config))
		if !slices.Contains(units, config.Defaults.Unit) {
			t.Errorf("%s: unit %q", p.where, config.Defaults.Unit)
		}
		steps := config.Defaults.Thresholds.Steps[1:] // The first has no value.
		for i := 1; i < len(steps); i++ {
			if steps[i].Value <= steps[i-1].Value {
				t.Errorf("%s: thresholds are not in order", p.where)
			}
		}
		// Grafana shows the result of one query of several in a table, unless they are merged.
		merged := len(p.Transformations) > 0 && p.Transformations[0].ID == "merge"
		if n := len(p.Targets); n == 0 || p.Type == "table" && n > 1 != merged {
			t.Errorf("%s: %d queries", p.where, n)
		}
		for _, q := range p.Targets {
			if p.Type != "table" && q.LegendFormat == "" {
				t.Errorf("%s: query %s has no legend", p.where, q.RefID)
			}
		}
	}
}

// colors are those of states; the last ones are neutral.
const colors = "green|orange|red|blue|text|transparent|#8e8e8e|" +
	"purple|super-light-blue|light-blue|semi-dark-blue|dark-blue|super-light-purple|light-purple|semi-dark-purple|" +
	"dark-purple"

// enumerations are the values of fields for which the types of Grafana's SDK have strings.
var enumerations = map[string]string{
	"textMode": "auto|name", "colorMode": "background_solid|value", "graphMode": "none", "orientation": "auto",
	"justifyMode": "auto", "cellHeight": "sm", "displayMode": "list", "placement": "bottom|right", "sort": "desc",
	"drawStyle": "line|bars", "lineInterpolation": "linear|stepAfter", "showPoints": "never", "align": "auto|left|center",
	"color": colors, "fixedColor": colors,
}

func TestEnumerations(t *testing.T) {
	t.Parallel()
	for _, b := range all(t) {
		for _, m := range regexp.MustCompile(`"(\w+)": "([^"]*)"`).FindAllStringSubmatch(string(b.raw), -1) {
			if values := enumerations[m[1]]; values != "" && !slices.Contains(strings.Split(values, "|"), m[2]) {
				t.Errorf("%s: %s is %q; want %s", b.file, m[1], m[2], values)
			}
		}
	}
	for _, p := range panels(t) {
		for _, tr := range p.Transformations {
			if !slices.Contains([]string{"sortBy", "organize", "groupingToMatrix", "merge"}, tr.ID) {
				t.Errorf("%s: there is no transformation %q", p.where, tr.ID)
			}
		}
	}
}

var (
	// selectors are metrics with their matchers.
	selectors = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_:]*)\{([^}]*)\}`)
	// counters are those that are not under a function that takes their increase.
	counters = regexp.MustCompile(`\b\w+_total\{[^}]*\}(\[\S+\])?`)
	// rates are those with their ranges.
	rates = regexp.MustCompile(`\b(?:rate|irate|increase)\([^\[]*\[([^\]]*)\]`)
)

// Each metric is narrowed down by all variables, so that no panel shows another cluster than the one that is chosen.
func TestSelectors(t *testing.T) {
	t.Parallel()
	for _, e := range expressions(t) {
		if strings.Contains(e.where, ": variable ") {
			continue // See TestVariables.
		}
		b := e.board
		found := selectors.FindAllStringSubmatch(e.expr, -1)
		if len(found) == 0 {
			t.Errorf("%s: no selector in %s", e.where, e.expr)
		}
		for _, s := range found {
			want := []string{b.chosen("cluster"), b.chosen("datacenter"), b.chosen("job"), b.chosen("instance")}
			switch {
			case strings.HasPrefix(s[1], "ALERTS"): // These have no label instance, and some no job.
				want = append(want[:2:2], `job=~"$job|"`)
			case strings.HasPrefix(s[1], "consul_responder_"): // A responder has a job of its own.
				want = want[:2]
			case strings.HasPrefix(s[1], "consul:"): // The rules aggregate over instances.
				want = want[:3]
			}
			for _, m := range want {
				if !strings.Contains(s[2], m) {
					t.Errorf("%s: %s lacks %s", e.where, s[0], m)
				}
			}
		}
		for _, c := range counters.FindAllStringIndex(e.expr, -1) {
			// That a counter is there is not for a graph, and the difference of two points is an increase.
			before, after := e.expr[:c[0]], e.expr[c[1]:]
			increase := regexp.MustCompile(`(rate|irate|increase|last_over_time|count|absent)\($|offset|clamp_min\($| - $`)
			if !increase.MatchString(before) && !strings.HasPrefix(after, " offset") {
				t.Errorf("%s: a counter is not under rate or increase: %s", e.where, e.expr[c[0]:c[1]])
			}
		}
		for _, m := range rates.FindAllStringSubmatch(e.expr, -1) {
			if m[1] != "$__rate_interval" && (m[1] != "$__range" || !e.instant) {
				t.Errorf("%s: rate over %s; want $__rate_interval", e.where, m[1])
			}
		}
		if left := regexp.MustCompile(`\b(SEL|FLEET|ONE|ANY|SERVER|SERVICE|CLUSTER|PORT)\b`).FindString(e.expr); left != "" {
			t.Errorf("%s: the word %s is left", e.where, left)
		}
	}
}

// others are metrics that are not of the collectors, with the reason why they are there.
var others = map[string]string{
	"ALERTS":                     "made by Prometheus for each alert that fires",
	"ALERTS_FOR_STATE":           "the same",
	"process_start_time_seconds": "about the exporter's process",
	"up":                         "made by Prometheus for each scrape",
	"scrape_duration_seconds":    "made by Prometheus for each scrape",
	"scrape_samples_scraped":     "made by Prometheus for each scrape",
	"consul_exporter_build_info": "about the exporter's process",
	"consul_exporter_config_last_reload_successful": "about the exporter's process",
	"go_goroutines":                                  "about the exporter's process",
	"process_cpu_seconds_total":                      "about the exporter's process",
	"process_open_fds":                               "about the exporter's process",
	"process_resident_memory_bytes":                  "about the exporter's process",
	"consul_responder_actions_total":                 "about the responder, where it runs",
	"consul_responder_alerts_received_total":         "the same",
	"consul_responder_last_action_timestamp_seconds": "the same",
}

// Each metric is one that there is, with the labels that are asked for; the rules' are those of the alerts.
func TestMetrics(t *testing.T) {
	t.Parallel()
	labels := make(map[string][]string)
	for _, f := range collector.AllFamilies() {
		labels[f.Name] = append(f.Labels, "cluster", "datacenter", "job", "instance")
	}
	pack := string(alerts.Join(harness.PackFiles(t, nil)))
	for _, r := range regexp.MustCompile(`(?m)^\s+- record: (\S+)$`).FindAllStringSubmatch(pack, -1) {
		labels[r[1]] = nil
	}
	used := make(map[string]bool)
	for _, e := range expressions(t) {
		for _, s := range selectors.FindAllStringSubmatch(e.expr, -1) {
			name := s[1]
			used[name] = true
			have, ok := labels[name]
			if !ok && others[name] == "" {
				t.Errorf("%s: there is no metric %s", e.where, name)
			}
			if have == nil {
				continue
			}
			for _, m := range regexp.MustCompile(`(\w+)(=|!=|=~|!~)"`).FindAllStringSubmatch(s[2], -1) {
				if !slices.Contains(have, m[1]) {
					t.Errorf("%s: %s has no label %s", e.where, name, m[1])
				}
			}
		}
	}
	for name := range others {
		if !used[name] {
			t.Errorf("%s is an exception and not used", name)
		}
	}
	// A metric that is of no use is not forgotten by accident.
	for _, f := range collector.AllFamilies() {
		ruled := regexp.MustCompile(`\b` + f.Name + `\b`).MatchString(pack)
		if why := notUsed[f.Name]; (used[f.Name] || ruled) == (why != "") {
			t.Errorf("%s is shown: %v, in a rule: %v; exception: %q", f.Name, used[f.Name], ruled, why)
		}
	}
}

// notUsed are the metrics that no dashboard has and no rule, with the reason.
var notUsed = map[string]string{
	"consul_cluster_agent_info":             "for joining in one's own expressions",
	"consul_raft_leader":                    "consul_exporter's; consul_cluster_leaders is not one agent's view only",
	"consul_serf_lan_members":               "consul_exporter's; consul_serf_members is by state",
	"consul_service_tag":                    "consul_exporter's, for joining in one's own expressions",
	"consul_service_checks":                 "consul_exporter's, for joining in one's own expressions",
	"consul_service_meta_info":              "for joining in one's own expressions",
	"consul_catalog_kv":                     "means what the user's keys mean",
	"consul_sessions":                       "not collected by default",
	"consul_server_raft_fsm_pending":        "is in the difference of commit and applied index",
	"consul_server_raft_last_snapshot_term": "says nothing to a person that the index does not",
	"consul_license_valid":                  "the license's expiry says it",
}

// The alerts that panels name are there.
func TestAlerts(t *testing.T) {
	t.Parallel()
	named := make(map[string]bool)
	for _, f := range harness.PackFiles(t, nil) {
		for _, r := range harness.AlertRules(t, f) {
			named[r.Alert] = false
		}
	}
	for _, p := range panels(t) {
		for _, name := range regexp.MustCompile(`\bConsul[A-Z]\w+`).FindAllString(p.Description, -1) {
			if _, ok := named[name]; !ok {
				t.Errorf("%s: there is no alert %s", p.where, name)
			}
			named[name] = true
		}
	}
	for name, ok := range named {
		if !ok {
			t.Errorf("no panel is about %s", name)
		}
	}
}

// Links lead to dashboards that there are, with the variables that they have.
func TestLinks(t *testing.T) {
	t.Parallel()
	boards := make(map[string]board)
	for _, b := range all(t) {
		boards[b.UID] = b
	}
	found := 0
	for _, b := range boards {
		for _, m := range regexp.MustCompile(`"url": "(/d/([^?]+)\?([^"]+))"`).FindAllStringSubmatch(string(b.raw), -1) {
			found++
			to, ok := boards[m[2]]
			if !ok {
				t.Errorf("%s: link to %s, which there is not", b.file, m[1])
			}
			for _, v := range regexp.MustCompile(`\bvar-(\w+)=|\$\{(\w+):queryparam\}`).FindAllStringSubmatch(m[3], -1) {
				name := cmp.Or(v[1], v[2])
				if !slices.ContainsFunc(to.Templating.List, func(have grafana.Variable) bool { return have.Name == name }) {
					t.Errorf("%s: link to %s, which has no variable %s", b.file, m[1], name)
				}
			}
			atTop := slices.Contains(b.Links, grafana.Link{Type: "link", URL: m[1], KeepTime: true})
			if !atTop && !strings.HasSuffix(m[3], "&${__url_time_range}") {
				t.Errorf("%s: link to %s does not keep the time", b.file, m[1])
			}
		}
	}
	if found < 10 {
		t.Errorf("%d links; want 10 at least", found)
	}
}

// Prometheus can read all expressions, the oldest and the newest one.
func TestPromQL(t *testing.T) {
	t.Parallel()
	var rules strings.Builder
	rules.WriteString("groups:\n  - name: dashboards\n    rules:\n")
	list := expressions(t)
	for i, e := range list {
		fmt.Fprintf(&rules, "      - record: expression:%d\n        expr: %q\n", i, e.substituted)
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	must.Do(t, os.WriteFile(file, []byte(rules.String()), 0o600))
	for _, tool := range []string{"promtool", "promtool-2.42"} {
		out := harness.RunTool(t, tool, "check", "rules", file)
		if !strings.Contains(out, fmt.Sprintf("SUCCESS: %d rules found", len(list))) {
			t.Errorf("%s: %s", tool, out)
		}
	}
}
