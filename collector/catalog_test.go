// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/zervigo/consul_cluster_exporter/catalog"
	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// largeCatalog returns the catalog of consultest.CatalogAnswer, read through a client as a scrape does.
func largeCatalog(tb testing.TB, services, instances int) *catalog.Catalog {
	tb.Helper()
	answer := consultest.CatalogAnswer(services, instances)
	f := startFake(tb)
	f.answerWith("/v1/internal/ui/nodes", string(answer))
	snap := f.exporter(nil, "catalog").cluster.Snapshot(tb.Context())
	defer snap.Close()
	return must.Get(snap.Catalog().Get(tb.Context()))(tb)
}

// settled returns an exporter of the catalog alone with other settings.
func (f *fakeConsul) settled(change func(*CatalogSettings)) *Exporter {
	f.t.Helper()
	settings := DefaultSettings()
	change(&settings.Catalog)
	return f.exporterWith(func(_ *cluster.Options, opts *Options) { opts.Settings = &settings }, "catalog")
}

// series returns the series of the families that a catalog has, without their values.
func series(t *testing.T, all []*dto.MetricFamily) []string {
	t.Helper()
	var list []string
	for line := range strings.Lines(text(t, all)) {
		name := line[:strings.LastIndex(line, " ")]
		if strings.HasPrefix(name, "consul_service_") || strings.HasPrefix(name, "consul_health_") ||
			strings.HasPrefix(name, "consul_catalog_service_") {
			list = append(list, name)
		}
	}
	return list
}

func TestCatalog_Settings(t *testing.T) {
	t.Parallel()
	re := regexp.MustCompile
	for _, tc := range []struct {
		name   string
		change func(*CatalogSettings)
		want   int // Series, of 52.
		has    string
		hasNot string
	}{
		{"default", func(*CatalogSettings) {}, 52, "", "consul_service_meta_info"},
		{
			"no summary", func(s *CatalogSettings) { s.HealthSummary = false }, 43, "consul_health_service_status",
			"consul_catalog_service_node_healthy",
		},
		{
			"no counts", func(s *CatalogSettings) { s.Instances = false }, 36, "consul_catalog_service_node_healthy",
			"consul_catalog_service_instances",
		},
		{
			"meta", func(s *CatalogSettings) { s.Meta = re("eam") }, 54,
			`consul_service_meta_info{service_id="web-1",node="client-1",key="Team",value="Übung \"x\""}`, `key="version"`,
		},
		{"services", func(s *CatalogSettings) { s.Services = re("^w") }, 31, `check="serfHealth"`, `service_name="Web"`},
		{"nodes", func(s *CatalogSettings) { s.Nodes = re("2$") }, 26, `node="client-2"`, `node="client-1"`},
		{"tags", func(s *CatalogSettings) { s.Tags = re("^v1$") }, 50, `tag="v1"`, `tag="v2"`},
		{"checks by ID", func(s *CatalogSettings) { s.Checks = re("^slow$") }, 30, `check="slow"`, `check="alive"`},
		{
			"checks by name", func(s *CatalogSettings) { s.Checks = re("Maintenance Mode") }, 34,
			`check="_node_maintenance"`, `check="alive"`,
		},
		{"nothing", func(s *CatalogSettings) { s.Services, s.Checks = re("x^"), re("x^") }, 0, "", "consul_"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t)
			all := gatherAll(t, f.settled(tc.change))
			got := series(t, all)
			expectValue(t, all, float64(tc.want), "consul_exporter_catalog_series")
			if list := strings.Join(got, "\n"); len(got) != tc.want || !strings.Contains(list, tc.has) ||
				strings.Contains(list, tc.hasNot) {
				t.Errorf("%d series; want %d, with %s and without %s:\n%s", len(got), tc.want, tc.has, tc.hasNot, list)
			}
			// Totals count all.
			expectValue(t, all, 4, "consul_catalog_services")
			expectValue(t, all, 3, "consul_catalog_nodes")
			expectSuccess(t, all, true, "catalog")
		})
	}
}

