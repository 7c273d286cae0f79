// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// On clusters with services in all states, with all flags, every series of consul_exporter is one of ours with the same
// value, and the other way round, except what is known to be wrong with consul_exporter. The subtests only read.
func TestDropIn(t *testing.T) {
	t.Parallel()
	upstream := must.Get(toolbox.Path("consul_exporter"))(t)
	c := dropInClusters(t)
	server, client := c.Servers[0].URL(), c.Clients[0].URL()
	for name, flags := range map[string][]string{
		"defaults":          {"--consul.server=" + server},
		"through a client":  {"--consul.server=" + client},
		"keys and meta":     {"--consul.server=" + server, "--kv.prefix=limits/", "--meta.filter=.*"},
		"some keys":         {"--consul.server=" + server, "--kv.prefix=limits/", "--kv.filter=o.nt", "--meta.filter=^team$"},
		"no health summary": {"--consul.server=" + server, "--no-consul.health-summary"},
		"agent only":        {"--consul.server=" + client, "--consul.agent-only", "--meta.filter=team"},
		"consistent":        {"--consul.server=" + server, "--no-consul.allow_stale", "--consul.require_consistent"},
		"leader":            {"--consul.server=" + server, "--no-consul.allow_stale"},
		"one at a time":     {"--consul.server=" + server, "--consul.request-limit=1"},
	} {
		t.Run(name, func(t *testing.T) {
			flags = append(flags, "--consul.timeout=5s")
			theirs := harness.Launch(t, upstream, nil, flags...).Scrape(t)
			ours := harness.StartExporter(t, nil, flags...).Scrape(t)
			expectSameFamilies(t, theirs, ours, slices.Contains(flags, "--consul.agent-only"))
		})
	}
	t.Run("promtool", func(t *testing.T) { lintPage(t, c.Servers[0]) })

	// What consul_exporter does not survive, or does not tell.
	registerPoison(t, c)
	theirs := harness.Launch(t, upstream, nil, "--consul.server="+server, "--consul.timeout=5s").Scrape(t)
	ours := harness.StartExporter(t, nil, "--consul.server="+server, "--kv.prefix=limits/", "--meta.filter=.*").Scrape(t)
	lost := 0
	for id, service := range map[string]string{"path": "/path", "lower": "web", "capital": "Web", "upper": "WEB"} {
		labels := fmt.Sprintf("node=\"poison\",service_id=%q,service_name=%q", id, service)
		series := "consul_catalog_service_node_healthy{" + labels + "}"
		if _, ok := theirs[series]; !ok {
			lost++
		}
		ours.Expect(t, harness.Samples{series: 1})
	}
	if lost == 0 {
		t.Error("consul_exporter has all instances; this test and the documents should not say that it loses some")
	}
	goldenDropIn(t, ours)
}

// dropInClusters starts a datacenter with services in all states, and another one that it is joined with.
func dropInClusters(t *testing.T) *consultest.Cluster {
	t.Helper()
	c := consultest.Start(t, consultest.Options{Servers: 1, Clients: 2})
	other := consultest.Start(t, consultest.Options{Servers: 1, Datacenter: "dc2"})
	must.Do(t, c.Servers[0].Client().Agent().Join(other.Servers[0].HostPort(consultest.PortSerfWAN), true))
	must.Do(t, c.WaitSynced(t.Context()))
	registerServices(t, c)
	client := c.Servers[0].Client()
	for key, value := range map[string]string{
		"limits/count": "42", "limits/share": "0.25", "limits/large": "1e3", "limits/below": "-7", "limits/hex": "0x1p4",
		"limits/über/a \"b\"": "1", "limits/word": "yes", "limits/unit": "42m", "limits/empty": "", "limits/huge": "1e999",
		"limits/space": " 1", "elsewhere": "1",
	} {
		must.Get(client.KV().Put(&api.KVPair{Key: key, Value: []byte(value)}, nil))(t)
	}
	_, _, err := client.Session().CreateNoChecks(&api.SessionEntry{Node: c.Servers[0].Name}, nil)
	must.Do(t, err)
	e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	e.ScrapeUntil(t, 30*time.Second, "two servers in the WAN pool, and all registered", func(s harness.Samples) bool {
		wan, checks := s.Labels("consul_serf_wan_member_status", "member"), s.Labels("consul_health_service_status", "check")
		return len(wan) == 2 && len(checks) == 4*14 && s[`consul_serf_lan_members`] == 3
	})
	return c
}

