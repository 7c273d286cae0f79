// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/status"
)

// registration is what is sent to /v1/catalog/register; consul/api cannot tell meta that is empty from meta that is not there.
type registration struct {
	Node, Address string
	NodeMeta      map[string]string `json:",omitzero"`
	Service       *service          `json:",omitempty"`
	Check         *nodeCheck        `json:",omitempty"`
}

type service struct {
	ID, Service string
	Meta        map[string]string `json:",omitempty"`
}

type nodeCheck struct{ CheckID, Name, Status, ServiceID string }

func (r *registration) send(tb testing.TB, a *consultest.Agent) {
	tb.Helper()
	body, err := json.Marshal(r)
	must(tb, err)
	put(tb, a, "/v1/catalog/register", body)
}

func put(tb testing.TB, a *consultest.Agent, path string, body []byte) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPut, a.URL()+path, bytes.NewReader(body))
	must(tb, err)
	resp, err := http.DefaultClient.Do(req)
	must(tb, err)
	defer resp.Body.Close()
	if answer, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		tb.Fatalf("put %s: status %d, %s, %v", path, resp.StatusCode, answer, err)
	}
}

// oldServer is a node like those that servers before 1.16.2 register.
func oldServer() registration {
	return registration{
		Node: "old-server", Address: "10.9.9.9", NodeMeta: map[string]string{"consul-network-segment": ""},
		Service: &service{ID: "consul", Service: "consul", Meta: map[string]string{"version": "1.15.4"}},
	}
}

// external are nodes without an agent, in all the ways that they are registered, at addresses of members and elsewhere. Each has an instance
// of a service of its own name with a check, and a check of its own.
func external(c *consultest.Cluster) []registration {
	esm := map[string]string{"external-node": "true", "external-probe": "true"}
	return []registration{
		{Node: "ext-at-a", Address: c.Servers[0].Addr, NodeMeta: esm},
		{Node: "ext-at-b", Address: c.Servers[1].Addr, NodeMeta: map[string]string{"external-node": "true"}},
		{Node: "ext-at-client", Address: c.Clients[0].Addr, NodeMeta: map[string]string{"x": "y"}},
		{Node: "ext-empty-meta", Address: c.Servers[2].Addr, NodeMeta: map[string]string{}},
		{Node: "ext-no-meta", Address: c.Servers[2].Addr},
		{Node: "esm", Address: "10.9.9.1", NodeMeta: esm},
		{Node: "name.example", Address: "db.example.com", NodeMeta: map[string]string{}},
		{Node: "odd address", Address: "10.9.9.2 `x`", NodeMeta: esm},
		{Node: "k8s-virtual", Address: "10.9.9.3", NodeMeta: map[string]string{"synthetic-node": "true"}},
		{Node: "k8s-sync", Address: "127.0.0.1", NodeMeta: map[string]string{"external-source": "kubernetes"}},
		{Node: "no-meta", Address: "10.9.9.4"},
	}
}

// serviceOn is the service on an external node.
func serviceOn(node string) string { return "on-" + strings.ReplaceAll(node, " ", "-") }

// registerExternal registers these nodes, and creates a session and a key.
func registerExternal(t *testing.T, c *consultest.Cluster, nodes []registration) {
	t.Helper()
	put(t, c.Servers[0], "/v1/session/create", []byte(`{"Name":"lock","Node":"`+c.Servers[0].Name+`"}`))
	put(t, c.Servers[0], "/v1/kv/limits/count", []byte("42"))
	for _, r := range nodes {
		name := serviceOn(r.Node)
		r.Service = &service{ID: name + "-1", Service: name}
		r.Check = &nodeCheck{CheckID: "alive", Name: "Alive", Status: "warning", ServiceID: r.Service.ID}
		r.send(t, c.Servers[0])
		r.Service, r.Check = nil, &nodeCheck{CheckID: "reachable", Name: "Reachable", Status: "passing"}
		r.send(t, c.Servers[0])
	}
}

