// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// endpointCatalogNodes is what package catalog begins with.
var endpointCatalogNodes = consul.Endpoint{Path: "/v1/catalog/nodes", Chosen: true}

// endpointsOf has one of each kind, by what it is about.
var endpointsOf = map[string]consul.Endpoint{
	"self":                 endpointSelf,
	"members":              endpointMembers,
	"status leader":        endpointStatusLeader,
	"raft":                 endpointRaft,
	"autopilot":            endpointAutopilotState,
	"the leader's":         endpointLeaderAutopilot,
	"the leader's raft":    endpointLeaderRaft,
	"consistent":           endpointConsistent,
	"catalog":              {Path: "/v1/internal/ui/nodes", Chosen: true},
	"nodes":                endpointCatalogNodes,
	"overview":             {Path: "/v1/internal/ui/catalog-overview", Chosen: true},
	"mesh":                 endpointMeshRoots,
	"peerings":             endpointPeerings,
	"replication":          endpointACLReplication,
	"keys":                 endpointKeys("config/"),
	"all nodes, freshly":   {Path: "/v1/catalog/nodes", Chosen: true, Consistency: consul.ConsistencyConsistent},
	"telemetry":            endpointTelemetry,
	"services of an agent": {Path: "/v1/agent/services"},
}

func TestObjection(t *testing.T) {
	t.Parallel()
	denied := func(right consul.Right) consul.Rights { return consul.Rights{right: false} }
	server, client := &Agent{Name: "a", Server: true}, &Agent{Name: "c"}
	readA, readB := consul.AgentRead("a"), consul.AgentRead("b")
	chosen := []string{"catalog", "overview", "nodes", "keys", "all nodes, freshly"}
	others := []string{
		"raft", "autopilot", "the leader's", "the leader's raft", "consistent", "mesh", "peerings", "replication",
	}
	byServers := slices.Concat(chosen, others)
	byLeader := []string{
		"the leader's", "the leader's raft", "consistent", "peerings", "replication", "all nodes, freshly",
	}
	for _, tc := range []struct {
		name string
		c    circumstances
		// want are the endpoints that are not asked, and why the text that their error has.
		want []string
		why  string
	}{
		{name: "nothing is known"},
		{
			name: "a server and a token that may all",
			c:    circumstances{agent: server, rights: consul.Rights{consul.OperatorRead: true, consul.PeeringRead: true}},
		},
		{
			name: "no operator:read", c: circumstances{agent: server, rights: denied(consul.OperatorRead)},
			want: []string{"raft", "autopilot", "the leader's", "the leader's raft", "overview"},
			why:  "permission denied: the token lacks operator:read",
		},
		{
			name: "no peering:read", c: circumstances{agent: server, rights: denied(consul.PeeringRead)},
			want: []string{"peerings"}, why: "peering:read",
		},
		{
			name: "no agent:read",
			c:    circumstances{agent: server, rights: denied(readA), agentRights: []consul.Right{readA}},
			want: []string{"self", "telemetry"}, why: "agent:read on a",
		},
		{
			name: "agent:read on one of those that it may be",
			c:    circumstances{rights: consul.Rights{readA: false, readB: true}, agentRights: []consul.Right{readA, readB}},
		},
		{
			name: "the agent is one that was not asked about",
			c:    circumstances{rights: denied(consul.AgentRead("a")), agentRights: []consul.Right{consul.AgentRead("z")}},
		},
		{
			name: "no key:list",
			c:    circumstances{agent: server, rights: denied(consul.KeyList("config/")), keyPrefix: "config/"},
		},
		{
			name: "no key:list where it is needed",
			c: circumstances{
				agent: &Agent{Server: true, KeyListPolicy: true}, rights: denied(consul.KeyList("config/")), keyPrefix: "config/",
			},
			want: []string{"keys"}, why: "key:list on config/",
		},
		{
			name: "the mesh is off", c: circumstances{agent: &Agent{Server: true, MeshOff: true}}, want: []string{"mesh"},
			why: "the service mesh switched off",
		},
		{name: "the mesh is off at a client", c: circumstances{agent: &Agent{MeshOff: true}}},
		{
			name: "peering is off", c: circumstances{agent: &Agent{Server: true, PeeringOff: true}},
			want: []string{"peerings"}, why: "cluster peering switched off",
		},
		{
			name: "ACLs are off", c: circumstances{agent: &Agent{ACLsOff: true}}, want: []string{"replication"},
			why: "ACLs switched off",
		},
		{name: "no leader", c: circumstances{agent: server, leaderless: true}, want: byLeader, why: "there is no leader"},
		{
			name: "the leader has failed", c: circumstances{agent: server, leaderLost: true}, want: byLeader,
			why: "the leader is not reachable",
		},
		{
			name: "a cold start", c: circumstances{agent: server, neverHeard: true}, want: byServers,
			why: "has not heard of one since it started",
		},
		{
			name: "a client without servers", c: circumstances{agent: client, serversGone: true},
			want: append([]string{"status leader"}, byServers...), why: "no server that is alive",
		},
		{
			name: "another datacenter, without a leader here",
			c:    circumstances{agent: server, elsewhere: true, neverHeard: true}, want: others,
		},
		{
			name: "another datacenter that is lost", c: circumstances{agent: server, elsewhere: true, datacenterLost: true},
			want: []string{"catalog", "overview", "nodes", "keys", "all nodes, freshly"},
			why:  "no server of the datacenter is alive",
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
			_, denied := errors.AsType[consul.DeniedError](err)
			if denied && (!errors.Is(err, consul.ErrRefused) || !consul.IsDenied(err)) {
				t.Errorf("%s: %s: error %v is no refusal for want of rights", tc.name, name, err)
			}
		}
	}
}