// registerServices registers services with the clients' agents, as users do. Checks of agents begin as critical and
// are set by hand.
func registerServices(t *testing.T, c *consultest.Cluster) {
	t.Helper()
	ttl := func(id, status string) *api.AgentServiceCheck {
		return &api.AgentServiceCheck{CheckID: id, Name: "Check " + id, TTL: "1h", Status: status}
	}
	one, two := c.Clients[0].Client().Agent(), c.Clients[1].Client().Agent()
	for _, s := range []*api.AgentServiceRegistration{
		{ID: "plain", Name: "plain"},
		{
			ID: "web-1", Name: "web", Tags: []string{"v1", "zone-a"}, Meta: map[string]string{"team": "shop", "tier": "1"},
			Check: ttl("web-1-alive", "passing"),
		},
		{ID: "web-2", Name: "web", Tags: []string{"v2"}, Check: ttl("web-2-alive", "warning")},
		{ID: "db", Name: "db", Tags: []string{""}, Check: ttl("db-alive", "critical")},
		{ID: "many", Name: "many", Checks: api.AgentServiceChecks{
			ttl("many-1", "passing"), ttl("many-2", "warning"), ttl("many-3", "critical"), ttl("many-4", "passing"),
			ttl("many-5", "passing"),
		}},
		{
			ID: "größe-服务", Name: "größe-服务", Tags: []string{`a "quoted" \ tag`, "two\nlines", "🚀"},
			Meta: map[string]string{"team": "größe \"x\"\n"}, Check: ttl("größe-check", "passing"),
		},
		{
			ID: strings.Repeat("long", 75), Name: strings.Repeat("name", 75), Tags: []string{strings.Repeat("tag!", 75)},
			Check: ttl("long-check", "passing"),
		},
		{ID: "resting", Name: "resting", Check: ttl("resting-alive", "passing")},
	} {
		must.Do(t, one.ServiceRegister(s))
	}
	must.Do(t, one.EnableServiceMaintenance("resting", "planned"))
	for _, s := range []*api.AgentServiceRegistration{
		{ID: "web-1", Name: "web", Tags: []string{"v1"}, Check: ttl("web-1-alive", "passing")},
		{ID: "lonely", Name: "lonely", Check: ttl("lonely-alive", "passing")},
	} {
		must.Do(t, two.ServiceRegister(s))
	}
	must.Do(t, two.EnableNodeMaintenance("planned"))
	disk := &api.AgentCheckRegistration{ID: "disk", Name: "Disk space"}
	disk.TTL, disk.Status = "1h", "warning"
	must.Do(t, one.CheckRegister(disk))
	must.Do(t, c.WaitSynced(t.Context()))
}

// registerPoison registers, on a node without an agent, names that differ in nothing but case, one that begins with a
// slash, and a tag that is there twice.
func registerPoison(t *testing.T, c *consultest.Cluster) {
	t.Helper()
	for _, s := range []*service{
		{ID: "lower", Service: "web", Tags: []string{"v1", "v1", "v2"}},
		{ID: "capital", Service: "Web"},
		{ID: "upper", Service: "WEB"},
		{ID: "path", Service: "/path", Tags: []string{"/"}},
	} {
		check := &nodeCheck{CheckID: s.ID + "-alive", Name: "Alive", Status: "passing", ServiceID: s.ID}
		registration{Node: "poison", Address: "10.0.0.9", Service: s, Check: check}.send(t, c.Servers[0])
	}
}

