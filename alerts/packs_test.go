// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/dashboards"
	"github.com/zervigo/consul_cluster_exporter/internal/grafana"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// rule is a rule of the pack, with everything that it has.
type rule struct {
	Group, Record, Alert, Expr, For string
	KeepFiringFor                   string `yaml:"keep_firing_for"`
	Labels, Annotations             map[string]string
}

// rulesOf are the rules of a pack with these settings.
func rulesOf(t *testing.T, settings map[string]string) []rule {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	must.Do(t, yaml.Unmarshal(joined(t, settings).Content, &file))
	var rules []rule
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			r.Group = g.Name
			rules = append(rules, r)
		}
	}
	return rules
}

// What is chosen changes what it is about, and nothing else: comments and texts stay.
func TestPack_Choices(t *testing.T) {
	t.Parallel()
	for setting, tc := range map[string]struct {
		value string
		edit  func(*rule)
	}{
		"disable": {"ConsulServerDown,ConsulPortDown", func(r *rule) {
			if r.Alert == "ConsulServerDown" || r.Alert == "ConsulPortDown" {
				*r = rule{}
			}
		}},
		"for": {"ConsulServerDown=7m,ConsulCertificateExpires=0s", func(r *rule) {
			switch r.Alert {
			case "ConsulServerDown":
				r.For = "7m"
			case "ConsulCertificateExpires":
				r.For = "0s"
			}
		}},
		"severity": {"ConsulPortDown=info,ConsulDNSErrors=critical", func(r *rule) {
			switch r.Alert {
			case "ConsulPortDown":
				r.Labels["severity"] = "info"
			case "ConsulDNSErrors":
				r.Labels["severity"] = "critical"
			}
		}},
		"dashboard-url": {"https://g.example/d/{dashboard}?orgId=2", func(r *rule) {
			if r.Alert != "" {
				r.Annotations["dashboard_url"] = "https://g.example/d/" + dashboardOf[r.Group] + "?orgId=2&" + linkVariables
			}
		}},
	} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			var want []rule
			for _, r := range rulesOf(t, nil) {
				if tc.edit(&r); r.Alert+r.Record != "" {
					want = append(want, r)
				}
			}
			settings := map[string]string{setting: tc.value}
			if diff := cmp.Diff(want, rulesOf(t, settings)); diff != "" {
				t.Errorf("the rules differ (-want +got):\n%s", diff)
			}
			// Those of the rules that are left out may be gone.
			before, after := comments(joined(t, nil)), comments(joined(t, settings))
			if after < before-3 {
				t.Errorf("%d of %d lines of comments are left", after, before)
			}
		})
	}
}

func comments(f alerts.File) int {
	return len(regexp.MustCompile(`(?m)^ *#`).FindAll(f.Content, -1))
}

// dashboardOf are the dashboards of the rule groups.
var dashboardOf = map[string]string{
	"consul-cluster": "consul-gossip", "consul-exporter": "consul-exporter", "consul-ports": "consul-ports",
	"consul-raft": "consul-raft", "consul-responder": "consul-overview", "consul-services": "consul-services",
}

// linkVariables are what a link to a dashboard has after its address.
const linkVariables = "{{ with $labels.cluster }}var-cluster={{ . | urlquery }}&{{ end }}" +
	"{{ with $labels.datacenter }}var-datacenter={{ . | urlquery }}&{{ end }}" +
	"{{ with $labels.job }}var-job={{ . | urlquery }}&{{ end }}" +
	"{{ with $labels.instance }}var-instance={{ . | urlquery }}&{{ end }}" +
	"{{ with $labels.server }}var-server={{ . | urlquery }}&{{ end }}"

// The dashboards that alerts link to are there, and have the variables of the links.
func TestPack_Dashboards(t *testing.T) {
	t.Parallel()
	uids, variables := make(map[string]bool), make(map[string]bool)
	for _, f := range must.Get(dashboards.Files())(t) {
		d := must.Get(grafana.Parse(f.Content))(t)
		uids[d.UID] = true
		for _, v := range d.Templating.List {
			variables[v.Name] = true
		}
	}
	for _, r := range rulesOf(t, nil) {
		if uid := dashboardOf[r.Group]; !uids[uid] {
			t.Errorf("the group %s has the dashboard %q, which there is not", r.Group, uid)
		}
	}
	for _, m := range regexp.MustCompile(`var-(\w+)=`).FindAllStringSubmatch(linkVariables, -1) {
		if !variables[m[1]] {
			t.Errorf("no dashboard has the variable %s", m[1])
		}
	}
}

