// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// fakeAgent is an HTTP API for what a real one does not do on demand. It fails the test when it is asked for a path
// that it has no handler for.
func fakeAgent(t *testing.T, handlers map[string]http.HandlerFunc) consul.Address {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler, ok := handlers[r.URL.Path]
		if !ok {
			handler, ok = circumstancesOfFake[r.URL.Path]
		}
		if !ok {
			t.Errorf("unexpected request %s %s", r.Method, r.URL)
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.URL.Path != endpointAuthorize.Path {
			t.Errorf("request %s %s; the exporter only reads", r.Method, r.URL)
		}
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	address, err := consul.ParseAddress(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// circumstancesOfFake is what decides, with a fakeAgent that does not say otherwise, that everything is asked: a
// server without ACLs.
var circumstancesOfFake = map[string]http.HandlerFunc{
	"/v1/agent/self": answer(http.StatusOK,
		`{"Config":{"NodeName":"a","Server":true},"DebugConfig":{"ACLsEnabled":false}}`),
	"/v1/agent/members": answer(http.StatusOK, `[{"Name":"a","Status":1,"Tags":{"role":"consul","acls":"0"}}]`),
	"/v1/status/leader": answer(http.StatusOK, `"10.0.0.1:8300"`),

	"/v1/internal/acl/authorize": answer(http.StatusNotFound, ""), // As before Consul 1.8.
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func newTestCluster(t *testing.T, opts consul.Options) *Cluster {
	t.Helper()
	if opts.Timeout == 0 {
		opts.Timeout = 5 * time.Second
	}
	c := New(Options{Client: opts, Ports: PortOptions{Timeout: time.Second, Concurrency: 4}})
	t.Cleanup(c.Close)
	return c
}

func snapshot(t *testing.T, c *Cluster) *Snapshot {
	t.Helper()
	snap := c.Snapshot(t.Context())
	t.Cleanup(snap.Close)
	return snap
}

func TestClient_Request(t *testing.T) {
	t.Parallel()
	var got *http.Request
	members := func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
		_, _ = io.WriteString(w, `[{"Name":"a","Status":1,"Tags":{"role":"node"}}]`)
	}
	address := fakeAgent(t, map[string]http.HandlerFunc{"/prefix/v1/agent/members": members})
	address.Path = "/prefix"
	c := newTestCluster(t, consul.Options{
		Address: address, Token: func() string { return "t0ken" },
		BasicAuth: &api.HttpBasicAuth{Username: "u", Password: "p"},
		Namespace: "team", Partition: "part",
	})
	snap := snapshot(t, c)
	wan, err := snap.WANMembers().Get(t.Context())
	if err != nil || len(wan) != 1 || wan[0].Name != "a" {
		t.Fatalf("members %v, error %v", wan, err)
	}
	query := got.URL.Query()
	if query.Get("wan") != "1" || !query.Has("stale") || query.Get("ns") != "team" || query.Get("partition") != "part" {
		t.Errorf("query is %s; want wan, stale, namespace and partition", got.URL.RawQuery)
	}
	if strings.Contains(got.URL.RawQuery, "t0ken") || got.Header.Get("X-Consul-Token") != "t0ken" {
		t.Errorf("token is %q, query %q; want the token in its header only", got.Header.Get("X-Consul-Token"),
			got.URL.RawQuery)
	}
	if user, password, _ := got.BasicAuth(); user != "u" || password != "p" {
		t.Errorf("basic auth is %q, %q", user, password)
	}
	if meta := snap.Queries()["/v1/agent/members"]; !meta.Filtered || meta.HasLeader {
		t.Errorf("meta is %+v; want filtered, and nothing about a leader", meta)
	}
	// The LAN pool tells first whether the token is known.
	if got := c.Requests()[consul.RequestKey{Endpoint: "/v1/agent/members", Code: "200"}]; got != 2 {
		t.Errorf("%d requests counted; want 2", got)
	}
}

// What was learnt stays when the agent is gone, when it has just started and knows nobody, or when the token is too
// weak.
func TestTopologyIsKept(t *testing.T) {
	t.Parallel()
	members := `[{"Name":"a","Addr":"127.0.0.1","Status":1,"Tags":{"role":"consul","port":"1","id":"id-a"}},
		{"Name":"b","Addr":"127.0.0.1","Status":1,"Tags":{"role":"consul","port":"2","id":"id-b"}}]`
	raft := `{"Servers":[{"ID":"id-a","Node":"a","Address":"127.0.0.1:1","Voter":true},
		{"ID":"id-b","Node":"b","Address":"127.0.0.1:2","Voter":true}]}`
	state := struct{ membersStatus, raftStatus int }{200, 200}
	address := fakeAgent(t, map[string]http.HandlerFunc{
		endpointMembers.Path: func(w http.ResponseWriter, r *http.Request) { answer(state.membersStatus, members)(w, r) },
		endpointRaft.Path:    func(w http.ResponseWriter, r *http.Request) { answer(state.raftStatus, raft)(w, r) },
	})
	c := newTestCluster(t, consul.Options{Address: address})
	names := func() string {
		snap := c.Snapshot(t.Context())
		defer snap.Close()
		topology, err := snap.Topology().Get(t.Context())
		text := fmt.Sprint(err)
		if err == nil {
			text = ""
		}
		for _, s := range topology.Servers {
			text += fmt.Sprintf("%s(%v) ", s.Name, s.Voter)
		}
		return text
	}
	for _, step := range []struct {
		name   string
		change func()
		want   string
	}{
		{"all is well", func() {}, "a(true) b(true) "},
		{"members cannot be read", func() { state.membersStatus = 500 }, "a(true) b(true) "},
		{"nothing can be read", func() { state.raftStatus = 500 }, "a(true) b(true) "},
		{"the agent knows only itself", func() {
			state.membersStatus, members = 200, `[{"Name":"client","Status":1,"Tags":{"role":"node"}}]`
		}, "a(true) b(true) "},
		{"the token sees nobody", func() { members = `[]` }, "a(true) b(true) "},
		{"a server has left", func() {
			members = `[{"Name":"a","Addr":"127.0.0.1","Status":1,"Tags":{"role":"consul","port":"1","id":"id-a"}},
				{"Name":"b","Addr":"127.0.0.1","Status":3,"Tags":{"role":"consul","port":"2","id":"id-b"}}]`
			state.raftStatus, raft = 200, `{"Servers":[{"ID":"id-a","Node":"a","Address":"127.0.0.1:1","Voter":true}]}`
		}, "a(true) "},
	} {
		step.change()
		if got := names(); got != step.want {
			t.Errorf("%s: servers are %q; want %q", step.name, got, step.want)
		}
	}
}

func TestNoServerKnown(t *testing.T) {
	t.Parallel()
	address := fakeAgent(t, map[string]http.HandlerFunc{
		"/v1/agent/members": answer(200, `[]`), "/v1/operator/raft/configuration": answer(403, ""),
		"/v1/status/peers": answer(200, `[]`),
		"/v1/agent/self":   answer(403, ""),
	})
	_, err := snapshot(t, newTestCluster(t, consul.Options{Address: address})).Reports().Get(t.Context())
	if !errors.Is(err, errNoServers) {
		t.Errorf("error %v; want errNoServers", err)
	}
}

func TestUp(t *testing.T) {
	t.Parallel()
	const self, leader = "/v1/agent/self", "/v1/status/leader"
	for _, tc := range []struct {
		name         string
		self, leader http.HandlerFunc
		want         bool
	}{
		{"well", answer(200, `{"Config":{"NodeName":"a"}}`), answer(200, `"10.0.0.1:8300"`), true},
		{"may not tell about itself", answer(403, ""), answer(200, `""`), true},
		{
			"a client without servers", answer(200, `{"Config":{"NodeName":"a"}}`), answer(500, "No known Consul servers"),
			true,
		},
		{"too many connections", answer(429, ""), answer(429, ""), true},
		{"a proxy before a dead agent", answer(502, ""), answer(502, ""), false},
		{"another program", answer(404, ""), answer(404, ""), false},
		{"another program that answers anything", answer(200, "<html>"), answer(200, "<html>"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newTestCluster(t,
				consul.Options{Address: fakeAgent(t, map[string]http.HandlerFunc{self: tc.self, leader: tc.leader})})
			if got, err := snapshot(t, c).Up().Get(t.Context()); got != tc.want || err != nil {
				t.Errorf("up = %v, %v; want %v", got, err, tc.want)
			}
		})
	}
}

// What the agent tells by itself does not wait behind what it asks the servers about, however many of those requests
// hang: an agent that has lost its servers is up. One request at a time is the tightest limit that users can set.
func TestUp_ServersHang(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	handlers := map[string]http.HandlerFunc{endpointSelf.Path: answer(200, `{"Config":{"NodeName":"a"}}`)}
	forwarded := []consul.Endpoint{
		endpointRaft, endpointStatusPeers, endpointCatalogNodes, endpointDatacenters, endpointMeshRoots, endpointSessions,
		endpointCoordinates, endpointLicense, endpointAutopilotState, endpointAutopilotConfig, endpointStatusLeader,
	}
	for _, ep := range forwarded {
		handlers[ep.Path] = hang
	}
	for _, limit := range []int{0, 1} {
		c := newTestCluster(t, consul.Options{Address: fakeAgent(t, handlers), Timeout: 2 * time.Second, RequestLimit: limit})
		snap := snapshot(t, c)
		var hanging sync.WaitGroup
		for _, ep := range forwarded {
			ep.Timeout = 6 * time.Second // They keep the connections for longer than anybody waits for the agent.
			hanging.Go(func() { _ = snap.readAgent(t.Context(), ep, &struct{}{}) })
		}
		<-time.After(200 * time.Millisecond) // They have the connections.
		if up, err := snap.Up().Get(t.Context()); err != nil || !up {
			t.Errorf("limit %d: up is %v, error %v; want that the agent is up", limit, up, err)
		}
		hanging.Wait()
	}
}
