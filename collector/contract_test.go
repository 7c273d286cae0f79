// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/contact"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing them")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gatherAll gathers all enabled collectors, with the timeout of a usual scrape.
func gatherAll(tb testing.TB, e *Exporter) []*dto.MetricFamily {
	tb.Helper()
	return gatherWithin(tb, e, 10*time.Second)
}

func gatherWithin(tb testing.TB, e *Exporter, timeout time.Duration) []*dto.MetricFamily {
	tb.Helper()
	names := must.Get(e.Select(nil, nil))(tb)
	ctx, cancel := context.WithTimeout(tb.Context(), timeout)
	defer cancel()
	return gather(ctx, tb, e, names)
}

// gather makes a scrape that every limit admits.
func gather(ctx context.Context, tb testing.TB, e *Exporter, names []string) []*dto.MetricFamily {
	tb.Helper()
	result := must.Get(e.Gather(ctx, Request{Names: names}))(tb)
	return result.Families
}

// value returns the value of a series; ok is false when it is absent.
func value(all []*dto.MetricFamily, name string, labels ...string) (v float64, ok bool) {
	for _, f := range all {
		if f.GetName() != name {
			continue
		}
	series:
		for _, m := range f.GetMetric() {
			for i := 0; i < len(labels); i += 2 {
				if !slices.ContainsFunc(m.GetLabel(), func(p *dto.LabelPair) bool {
					return p.GetName() == labels[i] && p.GetValue() == labels[i+1]
				}) {
					continue series
				}
			}
			return m.GetGauge().GetValue() + m.GetCounter().GetValue(), true
		}
	}
	return 0, false
}

func expectValue(t *testing.T, all []*dto.MetricFamily, want float64, name string, labels ...string) {
	t.Helper()
	if got, ok := value(all, name, labels...); !ok || got != want {
		t.Errorf("%s%v = %v (there: %v); want %v", name, labels, got, ok, want)
	}
}

// expectAbsent expects that there is no such series.
func expectAbsent(t *testing.T, all []*dto.MetricFamily, name string, labels ...string) {
	t.Helper()
	if got, ok := value(all, name, labels...); ok {
		t.Errorf("%s%v = %v; want it to be absent", name, labels, got)
	}
}

// expectSuccess expects that a collector succeeds, or fails.
func expectSuccess(t *testing.T, all []*dto.MetricFamily, want bool, collector string) {
	t.Helper()
	expectValue(t, all, binary(want), "consul_exporter_collector_success", "collector", collector)
}

// volatile are the families whose values differ with each run.
var volatile = regexp.MustCompile(`(?m)^((?:` + strings.Join([]string{
	"consul_port_probe_duration_seconds",
	"consul_port_probe_phase_duration_seconds",
	"consul_port_last_success_timestamp_seconds",
	"consul_exporter_collector_duration_seconds",
	"consul_cluster_consistent_read_duration_seconds",
	"consul_port_connections",
}, "|") + `)\S*) \S+$`)

// golden compares the text of families with a file, with what differs between runs taken out. The families must fit
// together: Prometheus's own strict registry accepts them.
func golden(t *testing.T, f *fakeConsul, name string, all []*dto.MetricFamily) {
	t.Helper()
	got := volatile.ReplaceAllString(text(t, all), "$1 VALUE")
	// Only now, as this sorts the labels.
	gatherer := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return all, nil })
	if accepted := must.Get(prometheus.Gatherers{gatherer}.Gather())(t); len(accepted) != len(all) {
		t.Errorf("%d of %d families are accepted", len(accepted), len(all))
	}
	for i, s := range f.servers {
		_, port, _ := strings.Cut(s.address, ":")
		got = strings.ReplaceAll(got, `"`+port+`"`, fmt.Sprintf(`"PORT%d"`, i+1))
		got = strings.ReplaceAll(got, s.address, fmt.Sprintf("ADDRESS%d", i+1))
	}
	got = sortSeries(got)
	path := filepath.Join("testdata", name+".prom")
	if *update {
		must.Do(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want := must.Get(os.ReadFile(path))(t)
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("metrics differ from %s (-want +got); if that is right, run: make golden\n%s", path, diff)
	}
}