// A link has the values of the labels that the alert has, safe for a URL.
func TestPack_DashboardLink(t *testing.T) {
	t.Parallel()
	rules := rulesOf(t, map[string]string{"dashboard-url": "https://g.example/d/{dashboard}"})
	i := slices.IndexFunc(rules, func(r rule) bool { return r.Alert == "ConsulServerDown" })
	// As Prometheus does it.
	link := must.Get(template.New("").Parse("{{ $labels := . }}" + rules[i].Annotations["dashboard_url"]))(t)
	var got strings.Builder
	must.Do(t, link.Execute(&got, map[string]string{"cluster": "a&b c", "job": "consul", "server": "s-1"}))
	want := "https://g.example/d/consul-ports?var-cluster=a%26b+c&var-job=consul&var-server=s-1&"
	if got.String() != want {
		t.Errorf("the link is %s; want %s", got.String(), want)
	}
}

// The profile core is the alerts that page, at all their severities, with what they need to be recorded.
func TestPack_Profile(t *testing.T) {
	t.Parallel()
	defaults := rulesOf(t, nil)
	pages := make(map[string]bool)
	for _, r := range defaults {
		pages[r.Alert] = pages[r.Alert] || r.Labels["severity"] == "critical"
	}
	core := rulesOf(t, map[string]string{"profile": "core"})
	isRecord := func(r rule) bool { return r.Record != "" }
	want := slices.DeleteFunc(defaults, func(r rule) bool { return isRecord(r) || !pages[r.Alert] })
	if diff := cmp.Diff(want, slices.DeleteFunc(slices.Clone(core), isRecord)); diff != "" || len(want) == 0 {
		t.Errorf("alerts of the profile core (-want +got):\n%s", diff)
	}
	recorded := make(map[string]bool)
	for i, r := range core {
		for _, name := range regexp.MustCompile(`consul:[\w:]+`).FindAllString(r.Expr, -1) {
			if !recorded[name] {
				t.Errorf("%s%s uses %s, which is not recorded before it", r.Alert, r.Record, name)
			}
		}
		recorded[r.Record] = true
		used := slices.ContainsFunc(core[i:], func(other rule) bool { return strings.Contains(other.Expr, r.Record) })
		if isRecord(r) && !used {
			t.Errorf("%s is recorded, and nothing uses it", r.Record)
		}
	}
}

// With --selector every selector has its matchers, and every clause the labels of these. Nothing else changes but
// what tells packs apart.
func TestPack_Selector(t *testing.T) {
	t.Parallel()
	const matchers = `env=~"prod|live", region!="", job="x\"y"`
	p := parser.NewParser(parser.Options{})
	given := must.Get(p.ParseMetricSelector("{" + matchers + "}"))(t)
	defaults := rulesOf(t, map[string]string{"group-by": "cluster,datacenter,job,env,region"})
	got := rulesOf(t, map[string]string{"selector": matchers})
	if len(got) != len(defaults) {
		t.Fatalf("%d rules; want %d", len(got), len(defaults))
	}
	for i, r := range got {
		expr := must.Get(p.ParseExpr(r.Expr))(t)
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			if s, ok := node.(*parser.VectorSelector); ok {
				removeMatchers(t, s, given)
			}
			return nil
		})
		text := strings.ReplaceAll(expr.String(), packSuffix(t, r.Group), "")
		if want := must.Get(p.ParseExpr(defaults[i].Expr))(t).String(); text != want {
			t.Errorf("%s%s: more than the matchers differs:\n%s\nwant\n%s", r.Alert, r.Record, text, want)
		}
	}
}

// removeMatchers removes matchers that a selector must have.
func removeMatchers(t *testing.T, s *parser.VectorSelector, matchers []*labels.Matcher) {
	t.Helper()
	for _, m := range matchers {
		same := func(have *labels.Matcher) bool { return have.String() == m.String() }
		if !slices.ContainsFunc(s.LabelMatchers, same) {
			t.Errorf("%s has not %s", s, m)
		}
		s.LabelMatchers = slices.DeleteFunc(s.LabelMatchers, same)
	}
}

// packSuffix is what tells the metrics of a pack apart, one of whose groups has this name.
func packSuffix(t *testing.T, group string) string {
	t.Helper()
	m := regexp.MustCompile(`^consul-[a-z]+-(.+)$`).FindStringSubmatch(group)
	if m == nil {
		t.Fatalf("the group %s is named as that of a pack without a selector", group)
	}
	return ":" + strings.ReplaceAll(m[1], "-", "_")
}