const selfWithACLs = `{"Config":{"NodeName":"a","Server":true},"DebugConfig":{"ACLsEnabled":true}}`

// The rights of a token are asked for once in five minutes, and at once when the token changes. An agent that does
// not tell them is asked everything.
func TestTokenRights(t *testing.T) {
	t.Parallel()
	status, token, now := 0, "", time.Unix(1000, 0)
	c := newTestCluster(t, Options{Client: consul.Options{
		Token: func() string { return token }, Now: func() time.Time { return now },
	}}, map[string]http.HandlerFunc{
		endpointSelf.Path: answer(http.StatusOK, selfWithACLs),
		endpointMembers.Path: answer(http.StatusOK,
			`[{"Name":"a","Status":1,"Tags":{"role":"consul","acls":"1","build":"1.22.5"}}]`),
		endpointAuthorize.Path: func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost || r.Header.Get("X-Consul-Token") != token {
				t.Errorf("rights are asked for with %s and the token %q", r.Method, r.Header.Get("X-Consul-Token"))
			}
			answer(status, `[{"Allow":false},{"Allow":true},{"Allow":true},{"Allow":true}]`)(w, r)
		},
		endpointAutopilotState.Path: answer(http.StatusOK, `{"Servers":{"a":{"Name":"a"}}}`),
	})
	for _, step := range []struct {
		name   string
		after  time.Duration
		token  string
		status int
		asked  uint64
		denied bool
	}{
		{"first", 0, "one", 200, 1, true},
		{"at once", 0, "one", 200, 1, true},
		{"after 4 minutes", 4 * time.Minute, "one", 200, 1, true},
		{"after 6 minutes", 2 * time.Minute, "one", 200, 2, true},
		{"a new token", 0, "two", 200, 3, true},
		{"no answer: what was known holds", 6 * time.Minute, "two", 500, 4, true},
		{"a new token, and an agent that does not tell", 0, "three", 500, 5, false},
		{"one that cannot: it is not asked again soon", 0, "four", 404, 6, false},
		{"the same", 0, "four", 404, 6, false},
	} {
		now, token, status = now.Add(step.after), step.token, step.status
		_, err := scrape(t, c, (*Snapshot).AutopilotState)
		n := asked(c, endpointAuthorize)
		if denied := consul.IsDenied(err); denied != step.denied || (err != nil) != step.denied || n != step.asked {
			t.Errorf("%s: error %v, and rights asked for %d times; want denied %v, and %d times", step.name, err, n,
				step.denied, step.asked)
		}
	}
}

