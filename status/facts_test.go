// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/agenttest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/memory"
	"github.com/zervigo/consul_cluster_exporter/status"
)

// newCluster is asked through an HTTP API for what a real one does not do on demand.
func newCluster(t *testing.T, agentOnly bool, handlers map[string]http.HandlerFunc) *cluster.Cluster {
	t.Helper()
	mux := http.NewServeMux()
	for path, handler := range handlers {
		mux.HandleFunc(path, handler)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	c := cluster.New(cluster.Options{
		AgentOnly: agentOnly,
		Client:    consul.Options{Address: must.Get(consul.ParseAddress(server.URL))(t), Timeout: 5 * time.Second},
		Ports:     cluster.PortOptions{Timeout: time.Second, Concurrency: 4},
	})
	t.Cleanup(c.Close)
	return c
}

var answer = agenttest.Answer

// filtered answers with an empty list, and that the token may not read everything.
func filtered(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
	answer(200, `[]`)(w, r)
}

// read reads all parts.
func read(t *testing.T, c *cluster.Cluster) status.View {
	t.Helper()
	snap := c.Snapshot(t.Context())
	t.Cleanup(snap.Close)
	return status.Read(t.Context(), snap, new(memory.Memory), status.Parts{Catalog: true, ConsistentRead: true})
}

// whatIsMissing names what a view lacks.
func whatIsMissing(st status.View) []string {
	var names []string
	for _, m := range st.Missing {
		names = append(names, m.What)
	}
	return names
}

// An agent that leaves out everything that the token may not read, and does not say so.
func TestRead_EmptyAnswers(t *testing.T) {
	t.Parallel()
	none, denied := answer(200, `[]`), answer(403, "Permission denied")
	c := newCluster(t, false, map[string]http.HandlerFunc{
		"/v1/agent/self": denied, "/v1/agent/members": none,
		"/v1/operator/raft/configuration": denied, "/v1/operator/autopilot/state": denied,
		"/v1/status/peers": none, "/v1/status/leader": answer(200, `""`), "/v1/internal/ui/nodes": none,
		"/v1/catalog/nodes": none, "/v1/catalog/services": answer(200, `{}`), "/v1/health/state/any": none,
		"/v1/internal/ui/catalog-overview": answer(200, `{"Nodes":null,"Services":null,"Checks":null}`),
	})
	st := read(t, c)
	want := []string{"agent", "members", "Raft configuration", "servers", "ports", "autopilot", "catalog"}
	got := whatIsMissing(st)
	if !slices.Equal(got, want) || st.Level != status.LevelUnknown || st.Catalog != nil || !*st.Agent.Up ||
		st.ConsistentRead.OK {
		t.Errorf("%q are missing of %+v; want %q", got, st, want)
	}
}

// Where only the agent is to be asked, the servers are not, neither directly nor through the agent.
func TestRead_AgentOnly(t *testing.T) {
	t.Parallel()
	st := read(t, newCluster(t, true, map[string]http.HandlerFunc{
		"/v1/agent/self":     answer(200, `{"Config":{"NodeName":"a","Datacenter":"dc1"}}`),
		"/v1/status/leader":  answer(200, `""`),
		"/v1/agent/services": answer(200, `{"web":{"ID":"web","Service":"web"}}`),
		"/v1/agent/checks":   answer(200, `{}`),
	}))
	if st.Level != status.LevelUnknown || len(st.Missing) != 0 || st.Catalog.Services != 1 || st.Agent.Name != "a" {
		t.Errorf("status is %+v", st)
	}
}

// An agent that hangs delays the view no longer than the context allows, and what it reported before is still known.
func TestRead_Deadline(t *testing.T) {
	t.Parallel()
	var asked atomic.Bool
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	c := newCluster(t, false, map[string]http.HandlerFunc{
		"/v1/agent/self": func(w http.ResponseWriter, r *http.Request) {
			if asked.Swap(true) {
				hang(w, r)
				return
			}
			answer(http.StatusOK, `{"Config":{"NodeName":"a","Datacenter":"dc1"}}`)(w, r)
		},
		"/v1/agent/members": hang, "/v1/operator/raft/configuration": hang, "/v1/operator/autopilot/state": hang,
		"/v1/status/leader": hang, "/v1/status/peers": hang,
	})
	first := c.Snapshot(t.Context())
	must.Get(first.Agent().Get(t.Context()))(t)
	first.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	snap := c.Snapshot(ctx)
	t.Cleanup(snap.Close)
	start := time.Now()
	st := status.Read(ctx, snap, new(memory.Memory), status.Parts{ConsistentRead: true})
	if took := time.Since(start); took > 5*time.Second || st.Seconds < 0.2 || st.Seconds > 5 {
		t.Errorf("took %s, and says %v s; want 0.3 s, or a little more", took, st.Seconds)
	}
	want := []string{
		"agent", "members", "WAN members", "Raft configuration", "servers", "ports", "autopilot", "consistent read",
	}
	got := whatIsMissing(st)
	if !slices.Equal(got, want) || st.Level != status.LevelUnknown || *st.Agent.Up || st.Agent.Name != "a" {
		t.Errorf("%q are missing of %+v; want %q", got, st, want)
	}
}

// A summary is ignored when it is not known what is in maintenance: a service in maintenance would be reported down.
func TestRead_MaintenanceUnknown(t *testing.T) {
	t.Parallel()
	const summary = `{"Nodes":[{"Total":1,"Passing":1}],"Services":[{"Name":"web","Total":1,"Critical":1}],
		"Checks":[{"Total":1,"Critical":1}]}`
	const list = `[{"CheckID":"_service_maintenance:web-1","ServiceID":"web-1","ServiceName":"web"}]`
	const members = `[{"Name":"a","Addr":"127.0.0.1","Status":1,"Tags":{"role":"consul","acls":"0","port":"1"}}]`
	for _, tc := range []struct {
		name        string
		maintenance http.HandlerFunc
		want        int
	}{
		{"known", answer(200, list), 1},
		{"unknown", answer(500, "No path to datacenter"), 0},
		{"filtered", filtered, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			st := read(t, newCluster(t, false, map[string]http.HandlerFunc{
				"/v1/agent/self":                   answer(200, `{"Config":{"NodeName":"a","Datacenter":"dc1","Server":true}}`),
				"/v1/agent/members":                answer(200, members),
				"/v1/status/leader":                answer(200, `"127.0.0.1:1"`),
				"/v1/catalog/nodes":                answer(500, "broken"),
				"/v1/internal/ui/catalog-overview": answer(200, summary),
				"/v1/health/state/critical":        tc.maintenance,
			}))
			if tc.want == 0 && st.Catalog != nil {
				t.Errorf("the catalog is %+v; want none", st.Catalog)
			}
			if tc.want == 1 && (st.Catalog == nil || st.Catalog.Instances["maintenance"] != 1 || st.Catalog.Down != 0) {
				t.Errorf("the catalog is %+v; want an instance in maintenance", st.Catalog)
			}
			if slices.ContainsFunc(st.Problems, func(p status.Problem) bool { return p.Alert == "ConsulServiceDown" }) {
				t.Errorf("problems %+v; want no service to be down", st.Problems)
			}
		})
	}
}
