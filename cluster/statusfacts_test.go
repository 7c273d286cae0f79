// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"
)

// whatIsMissing returns what a status lacks.
func whatIsMissing(st Status) []string {
	var names []string
	for _, m := range st.Missing {
		names = append(names, m.What)
	}
	return names
}

// An agent that leaves out everything that the token may not read, and does not say so.
func TestSnapshotStatus_EmptyAnswers(t *testing.T) {
	t.Parallel()
	none, denied := answer(200, `[]`), answer(403, "Permission denied")
	c := newTestCluster(t, ClientOptions{Address: fakeAgent(t, map[string]http.HandlerFunc{
		"/v1/agent/self": denied, "/v1/agent/members": none, "/v1/operator/raft/configuration": denied, "/v1/operator/autopilot/state": denied,
		"/v1/status/peers": none, "/v1/status/leader": answer(200, `""`), "/v1/internal/ui/nodes": none,
		"/v1/catalog/nodes": none, "/v1/catalog/services": answer(200, `{}`), "/v1/health/state/any": none,
		"/v1/internal/ui/catalog-overview": answer(200, `{"Nodes":null,"Services":null,"Checks":null}`),
	})})
	st := ReadStatus(t.Context(), snapshot(t, c), new(Memory), StatusParts{Catalog: true, ConsistentRead: true})
	want := []string{"agent", "members", "Raft configuration", "servers", "ports", "autopilot", "catalog"}
	if got := whatIsMissing(st); !slices.Equal(got, want) || st.Level != LevelUnknown || st.Catalog != nil || !*st.Agent.Up || st.ConsistentRead.OK {
		t.Errorf("%q are missing of %+v; want %q", got, st, want)
	}
}

// Where only the agent is to be asked, the servers are not, neither directly nor through the agent.
func TestSnapshotStatus_AgentOnly(t *testing.T) {
	t.Parallel()
	c := New(Options{AgentOnly: true, Ports: PortOptions{Concurrency: 1}, Client: ClientOptions{Timeout: time.Second, Address: fakeAgent(t, map[string]http.HandlerFunc{
		"/v1/agent/self": answer(200, `{"Config":{"NodeName":"a","Datacenter":"dc1"}}`), "/v1/status/leader": answer(200, `""`),
		"/v1/agent/services": answer(200, `{"web":{"ID":"web","Service":"web"}}`), "/v1/agent/checks": answer(200, `{}`),
	})}})
	t.Cleanup(c.Close)
	st := ReadStatus(t.Context(), snapshot(t, c), new(Memory), StatusParts{Catalog: true, ConsistentRead: true})
	if st.Level != LevelUnknown || len(st.Missing) != 0 || st.Catalog.Services != 1 || st.Agent.Name != "a" {
		t.Errorf("status is %+v", st)
	}
}

// An agent that hangs keeps nobody waiting for longer than the context allows, and what it said before is still known.
func TestSnapshotStatus_Deadline(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	c := newTestCluster(t, ClientOptions{Address: fakeAgent(t, map[string]http.HandlerFunc{
		"/v1/agent/self": hang, "/v1/agent/members": hang, "/v1/operator/raft/configuration": hang, "/v1/operator/autopilot/state": hang,
		"/v1/status/leader": hang, "/v1/status/peers": hang,
	})})
	c.learnAgent(Agent{Name: "a", Datacenter: "dc1"})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	facts, cancelFacts := WithMargin(ctx)
	defer cancelFacts()
	snap := c.Snapshot(facts)
	t.Cleanup(snap.Close)
	start := time.Now()
	st := ReadStatus(ctx, snap, new(Memory), StatusParts{ConsistentRead: true})
	if took := time.Since(start); took > 5*time.Second || st.Seconds < 0.2 || st.Seconds > 5 {
		t.Errorf("took %s, and says %v s; want 0.3 s, or a little more", took, st.Seconds)
	}
	want := []string{"agent", "members", "WAN members", "Raft configuration", "servers", "ports", "autopilot", "consistent read"}
	if got := whatIsMissing(st); !slices.Equal(got, want) || st.Level != LevelUnknown || *st.Agent.Up || st.Agent.Name != "a" {
		t.Errorf("%q are missing of %+v; want %q", got, st, want)
	}
}