// What is critical with its node is counted by node, in the same state whatever its own checks say.
func TestCatalog_FailedNode(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	nodes := f.answers()["/v1/internal/ui/nodes"]
	nodes = strings.Replace(nodes, `"Checks":[
			{"CheckID":"alive"`, `"Checks":[
			{"CheckID":"serfHealth","Name":"Serf Health Status","Status":"critical","ServiceID":"","ServiceName":""},
			{"CheckID":"alive"`, 1)
	f.handle("/v1/internal/ui/nodes", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, nodes) })
	all := gatherAll(t, f.settled(func(*CatalogSettings) {}))
	expectValue(t, all, 1, "consul_catalog_failed_node_instances", "service_name", "web", "node", "client-1")
	// In maintenance.
	expectAbsent(t, all, "consul_catalog_failed_node_instances", "service_name", "Web", "node", "client-1")
	// With four states of the check.
	expectValue(t, all, 57, "consul_exporter_catalog_series")
	none := gatherAll(t, f.settled(func(s *CatalogSettings) { s.Services = regexp.MustCompile("^W") }))
	expectAbsent(t, none, "consul_catalog_failed_node_instances", "service_name", "web", "node", "client-1")
}

// Above the limit there are only totals, and it is said so.
func TestCatalog_Fuse(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	for limit, want := range map[int]int{51: 0, 52: 52, 0: 52} {
		all := gatherAll(t, f.settled(func(s *CatalogSettings) { s.MaxSeries = limit }))
		if got := len(series(t, all)); got != want {
			t.Errorf("limit %d: %d series; want %d", limit, got, want)
		}
		expectValue(t, all, 52, "consul_exporter_catalog_series")
		expectValue(t, all, 4, "consul_catalog_services")
		expectSuccess(t, all, want > 0, "catalog")
		if got, ok := value(all, "consul_exporter_catalog_series_limit"); ok != (limit > 0) || got != float64(limit) {
			t.Errorf("limit %d is told as %v (there: %v)", limit, got, ok)
		}
	}
	var logged strings.Builder
	e := f.settled(func(s *CatalogSettings) { s.MaxSeries = 51 })
	e.journal.logger = log.NewLogfmtLogger(&logged)
	gatherAll(t, e)
	gatherAll(t, e)
	want := `level=error msg="collectors failed, some metrics are absent" collectors=catalog ` +
		`err="the catalog has 52 series, more than the limit of 51: only totals are exported; ` +
		`raise --collector.catalog.max-series, or use the filters beside it"` + "\n"
	if logged.String() != want {
		t.Errorf("log is\n%s\nwant\n%s", logged.String(), want)
	}
}

// An agent that does not tell all at once is asked service by service, and the series are the same, but for services
// whose name begins with a slash, which is then a failure.
func TestCatalog_ByService(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	slash := regexp.MustCompile(`(?m)^.*"/path".*\n`) // The series of the service "/path".
	ofCatalog := func(all []*dto.MetricFamily) string {
		return sortSeries(text(t, slices.DeleteFunc(slices.Clone(all), func(f *dto.MetricFamily) bool {
			return strings.HasPrefix(f.GetName(), "consul_exporter_") || f.GetName() == "consul_catalog_nodes_unread"
		})))
	}
	want := gatherAll(t, f.settled(func(*CatalogSettings) {}))
	f.counts()
	f.answer("/v1/internal/ui/nodes", 403)
	f.answerWith("/v1/catalog/services", `{"consul":[],"web":["v1","zone-a"],"Web":["v2"],"/path":null}`)
	// No more than in the answer that has all.
	nodes := strings.Replace(f.answers()["/v1/catalog/nodes"], `"server-2"`, `"server-1"`, 1)
	f.answerWith("/v1/catalog/nodes", nodes)
	e := f.settled(func(*CatalogSettings) {})
	for range 2 {
		got := gatherAll(t, e)
		if diff := cmp.Diff(slash.ReplaceAllString(ofCatalog(want), ""), ofCatalog(got)); diff != "" {
			t.Errorf("metrics differ (-all at once +by service):\n%s", diff)
		}
		expectValue(t, got, 3, "consul_catalog_nodes_unread") // Any of them may have the service.
		expectSuccess(t, got, false, "catalog")
		expectValue(t, got, 1, "consul_exporter_collector_supported", "collector", "catalog")
	}
	counts := f.counts()
	if counts["/v1/internal/ui/nodes"] != 1 || counts["/v1/health/service/web"] != 2 ||
		counts["/v1/catalog/services"] != 2 {
		t.Errorf("requests in two scrapes: %v; want the refused one once, the others twice", counts)
	}
	for _, family := range gatherAll(t, e) {
		if family.GetName() == "consul_exporter_consul_requests_total" &&
			strings.Contains(text(t, []*dto.MetricFamily{family}), "web") {
			t.Error("the name of a service is in a label of the requests")
		}
	}
}