// expectSameFamilies compares both exporters' series in the families of consul_exporter.
func expectSameFamilies(t *testing.T, theirs, ours harness.Samples, agentOnly bool) {
	t.Helper()
	compared := 0
	for series, value := range theirs {
		if !isDropIn(series, agentOnly) {
			continue
		}
		compared++
		got, ok := ours[series]
		if knownFault(series) {
			value = 1
		}
		if !ok || got != value {
			t.Errorf("%s = %v (there: %v); consul_exporter has %v", series, got, ok, value)
		}
	}
	for series := range ours {
		if _, ok := theirs[series]; isDropIn(series, agentOnly) && !ok {
			t.Errorf("%s is not in consul_exporter", series)
		}
	}
	if compared < 10 {
		t.Errorf("%d series of consul_exporter; want more to compare with", compared)
	}
}

// isDropIn reports whether a series is of a family that consul_exporter exports.
func isDropIn(series string, agentOnly bool) bool {
	family, _, _ := strings.Cut(series, "{")
	always, ok := harness.DropInFamilies[family]
	return ok && (always || !agentOnly)
}

// knownFault reports whether consul_exporter has 0 where 1 is right: a check that stands for maintenance (its issues
// 152 and 157).
func knownFault(series string) bool {
	return strings.Contains(series, `status="maintenance"`) && strings.Contains(series, `check="_`)
}

// goldenDropIn compares the series with a file, without what Consul's version and its servers' meta tell of it.
func goldenDropIn(t *testing.T, s harness.Samples) {
	t.Helper()
	version := regexp.MustCompile(`version="[^"]*"`)
	var lines []string
	for series, value := range s {
		serverMeta := strings.HasPrefix(series, "consul_service_meta_info") && strings.Contains(series, `service_id="consul"`)
		if isDropIn(series, false) && !serverMeta {
			lines = append(lines, fmt.Sprintf("%s %v", version.ReplaceAllString(series, `version="VERSION"`), value))
		}
	}
	slices.Sort(lines)
	harness.ExpectFile(t, "test/catalog/testdata/dropin.prom", strings.Join(lines, "\n")+"\n", "golden")
}

// upstreamFlags returns the defaults of consul_exporter's flags by name; those that are on or off have none in its
// help.
func upstreamFlags(t *testing.T) map[string]string {
	t.Helper()
	upstream := must.Get(toolbox.Path("consul_exporter"))(t)
	help := must.Get(exec.CommandContext(t.Context(), upstream, "--help").CombinedOutput())(t)
	flags := make(map[string]string)
	flag := regexp.MustCompile(`(?m)^ +--(\[no-\])?([a-z._-]+)(?:=("[^"]*"|\S+))?`)
	for _, f := range flag.FindAllStringSubmatch(string(help), -1) {
		flags[f[2]] = strings.Trim(f[3], `"`)
	}
	delete(flags, "help-long") // A line of the help begins with it.
	if len(flags) < 20 {
		t.Errorf("%d flags in the help of consul_exporter:\n%s", len(flags), help)
	}
	return flags
}

// Every flag of consul_exporter is one of ours, with the same default, except those listed here.
func TestDropIn_Flags(t *testing.T) {
	t.Parallel()
	want := upstreamFlags(t)
	// Half a second is too little for a busy cluster: consul_exporter's issue 106.
	want["consul.timeout"] = "2s"
	want["consul.health-summary"], want["consul.allow_stale"] = "true", "true"
	for _, off := range []string{"insecure", "agent-only", "require_consistent"} {
		want["consul."+off] = "false"
	}
	want["web.systemd-socket"], want["version"] = "false", "false"
	ours := make(map[string]string)
	for _, f := range slices.Concat(cli.App().Model().Flags, cli.App().GetCommand("serve").Model().Flags) {
		ours[f.Name] = strings.Join(f.Default, ",")
		if f.IsBoolFlag() && ours[f.Name] == "" {
			ours[f.Name] = "false"
		}
	}
	for name, value := range want {
		if got, ok := ours[name]; !ok || got != value {
			t.Errorf("--%s is %q by default (there: %v); want %q as in consul_exporter", name, got, ok, value)
		}
	}
}