// expectExternal fails if a series of an external node is missing.
func expectExternal(t *testing.T, s samples, nodes []registration) {
	t.Helper()
	want := samples{"consul_catalog_nodes_unread": 0, `consul_exporter_collector_success{collector="catalog"}`: 1}
	for _, r := range nodes {
		name := serviceOn(r.Node)
		want[fmt.Sprintf("consul_catalog_service_node_healthy{node=%q,service_id=%q,service_name=%q}", r.Node, name+"-1", name)] = 0
		want[fmt.Sprintf("consul_catalog_service_instances{service_name=%q,status=\"warning\"}", name)] = 1
		want[fmt.Sprintf("consul_health_node_status{check=\"reachable\",node=%q,status=\"passing\"}", r.Node)] = 1
		want[fmt.Sprintf("consul_health_service_status{check=\"alive\",node=%q,service_id=%q,service_name=%q,status=\"warning\"}",
			r.Node, name+"-1", name)] = 1
		want[fmt.Sprintf("consul_service_checks{check_id=\"alive\",check_name=\"Alive\",node=%q,service_id=%q,service_name=%q}",
			r.Node, name+"-1", name)] = 1
	}
	s.expect(t, want)
}

// stateOf is what each server has of catalog, health, sessions and keys, by server and endpoint, with the index of the table. None of these
// requests changes anything.
func stateOf(t *testing.T, c *consultest.Cluster) map[string]string {
	t.Helper()
	state := make(map[string]string)
	for _, server := range c.Servers {
		read := func(path string) []byte {
			resp, err := http.Get(server.URL() + path)
			must(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			must(t, err)
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("%s answers %s with status %d: %s", server, path, resp.StatusCode, body)
			}
			state[server.Name+" "+path] = "index " + resp.Header.Get("X-Consul-Index") + ": " + string(body)
			return body
		}
		var nodes []struct{ Node string }
		must(t, json.Unmarshal(read("/v1/catalog/nodes?stale"), &nodes))
		for _, n := range nodes {
			read("/v1/catalog/node-services/" + url.PathEscape(n.Node) + "?stale")
		}
		for _, path := range []string{"/v1/catalog/services", "/v1/health/state/any", "/v1/session/list", "/v1/kv/?recurse"} {
			read(path + map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + "stale")
		}
	}
	return state
}

// disagreement is how a server's nodes are not those of the first server; empty if all have the same.
func disagreement(c *consultest.Cluster, state map[string]string) string {
	const path = " /v1/catalog/nodes?stale"
	for _, server := range c.Servers[1:] {
		if diff := gocmp.Diff(state[c.Servers[0].Name+path], state[server.Name+path]); diff != "" {
			return fmt.Sprintf("the nodes of %s are not those of %s: %s", server, c.Servers[0], diff)
		}
	}
	return ""
}

// expectSameState fails if a server's state is not as before, or its nodes are not those of the others.
func expectSameState(t *testing.T, c *consultest.Cluster, before map[string]string) {
	t.Helper()
	after := stateOf(t, c)
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if after[key] != before[key] {
			t.Errorf("%s changed:\n%s", key, gocmp.Diff(strings.Split(before[key], "{"), strings.Split(after[key], "{")))
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d answers; want %d as before", len(after), len(before))
	}
	if diff := disagreement(c, after); diff != "" {
		t.Error(diff)
	}
}

// dumps are how often the exporter has read the catalog at once.
func dumps(s samples) float64 {
	return s[`consul_exporter_consul_requests_total{code="200",endpoint="/v1/internal/ui/nodes"}`]
}