// A scrape does not wait long for an agent that hangs where it tells what may be asked.
func TestPermit_AgentHangs(t *testing.T) {
	t.Parallel()
	for _, hanging := range []string{endpointSelf.Path, endpointMembers.Path, endpointAuthorize.Path} {
		t.Run(hanging, func(t *testing.T) {
			handlers := map[string]http.HandlerFunc{
				endpointSelf.Path:           answer(http.StatusOK, selfWithACLs),
				endpointAutopilotState.Path: answer(http.StatusOK, `{"Servers":{"a":{"Name":"a"}}}`),
				endpointCatalogNodes.Path:   answer(http.StatusOK, `[{}]`),
			}
			handlers[hanging] = hang
			c := newTestCluster(t, Options{Client: consul.Options{Timeout: time.Second}}, handlers)
			start, snap := time.Now(), snapshot(t, c)
			autopilot, nodes := snap.AutopilotState(), snap.CatalogNodes()
			must.Get(autopilot.Get(t.Context()))(t)
			must.Get(nodes.Get(t.Context()))(t)
			if took := time.Since(start); took > 900*time.Millisecond {
				t.Errorf("the rest took %s; want half of the time that a request may take", took)
			}
		})
	}
}

// A client agent that hung is asked for everything as soon as it answers again: that it did not answer tells nothing
// about what the servers have switched off.
func TestPermit_AgentHung(t *testing.T) {
	t.Parallel()
	var hung atomic.Bool
	handlers := map[string]http.HandlerFunc{
		endpointSelf.Path:      answer(http.StatusOK, `{"Config":{"NodeName":"a","Server":false}}`),
		endpointMeshRoots.Path: answer(http.StatusOK, `{}`),
		endpointPeerings.Path:  answer(http.StatusOK, `[]`),
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
	c := newTestCluster(t, Options{Client: consul.Options{Timeout: 300 * time.Millisecond}}, handlers)
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
	var self changing
	c := newTestCluster(t, Options{}, map[string]http.HandlerFunc{
		endpointSelf.Path: self.serve, endpointSessions.Path: answer(http.StatusForbidden, ""),
	})
	const before, after = `{}`, `{"HTTPMaxConnsPerClient":100}`
	for _, step := range []struct {
		name, config string
		asked        uint64
	}{
		{"first", before, 1},
		{"at once", before, 1},
		{"another configuration, which the scrape learns", after, 1},
		{"the scrape after that", after, 2},
		{"the same", after, 2},
	} {
		self.Store(answer(http.StatusOK, `{"Config":{"NodeName":"a","Server":true},"DebugConfig":`+step.config+`}`))
		_, err := scrape(t, c, (*Snapshot).Sessions)
		if n := asked(c, endpointSessions); !errors.Is(err, consul.ErrRefused) || n != step.asked {
			t.Errorf("%s: error %v, asked %d times; want a refusal and %d times", step.name, err, n, step.asked)
		}
	}
}

func TestParseRaftConfiguration(t *testing.T) {
	t.Parallel()
	got := parseRaftConfiguration("[{Suffrage:Voter ID:aa-1 Address:10.0.0.1:8300} " +
		"{Suffrage:Nonvoter ID:bb-2 Address:[fd00::2]:8300}]")
	want := []RaftPeer{{ID: "aa-1", Address: "10.0.0.1:8300", Voter: true}, {ID: "bb-2", Address: "[fd00::2]:8300"}}
	expectSame(t, "peers", want, got)
	for _, text := range []string{"", "[]", "{Suffrage:Voter"} {
		expectSame(t, text, nil, parseRaftConfiguration(text))
	}
}

// A datacenter that cannot be reached is asked again after a while, by one question: Consul logs each.
func TestPermit_DatacenterLost(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	var far changing
	c := newTestCluster(t, Options{Client: consul.Options{
		Datacenter: "dc2", Now: func() time.Time { return now },
	}}, map[string]http.HandlerFunc{
		endpointSelf.Path: answer(http.StatusOK,
			`{"Config":{"NodeName":"a","Datacenter":"dc1"},"DebugConfig":{"ACLsEnabled":false}}`),
		endpointMembers.Path: answer(http.StatusOK,
			`[{"Name":"s","Status":1,"Tags":{"role":"consul","dc":"dc1","port":"8300"}}]`),
		endpointStatusLeader.Path: answer(http.StatusOK, `"127.0.0.1:8300"`),
		endpointCatalogNodes.Path: far.serve, endpointSessions.Path: far.serve,
	})
	both := func() (nodes, sessions error) {
		_, nodes = scrape(t, c, (*Snapshot).CatalogNodes)
		_, sessions = scrape(t, c, (*Snapshot).Sessions)
		return nodes, sessions
	}
	far.Store(answer(http.StatusInternalServerError, "Remote DC has no server currently reachable"))
	for i, want := range []uint64{1, 1, 2, 2, 2, 3} { // After 0, 6, 12, 18, 24 and 36 s and more.
		nodes, sessions := both()
		if nodes == nil || sessions == nil || errors.Is(nodes, consul.ErrRefused) ||
			!strings.Contains(sessions.Error(), "no server currently reachable") {
			t.Errorf("scrape %d: errors %v and %v; want what Consul said", i+1, nodes, sessions)
		}
		if got := asked(c, endpointCatalogNodes, endpointSessions); got != want {
			t.Errorf("scrape %d: asked %d times; want %d", i+1, got, want)
		}
		now = now.Add(6 * time.Second)
		if i == 4 {
			now = now.Add(6 * time.Second)
		}
	}
	far.Store(answer(http.StatusOK, `[]`))
	now = now.Add(5 * time.Minute)
	if nodes, sessions := both(); nodes != nil || sessions != nil {
		t.Errorf("errors %v and %v; want none when it is back", nodes, sessions)
	}
}

// The leader logs a warning about each peering that has no stream whenever it is asked, so those are asked for
// rarely; others each time.
func TestPeerings_WithoutStream(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]uint64{"PENDING": 1, "ESTABLISHING": 1, "ACTIVE": 3, "FAILING": 3} {
		c := newTestCluster(t, Options{}, map[string]http.HandlerFunc{
			endpointSelf.Path: answer(http.StatusOK,
				`{"Config":{"NodeName":"a","Server":true},"DebugConfig":{"ACLsEnabled":false,"PeeringEnabled":true}}`),
			endpointStatusLeader.Path: answer(http.StatusOK, `"127.0.0.1:8300"`),
			endpointPeerings.Path: answer(http.StatusOK,
				`[{"Name":"west","State":"`+state+`"},{"Name":"east","State":"ACTIVE"}]`),
		})
		for range 3 {
			peerings, err := scrape(t, c, (*Snapshot).Peerings)
			if err != nil || len(peerings) != 2 || peerings[1].Name != "west" {
				t.Errorf("%s: peerings %+v, error %v; want both", state, peerings, err)
			}
		}
		if got := asked(c, endpointPeerings); got != want {
			t.Errorf("%s: asked %d times in three scrapes; want %d", state, got, want)
		}
	}
}