// docs/migration.md names every family and flag of consul_exporter, with the labels and the collector that they have
// here, and switches off the collectors that export no such family.
func TestDropIn_Documented(t *testing.T) {
	t.Parallel()
	document := harness.ReadDocument(t, "docs/migration.md")
	families, exports := make(map[string]collector.FamilyInfo), make(map[string]bool)
	for _, f := range collector.AllFamilies() {
		families[f.Name] = f
		_, dropIn := harness.DropInFamilies[f.Name]
		exports[f.Collector] = exports[f.Collector] || dropIn
	}
	for _, row := range document.Rows("family") {
		f := families[row[0].Text]
		if labels := strings.Join(f.Labels, ", "); row[1].Text != labels || row[2].Text != f.Collector {
			t.Errorf("row %q; want labels %q and collector %q", row, labels, f.Collector)
		}
	}
	var others, off []string
	for _, c := range collector.All() {
		if c.Enabled && !exports[c.Name] {
			others = append(others, c.Name)
		}
	}
	code := strings.Join(document.Code(), "\n")
	for _, m := range regexp.MustCompile(`--no-collector\.(\w+)`).FindAllStringSubmatch(code, -1) {
		off = append(off, m[1])
	}
	var flags []string
	for name := range upstreamFlags(t) {
		flags = append(flags, "--"+name)
	}
	slices.Sort(flags)
	for what, lists := range map[string][2][]string{
		"families":                    {slices.Sorted(maps.Keys(harness.DropInFamilies)), document.Column("family", 0)},
		"flags":                       {flags, document.Column("flag of consul_exporter", 0)},
		"collectors without a family": {others, off},
	} {
		if diff := cmp.Diff(lists[0], lists[1]); diff != "" {
			t.Errorf("%s of consul_exporter differ (-code +docs/migration.md):\n%s", what, diff)
		}
	}
}

// oftenAbsent are what the names of families begin with of which a healthy cluster of one server without ACLs may
// have no series.
var oftenAbsent = []string{
	"consul_acl_",                       // ACLs are off.
	"consul_catalog_failed_node_",       // No node has failed.
	"consul_exporter_certificate_",      // The exporter has none.
	"consul_exporter_agent_up",          // One agent is configured.
	"consul_license_",                   // Consul Enterprise.
	"consul_peering_",                   // There is none.
	"consul_port_probe_skipped",         // All are asked.
	"consul_port_turned_away",           // All answer.
	"consul_serf_rtt_seconds",           // Between servers.
	"consul_server_missing_since_",      // None is.
	"consul_server_wan_missing_since_",  // None is.
	"consul_agent_raft_",                // What happened in Consul's last interval, or needs followers.
	"consul_agent_rpc_queries_blocking", // The same.
}

// promtool has nothing to say about the page of a real exporter, and all families are on it.
func lintPage(t *testing.T, server *consultest.Agent) {
	t.Helper()
	e := harness.StartExporter(t, nil, "--consul.server="+server.URL(), "--collector.sessions", "--kv.prefix=limits/",
		"--meta.filter=.*", "--state.file="+filepath.Join(t.TempDir(), "state.json"))
	e.ScrapeUntil(t, 3*harness.TelemetryInterval, "the agent has measured itself", func(s harness.Samples) bool {
		_, ok := s[`consul_agent_rpc_requests_per_second{server="server-1"}`]
		return ok && s[`consul_catalog_kv{key="limits/count"}`] == 42 && s["consul_sessions"] == 1
	})
	body := e.ScrapeText(t)
	check := exec.CommandContext(t.Context(), must.Get(toolbox.Path("promtool"))(t), "check", "metrics")
	check.Stdin = strings.NewReader(body)
	out, err := check.CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("promtool (%v) says: %s", err, out)
	}
	for _, f := range collector.AllFamilies() {
		absent := slices.ContainsFunc(oftenAbsent, func(prefix string) bool { return strings.HasPrefix(f.Name, prefix) })
		if !absent && !strings.Contains(body, "\n# TYPE "+f.Name+" ") {
			t.Errorf("%s of collector %q is not on the page", f.Name, f.Collector)
		}
	}
}