// sortSeries sorts the series of each family: their order may depend on ports that differ with each run.
func sortSeries(metrics string) string {
	lines := strings.SplitAfter(metrics, "\n")
	for start := 0; start < len(lines); {
		end := start + 1
		for end < len(lines) && !strings.HasPrefix(lines[start], "#") && lines[end] != "" &&
			!strings.HasPrefix(lines[end], "#") {
			end++
		}
		slices.Sort(lines[start:end])
		start = end
	}
	return strings.Join(lines, "")
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		damage func(*fakeConsul, *Exporter)
	}{
		{"healthy", func(*fakeConsul, *Exporter) {}},
		{"no_leader", func(f *fakeConsul, _ *Exporter) {
			for i, s := range f.servers {
				s.status.leader, s.status.lastContact = "", []string{"3s", "4s", "never"}[i]
			}
			f.answer("/v1/catalog/nodes", 500)
			f.answerWith("/v1/status/leader", `""`)
		}},
		{"denied", func(f *fakeConsul, _ *Exporter) {
			for _, path := range []string{
				"/v1/agent/self", "/v1/agent/members", "/v1/agent/members?wan", "/v1/catalog/nodes",
				"/v1/operator/raft/configuration", "/v1/operator/autopilot/state",
			} {
				f.answer(path, 403)
			}
		}},
		{"raft_shutting_down", func(f *fakeConsul, _ *Exporter) { f.servers[1].status.peersErr = errShutdown }},
		{"agent_dead", func(f *fakeConsul, e *Exporter) { // It takes nothing with it but its own opinion.
			gatherAll(f.t, e)
			f.api.Close()
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t)
			e := f.exporter(nil)
			tc.damage(f, e)
			golden(t, f, tc.name, gatherAll(t, e))
		})
	}
}