// Packs that differ in their selectors or labels have no group and no recording rule in common. A pack without either
// has the plain names.
func TestPack_Names(t *testing.T) {
	t.Parallel()
	seen := make(map[string]string)
	for _, settings := range []map[string]string{
		nil,
		{"selector": `env="prod"`},
		{"selector": `env="Prod"`},
		{"selector": `env!="prod"`},
		{"selector": `env=~"prod"`},
		{"selector": `env=""`},
		{"selector": `env="prod",region="eu"`},
		{"label": "env=prod"},
		{"label": "team=a"},
		{"label": "team=b"},
		{"label": "team=a,owner=b"},
		{"selector": `env="prod"`, "label": "team=a"},
	} {
		pack := settings["selector"] + " " + settings["label"]
		own := make(map[string]bool)
		for _, r := range rulesOf(t, settings) {
			own[r.Group], own[r.Record] = true, true
		}
		delete(own, "")
		for name := range own {
			if other, ok := seen[name]; ok {
				t.Errorf("%q and %q both have %s", other, pack, name)
			}
			seen[name] = pack
		}
	}
	for _, name := range []string{
		"consul-raft", "consul:port_up:max", "consul-raft-env-prod", "consul:port_up:max:env_prod",
		"consul-raft-env-prod-for-team-a", "consul-raft-for-team-a-owner-b", "consul:port_up:max:for_team_a",
	} {
		if _, ok := seen[name]; !ok {
			t.Errorf("nothing is named %s", name)
		}
	}
}

// Every alert has the labels of --label; what is recorded has not.
func TestPack_Labels(t *testing.T) {
	t.Parallel()
	for _, r := range rulesOf(t, map[string]string{"label": "team=platform,pager=a=b c"}) {
		want := map[string]string{"team": "platform", "pager": "a=b c"}
		if r.Record != "" {
			want = map[string]string{"team": "", "pager": ""}
		}
		got := map[string]string{"team": r.Labels["team"], "pager": r.Labels["pager"]}
		if !maps.Equal(got, want) {
			t.Errorf("%s%s has the labels %v", r.Alert, r.Record, r.Labels)
		}
	}
}