// With --consul.agent-only the agent's own account is exported, and no server is asked.
func TestCatalog_AgentOnly(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	e := f.exporterWith(func(opts *cluster.Options, _ *Options) { opts.AgentOnly = true }, "agent", "catalog")
	all := gatherAll(t, e)
	expectSuccess(t, all, true, "agent")
	expectSuccess(t, all, true, "catalog")
	expectValue(t, all, 1, "consul_up")
	expectValue(t, all, 1, "consul_catalog_services")
	expectValue(t, all, 1, "consul_health_node_status", "check", "disk", "node", "server-1", "status", "warning")
	expectValue(t, all, 1, "consul_catalog_service_instances", "service_name", "web", "status", "warning")
	service := []string{"service_id", "web-1", "node", "server-1", "service_name", "web"}
	expectValue(t, all, 0, "consul_catalog_service_node_healthy", service...)
	expectValue(t, all, 1, "consul_health_service_status", append(service, "check", "alive", "status", "passing")...)
	expectValue(t, all, 1, "consul_service_checks", append(service, "check_id", "alive", "check_name", "Alive")...)
	expectValue(t, all, 1, "consul_service_tag", "service_id", "web-1", "node", "server-1", "tag", "zone-a")
	want := map[string]int{
		"/v1/agent/self": 1, "/v1/status/leader": 1, "/v1/agent/services": 1, "/v1/agent/checks": 1,
		"/v1/agent/members": 1, "/v1/internal/acl/authorize": 1, // The agent's name, and what the token may ask it.
	}
	if diff := cmp.Diff(want, f.counts()); diff != "" {
		t.Errorf("requests differ (-want +got):\n%s", diff)
	}
}

// A large catalog may take its time as long as it goes on; one that stops does not hold up the scrape.
func TestCatalog_Stalls(t *testing.T) {
	t.Parallel()
	const timeout = 900 * time.Millisecond
	parts := strings.SplitAfter(string(fixedAnswers()["/v1/internal/ui/nodes"]), "\n")
	send := func(w http.ResponseWriter, part string) {
		_, _ = io.WriteString(w, part)
		w.(http.Flusher).Flush()
	}
	for _, tc := range []struct {
		name    string
		answer  http.HandlerFunc
		success bool
	}{
		{"silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false},
		{"stops half way", func(w http.ResponseWriter, r *http.Request) {
			send(w, parts[0]+parts[1])
			<-r.Context().Done()
		}, false},
		{"slow", func(w http.ResponseWriter, _ *http.Request) {
			ticker := time.NewTicker(timeout / 3)
			defer ticker.Stop()
			for _, part := range parts { // There are enough of them to take longer than the timeout.
				<-ticker.C
				send(w, part)
			}
		}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t)
			f.handle("/v1/internal/ui/nodes", tc.answer)
			var logged strings.Builder
			e := f.exporterWith(func(clusterOpts *cluster.Options, opts *Options) {
				clusterOpts.Client.Timeout, opts.Logger = timeout, log.NewLogfmtLogger(&logged)
			}, "catalog")
			start := time.Now()
			all := gatherAll(t, e)
			expectSuccess(t, all, tc.success, "catalog")
			expectValue(t, all, 0, "consul_exporter_scrape_timeouts_total") // There was time left.
			if took := time.Since(start); took < timeout || (!tc.success && took > 5*time.Second) {
				t.Errorf("scrape took %s; want more than the timeout of %s, and little more if nothing comes", took, timeout)
			}
			if !tc.success &&
				!strings.Contains(logged.String(), "read /v1/internal/ui/nodes: nothing more arrived within 900ms") {
				t.Errorf("log is %s", logged.String())
			}
		})
	}
}

// BenchmarkTranslateCatalog makes the 49,000 series of 1,000 services with 5,000 instances.
func BenchmarkTranslateCatalog(b *testing.B) {
	all := largeCatalog(b, 1000, 5000)
	c := newCatalogCollector(&definitions{settings: DefaultSettings()}).(*catalogCollector)
	b.ReportAllocs()
	for b.Loop() {
		must.Do(b, c.export(all, newFamilies()))
	}
}
