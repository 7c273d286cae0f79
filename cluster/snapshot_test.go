// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/agenttest"
)

// fakeAgent is an HTTP API for what a real one does not do on demand. It fails the test when it is asked for a path
// that it has no handler for.
func fakeAgent(t *testing.T, handlers map[string]http.HandlerFunc) consul.Address {
	t.Helper()
	all := maps.Clone(circumstancesOfFake)
	maps.Copy(all, handlers)
	return agenttest.Serve(t, all)
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

var answer = agenttest.Answer

// list is a list in JSON.
func list(elements ...string) string { return "[" + strings.Join(elements, ",") + "]" }

// servers are as many members that are servers, in JSON.
func servers(n int, status MemberStatus) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`{"Name":"server-%d","Addr":"127.0.0.1","Status":%d,
			"Tags":{"role":"consul","id":"%[1]d","port":"%[1]d"}}`, i, status)
	}
	return all
}

// hang is a handler that never answers. Without reading the question it would not notice that the client is gone.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// filtered is a handler whose answer the token's rights have cut short.
func filtered(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
		_, _ = io.WriteString(w, body)
	}
}

// changing is a handler that a test replaces between two scrapes.
type changing struct{ atomic.Value }

func (c *changing) serve(w http.ResponseWriter, r *http.Request) { c.Load().(http.HandlerFunc)(w, r) }

// newTestCluster is a cluster seen through a fakeAgent with these handlers.
func newTestCluster(t *testing.T, opts Options, handlers map[string]http.HandlerFunc) *Cluster {
	t.Helper()
	opts.Client.Address = fakeAgent(t, handlers)
	opts.Client.Timeout = cmp.Or(opts.Client.Timeout, 5*time.Second)
	opts.Ports.Timeout, opts.Ports.Concurrency = cmp.Or(opts.Ports.Timeout, time.Second), 4
	c := New(opts)
	t.Cleanup(c.Close)
	return c
}

func snapshot(t *testing.T, c *Cluster) *Snapshot {
	t.Helper()
	snap := c.Snapshot(t.Context())
	t.Cleanup(snap.Close)
	return snap
}

// scrape takes a snapshot for one fact and closes it, so that the cluster learns what there was to learn.
func scrape[T any](t *testing.T, c *Cluster, fact func(*Snapshot) *Fact[T]) (T, error) {
	t.Helper()
	snap := c.Snapshot(t.Context())
	defer snap.Close()
	return fact(snap).Get(t.Context())
}

// asked returns how many requests for these endpoints were answered, or failed.
func asked(c *Cluster, endpoints ...consul.Endpoint) (n uint64) {
	for key, requests := range c.Requests() {
		if slices.ContainsFunc(endpoints, func(ep consul.Endpoint) bool { return ep.Name() == key.Endpoint }) {
			n += requests
		}
	}
	return n
}

func TestClient_Request(t *testing.T) {
	t.Parallel()
	var got *http.Request
	address := fakeAgent(t, map[string]http.HandlerFunc{
		"/prefix/v1/agent/members": func(w http.ResponseWriter, r *http.Request) {
			got = r
			filtered(`[{"Name":"a","Status":1,"Tags":{"role":"node"}}]`)(w, r)
		},
	})
	address.Path = "/prefix"
	c := New(Options{Client: consul.Options{
		Address: address, Timeout: 5 * time.Second, Token: func() string { return "t0ken" },
		BasicAuth: &api.HttpBasicAuth{Username: "u", Password: "p"}, Namespace: "team", Partition: "part",
	}})
	t.Cleanup(c.Close)
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
	if got := asked(c, endpointMembers); got != 2 {
		t.Errorf("%d requests counted; want 2", got)
	}
}

