// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// endpointsOf has one of each kind, by what it is about.
var endpointsOf = map[string]endpoint{
	"self":                 endpointSelf,
	"members":              endpointMembers,
	"status leader":        endpointStatusLeader,
	"raft":                 endpointRaft,
	"autopilot":            endpointAutopilotState,
	"the leader's":         endpointLeaderAutopilot,
	"consistent":           endpointConsistent,
	"catalog":              endpointDump(&selection{all: true}),
	"nodes":                endpointCatalogNodes,
	"overview":             endpointOverview,
	"mesh":                 endpointMeshRoots,
	"peerings":             endpointPeerings,
	"replication":          endpointACLReplication,
	"keys":                 endpointKeys("config/"),
	"all nodes, freshly":   {path: "/v1/catalog/nodes", chosen: true, consistency: ConsistencyConsistent},
	"telemetry":            endpointTelemetry,
	"services of an agent": endpointAgentServices,
}

func TestObjection(t *testing.T) {
	t.Parallel()
	denied := func(all ...right) rights {
		r := make(rights)
		for _, one := range all {
			r[one] = false
		}
		return r
	}
	server, client := &Agent{Name: "a", Server: true}, &Agent{Name: "c"}
	byServers := []string{"raft", "autopilot", "the leader's", "consistent", "catalog", "nodes", "overview", "mesh", "peerings", "replication", "keys", "all nodes, freshly"}
	byLeader := []string{"the leader's", "consistent", "peerings", "replication", "all nodes, freshly"}
	for _, tc := range []struct {
		name string
		c    circumstances
		// want are the endpoints that are not asked, and why the text that their error has.
		want []string
		why  string
	}{
		{name: "nothing is known"},
		{name: "a server and a token that may all", c: circumstances{agent: server, rights: rights{operatorRead: true, peeringRead: true}}},
		{
			name: "no operator:read", c: circumstances{agent: server, rights: denied(operatorRead)},
			want: []string{"raft", "autopilot", "the leader's", "overview"}, why: "permission denied: the token lacks operator:read",
		},
		{name: "no peering:read", c: circumstances{agent: server, rights: denied(peeringRead)}, want: []string{"peerings"}, why: "peering:read"},
		{
			name: "no agent:read", c: circumstances{agent: server, rights: denied(agentRead("a")), agentRights: []right{agentRead("a")}},
			want: []string{"self", "telemetry"}, why: "agent:read on a",
		},
		{
			name: "agent:read on one of those that it may be",
			c:    circumstances{rights: rights{agentRead("a"): false, agentRead("b"): true}, agentRights: []right{agentRead("a"), agentRead("b")}},
		},
		{
			name: "the agent is one that was not asked about",
			c:    circumstances{rights: denied(agentRead("a")), agentRights: []right{agentRead("z")}},
		},
		{name: "no key:list", c: circumstances{agent: server, rights: denied(keyList("config/")), keyPrefix: "config/"}},
		{
			name: "no key:list where it is needed",
			c:    circumstances{agent: &Agent{Server: true, KeyListPolicy: true}, rights: denied(keyList("config/")), keyPrefix: "config/"},
			want: []string{"keys"}, why: "key:list on config/",
		},
		{name: "the mesh is off", c: circumstances{agent: &Agent{Server: true, MeshOff: true}}, want: []string{"mesh"}, why: "the service mesh switched off"},
		{name: "the mesh is off at a client", c: circumstances{agent: &Agent{MeshOff: true}}},
		{name: "peering is off", c: circumstances{agent: &Agent{Server: true, PeeringOff: true}}, want: []string{"peerings"}, why: "cluster peering switched off"},
		{name: "ACLs are off", c: circumstances{agent: &Agent{ACLsOff: true}}, want: []string{"replication"}, why: "ACLs switched off"},
		{name: "no leader", c: circumstances{agent: server, leaderless: true}, want: byLeader, why: "there is no leader"},
		{name: "the leader has failed", c: circumstances{agent: server, leaderLost: true}, want: byLeader, why: "the leader is not reachable"},
		{
			name: "a cold start", c: circumstances{agent: server, neverHeard: true}, want: byServers, why: "has not heard of one since it started",
		},
		{
			name: "a client without servers", c: circumstances{agent: client, serversGone: true},
			want: append([]string{"status leader"}, byServers...), why: "no server that is alive",
		},
		{name: "another datacenter, without a leader here", c: circumstances{agent: server, elsewhere: true, neverHeard: true}, want: slices.DeleteFunc(slices.Clone(byServers), func(name string) bool {
			return slices.Contains([]string{"catalog", "overview", "nodes", "keys", "all nodes, freshly"}, name)
		})},
		{
			name: "another datacenter that is lost", c: circumstances{agent: server, elsewhere: true, datacenterLost: true},
			want: []string{"catalog", "overview", "nodes", "keys", "all nodes, freshly"}, why: "no server of the datacenter is alive",
		},
	} {
		for name, ep := range endpointsOf {
			err := tc.c.objection(&ep)
			if got, want := err != nil, slices.Contains(tc.want, name); got != want {
				t.Errorf("%s: %s is held back: %v (%v); want %v", tc.name, name, got, err, want)
				continue
			}
			if err != nil && !strings.Contains(err.Error(), tc.why) {
				t.Errorf("%s: %s: error %q; want one that says %q", tc.name, name, err, tc.why)
			}
			if _, denied := errors.AsType[deniedError](err); denied && (!errors.Is(err, ErrRefused) || !IsDenied(err)) {
				t.Errorf("%s: %s: error %v is no refusal for want of rights", tc.name, name, err)
			}
		}
	}
}

