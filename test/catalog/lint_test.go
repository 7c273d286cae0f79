// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// lintExceptions are the complaints of promtool about names that have to stay, each with the reason.
var lintExceptions = map[string]string{
	"consul_serf_member_count": "a gauge by its nature: members in a state, not the observations of a histogram",
}

// oftenAbsent are what the names of families begin with of which a healthy cluster of one server without ACLs may
// have no series.
var oftenAbsent = []string{
	"consul_acl_",                       // ACLs are off.
	"consul_license_",                   // Consul Enterprise.
	"consul_peering_",                   // There is none.
	"consul_port_probe_skipped",         // All are asked.
	"consul_serf_rtt_seconds",           // Between servers.
	"consul_agent_raft_",                // What happened in Consul's last interval, or needs followers.
	"consul_agent_rpc_queries_blocking", // The same.
}

// promtool has nothing to say about the page of a real exporter, except for lintExceptions, and all families are on it.
func lintPage(t *testing.T, server *consultest.Agent) {
	t.Helper()
	e := harness.StartExporter(t, nil, "--consul.server="+server.URL(), "--collector.sessions", "--kv.prefix=limits/",
		"--meta.filter=.*")
	e.ScrapeUntil(t, 3*harness.TelemetryInterval, "the agent has measured itself", func(s harness.Samples) bool {
		_, ok := s[`consul_agent_rpc_requests_per_second{server="server-1"}`]
		return ok && s[`consul_catalog_kv{key="limits/count"}`] == 42 && s["consul_sessions"] == 1
	})
	body := e.ScrapeText(t)
	check := exec.CommandContext(t.Context(), must.Get(toolbox.Path("promtool"))(t), "check", "metrics")
	check.Stdin = strings.NewReader(body)
	out, err := check.CombinedOutput()
	unused := maps.Clone(lintExceptions)
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(line, " ")
		if _, ok := lintExceptions[name]; !ok {
			t.Errorf("promtool (%v) says: %s", err, line)
		}
		delete(unused, name)
	}
	for name := range unused {
		t.Errorf("promtool has nothing to say about %s any more", name)
	}
	for _, f := range collector.AllFamilies() {
		absent := slices.ContainsFunc(oftenAbsent, func(prefix string) bool { return strings.HasPrefix(f.Name, prefix) })
		if !absent && !strings.Contains(body, "\n# TYPE "+f.Name+" ") {
			t.Errorf("%s of collector %q is not on the page", f.Name, f.Collector)
		}
	}
}