// All names and helps that any collector has defined follow Prometheus' rules, whether or not they are on a page today.
func TestLint(t *testing.T) {
	t.Parallel()
	var families []*dto.MetricFamily
	for _, f := range AllFamilies() {
		kind := dto.MetricType(dto.MetricType_value[strings.ToUpper(f.Type)])
		series := &dto.Metric{Gauge: &dto.Gauge{}, Counter: &dto.Counter{}}
		for _, label := range f.Labels {
			series.Label = append(series.Label, &dto.LabelPair{Name: &label, Value: new(string)})
		}
		families = append(families,
			&dto.MetricFamily{Name: &f.Name, Help: &f.Help, Type: &kind, Metric: []*dto.Metric{series}})
	}
	problems := must.Get(promlint.NewWithMetricFamilies(families).Lint())(t)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Collectors, files, flags and labels have the same names, and all families are documented.
func TestRegistry(t *testing.T) {
	t.Parallel()
	var names []string
	seen := make(map[string]bool)
	for _, e := range registry {
		names = append(names, e.Name)
		if _, err := os.Stat(e.Name + ".go"); err != nil {
			t.Errorf("collector %s: %v", e.Name, err)
		}
	}
	if !slices.IsSorted(names) {
		t.Errorf("collectors are not sorted: %v", names)
	}
	for _, family := range AllFamilies() {
		if seen[family.Name] {
			t.Errorf("%s is defined twice", family.Name)
		}
		seen[family.Name] = true
		if !strings.HasSuffix(family.Help, ".") || strings.Contains(family.Help, "?") {
			t.Errorf("help of %s is not a sentence: %q", family.Name, family.Help)
		}
		if (family.Type == "counter") != strings.HasSuffix(family.Name, "_total") {
			t.Errorf("%s is a %s", family.Name, family.Type)
		}
	}
	f := startFake(t)
	for _, family := range gatherAll(t, f.exporter(nil)) {
		if !seen[family.GetName()] {
			t.Errorf("%s is exported and not among AllFamilies", family.GetName())
		}
		delete(seen, family.GetName())
	}
	for name := range seen {
		// Of ports that the fake does not have; TestEveryPort sees them on real clusters.
		if strings.HasPrefix(name, "consul_dns_") || strings.HasPrefix(name, "consul_port_tls_") ||
			name == "consul_port_connections" ||
			name == "consul_exporter_agent_up" || // TestSeveralAgents sees it.
			name == "consul_server_missing_since_timestamp_seconds" || name == "consul_exporter_state_file_ok" || // TestMissing.
			strings.HasPrefix(name, "consul_exporter_certificate_") || // TestOwnCertificates sees them.
			name == "consul_port_probe_skipped" || // TestOwnFaults sees it.
			name == "consul_port_turned_away" || // TestTurnedAway sees it.
			name == wanMissing || // TestWANMissing sees it.
			name == "consul_catalog_failed_node_instances" || // TestCatalog_FailedNode sees it.
			name == "consul_service_meta_info" { // TestCatalog sees the last one, which is off by default.
			continue
		}
		t.Errorf("%s is never exported, not even by a healthy cluster", name)
	}
}

// The number of requests of each collector is part of its contract.
func TestRequestBudget(t *testing.T) {
	t.Parallel()
	// What the agent may be asked for all of them: whether it has ACLs, what the token may read, its configuration.
	permit := []string{"/v1/agent/members", "/v1/internal/acl/authorize", "/v1/agent/self"}
	const leader, topology = "/v1/status/leader", "/v1/operator/raft/configuration"
	budgets := map[string][]string{
		"acl":       {leader, "/v1/acl/replication"},
		"agent":     {leader, topology},
		"autopilot": {topology, "/v1/operator/autopilot/state", "/v1/operator/autopilot/configuration"},
		"catalog": {
			"/v1/agent/members?wan", "/v1/catalog/nodes", "/v1/catalog/services" + guardMark, "/v1/internal/ui/nodes",
		},
		"connect":     {"/v1/connect/ca/roots"},
		"connections": {topology},
		"consistent":  {leader, consistentPath},
		"kv":          {"/v1/kv/limits/"},
		"license":     {"/v1/operator/license"},
		"members":     {"/v1/agent/members?wan", "/v1/catalog/nodes", "/v1/catalog/datacenters"},
		"overview":    {"/v1/internal/ui/catalog-overview", "/v1/health/state/critical"},
		"peering":     {leader, "/v1/peerings"},
		"ports":       {topology},
		"raft":        {leader, topology, "/v1/status/peers", "/v1/operator/autopilot/state"},
		"serf":        {"/v1/coordinate/nodes"},
		"sessions":    {"/v1/session/list"},
		"telemetry":   {"/v1/agent/metrics"},
	}
	for _, e := range registry {
		want := make(map[string]int)
		for _, path := range slices.Concat(permit, budgets[e.Name]) {
			want[path] = 1
		}
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t)
			if e.Name == "consistent" {
				f.answerLeaderAfterSelf()
			}
			gatherAll(t, f.exporter(nil, e.Name))
			if diff := cmp.Diff(want, f.counts()); diff != "" {
				t.Errorf("requests differ (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("all together", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		gatherAll(t, f.exporter(nil))
		for path, n := range f.counts() {
			if n != 1 {
				t.Errorf("%d requests for %s; want 1", n, path)
			}
		}
	})
}

// dependents are, by endpoint, the collectors that fail when it does. Those that are not here are read only where
// others are refused.
var dependents = map[string][]string{
	"/v1/agent/self":                       {"agent", "serf", "telemetry"},
	"/v1/agent/metrics":                    {"telemetry"},
	"/v1/agent/members":                    {"members", "serf"},
	"/v1/agent/members?wan":                {"members"},
	"/v1/operator/raft/configuration":      {"raft"},
	"/v1/operator/autopilot/state":         {"autopilot"},
	"/v1/operator/autopilot/configuration": {"autopilot"},
	"/v1/status/leader":                    {"acl", "peering", "raft"},
	"/v1/status/peers":                     {"raft"},
	"/v1/acl/replication":                  {"acl"},
	"/v1/catalog/datacenters":              {"members"},
	"/v1/catalog/nodes":                    {"catalog", "members"},
	"/v1/connect/ca/roots":                 {"connect"},
	"/v1/kv/limits/":                       {"kv"},
	"/v1/operator/license":                 {"license"},
	"/v1/peerings":                         {"peering"},
	"/v1/session/list":                     {"sessions"},
	"/v1/coordinate/nodes":                 {"serf"},
	consistentPath:                         {"consistent"},
	"/v1/internal/ui/nodes":                {"catalog"},
	"/v1/internal/ui/catalog-overview":     {"overview"},
	"/v1/health/state/critical":            {"overview"},
}

// Whatever endpoint breaks, and however, the scrape is delivered, and what does not depend on the endpoint is complete.
func TestIsolation(t *testing.T) {
	t.Parallel()
	for path := range startFake(t).answers() {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			for _, status := range []int{500, 403, 404, 429} {
				f := startFake(t)
				f.answer(path, status)
				all := gatherAll(t, f.exporter(nil))
				refused := status == 403 || status == 404
				// That the cluster serves no linearizable read is a result of the collector. That the agent turns the
				// question about the leader away is none.
				finding := path == consistentPath && status == 500
				turnedAway := path == "/v1/status/leader" && status == 429
				// 404 for a prefix means that no key begins like that.
				nothing := path == "/v1/kv/limits/" && status == 404
				// What Consul refuses to return at once it returns service by service.
				otherwise := path == "/v1/internal/ui/nodes" && refused
				for _, r := range registry {
					fails := slices.Contains(dependents[path], r.Name) && !finding && !nothing && !otherwise ||
						turnedAway && r.Name == "consistent"
					expectSuccess(t, all, !fails || status == 404, r.Name) // With 404 Consul does not have it.
					expectValue(t, all, binary(!fails || !refused), "consul_exporter_collector_supported", "collector", r.Name)
				}
				expectValue(t, all, 1, "consul_cluster_leaders")
				expectValue(t, all, 1, "consul_cluster_failure_margin")
			}
		})
	}
}