// An alert with several thresholds that gets one severity has one rule that sends each alert; promtool shows that it
// fires once. The severities of the pack say which rule is the wider one.
func TestPack_Severity(t *testing.T) {
	t.Parallel()
	for _, severity := range severities {
		settings := map[string]string{"severity": "ConsulCertificateExpires=" + severity}
		var got []map[string]string
		var exprs []string
		for _, r := range rulesOf(t, settings) {
			if r.Alert == "ConsulCertificateExpires" {
				got, exprs = append(got, r.Labels), append(exprs, r.Expr)
			}
		}
		state := "{{ if lt $value 0.0 }}expired{{ else }}expiring{{ end }}"
		want := []map[string]string{
			{"severity": severity, "state": state}, {"severity": severity, "state": state, "threshold": "critical"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s: labels (-want +got):\n%s", severity, diff)
		}
		if !strings.HasSuffix(exprs[1], ")\n  unless\n(\n"+exprs[0]+"\n)") {
			t.Errorf("%s: the critical rule sends what the other one sends: %s", severity, exprs[1])
		}
	}
}

// A setting of its own says how long some alerts wait, or how far they look back.
func TestDelayedBy(t *testing.T) {
	t.Parallel()
	waits := func(r rule) bool { return r.For == "77m" || strings.Contains(r.Expr, "[77m") }
	for alert, setting := range alerts.DelayedBy() {
		for _, r := range rulesOf(t, map[string]string{setting: "77m"}) {
			if r.Alert == alert && !waits(r) {
				t.Errorf("%s waits for %s whatever --%s is: take it out of the table", alert, r.For, setting)
			}
		}
	}
	for _, r := range rulesOf(t, nil) {
		setting := alerts.DelayedBy()[r.Alert]
		other := slices.ContainsFunc(rulesOf(t, map[string]string{"version-skew": "77m", "maintenance": "77m"}),
			func(o rule) bool { return o.Alert == r.Alert && waits(o) })
		if other != (setting != "") {
			t.Errorf("%s: a setting says how long it waits: %v; the table: %q", r.Alert, other, setting)
		}
	}
}

// A file without rules stays: one of before would go on alerting.
func TestPack_EmptyFile(t *testing.T) {
	t.Parallel()
	var names []string
	for _, r := range rulesOf(t, nil) {
		if r.Group == "consul-responder" {
			names = append(names, r.Alert)
		}
	}
	files := must.Get(alerts.Pack(map[string]string{"disable": strings.Join(slices.Compact(names), ",")}))(t)
	i := slices.IndexFunc(files, func(f alerts.File) bool { return f.Name == "responder.yml" })
	if i < 0 || bytes.Contains(files[i].Content, []byte("alert:")) {
		t.Errorf("responder.yml is missing, or has alerts: %v", files)
	}
}

// Alertmanager's example has the labels of selectors and of --label wherever it tells clusters apart: packs that differ
// in these hold back nothing of each other, and their alerts are in notifications of their own.
func TestAlertmanager_Packs(t *testing.T) {
	t.Parallel()
	settings := map[string]string{"selector": `env="prod",job=~"a.*"`, "label": "team=a"}
	defaults := must.Get(alerts.Alertmanager(nil))(t)
	got := must.Get(alerts.Alertmanager(settings))(t)
	content := string(got.Content)
	if n := strings.Count(content, "cluster, datacenter, job, env, team"); n != 1+len(alerts.Causes()) {
		t.Errorf("the labels are there %d times; want once in the grouping and in each of %d inhibitions", n,
			len(alerts.Causes()))
	}
	back := strings.ReplaceAll(content, "cluster, datacenter, job, env, team", "cluster, datacenter, job")
	if diff := cmp.Diff(beforeReceivers(string(defaults.Content)), beforeReceivers(back)); diff != "" {
		t.Errorf("more than the labels differs:\n%s", diff)
	}
	of := func(name, env, team string) map[string]string {
		labels := map[string]string{"severity": "critical", "env": env, "team": team}
		return withName(alerts.Alert{Name: name, Labels: labels})
	}
	rules := inhibitRules(t, settings)
	for target, want := range map[[2]string]bool{{"prod", "a"}: true, {"dev", "a"}: false, {"prod", "b"}: false} {
		source, symptom := of("ConsulQuorumLost", "prod", "a"), of("ConsulNoLeader", target[0], target[1])
		held := slices.ContainsFunc(rules, func(r inhibitRule) bool { return r.holdsBack(source, symptom) })
		if held != want {
			t.Errorf("prod and a hold back %v: %v; want %v", target, held, want)
		}
	}
}

// What became less severe holds back nothing that is more severe, and what holds back at one severity only does not
// where the severity was chosen: nothing that pages is lost.
func TestAlertmanager_Severity(t *testing.T) {
	t.Parallel()
	const chosen = "ConsulQuorumLost=warning,ConsulAgentUnreachable=critical,ConsulPortDown=critical"
	severity := map[string]string{
		"ConsulQuorumLost": "warning", "ConsulAgentUnreachable": "critical", "ConsulPortDown": "critical",
	}
	settings := map[string]string{"severity": chosen}
	example := harness.WriteFile(t, "alertmanager.yml", string(must.Get(alerts.Alertmanager(settings))(t).Content))
	for _, amtool := range []string{"amtool", "amtool-0.25"} {
		harness.RunTool(t, amtool, "check-config", example)
		// A service that was chosen to page does, and others are for those who run them.
		for severity, receiver := range map[string]string{"critical": "pager", "warning": "services"} {
			harness.RunTool(t, amtool, "config", "routes", "test", "--config.file="+example, "--verify.receivers="+receiver,
				"alertname=ConsulServiceDown", "service_name=web", "severity="+severity)
		}
	}
	rules := inhibitRules(t, settings)
	about := func(name, severity string) map[string]string {
		return withName(alerts.Alert{Name: name, Labels: map[string]string{"severity": severity, "server": "a"}})
	}
	held := func(source, target map[string]string) bool {
		return slices.ContainsFunc(rules, func(r inhibitRule) bool { return r.holdsBack(source, target) })
	}
	for _, tc := range []struct {
		source, target string
		want           bool
	}{
		{"ConsulQuorumLost", "ConsulNoLeader", false},
		{"ConsulQuorumLost", "ConsulAutopilotUnhealthy", true},
		{"ConsulAgentUnreachable", "ConsulScrapeSlow", false},
		{"ConsulServerDown", "ConsulPortDown", false},
		{"ConsulServerDown", "ConsulPortErrors", true},
		{"ConsulClustersMixed", "ConsulExporterBlind", true},
		{"ConsulClustersMixed", "ConsulVersionSkew", true},
		{"ConsulNoLeader", "ConsulQuorumUnknown", true},
	} {
		of := func(name string) string {
			for _, r := range rulesOf(t, nil) {
				if r.Alert == name && severity[name] == "" {
					return r.Labels["severity"]
				}
			}
			return severity[name]
		}
		if got := held(about(tc.source, of(tc.source)), about(tc.target, of(tc.target))); got != tc.want {
			t.Errorf("%s holds back %s: %v; want %v", tc.source, tc.target, got, tc.want)
		}
	}
}
