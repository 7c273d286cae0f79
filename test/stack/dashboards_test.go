// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/prometheus/common/model"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/dashboards"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/grafana"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// The expressions of a healthy cluster that have no result, or none that is a number, each with the reason. Those of
// panels are named by the dashboard, the title of the panel, and the letter of the query.
var (
	notMeasured = map[string]string{
		"overview: Alerts firing A":                   "Prometheus has no rules",
		"overview: Alerts firing B":                   "Prometheus has no rules",
		"overview: Alerts that fire B":                "the same",
		"overview: Responders A":                      "there is none",
		"overview: Last action A":                     "there is no responder",
		"overview: Decisions in the time shown A":     "the same",
		"overview: Recovery actions A":                "the same",
		"fleet: Critical alerts A":                    "Prometheus has no rules",
		"fleet: Warnings A":                           "the same",
		"fleet: Clusters, the worst first G":          "the same",
		"fleet: Clusters, the worst first H":          "the same",
		"fleet: Alerts that fire B":                   "the same",
		"raft: Time to store entries A":               "only of BoltDB, which is no more the default",
		"raft: Free list of BoltDB A":                 "only of BoltDB, which is no more the default",
		"raft: Age of the log, and time to restore B": "no server has restored a snapshot",
		"gossip: License expires in A":                "Consul Enterprise only",
		"gossip: ACLs are copied A":                   "only with ACLs",
		"gossip: Peerings A":                          "there is no peering",
		"gossip: ACLs were copied A":                  "only with ACLs",
		"gossip: ACLs were copied B":                  "only with ACLs",
		"gossip: Services of peerings A":              "there is no peering",
		"gossip: Services of peerings B":              "there is no peering",
		"exporter: Configuration file A":              "there is none",
		"exporter: State file A":                      "there is none",
		"exporter: Agents, one by one A":              "the exporter asks a single one",
	}
	// These come and go, as do the annotations, of elections.
	occasional = map[string]string{
		"exporter: Own certificates expire in A":      "only with certificates of its own",
		"gossip: Blocking queries A":                  "only in intervals in which one began or ended",
		"raft: Age of the log, and time to restore A": "measured by the leader once in a minute",
	}
)

// chosen are the values of variables of which one has to be chosen: there are no labels cluster and datacenter.
var chosen = map[string]string{"job": "consul"}

// pendingTimes and keptTimes are how long alerts wait and go on, and shares how much of the time that they look back at
// it takes.
var (
	pendingTimes = regexp.MustCompile(`(?m)^( +for:) .*$`)
	keptTimes    = regexp.MustCompile(`(?m)^ +keep_firing_for:.*$`)
	shares       = regexp.MustCompile(`(count_over_time\(.*\) >=) \d+`)
)

// impatient are the rules of the pack, with alerts that fire at once.
func impatient(tb testing.TB) []byte {
	tb.Helper()
	rules := pendingTimes.ReplaceAll(alerts.Join(must.Get(alerts.Pack(nil))(tb)), []byte("$1 0s"))
	return shares.ReplaceAll(rules, []byte("$1 1"))
}

// allDashboards returns the dashboards by the names of their files, without ".json".
func allDashboards(tb testing.TB) map[string]grafana.Dashboard {
	tb.Helper()
	boards := make(map[string]grafana.Dashboard)
	for _, f := range must.Get(dashboards.Files())(tb) {
		boards[strings.TrimSuffix(f.Name, ".json")] = must.Get(grafana.Parse(f.Content))(tb)
	}
	return boards
}

// mayBeEmpty is whether an expression of a healthy cluster need not have a result.
func mayBeEmpty(where string) bool {
	return notMeasured[where] != "" || occasional[where] != "" || strings.Contains(where, ": annotation ")
}

// liveDashboards are the dashboards with a Prometheus.
type liveDashboards struct {
	prometheus *harness.Exporter
	boards     map[string]grafana.Dashboard
	// chosen are the values of variables of which not all are chosen.
	chosen map[string]string
}