// A hanging endpoint costs what depends on it, never the deadline.
func TestDeadline(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	e := f.exporter(nil)
	gatherAll(t, e)
	f.hang("/v1/catalog/nodes")
	start := time.Now()
	all := gatherWithin(t, e, normalTime+time.Second)
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("scrape took %s; want its deadline of %s, or a little more", took, normalTime)
	}
	expectSuccess(t, all, false, "members")
	expectSuccess(t, all, true, "raft")
	expectValue(t, all, 1, "consul_serf_lan_member_status", "member", "server-1")
	expectValue(t, all, 1, "consul_exporter_scrape_timeouts_total")
	expectAbsent(t, all, "consul_serf_lan_members")
}

// stubborn is a collector that breaks a rule.
func stubborn(add adder) collector {
	return reader(func(*cluster.Snapshot) adder { return add })
}

func TestStubbornCollectors(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	var logged strings.Builder
	e := f.exporter(log.NewLogfmtLogger(&logged), "members")
	release := make(chan struct{})
	defer close(release)
	var define definitions
	d := define.gauge("consul_test", "A test.", "n")
	e.collectors = append(e.collectors,
		namedCollector{"panics", stubborn(func(_ context.Context, out *families) error {
			out.add(d, 1, "lost")
			panic("boom")
		})},
		namedCollector{"panics_alongside", stubborn(func(context.Context, *families) error {
			alongside(func() { panic("bang") })()
			return nil
		})},
		namedCollector{"ignores_its_context", stubborn(func(context.Context, *families) error {
			<-release
			return nil
		})},
		namedCollector{"repeats_itself", stubborn(func(_ context.Context, out *families) error {
			out.add(d, 1, "kept")
			out.add(d, 2, "kept")
			return nil
		})},
	)
	for range 2 {
		all := gatherWithin(t, e, normalTime+time.Second)
		for name, want := range map[string]bool{
			"members": true, "panics": false, "panics_alongside": false, "ignores_its_context": false, "repeats_itself": true,
		} {
			expectSuccess(t, all, want, name)
		}
		expectValue(t, all, 1, "consul_test", "n", "kept")
		expectAbsent(t, all, "consul_test", "n", "lost") // What a panicking collector had.
	}
	all := gatherWithin(t, e, normalTime+time.Second)
	expectValue(t, all, 3, "consul_exporter_dropped_series_total", "collector", "repeats_itself")
	expectValue(t, all, 3, "consul_exporter_scrape_timeouts_total")
	if n := strings.Count(logged.String(), "collectors=panics "); n != 1 || !strings.Contains(logged.String(), "boom") {
		t.Errorf("%d lines about the panic; want one with its text:\n%s", n, logged.String())
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	e := startFake(t).exporter(nil, "ports", "raft", "agent")
	for _, tc := range []struct {
		name             string
		collect, exclude []string
		want             string
	}{
		{"all", nil, nil, "[agent ports raft]"},
		{"some", []string{"raft", "agent", "raft"}, nil, "[agent raft]"},
		{"all but one", nil, []string{"ports"}, "[agent raft]"},
		{"both", []string{"raft"}, []string{"ports"}, "collect[] and exclude[] cannot be used together"},
		{"not enabled", []string{"members"}, nil, `there is no enabled collector "members"; there are: agent, ports, raft`},
		{"unknown", nil, []string{"x"}, `there is no enabled collector "x"; there are: agent, ports, raft`},
	} {
		names, err := e.Select(tc.collect, tc.exclude)
		got := fmt.Sprint(names)
		if err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%s: got %s; want %s", tc.name, got, tc.want)
		}
	}
	if _, err := NewExporter(Options{Enabled: []string{"x"}}); err == nil {
		t.Error("no error for a collector that there is not")
	}
}