// Nothing that the exporter reads changes what is registered, on any server, nor writes to the Raft log: neither a scrape nor the status page nor
// check, whether the catalog is read at once or service by service. Consul 1.22 writes the version into nodes when it is asked for all of them.
func TestCatalogUnchanged(t *testing.T) {
	t.Parallel()
	// A kind of entry that Consul writes once a minute by itself comes often enough to be in the control run.
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1, Config: patient(map[string]any{
		"autopilot":     map[string]any{"cleanup_dead_servers": false},
		"raft_logstore": map[string]any{"verification": map[string]any{"enabled": true, "interval": "5s"}},
	})})
	leader := leaderOf(t, c)
	nodes := external(c)
	registerExternal(t, c, nodes)
	must(t, c.WaitSynced(t.Context()))
	args := []string{"--kv.prefix=limits/", "--collector.sessions"}
	binary := buildExporter(t)
	exporters := []*exporterProcess{
		startBinary(t, binary, nil, append(args, "--consul.server="+c.Servers[0].URL())...),
		startBinary(t, binary, nil, append(args, "--consul.server="+c.Clients[0].URL())...),
	}
	waitCertificates(t, c) // To issue one, the leader writes to the log.
	before := settledState(t, c)
	first, start := lastEntry(t, leader), time.Now()
	const rounds = 100
	for range rounds {
		for _, e := range exporters {
			e.scrapeText(t)
		}
	}
	for _, e := range exporters {
		s := e.scrape(t)
		expectExternal(t, s, nodes)
		if n := dumps(s); n < rounds {
			t.Errorf("the catalog was read at once %v times; want at least %d: this test is about that", n, rounds)
		}
	}
	for range 5 {
		checkOf(t, c.Servers[1])
	}
	exporters[0].freshStatus(t)
	expectSameState(t, c, before)
	second := lastEntry(t, leader)
	control := time.After(time.Since(start))
	<-control // The control run lasts as long as the other.
	third := lastEntry(t, leader)
	expectSameKinds(t, leader, first, second, third)
	expectDumpWrites(t, c.Servers[0])
}

// expectDumpWrites fails unless a server writes into its catalog when it is asked for all of it: else nothing was proven.
func expectDumpWrites(t *testing.T, a *consultest.Agent) {
	t.Helper()
	before := versioned(t, a)
	resp, err := http.Get(a.URL() + "/v1/internal/ui/nodes?stale")
	must(t, err)
	resp.Body.Close()
	if after := versioned(t, a); after <= before {
		t.Errorf("%d nodes of %s have a version after all were asked for at once, %d had before; want more: does this Consul write no more?",
			after, a, before)
	}
}

// versioned counts the nodes whose meta has the version of Consul, as a server has them.
func versioned(t *testing.T, a *consultest.Agent) int {
	t.Helper()
	resp, err := http.Get(a.URL() + "/v1/catalog/nodes?stale")
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return strings.Count(string(body), `"consul-version"`)
}

// A node like those that servers before 1.16.2 register makes Consul write into it whatever part of the catalog is asked for at once, so it is
// not asked, and nothing is missing.
func TestCatalogUnchanged_OldServer(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1, Config: patient(keepDead())})
	leaderOf(t, c)
	nodes := external(c)
	registerExternal(t, c, nodes)
	old := oldServer()
	old.send(t, c.Servers[0])
	must(t, c.WaitSynced(t.Context()))
	before := settledState(t, c)
	for _, agent := range []*consultest.Agent{c.Servers[0], c.Clients[0]} {
		e := startExporter(t, nil, "--consul.server="+agent.URL())
		for range 50 {
			e.scrapeText(t)
		}
		s := e.scrape(t)
		expectExternal(t, s, nodes)
		s.expect(t, samples{`consul_catalog_service_node_healthy{node="old-server",service_id="consul",service_name="consul"}`: 1})
		if n := dumps(s); n != 0 {
			t.Errorf("the catalog was read at once %v times; want never", n)
		}
	}
	checkOf(t, c.Servers[1])
	expectSameState(t, c, before)
}

// settledState waits until nothing changes any more and all servers have the same: what an agent registers after its start may still be under way.
func settledState(t *testing.T, c *consultest.Cluster) map[string]string {
	t.Helper()
	state := stateOf(t, c)
	waitFor(t, 30*time.Second, "the catalog to stay as it is", func() string {
		last := state
		state = stateOf(t, c)
		return gocmp.Diff(last, state) + disagreement(c, state)
	})
	return state
}