// expressions returns all expressions of all dashboards by where they are, without variables.
func (l liveDashboards) expressions(t *testing.T) map[string]string {
	t.Helper()
	list := make(map[string]string)
	for name, d := range l.boards {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				list[name+": "+p.Title+" "+q.RefID] = d.Substitute(q.Expr, l.chosen)
			}
		}
		for _, a := range d.Annotations.List {
			list[name+": annotation "+a.Name] = d.Substitute(a.Expr, l.chosen)
		}
		for _, v := range d.Templating.List {
			if v.Type == "query" {
				selector, _, err := v.Series()
				must.Do(t, err)
				list[name+": variable "+v.Name] = d.Substitute(selector, l.chosen)
			}
		}
	}
	return list
}

// empty returns those that have no result that is a number.
func (l liveDashboards) empty(t *testing.T) map[string]bool {
	t.Helper()
	empty := make(map[string]bool)
	for where, expr := range l.expressions(t) {
		result := evaluate(t, l.prometheus, expr)
		if !slices.ContainsFunc(result, func(s *model.Sample) bool { return !math.IsNaN(float64(s.Value)) }) {
			empty[where] = true
		}
	}
	return empty
}

// results are those of an expression, by their labels.
func (l liveDashboards) results(t *testing.T, where string) map[string]float64 {
	t.Helper()
	expr, ok := l.expressions(t)[where]
	if !ok {
		t.Fatalf("no dashboard has %s", where)
	}
	results := make(map[string]float64)
	for _, s := range evaluate(t, l.prometheus, expr) {
		results[s.Metric.String()] = float64(s.Value)
	}
	return results
}

// shows is what panels show: of each expression these results, and maybe others.
type shows map[string]map[string]float64

// wait waits until the panels show all of it.
func (l liveDashboards) wait(t *testing.T, what string, want shows) {
	t.Helper()
	harness.WaitFor(t, 90*time.Second, what, func() string {
		var missing []string
		for where, results := range want {
			got := l.results(t, where)
			for labels, value := range results {
				if v, ok := got[labels]; !ok || v != value {
					missing = append(missing, fmt.Sprintf("%s: %s is %v; want %v; all: %v", where, labels, v, value, got))
				}
			}
		}
		return strings.Join(missing, "\n")
	})
}

// waitAny waits until an expression has any result.
func (l liveDashboards) waitAny(t *testing.T, where string) {
	t.Helper()
	harness.WaitFor(t, 90*time.Second, where, func() string {
		return harness.Unless(len(l.results(t, where)) > 0, "there is no result")
	})
}

// expectPortExpressions evaluates the expressions of docs/metrics.md about ports. Each has so many results, with values
// that are possible.
func (l liveDashboards) expectPortExpressions(t *testing.T, ports int) {
	t.Helper()
	now := float64(time.Now().Unix())
	between := map[string][2]float64{
		"name and state":                    {0, 1},
		"response time":                     {1e-6, 5},
		"last check":                        {now - 60, now + 60},
		"last success":                      {now - 60, now + 60},
		"errors since the exporter started": {0, 200}, // Port 8503 of a young server is down.
		"success rate over five minutes":    {0.1, 1},
	}
	rows := harness.ReadDocument(t, "docs/metrics.md").Rows("what")
	if len(rows) != len(between) {
		t.Errorf("docs/metrics.md has %d expressions about ports; want %d", len(rows), len(between))
	}
	for _, row := range rows {
		what, expr := row[0].Text, row[1].Code[0]
		results := evaluate(t, l.prometheus, expr)
		if len(results) != ports {
			t.Errorf("%s has %d results; want %d", expr, len(results), ports)
		}
		for _, r := range results {
			for _, label := range []model.LabelName{"server", "port", "protocol", "transport"} {
				if r.Metric[label] == "" {
					t.Errorf("a result of %s has no label %s: %v", expr, label, r.Metric)
				}
			}
			if v, bounds := float64(r.Value), between[what]; v < bounds[0] || v > bounds[1] {
				t.Errorf("%s of %v is %v; want %v", what, r.Metric, v, bounds)
			}
		}
	}
}