// A collector's failure is logged when it begins and when it ends, and not at each scrape.
func TestFailureLog(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	var logged strings.Builder
	e := f.exporter(log.NewLogfmtLogger(&logged), "members")
	for _, status := range []int{0, 500, 500, 0, 0, 403, 403} {
		f.answer("/v1/catalog/nodes", status)
		gatherAll(t, e)
	}
	const unexpected = "Unexpected response code: "
	want := `level=error msg="collectors failed, some metrics are absent" collectors=members ` +
		`err="read /v1/catalog/nodes: ` + unexpected + `500 ()"` + "\n" +
		`level=info msg="collectors are complete again" collectors=members` + "\n" +
		`level=warn msg="the token cannot read everything, some metrics are absent" do="` + contact.GiveToken +
		`" collectors=members err="read /v1/catalog/nodes: refused: ` + unexpected + `403 ()"` + "\n"
	if got := logged.String(); got != want {
		t.Errorf("log is\n%s\nwant\n%s", got, want)
	}
	if n := f.counts()["/v1/catalog/nodes"]; n != 6 {
		t.Errorf("%d requests in seven scrapes; want 6, as a refusal is remembered", n)
	}
}

// Series of a server that left disappear; those of one that fails keep their counts and last success.
func TestPortHistory(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	e := f.exporter(nil, "ports")
	first := gatherAll(t, e)
	success, _ := value(first, "consul_port_last_success_timestamp_seconds", "server", "server-3")
	if age := time.Since(time.UnixMilli(int64(success * 1000))); age < 0 || age > time.Minute {
		t.Errorf("last success was %s ago; want just now", age)
	}
	gone := f.servers[2]
	f.servers = f.servers[:2]
	all := gatherAll(t, e)
	expectValue(t, all, 2, "consul_port_probes_total", "server", "server-1")
	expectAbsent(t, all, "consul_port_probes_total", "server", "server-3")
	f.servers = append(f.servers, gone)
	expectValue(t, gatherAll(t, e), 1, "consul_port_probes_total", "server", "server-3")
}