// lastEntry is the index of the last entry in the leader's log.
func lastEntry(t *testing.T, leader *consultest.Agent) uint64 {
	t.Helper()
	entries, err := leader.RaftLog()
	must(t, err)
	return entries[len(entries)-1].Index
}

// raftBarrier is a kind of entry without content, of which a leader writes one a minute (hashicorp/raft: LogBarrier).
const raftBarrier = 4

// expectSameKinds fails if there is a kind of entry after first and up to second that is not after second and up to third.
func expectSameKinds(t *testing.T, leader *consultest.Agent, first, second, third uint64) {
	t.Helper()
	entries, err := leader.RaftLog()
	must(t, err)
	run, control := make(map[string]int), make(map[string]int)
	for _, e := range entries {
		switch {
		case e.Kind == raftBarrier:
		case e.Index > first && e.Index <= second:
			run[e.String()]++
		case e.Index > second && e.Index <= third:
			control[e.String()]++
		}
	}
	t.Logf("entries with the exporter: %v; without: %v", run, control)
	if len(run) == 0 || len(control) == 0 {
		t.Errorf("no entries were seen: %v with the exporter, %v without", run, control)
	}
	for kind, n := range run {
		if control[kind] == 0 {
			t.Errorf("%d entries of kind %q were written while the exporter ran, none without it", n, kind)
		}
	}
}

// A catalog that is larger than --consul.max-response-bytes, because of what its checks put out: Consul's summary is exported, and page and check
// know which service is down, and that one in maintenance is not.
func TestCatalogTooLarge(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 1})
	must(t, c.LoadCatalog(t.Context(), consultest.Catalog{Nodes: 10, Services: 20, Instances: 500, CheckOutput: 3900}))
	down := registration{
		Node: "ext", Address: "10.9.9.1", Service: &service{ID: "down-1", Service: "down"},
		Check: &nodeCheck{CheckID: "alive", Name: "Alive", Status: "critical", ServiceID: "down-1"},
	}
	down.send(t, c.Servers[0])
	off := registration{
		Node: "ext", Address: "10.9.9.1", Service: &service{ID: "off-1", Service: "off"},
		Check: &nodeCheck{CheckID: "_service_maintenance:off-1", Name: "Service Maintenance Mode", Status: "critical", ServiceID: "off-1"},
	}
	off.send(t, c.Servers[0])
	e := startExporter(t, nil, "--consul.server="+c.Servers[0].URL(), "--consul.max-response-bytes=1000000")
	const critical = `consul_catalog_overview_service_instances{service_name="down",status="critical"}`
	s := e.scrapeUntil(t, time.Minute, "Consul to have made its summary", func(s samples) bool { return s[critical] == 1 })
	s.expect(t, samples{
		`consul_exporter_collector_success{collector="catalog"}`:                              0,
		`consul_exporter_collector_success{collector="overview"}`:                             1,
		"consul_catalog_overview_services":                                                    23,
		`consul_catalog_overview_nodes{status="passing"}`:                                     12,
		`consul_catalog_overview_service_instances{service_name="web-0001",status="passing"}`: 25,
		`consul_catalog_overview_service_instances{service_name="off",status="critical"}`:     0,
		`consul_catalog_overview_service_instances{service_name="off",status="maintenance"}`:  1,
	})
	s.expectNone(t, "consul_catalog_services")
	st := e.freshStatus(t)
	if st.Catalog == nil || !st.Catalog.Summary || st.Catalog.Services != 23 || st.Catalog.Down != 1 || st.Catalog.Failing[0].Name != "down" {
		t.Errorf("the page has the catalog %+v; want Consul's summary, with a service that is down", st.Catalog)
	}
	if !slices.ContainsFunc(st.Problems, func(p status.Problem) bool { return p.Alert == "ConsulServiceDown" }) {
		t.Errorf("the page has the problems %+v; want ConsulServiceDown among them", st.Problems)
	}
}