// onCluster is a result about a whole cluster, with further labels.
func onCluster(more ...string) string {
	return "{" + strings.Join(slices.Sorted(slices.Values(append(more, `job="consul"`))), ", ") + "}"
}

// figure is a result in a table with a row for each server.
func figure(title string, a *consultest.Agent) string {
	return onCluster(fmt.Sprintf("figure=%q", title), fmt.Sprintf("server=%q", a.Name))
}

// named is a result about a server with a name of what it is about: a port, or the leader.
func named(name string, a *consultest.Agent) string {
	return onCluster(fmt.Sprintf("name=%q", name), fmt.Sprintf("server=%q", a.Name))
}

// alert is one in the table of those that fire, about this or about the whole cluster.
func alert(name, about string) string {
	labels := []string{fmt.Sprintf("alertname=%q", name), `runbook="open"`}
	if about != "" {
		labels = append(labels, fmt.Sprintf("about=%q", about))
	}
	return onCluster(labels...)
}

// fleetColumn is a column of the table of clusters.
func fleetColumn(letter string) string { return "fleet: Clusters, the worst first " + letter }

// fleetLink is the result with the link to the overview of the only cluster, which has no label but job.
var fleetLink = onCluster(`link="var-cluster=&var-datacenter=&var-job=consul"`)

// onServer is a result about one server.
func onServer(a *consultest.Agent) string { return onCluster(fmt.Sprintf("server=%q", a.Name)) }

// breakService has the service db, of harness.RegisterInAllStates, serve for a moment and then fail.
func breakService(tb testing.TB, prometheus *harness.Exporter, agent *api.Agent) {
	tb.Helper()
	must.Do(tb, agent.PassTTL("db-1-alive", ""))
	const served = `consul:service_served:timestamp{service_name="db"}`
	harness.WaitFor(tb, time.Minute, served, func() string {
		return harness.Unless(len(evaluate(tb, prometheus, served)) > 0, "it has no result")
	})
	must.Do(tb, agent.FailTTL("db-1-alive", ""))
}