// A server that has no leader may know no token. When there is one again, the token is asked about at once.
func TestUnknownToken_LeaderIsBack(t *testing.T) {
	t.Parallel()
	var led atomic.Bool
	known := func(body string, leaderless http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			handler := leaderless
			if led.Load() {
				handler = answer(http.StatusOK, body)
			}
			handler(w, r)
		}
	}
	unknown, now := answer(http.StatusForbidden, "ACL not found"), time.Unix(1000, 0)
	c := newTestCluster(t, Options{Client: consul.Options{
		Now: func() time.Time { return now }, Token: func() string { return "t0ken" },
	}}, map[string]http.HandlerFunc{
		endpointSelf.Path: known(selfWithACLs, unknown),
		endpointMembers.Path: known(`[{"Name":"a","Status":1,"Tags":{"role":"consul","dc":"dc1","port":"8300",
			"acls":"1"}}]`, unknown),
		endpointStatusLeader.Path: known(`"127.0.0.1:8300"`, answer(http.StatusOK, `""`)),
		endpointCatalogNodes.Path: known(`[{},{}]`, unknown),
	})
	leaderAndNodes := func() error {
		snap := c.Snapshot(t.Context())
		defer snap.Close()
		_, _ = snap.StatusLeader().Get(t.Context())
		_, err := snap.CatalogNodes().Get(t.Context())
		return err
	}
	for range 8 { // The waits grow to hours.
		if err := leaderAndNodes(); err == nil {
			t.Error("no error while the token is unknown")
		}
		now = now.Add(2 * time.Hour)
	}
	_ = leaderAndNodes()
	led.Store(true)
	_ = leaderAndNodes() // Which sees the leader.
	if err := leaderAndNodes(); err != nil {
		t.Errorf("error %v when there is a leader again", err)
	}
}