// The rights of a token are asked for once in five minutes, and at once when the token changes. An agent that does not tell them is asked
// everything.
func TestTokenRights(t *testing.T) {
	t.Parallel()
	asked, status := 0, http.StatusOK
	token, now := "one", newClock()
	address := fakeAgent(t, map[string]http.HandlerFunc{
		endpointSelf.path:    answer(http.StatusOK, `{"Config":{"NodeName":"a","Server":true},"DebugConfig":{"ACLsEnabled":true}}`),
		endpointMembers.path: answer(http.StatusOK, `[{"Name":"a","Status":1,"Tags":{"role":"consul","acls":"1","build":"1.22.5"}}]`),
		endpointAuthorize.path: func(w http.ResponseWriter, r *http.Request) {
			asked++
			if r.Method != http.MethodPost || r.Header.Get("X-Consul-Token") != token {
				t.Errorf("rights are asked for with %s and the token %q", r.Method, r.Header.Get("X-Consul-Token"))
			}
			answer(status, `[{"Allow":false},{"Allow":true},{"Allow":true},{"Allow":true}]`)(w, r)
		},
		endpointAutopilotState.path: answer(http.StatusOK, `{"Servers":{"a":{"Name":"a"}}}`),
	})
	c := newTestCluster(t, ClientOptions{Address: address, Token: func() string { return token }, Now: now.now})
	for _, step := range []struct {
		name   string
		before func()
		asked  int
		denied bool
	}{
		{"first", func() {}, 1, true},
		{"at once", func() {}, 1, true},
		{"after 4 minutes", func() { now.forward(4 * time.Minute) }, 1, true},
		{"after 6 minutes", func() { now.forward(2 * time.Minute) }, 2, true},
		{"a new token", func() { token = "two" }, 3, true},
		{"no answer: what was known holds", func() { now.forward(6 * time.Minute); status = http.StatusInternalServerError }, 4, true},
		{"a new token, and an agent that does not tell", func() { token = "three" }, 5, false},
		{"one that cannot: it is not asked again soon", func() { token, status = "four", http.StatusNotFound }, 6, false},
		{"the same", func() {}, 6, false},
	} {
		step.before()
		_, err := snapshot(t, c).AutopilotState().Get(t.Context())
		if denied := IsDenied(err); denied != step.denied || (err != nil) != step.denied || asked != step.asked {
			t.Errorf("%s: error %v, and rights asked for %d times; want denied %v, and %d times", step.name, err, asked, step.denied, step.asked)
		}
	}
}

// A scrape does not wait long for an agent that hangs where it tells what may be asked.
func TestPermit_AgentHangs(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // Until then, a server does not notice that the client is gone.
		<-r.Context().Done()
	}
	for _, hanging := range []string{endpointSelf.path, endpointMembers.path, endpointAuthorize.path} {
		handlers := map[string]http.HandlerFunc{
			endpointSelf.path:           answer(http.StatusOK, `{"Config":{"NodeName":"a","Server":true},"DebugConfig":{"ACLsEnabled":true}}`),
			endpointAutopilotState.path: answer(http.StatusOK, `{"Servers":{"a":{"Name":"a"}}}`),
			endpointCatalogNodes.path:   answer(http.StatusOK, `[{}]`),
		}
		handlers[hanging] = hang
		c := newTestCluster(t, ClientOptions{Address: fakeAgent(t, handlers), Timeout: time.Second})
		start, snap := time.Now(), snapshot(t, c)
		autopilot, nodes := snap.AutopilotState(), snap.CatalogNodes()
		if _, err := autopilot.Get(t.Context()); err != nil {
			t.Errorf("%s hangs: autopilot: error %v", hanging, err)
		}
		if _, err := nodes.Get(t.Context()); err != nil {
			t.Errorf("%s hangs: nodes: error %v", hanging, err)
		}
		if took := time.Since(start); took > 900*time.Millisecond {
			t.Errorf("%s hangs: the rest took %s; want half of the time that a request may take", hanging, took)
		}
	}
}

