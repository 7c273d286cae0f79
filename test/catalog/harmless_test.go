// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

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
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// registration is what is sent to /v1/catalog/register; consul/api cannot tell meta that is empty from meta that is
// not there.
type registration struct {
	Node, Address string
	NodeMeta      map[string]string `json:",omitzero"`
	Service       *service          `json:",omitempty"`
	Check         *nodeCheck        `json:",omitempty"`
}

type service struct {
	ID, Service string
	Tags        []string          `json:",omitempty"`
	Meta        map[string]string `json:",omitempty"`
}

type nodeCheck struct{ CheckID, Name, Status, ServiceID string }

func (r registration) send(tb testing.TB, a *consultest.Agent) {
	tb.Helper()
	put(tb, a, "/v1/catalog/register", must.Get(json.Marshal(r))(tb))
}

func put(tb testing.TB, a *consultest.Agent, path string, body []byte) {
	tb.Helper()
	req := must.Get(http.NewRequestWithContext(tb.Context(), http.MethodPut, a.URL()+path, bytes.NewReader(body)))(tb)
	if status, _, answer := harness.Send(tb, req); status != http.StatusOK {
		tb.Fatalf("put %s: status %d, %s", path, status, answer)
	}
}

// oldServer is a node like those that servers before 1.16.2 register.
func oldServer() registration {
	return registration{
		Node: "old-server", Address: "10.9.9.9", NodeMeta: map[string]string{"consul-network-segment": ""},
		Service: &service{ID: "consul", Service: "consul", Meta: map[string]string{"version": "1.15.4"}},
	}
}

// external are nodes without an agent, registered in all the usual ways, at addresses of members and elsewhere.
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
func expectExternal(t *testing.T, s harness.Samples, nodes []registration) {
	t.Helper()
	want := harness.Samples{"consul_catalog_nodes_unread": 0, `consul_exporter_collector_success{collector="catalog"}`: 1}
	for _, r := range nodes {
		name := serviceOn(r.Node)
		instance := fmt.Sprintf("node=%q,service_id=%q,service_name=%q", r.Node, name+"-1", name)
		want["consul_catalog_service_node_healthy{"+instance+"}"] = 0
		want[fmt.Sprintf("consul_catalog_service_instances{service_name=%q,status=\"warning\"}", name)] = 1
		want[fmt.Sprintf("consul_health_node_status{check=\"reachable\",node=%q,status=\"passing\"}", r.Node)] = 1
		want["consul_health_service_status{check=\"alive\","+instance+",status=\"warning\"}"] = 1
		want["consul_service_checks{check_id=\"alive\",check_name=\"Alive\","+instance+"}"] = 1
	}
	s.Expect(t, want)
}

// stateOf is what each server has of catalog, health, sessions and keys, by server and endpoint, with the index of
// the table. None of these requests changes anything.
func stateOf(t *testing.T, c *consultest.Cluster) map[string]string {
	t.Helper()
	state := make(map[string]string)
	for _, server := range c.Servers {
		read := func(path string) string {
			content, index := body(t, server, path)
			state[server.Name+" "+path] = "index " + index + ": " + content
			return content
		}
		var nodes []struct{ Node string }
		must.Do(t, json.Unmarshal([]byte(read("/v1/catalog/nodes?stale")), &nodes))
		for _, n := range nodes {
			read("/v1/catalog/node-services/" + url.PathEscape(n.Node) + "?stale")
		}
		for _, path := range []string{"/v1/catalog/services", "/v1/health/state/any", "/v1/session/list", "/v1/kv/"} {
			read(path + "?stale&recurse") // Recurse is about keys only.
		}
	}
	return state
}