// Every panel shows something on a healthy cluster, and what is wrong on broken ones, also without the rules, and
// with two exporters for one cluster.
func TestStackDashboards(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1, Deviations: steady()})
	leader := harness.LeaderOf(t, c)
	must.Do(t, c.WaitSynced(t.Context()))
	harness.RegisterInAllStates(t, c.Clients[0].Client().Agent())
	// The leader is asked, because it measures what others do not.
	asked := "--consul.server=" + leader.URL()
	exporters := []*harness.Exporter{harness.StartExporter(t, nil, asked), harness.StartExporter(t, nil, asked)}
	ruleFile := filepath.Join(t.TempDir(), "rules.yml") // Is not there yet.
	prometheusConfig := scrapeConfig(4*time.Second, 2*time.Second, static(exporters...))
	prometheusConfig["rule_files"] = []string{ruleFile}
	l := liveDashboards{runPrometheus(t, t.TempDir(), prometheusConfig), allDashboards(t), chosen}

	empty := l.waitMeasured(t, leader.Client())
	for where := range empty {
		if !mayBeEmpty(where) {
			t.Errorf("%s shows nothing:\n%s", where, l.expressions(t)[where])
		}
	}
	for where := range notMeasured {
		if !empty[where] {
			t.Errorf("%s is an exception and shows something: %v", where, l.results(t, where))
		}
	}
	// Two exporters count one cluster, once.
	l.wait(t, "healthy cluster", shows{
		fleetColumn("A"):                {fleetLink: 3},
		fleetColumn("B"):                {onCluster(): 1},
		fleetColumn("C"):                {onServer(leader): 1},
		fleetColumn("D"):                {onCluster(): 0},
		fleetColumn("E"):                {onCluster(): 0},
		fleetColumn("F"):                {onCluster(): 1},
		"fleet: Clusters A":             {`{}`: 1},
		"fleet: Cannot be written to A": {`{}`: 0},
		"overview: Voters to spare A":   {onCluster(): 1},
		"overview: Leader A":            {onServer(leader): 1},
		"overview: Silent servers A":    {onCluster(`server="all answer"`): 1},
		"overview: Failing ports A":     {onCluster(): 0},
		"overview: Reads A":             {onCluster(): 1},
		"overview: Alerts that fire A":  {`{alertname="Prometheus has not loaded the rules"}`: -1},
		"overview: Watched by A":        {onCluster(): 1},
		"overview: Watched by B":        {onCluster(): 1},
		"overview: Nodes A":             {onCluster(): 4},
		"overview: Services A":          {onCluster(): 5},
		"ports: Probes that failed A":   {`{reason="–", server="all answer"}`: 0},
		"gossip: Members that failed A": {onCluster(`member="none"`): 0},
		"overview: Service instances by state A": {
			`{status="passing"}`: 5, `{status="warning"}`: 1, `{status="critical"}`: 1, `{status="maintenance"}`: 1,
		},
		"overview: Checks by state A": {`{status="passing"}`: 7, `{status="warning"}`: 1, `{status="critical"}`: 2},
		"overview: Services down A":   {onCluster(): 1},
		"overview: Services down B":   {onCluster(): 1},
		"services: Services down A":   {onCluster(`service_name="db"`): 1, onCluster(`service_name="cache"`): 0.5},
		"services: Checks that fail A": {
			`{check="db-1-alive", node="client-1", service_id="db-1", service_name="db"}`:    2,
			`{check="api-1-alive", node="client-1", service_id="api-1", service_name="api"}`: 1,
		},
		"services: In maintenance A":       {`{node="client-1", service_id="cache-1", service_name="cache"}`: 1},
		"services: Catalog A":              {onCluster(): 0},
		"exporter: Collectors that fail A": {onCluster(): 0},
		"exporter: Collectors A": {
			`{collector="license", figure="State"}`: 2, `{collector="raft", figure="State"}`: 1,
		},
	})

	l.expectPortExpressions(t, len(exporters)*3*10)

	// With the rules, alerts are there; here they need not wait.
	must.Do(t, os.WriteFile(ruleFile, impatient(t), 0o600))
	must.Do(t, l.prometheus.Cmd.Process.Signal(syscall.SIGHUP))
	// A service that has never served is not down.
	breakService(t, l.prometheus, c.Clients[0].Client().Agent())
	l.wait(t, "rules", shows{"overview: Alerts that fire A": {alert("ConsulServiceDown", "db"): 2}})

	followers := harness.Others(c, leader)
	hung := followers[0]
	must.Do(t, hung.Stop())
	l.wait(t, "a server hangs", shows{
		"overview: Voters to spare A": {onCluster(): 0},
		"overview: Leader A":          {onServer(leader): 1},
		"overview: Silent servers A":  {onServer(hung): 0},
		"overview: Failing ports A":   {onCluster(): 10},
		"overview: Reads A":           {onCluster(): 1},
		"overview: Servers A": {
			figure("Port 8300", hung):    -1,
			figure("Ports down", hung):   10,
			figure("Port 8300", leader):  1,
			figure("Ports down", leader): 0,
			figure("Role", leader):       1,
		},
		"ports: Hanging ports A": {onCluster(): 7},
		"ports: Ports now A": {
			named("8300 rpc", hung):   -1,
			named("8301 udp", hung):   0,
			named("8300 rpc", leader): 1,
		},
		"raft: Whom each server calls leader A": {named("does not answer", hung): 0},
		"overview: Alerts that fire A": {
			alert("ConsulServerHung", hung.Name):               2,
			alert("ConsulPortDown", hung.Name+" rpc 8300 tcp"): 0.5, // Because the server hangs.
		},
		fleetColumn("A"): {fleetLink: 3},
		fleetColumn("B"): {onCluster(): 0},
		fleetColumn("C"): {onServer(leader): 1},
		fleetColumn("D"): {onCluster(): 1},
		fleetColumn("E"): {onCluster(): 10},
	})
	reason := onCluster(
		`port="8300"`, `protocol="rpc"`, `reason="timeout"`, fmt.Sprintf("server=%q", hung.Name), `transport="tcp"`,
	)
	if reasons := l.results(t, "ports: Probes that failed A"); reasons[reason] < 1 {
		t.Errorf("the reason why %s does not answer is not shown: %v", hung.Name, reasons)
	}

	must.Do(t, followers[1].Stop())
	l.wait(t, "the quorum is lost", shows{
		"overview: Voters to spare A":           {onCluster(): -1},
		"overview: Leader A":                    {onCluster(`server="none"`): 0},
		"overview: Failing ports A":             {onCluster(): 20},
		"overview: Reads A":                     {onCluster(): 0},
		"overview: Alerts that fire A":          {alert("ConsulQuorumLost", ""): 4},
		fleetColumn("A"):                        {fleetLink: 0},
		fleetColumn("B"):                        {onCluster(): -1},
		fleetColumn("C"):                        {onCluster(`server="none"`): 0},
		"fleet: Cannot be written to A":         {`{}`: 1},
		"raft: Leaders seen A":                  {onCluster(): 0},
		"raft: Without leader A":                {onCluster(): 1},
		"raft: Whom each server calls leader A": {named("none", leader): 0},
		"gossip: Members that failed A":         {onCluster(fmt.Sprintf("member=%q", hung.Name)): 4},
		"services: Catalog A":                   {onCluster(): 4},
	})

	must.Do(t, hung.Continue())
	must.Do(t, followers[1].Continue())
	l.wait(t, "all is well again", shows{
		"overview: Voters to spare A": {onCluster(): 1}, "raft: Leaders seen A": {onCluster(): 1},
	})
	// The leader that had lost the quorum had to be elected again, or another one.
	for name := range l.boards {
		l.waitAny(t, name+": annotation Leader changes")
	}

	must.Do(t, leader.Kill()) // The exporters ask this agent, whichever server leads by now.
	l.wait(t, "the agent is dead", shows{
		"overview: Watched by A":            {onCluster(): 1},
		"overview: Watched by B":            {onCluster(): 0},
		"overview: Voters to spare A":       {onCluster(): 0},
		"overview: Silent servers A":        {onServer(leader): 0},
		"exporter: Agents that are asked A": {onCluster(): 0},
		"overview: Failing ports A":         {onCluster(): 10},
		"ports: Hanging ports A":            {onCluster(): 0},
		"overview: Servers A":               {figure("Port 8300", leader): 0},
		"ports: Ports now A":                {named("8300 rpc", leader): 0},
	})

	for _, e := range exporters {
		must.Do(t, e.Stop())
	}
	l.wait(t, "the exporters are down", shows{
		"overview: Watched by A": {onCluster(): 0}, "exporter: Exporters A": {onCluster(): 0},
		fleetColumn("A"): {fleetLink: 1}, "fleet: State unknown A": {`{}`: 1},
	})
	for _, where := range []string{
		"overview: Voters to spare A", "overview: Leader A", "overview: Silent servers A", "ports: Ports now A",
	} {
		if results := l.results(t, where); len(results) > 0 {
			t.Errorf("%s shows %v, which is of before the exporters were down", where, results)
		}
	}
}

// waitMeasured waits until every expression that can have a result has one, while keys are written, and returns those
// that have none.
func (l liveDashboards) waitMeasured(t *testing.T, client *api.Client) map[string]bool {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute) // Some compare with how it was a minute ago.
	for {
		must.Get(client.KV().Put(&api.KVPair{Key: "written", Value: []byte("by a test")}, nil))(t)
		empty := l.empty(t)
		late := slices.DeleteFunc(slices.Collect(maps.Keys(empty)), mayBeEmpty)
		if len(late) == 0 || time.Now().After(deadline) {
			return empty
		}
		time.Sleep(time.Second) //nolint:forbidigo // Between two looks.
	}
}