// A client agent that hung is asked for everything as soon as it answers again: that it did not answer tells nothing about what the servers have
// switched off.
func TestPermit_AgentHung(t *testing.T) {
	t.Parallel()
	var hung atomic.Bool
	handlers := map[string]http.HandlerFunc{
		endpointSelf.path: answer(http.StatusOK, `{"Config":{"NodeName":"a","Server":false}}`), endpointMeshRoots.path: answer(http.StatusOK, `{}`),
		endpointPeerings.path: answer(http.StatusOK, `[]`),
	}
	for path, handler := range handlers {
		handlers[path] = func(w http.ResponseWriter, r *http.Request) {
			if hung.Load() {
				<-r.Context().Done()
				return
			}
			handler(w, r)
		}
	}
	c := newTestCluster(t, ClientOptions{Address: fakeAgent(t, handlers), Timeout: 300 * time.Millisecond})
	for i, hangs := range []bool{false, true, true, false} {
		hung.Store(hangs)
		snap := snapshot(t, c)
		roots, peerings := snap.MeshRoots(), snap.Peerings()
		_, rootsErr := roots.Get(t.Context())
		_, peeringsErr := peerings.Get(t.Context())
		if (rootsErr != nil) != hangs || (peeringsErr != nil) != hangs {
			t.Errorf("scrape %d: errors %v and %v; want some: %v", i, rootsErr, peeringsErr, hangs)
		}
	}
}

// An agent that was restarted, or has another configuration, is asked again what it refused.
func TestPermit_AgentChanges(t *testing.T) {
	t.Parallel()
	config, asked := `{}`, 0
	address := fakeAgent(t, map[string]http.HandlerFunc{
		endpointSelf.path: func(w http.ResponseWriter, r *http.Request) {
			answer(http.StatusOK, `{"Config":{"NodeName":"a","Server":true},"DebugConfig":`+config+`}`)(w, r)
		},
		endpointSessions.path: func(w http.ResponseWriter, _ *http.Request) {
			asked++
			w.WriteHeader(http.StatusForbidden)
		},
	})
	c := newTestCluster(t, ClientOptions{Address: address})
	for _, step := range []struct {
		name   string
		before func()
		asked  int
	}{
		{"first", func() {}, 1},
		{"at once", func() {}, 1},
		{"another configuration", func() { config = `{"HTTPMaxConnsPerClient":100}` }, 2},
		{"the same", func() {}, 2},
	} {
		step.before()
		snap := snapshot(t, c)
		_, _ = snap.Agent().Get(t.Context())
		if _, err := snap.Sessions().Get(t.Context()); !errors.Is(err, ErrRefused) || asked != step.asked {
			t.Errorf("%s: error %v, asked %d times; want a refusal and %d times", step.name, err, asked, step.asked)
		}
	}
}