// What was learnt stays when the agent is gone, when it has just started and knows nobody, or when the token is too
// weak.
func TestTopologyIsKept(t *testing.T) {
	t.Parallel()
	const (
		serverA = `{"Name":"a","Addr":"127.0.0.1","Status":1,"Tags":{"role":"consul","port":"1","id":"id-a"}}`
		serverB = `{"Name":"b","Addr":"127.0.0.1","Status":1,"Tags":{"role":"consul","port":"2","id":"id-b"}}`
		leftB   = `{"Name":"b","Addr":"127.0.0.1","Status":3,"Tags":{"role":"consul","port":"2","id":"id-b"}}`
		client  = `{"Name":"client","Status":1,"Tags":{"role":"node"}}`
		peerA   = `{"ID":"id-a","Node":"a","Address":"127.0.0.1:1","Voter":true}`
		peerB   = `{"ID":"id-b","Node":"b","Address":"127.0.0.1:2","Voter":true}`
		both    = "a(true) b(true) "
	)
	lan := func(members ...string) http.HandlerFunc { return answer(200, list(members...)) }
	raft := func(peers ...string) http.HandlerFunc { return answer(200, `{"Servers":`+list(peers...)+"}") }
	var membersNow, raftNow changing
	broken := answer(500, "")
	c := newTestCluster(t, Options{}, map[string]http.HandlerFunc{
		endpointMembers.Path: membersNow.serve, endpointRaft.Path: raftNow.serve,
	})
	for _, step := range []struct {
		name          string
		members, raft http.HandlerFunc
		want          string
	}{
		{"all is well", lan(serverA, serverB), raft(peerA, peerB), both},
		{"members cannot be read", broken, raft(peerA, peerB), both},
		{"nothing can be read", broken, broken, both},
		{"the agent knows only itself", lan(client), broken, both},
		{"the token sees nobody", lan(), broken, both},
		{"a server has left", lan(serverA, leftB), raft(peerA), "a(true) "},
	} {
		membersNow.Store(step.members)
		raftNow.Store(step.raft)
		topology, err := scrape(t, c, (*Snapshot).Topology)
		got := ""
		for _, s := range topology.Servers {
			got += fmt.Sprintf("%s(%v) ", s.Name, s.Voter)
		}
		if err != nil || got != step.want {
			t.Errorf("%s: servers are %q, error %v; want %q", step.name, got, err, step.want)
		}
	}
}

func TestNoServerKnown(t *testing.T) {
	t.Parallel()
	_, err := scrape(t, newTestCluster(t, Options{}, map[string]http.HandlerFunc{
		"/v1/agent/members": answer(200, `[]`), "/v1/operator/raft/configuration": answer(403, ""),
		"/v1/status/peers": answer(200, `[]`), "/v1/agent/self": answer(403, ""),
	}), (*Snapshot).Reports)
	if !errors.Is(err, errNoServers) {
		t.Errorf("error %v; want errNoServers", err)
	}
}

// named is what an agent says at least about itself.
var named = answer(200, `{"Config":{"NodeName":"a"}}`)

func TestUp(t *testing.T) {
	t.Parallel()
	const self, leader = "/v1/agent/self", "/v1/status/leader"
	for _, tc := range []struct {
		name         string
		self, leader http.HandlerFunc
		want         bool
	}{
		{"well", named, answer(200, `"10.0.0.1:8300"`), true},
		{"may not tell about itself", answer(403, ""), answer(200, `""`), true},
		{"a client without servers", named, answer(500, "No known Consul servers"), true},
		{"too many connections", answer(429, ""), answer(429, ""), false},
		{"too many connections for one of two", named, answer(429, ""), true},
		{"a proxy that forbids all with a page", answer(403, "<html>"), answer(403, "<html>"), false},
		{"a proxy before a dead agent", answer(502, ""), answer(502, ""), false},
		{"another program", answer(404, ""), answer(404, ""), false},
		{"another program that answers anything", answer(200, "<html>"), answer(200, "<html>"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newTestCluster(t, Options{}, map[string]http.HandlerFunc{self: tc.self, leader: tc.leader})
			if got, err := scrape(t, c, (*Snapshot).Up); got != tc.want || err != nil {
				t.Errorf("up = %v, %v; want %v", got, err, tc.want)
			}
		})
	}
}

// What the agent tells by itself does not wait behind what it asks the servers about, however many of those requests
// hang: an agent that has lost its servers is up. One request at a time is the tightest limit that users can set.
func TestUp_ServersHang(t *testing.T) {
	t.Parallel()
	handlers := map[string]http.HandlerFunc{endpointSelf.Path: named}
	forwarded := []consul.Endpoint{
		endpointRaft, endpointStatusPeers, endpointCatalogNodes, endpointDatacenters, endpointMeshRoots, endpointSessions,
		endpointCoordinates, endpointLicense, endpointAutopilotState, endpointAutopilotConfig, endpointStatusLeader,
	}
	for _, ep := range forwarded {
		handlers[ep.Path] = hang
	}
	for _, limit := range []int{0, 1} {
		c := newTestCluster(t, Options{Client: consul.Options{Timeout: 2 * time.Second, RequestLimit: limit}}, handlers)
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
