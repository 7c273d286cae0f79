// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
		"/v1/operator/autopilot/configuration":    `{"MaxTrailingLogs":7}`,
		"/v1/health/node/consul_cluster_exporter": `[]`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := answers[r.URL.Path]
		if !ok {
			t.Errorf("unexpected request %s %s", r.Method, r.URL)
		}
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	c := cluster.New(cluster.Options{
		Client: consul.Options{Address: must.Get(consul.ParseAddress(server.URL))(t), Timeout: 5 * time.Second},
		Ports:  cluster.PortOptions{Timeout: time.Second, Concurrency: 4},
	})
	t.Cleanup(c.Close)
	snap := c.Snapshot(t.Context())
	t.Cleanup(snap.Close)
	stop, err := ForStop(t.Context(), snap)
	if err != nil || len(stop.Reports) != 2 || stop.MaxTrailingLogs != 7 || stop.Autopilot == nil {
		t.Errorf("input for a stop %+v, error %v", stop, err)
	}
	death, err := ForDeath(t.Context(), snap)
	if err != nil || len(death.MembersSeen) != 1 || len(death.MembersSeen["id-a"]) != 2 || len(death.Leader.Servers) != 1 {
		t.Errorf("input for a death %+v, error %v", death, err)
	}
}