// disagreement is how a server's nodes are not those of the first server; empty if all have the same.
func disagreement(c *consultest.Cluster, state map[string]string) string {
	const path = " /v1/catalog/nodes?stale"
	for _, server := range c.Servers[1:] {
		if diff := cmp.Diff(state[c.Servers[0].Name+path], state[server.Name+path]); diff != "" {
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
			t.Errorf("%s changed:\n%s", key, cmp.Diff(strings.Split(before[key], "{"), strings.Split(after[key], "{")))
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
func dumps(s harness.Samples) float64 {
	return s[`consul_exporter_consul_requests_total{code="200",endpoint="/v1/internal/ui/nodes"}`]
}

// Nothing that the exporter reads changes what is registered, on any server, nor writes to the Raft log: neither a
// scrape nor the status page nor check, whether the catalog is read at once or service by service. Consul 1.22 writes
// the version into nodes when it is asked for all of them; with a node like those that servers before 1.16.2 register,
// whatever part of the catalog is asked for at once, so it is not asked then, and nothing is missing.
func TestCatalogUnchanged(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1, Deviations: []consultest.Deviation{
		consultest.EagerLogVerifier.Because(
			"an entry that Consul itself writes once a minute has to be in the control run, which is shorter"),
	}})
	harness.Settle(t, c)
	leader := harness.LeaderOf(t, c)
	nodes := external(c)
	registerExternal(t, c, nodes)
	binary := harness.BuildExporter(t)
	read := func(rounds int) (last []harness.Samples) {
		for _, agent := range []*consultest.Agent{c.Servers[0], c.Clients[0]} {
			e := harness.StartBinary(t, binary, nil, "--consul.server="+agent.URL(), "--kv.prefix=limits/",
				"--collector.sessions")
			for range rounds {
				e.ScrapeText(t)
			}
			s := e.Scrape(t)
			expectExternal(t, s, nodes)
			last = append(last, s)
			e.FreshStatus(t)
		}
		for range 5 {
			harness.CheckOf(t, c.Servers[1])
		}
		return last
	}
	before := settledState(t, c)
	first, start := lastEntry(t, leader), time.Now()
	const rounds = 100
	for _, s := range read(rounds) {
		if n := dumps(s); n < rounds {
			t.Errorf("the catalog was read at once %v times; want at least %d: this test is about that", n, rounds)
		}
	}
	expectSameState(t, c, before)
	second := lastEntry(t, leader)
	control := time.After(time.Since(start))
	<-control // The control run lasts as long as the other.
	expectSameKinds(t, leader, first, second, lastEntry(t, leader))

	oldServer().send(t, c.Servers[0])
	before = settledState(t, c)
	for _, s := range read(rounds / 2) {
		s.Expect(t, harness.Samples{
			`consul_catalog_service_node_healthy{node="old-server",service_id="consul",service_name="consul"}`: 1,
		})
		if n := dumps(s); n != 0 {
			t.Errorf("the catalog was read at once %v times with an old server; want never", n)
		}
	}
	expectSameState(t, c, before)
	expectDumpWrites(t, c.Servers[0])
}

// expectDumpWrites fails unless a server writes into its catalog when it is asked for all of it: else nothing was
// proven.
func expectDumpWrites(t *testing.T, a *consultest.Agent) {
	t.Helper()
	before := versioned(t, a)
	body(t, a, "/v1/internal/ui/nodes?stale")
	if after := versioned(t, a); after <= before {
		t.Errorf("%d nodes of %s have a version after all were asked for at once, %d had before; want more: "+
			"does this Consul write no more?", after, a, before)
	}
}

// versioned counts the nodes whose meta has the version of Consul, as a server has them.
func versioned(t *testing.T, a *consultest.Agent) int {
	t.Helper()
	content, _ := body(t, a, "/v1/catalog/nodes?stale")
	return strings.Count(content, `"consul-version"`)
}

// body is what an agent answers, and the index of it.
func body(t *testing.T, a *consultest.Agent, path string) (content, index string) {
	t.Helper()
	status, header, content := harness.Send(t, must.Get(http.NewRequest(http.MethodGet, a.URL()+path, http.NoBody))(t))
	if status != http.StatusOK {
		t.Fatalf("%s answers %s with status %d: %s", a, path, status, content)
	}
	return content, header.Get("X-Consul-Index")
}

// settledState waits until nothing changes any more and all servers have the same: what an agent registers after its
// start may still be under way.
func settledState(t *testing.T, c *consultest.Cluster) map[string]string {
	t.Helper()
	state := stateOf(t, c)
	harness.WaitFor(t, 30*time.Second, "the catalog to stay as it is", func() string {
		last := state
		state = stateOf(t, c)
		return cmp.Diff(last, state) + disagreement(c, state)
	})
	return state
}

// lastEntry is the index of the last entry in the leader's log.
func lastEntry(t *testing.T, leader *consultest.Agent) uint64 {
	t.Helper()
	entries := must.Get(leader.RaftLog())(t)
	return entries[len(entries)-1].Index
}

// raftBarrier is a kind of entry without content, of which a leader writes one a minute (hashicorp/raft: LogBarrier).
const raftBarrier = 4

// expectSameKinds fails if there is a kind of entry after first and up to second that is not after second and up to
// third.
func expectSameKinds(t *testing.T, leader *consultest.Agent, first, second, third uint64) {
	t.Helper()
	run, control := make(map[string]int), make(map[string]int)
	for _, e := range must.Get(leader.RaftLog())(t) {
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

// registerDown registers a service that is down and one in maintenance, on a node without an agent.
func registerDown(tb testing.TB, a *consultest.Agent) {
	tb.Helper()
	for name, check := range map[string]nodeCheck{
		"down": {CheckID: "alive", Name: "Alive"},
		"off":  {CheckID: "_service_maintenance:off-1", Name: "Service Maintenance Mode"},
	} {
		check.Status, check.ServiceID = "critical", name+"-1"
		instance := &service{ID: name + "-1", Service: name}
		registration{Node: "ext", Address: "10.9.9.1", Service: instance, Check: &check}.send(tb, a)
	}
}

// A catalog that is larger than --consul.max-response-bytes: Consul's summary is exported, and the page knows which
// service is down, and that one in maintenance is not. It is that of harness.CatalogOf(1_000, 5_000) and registerDown.
func catalogTooLarge(t *testing.T, c *consultest.Cluster) {
	t.Helper()
	e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL(), "--consul.max-response-bytes=1000000")
	const overview = "consul_catalog_overview_"
	s := e.ScrapeUntil(t, time.Minute, "Consul to have made its summary", func(s harness.Samples) bool {
		return s[overview+`service_instances{service_name="down",status="critical"}`] == 1
	})
	s.Expect(t, harness.Samples{
		`consul_exporter_collector_success{collector="catalog"}`:  0,
		`consul_exporter_collector_success{collector="overview"}`: 1,
		overview + "services":                1003,
		overview + `nodes{status="passing"}`: 204,
		overview + `service_instances{service_name="web-0001",status="passing"}`: 5,
		overview + `service_instances{service_name="off",status="critical"}`:     0,
		overview + `service_instances{service_name="off",status="maintenance"}`:  1,
	})
	s.ExpectNone(t, "consul_catalog_services")
	st := e.FreshStatus(t)
	got := st.Catalog
	if got == nil || !got.Summary || got.Services != 1003 || got.Down != 1 || got.Failing[0].Name != "down" {
		t.Errorf("the page has the catalog %+v; want Consul's summary, with a service that is down", got)
	}
	if !strings.Contains(strings.Join(harness.AlertsOf(st), ", "), "ConsulServiceDown") {
		t.Errorf("the page has the problems %+v; want ConsulServiceDown among them", st.Problems)
	}
}

// A server survives scrapes while external nodes at its address change all the time and others read them. This is a
// sample of TestProveCatalogStress: a server that writes into the nodes it reads dies within some minutes.
func TestCatalogStress(t *testing.T) {
	t.Parallel()
	stressCatalog(t, 20*time.Second)
}

// stressCatalog runs it for so long.
func stressCatalog(t *testing.T, long time.Duration) {
	t.Helper()
	const nodes, readers, scrapers = 1000, 8, 2
	c := consultest.Start(t, consultest.Options{Servers: 1})
	server := c.Servers[0]
	update := func(round int) error {
		var ops api.TxnOps
		for i := range nodes {
			ops = append(ops, &api.TxnOp{Node: &api.NodeTxnOp{Verb: api.NodeSet, Node: api.Node{
				Node: fmt.Sprintf("ext-%04d", i), Address: server.Addr,
				Meta: map[string]string{"external-node": "true", "round": fmt.Sprint(round)},
			}}})
		}
		for part := range slices.Chunk(ops, 100) {
			ok, response, _, err := server.Client().Txn().Txn(part, new(api.QueryOptions).WithContext(t.Context()))
			if err != nil {
				return err
			}
			if !ok {
				return fmt.Errorf("the transaction was refused: %s", response.Errors[0].What)
			}
		}
		return nil
	}
	must.Do(t, update(0))
	must.Do(t, c.WaitSynced(t.Context()))
	had := versioned(t, server)
	e := harness.StartBinary(t, harness.BuildExporter(t), nil, "--consul.server="+server.URL())
	var updates, reads, scrapes atomic.Int64
	// Fewer updates, reads or scrapes are no stress; a busy machine takes longer for them.
	least := int64(long / (2 * time.Second))
	fewest := func() int64 { return min(updates.Load(), reads.Load(), scrapes.Load()) }
	start := time.Now()
	ended := func() bool {
		took := time.Since(start)
		return took > 10*long || (took > long && fewest() >= least)
	}
	var all sync.WaitGroup
	again := func(count *atomic.Int64, do func(n int) error) {
		all.Go(func() {
			for n := 1; !ended(); n++ {
				if err := do(n); err != nil {
					t.Errorf("after %d times: %v", count.Load(), err)
					return
				}
				count.Add(1)
			}
		})
	}
	again(&updates, update)
	for range readers {
		again(&reads, func(int) error {
			resp, err := http.Get(server.URL() + "/v1/catalog/nodes?stale")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, err = io.Copy(io.Discard, resp.Body)
			return err
		})
	}
	for range scrapers {
		again(&scrapes, func(int) error {
			_, body, err := e.Get(t.Context(), "/metrics", 10*time.Second)
			if err == nil && !strings.Contains(body, fmt.Sprintf("\nconsul_catalog_nodes %d\n", nodes+1)) {
				err = fmt.Errorf("a scrape does not have all nodes:\n%s", body)
			}
			return err
		})
	}
	all.Wait()
	t.Logf("in %s: %d updates of all nodes, %d reads, %d scrapes",
		time.Since(start).Round(time.Second), updates.Load(), reads.Load(), scrapes.Load())
	if !server.Running() {
		t.Fatal("the server is dead")
	}
	if n := versioned(t, server); n != had {
		t.Errorf("%d nodes have the version of Consul; want %d as before", n, had)
	}
	if fewest() < least {
		t.Errorf("want at least %d updates, reads and scrapes, or it is no stress", least)
	}
	if n := dumps(e.Scrape(t)); n < float64(scrapes.Load())/2 {
		t.Errorf("the catalog was read at once %v times; want about one for each scrape that was not shared", n)
	}
	expectDumpWrites(t, server)
}
