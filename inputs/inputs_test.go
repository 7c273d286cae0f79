// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/agenttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newTestCluster is a cluster of which an agent tells with these handlers.
func newTestCluster(t *testing.T, handlers map[string]http.HandlerFunc) *cluster.Cluster {
	t.Helper()
	c := cluster.New(cluster.Options{
		Client: consul.Options{Address: agenttest.Serve(t, handlers), Timeout: 5 * time.Second},
		Ports:  cluster.PortOptions{Timeout: time.Second, Concurrency: 4},
	})
	t.Cleanup(c.Close)
	return c
}

var answer = agenttest.Answer

// What verdicts need is to be had of a cluster that answers everything.
func TestInputs(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"/v1/agent/self": `{"Config":{"NodeName":"a","NodeID":"id-a","Server":true},"Member":{"Addr":"127.0.0.1"},
			"DebugConfig":{"ClientAddrs":["127.0.0.1"]}}`,
		"/v1/agent/members": `[
			{"Name":"a","Addr":"127.0.0.1","Status":1,"Tags":{"role":"consul","port":"1","id":"id-a","acls":"0"}},
			{"Name":"b","Addr":"127.0.0.1","Status":1,"Tags":{"role":"consul","port":"2","id":"id-b","acls":"0"}}]`,
		"/v1/agent/metrics":                       `{}`,
		"/v1/status/leader":                       `"127.0.0.1:1"`,
		"/v1/status/peers":                        `["127.0.0.1:1"]`,
		"/v1/operator/raft/configuration":         `{"Servers":[{"ID":"id-a","Address":"127.0.0.1:1","Voter":true}]}`,
		"/v1/operator/autopilot/state":            `{"Healthy":true,"Servers":{"id-a":{"ID":"id-a","Name":"a"}}}`,
		"/v1/health/node/consul_cluster_exporter": `[]`,
	}
	handlers := make(map[string]http.HandlerFunc)
	for path, body := range answers {
		handlers[path] = answer(http.StatusOK, body)
	}
	c := newTestCluster(t, handlers)
	snap := c.Snapshot(t.Context())
	t.Cleanup(snap.Close)
	stop, err := ForStop(t.Context(), snap)
	if err != nil || len(stop.Reports) != 2 || stop.Autopilot == nil {
		t.Errorf("input for a stop %+v, error %v", stop, err)
	}
	death, err := ForDeath(t.Context(), snap)
	if err != nil || len(death.MembersSeen) != 1 || len(death.MembersSeen["id-a"]) != 2 || len(death.Leader.Servers) != 1 {
		t.Errorf("input for a death %+v, error %v", death, err)
	}
}

// Who is in the Raft configuration is up to the leader: the agent, which may have been cut off, has an old one.
func TestForDeath_LeaderDecides(t *testing.T) {
	t.Parallel()
	ofLeader := func(own, leaders string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("stale") {
				answer(http.StatusOK, own)(w, r)
			} else {
				answer(http.StatusOK, leaders)(w, r)
			}
		}
	}
	var leader atomic.Value
	leader.Store(`"127.0.0.1:1"`)
	c := newTestCluster(t, map[string]http.HandlerFunc{
		"/v1/agent/self": answer(200, `{"Config":{"NodeName":"a","NodeID":"id-a","Server":true},
			"DebugConfig":{"ClientAddrs":["127.0.0.1"],"ACLsEnabled":false}}`),
		"/v1/agent/members": answer(200, `[{"Name":"a","Addr":"127.0.0.1","Status":1,
			"Tags":{"role":"consul","port":"1","id":"id-a","acls":"0"}}]`),
		"/v1/status/leader": func(w http.ResponseWriter, r *http.Request) {
			answer(200, leader.Load().(string))(w, r)
		},
		"/v1/operator/raft/configuration": ofLeader(`{"Servers":[{"ID":"id-old","Address":"127.0.0.1:9","Voter":true}]}`,
			`{"Servers":[{"ID":"id-a","Address":"127.0.0.1:1","Voter":true}]}`),
		"/v1/operator/autopilot/state": ofLeader(`{}`, `{"Servers":{"id-a":{"ID":"id-a","Name":"a"}}}`),
	})
	look := func() (Death, error) {
		snap := c.Snapshot(t.Context())
		defer snap.Close()
		return ForDeath(t.Context(), snap)
	}
	death, err := look()
	if peers := death.Topology.Peers; err != nil || len(peers) != 1 || peers[0].ID != "id-a" {
		t.Errorf("the peers are %+v, error %v; want those that the leader has", peers, err)
	}
	leader.Store(`""`)
	if _, err := look(); err == nil {
		t.Error("there is no leader to ask, and no error")
	}
}

// Whether a server can be stopped is decided by what is known now, not by what an earlier look saw.
func TestForStop_Fresh(t *testing.T) {
	t.Parallel()
	const (
		serverA = `{"Name":"a","Addr":"127.0.0.1","Status":1,"Tags":{"role":"consul","port":"1","id":"id-a"}}`
		client  = `{"Name":"client","Status":1,"Tags":{"role":"node"}}`
	)
	members := answer(200, "["+serverA+"]")
	raft := answer(200, `{"Servers":[{"ID":"id-a","Node":"a","Address":"127.0.0.1:1","Voter":true}]}`)
	broken := answer(500, "")
	var membersNow, raftNow atomic.Pointer[http.HandlerFunc]
	now := func(handler *atomic.Pointer[http.HandlerFunc]) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { (*handler.Load())(w, r) }
	}
	c := newTestCluster(t, map[string]http.HandlerFunc{
		"/v1/agent/self": answer(200,
			`{"Config":{"NodeName":"a","Server":true},"DebugConfig":{"ACLsEnabled":false}}`),
		"/v1/status/leader":                       answer(200, `"10.0.0.1:8300"`),
		"/v1/agent/members":                       now(&membersNow),
		"/v1/operator/raft/configuration":         now(&raftNow),
		"/v1/operator/autopilot/state":            broken,
		"/v1/health/node/consul_cluster_exporter": broken,
	})
	for _, step := range []struct {
		name                    string
		members, raft           http.HandlerFunc
		membersKnown, raftKnown bool
	}{
		{"all is well", members, raft, true, true},
		{"the Raft configuration cannot be read", members, broken, true, false},
		{"members cannot be read", broken, raft, false, true},
		{"the agent knows only itself", answer(200, "["+client+"]"), raft, false, true},
	} {
		membersNow.Store(&step.members)
		raftNow.Store(&step.raft)
		snap := c.Snapshot(t.Context())
		in, err := ForStop(t.Context(), snap)
		snap.Close()
		if got := in.Topology; err != nil || len(got.Servers) != 1 || got.MembersKnown != step.membersKnown ||
			got.RaftKnown != step.raftKnown {
			t.Errorf("%s: members known %v, Raft known %v, servers %+v, error %v; want %v, %v and one", step.name,
				got.MembersKnown, got.RaftKnown, got.Servers, err, step.membersKnown, step.raftKnown)
		}
	}
}