func TestParseRaftConfiguration(t *testing.T) {
	t.Parallel()
	got := parseRaftConfiguration("[{Suffrage:Voter ID:aa-1 Address:10.0.0.1:8300} {Suffrage:Nonvoter ID:bb-2 Address:[fd00::2]:8300}]")
	want := []RaftPeer{{ID: "aa-1", Address: "10.0.0.1:8300", Voter: true}, {ID: "bb-2", Address: "[fd00::2]:8300"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v; want %+v", got, want)
	}
	for _, text := range []string{"", "[]", "{Suffrage:Voter"} {
		if got := parseRaftConfiguration(text); got != nil {
			t.Errorf("%q is %+v; want nobody", text, got)
		}
	}
}

// A datacenter that cannot be reached is asked again after a while, by one question: Consul logs each.
func TestPermit_DatacenterLost(t *testing.T) {
	t.Parallel()
	now := newClock()
	var asked atomic.Int32
	reachable := false
	far := func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if reachable {
			answer(http.StatusOK, `[]`)(w, r)
			return
		}
		answer(http.StatusInternalServerError, "Remote DC has no server currently reachable")(w, r)
	}
	c := newTestCluster(t, ClientOptions{Datacenter: "dc2", Now: now.now, Address: fakeAgent(t, map[string]http.HandlerFunc{
		endpointSelf.path:         answer(http.StatusOK, `{"Config":{"NodeName":"a","Datacenter":"dc1"},"DebugConfig":{"ACLsEnabled":false}}`),
		endpointMembers.path:      answer(http.StatusOK, `[{"Name":"s","Status":1,"Tags":{"role":"consul","dc":"dc1","port":"8300"}}]`),
		endpointStatusLeader.path: answer(http.StatusOK, `"127.0.0.1:8300"`),
		endpointCatalogNodes.path: far, endpointSessions.path: far,
	})})
	scrape := func() (nodes, sessions error) {
		snap := c.Snapshot(t.Context())
		defer snap.Close()
		_, nodes = snap.CatalogNodes().Get(t.Context())
		_, sessions = snap.Sessions().Get(t.Context())
		return nodes, sessions
	}
	for i, want := range []int32{1, 1, 2, 2, 2, 3} { // After 0, 6, 12, 18, 24 and 36 s and more.
		nodes, sessions := scrape()
		if nodes == nil || sessions == nil || errors.Is(nodes, ErrRefused) || !strings.Contains(sessions.Error(), "no server currently reachable") {
			t.Errorf("scrape %d: errors %v and %v; want what Consul said", i+1, nodes, sessions)
		}
		if got := asked.Load(); got != want {
			t.Errorf("scrape %d: asked %d times; want %d", i+1, got, want)
		}
		now.forward(6 * time.Second)
		if i == 4 {
			now.forward(6 * time.Second)
		}
	}
	reachable = true
	now.forward(5 * time.Minute)
	if nodes, sessions := scrape(); nodes != nil || sessions != nil {
		t.Errorf("errors %v and %v; want none when it is back", nodes, sessions)
	}
}

// The leader logs a warning about each peering that has no stream whenever it is asked, so those are asked for rarely; others each time.
func TestPeerings_WithoutStream(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]int32{"PENDING": 1, "ESTABLISHING": 1, "ACTIVE": 3, "FAILING": 3} {
		var asked atomic.Int32
		c := newTestCluster(t, ClientOptions{Address: fakeAgent(t, map[string]http.HandlerFunc{
			endpointSelf.path:         answer(http.StatusOK, `{"Config":{"NodeName":"a","Server":true},"DebugConfig":{"ACLsEnabled":false,"PeeringEnabled":true}}`),
			endpointStatusLeader.path: answer(http.StatusOK, `"127.0.0.1:8300"`),
			endpointPeerings.path: func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				answer(http.StatusOK, `[{"Name":"west","State":"`+state+`"},{"Name":"east","State":"ACTIVE"}]`)(w, r)
			},
		})})
		for range 3 {
			snap := c.Snapshot(t.Context())
			peerings, err := snap.Peerings().Get(t.Context())
			if err != nil || len(peerings) != 2 || peerings[1].Name != "west" {
				t.Errorf("%s: peerings %+v, error %v; want both", state, peerings, err)
			}
			snap.Close()
		}
		if got := asked.Load(); got != want {
			t.Errorf("%s: asked %d times in three scrapes; want %d", state, got, want)
		}
	}
}

// A server that has no leader may know no token. When there is one again, the token is asked about at once.
func TestUnknownToken_LeaderIsBack(t *testing.T) {
	t.Parallel()
	var leader atomic.Value
	leader.Store(`"127.0.0.1:8300"`)
	known := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if leader.Load() == `""` {
				answer(http.StatusForbidden, "ACL not found")(w, r)
				return
			}
			answer(http.StatusOK, body)(w, r)
		}
	}
	now := newClock()
	c := newTestCluster(t, ClientOptions{
		Now: now.now, Token: func() string { return "t0ken" },
		Address: fakeAgent(t, map[string]http.HandlerFunc{
			endpointSelf.path:         known(`{"Config":{"NodeName":"a","Server":true},"DebugConfig":{"ACLsEnabled":true}}`),
			endpointMembers.path:      known(`[{"Name":"a","Status":1,"Tags":{"role":"consul","dc":"dc1","port":"8300","acls":"1"}}]`),
			endpointStatusLeader.path: func(w http.ResponseWriter, r *http.Request) { answer(http.StatusOK, leader.Load().(string))(w, r) },
			endpointCatalogNodes.path: known(`[{},{}]`),
		}),
	})
	scrape := func() error {
		snap := c.Snapshot(t.Context())
		defer snap.Close()
		_, _ = snap.StatusLeader().Get(t.Context())
		_, err := snap.CatalogNodes().Get(t.Context())
		return err
	}
	leader.Store(`""`)
	for range 8 { // The waits grow to hours.
		if err := scrape(); err == nil {
			t.Error("no error while the token is unknown")
		}
		now.forward(2 * time.Hour)
	}
	_ = scrape()
	leader.Store(`"127.0.0.1:8300"`)
	_ = scrape() // Which sees the leader.
	if err := scrape(); err != nil {
		t.Errorf("error %v when there is a leader again", err)
	}
}

// A token that was deleted is found out by one endpoint, and the others wait for it, also while the agent's answer about its members is an
// older one: each request is an error in Consul's log.
func TestUnknownToken_OneAsks(t *testing.T) {
	t.Parallel()
	now := newClock()
	var deleted atomic.Bool
	var refused atomic.Int32
	known := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if deleted.Load() {
				refused.Add(1)
				answer(http.StatusForbidden, "ACL not found")(w, r)
				return
			}
			answer(http.StatusOK, body)(w, r)
		}
	}
	c := newTestCluster(t, ClientOptions{
		Now: now.now, Token: func() string { return "t0ken" },
		Address: fakeAgent(t, map[string]http.HandlerFunc{
			endpointSelf.path:         answer(http.StatusOK, `{"Config":{"NodeName":"a","Server":true},"DebugConfig":{"ACLsEnabled":false}}`),
			endpointMembers.path:      answer(http.StatusOK, `[{"Name":"a","Status":1,"Tags":{"role":"consul","dc":"dc1","port":"8300"}}]`),
			endpointStatusLeader.path: answer(http.StatusOK, `"127.0.0.1:8300"`),
			endpointCatalogNodes.path: known(`[{},{}]`), endpointSessions.path: known(`[]`), endpointDatacenters.path: known(`["dc1"]`),
		}),
	})
	scrape := func() (errs []error) {
		snap := c.Snapshot(t.Context())
		defer snap.Close()
		_, nodes := snap.CatalogNodes().Get(t.Context())
		_, sessions := snap.Sessions().Get(t.Context())
		_, datacenters := snap.Datacenters().Get(t.Context())
		return []error{nodes, sessions, datacenters}
	}
	for _, err := range scrape() {
		if err != nil {
			t.Error(err)
		}
	}
	deleted.Store(true)
	for range 10 {
		for _, err := range scrape() {
			if !isUnknownToken(err) {
				t.Errorf("error %v; want that the token is unknown", err)
			}
		}
		now.forward(15 * time.Second)
	}
	if got := refused.Load(); got < 2 || got > 5 {
		t.Errorf("%d requests were refused in 150 s; want those of one endpoint: after 0, 10, 30 and 70 s", got)
	}
	deleted.Store(false)
	now.forward(5 * time.Minute)
	_ = scrape() // The one asks, and then the others do.
	for _, err := range scrape() {
		if err != nil {
			t.Errorf("error %v when the token is known again", err)
		}
	}
}

// An agent that reached no server, or a cluster without a leader, says nothing about what is switched off.
func TestIsSwitchedOff(t *testing.T) {
	t.Parallel()
	uncertain := endpoint{path: "/v1/connect/ca/roots", uncertain: true}
	for body, want := range map[string]bool{
		"rpc error making call: Connect must be enabled in order to use this endpoint":                      true,
		"rpc error getting client: failed to get conn: dial tcp 10.0.0.1:8300: connect: connection refused": false,
		"rpc error getting client: failed to get conn: rpc error: lead thread didn't get connection":        false,
		"rpc error making call: EOF":               false,
		"rpc error making call: No cluster leader": false,
		"No known Consul servers":                  false,
	} {
		err := api.StatusError{Code: http.StatusInternalServerError, Body: body}
		if got := uncertain.isSwitchedOff(err); got != want {
			t.Errorf("%q means switched off: %v; want %v", body, got, want)
		}
		if certain := (&endpoint{}); certain.isSwitchedOff(err) {
			t.Errorf("%q means switched off, though the configuration is known", body)
		}
	}
}
