// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// Where the WAN pool has an interface of its own, its ports are known from the first scrape on. They stay known when
// the agent, or its token, tells of the pool no more; with a pool that has moved they are where that is now.
func TestSnapshot_WANHosts(t *testing.T) {
	t.Parallel()
	const (
		self = `{
			"Config": {"NodeName": "a", "NodeID": "id-a", "Datacenter": "dc1", "Server": true},
			"DebugConfig": {"BindAddr": "127.0.0.1", "SerfBindAddrWAN": "tcp://127.0.0.2:8302"},
			"Member": {"Addr": "127.0.0.1"}}`
		lan = `[{"Name": "a", "Addr": "127.0.0.1", "Port": 1, "Status": 1,
			"Tags": {"role": "consul", "dc": "dc1", "id": "id-a", "port": "1", "wan_join_port": "1"}}]`
		raft = `{"Servers": [{"ID": "id-a", "Node": "a", "Address": "127.0.0.1:1", "Voter": true}]}`
	)
	pool := func(id, host, role string) http.HandlerFunc {
		return answer(200, fmt.Sprintf(`[{"Addr": %q, "Status": 1, "Tags": {"role": %q, "id": %q}}]`, host, role, id))
	}
	var wan changing
	c := newTestCluster(t, Options{
		Ports: PortOptions{Timeout: 5 * time.Second, Protocols: []Protocol{ProtocolSerfLAN, ProtocolSerfWAN}},
	}, map[string]http.HandlerFunc{
		"/v1/agent/self":                  answer(200, self),
		"/v1/operator/raft/configuration": answer(200, raft),
		"/v1/agent/members": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("wan") {
				wan.serve(w, r)
			} else {
				answer(200, lan)(w, r)
			}
		},
	})
	for _, tc := range []struct {
		name string
		wan  http.HandlerFunc
		want string // The host of the WAN pool.
	}{
		{"the first scrape", pool("id-a", "127.0.0.2", "consul"), "127.0.0.2"},
		{"a token that may see nobody", answer(200, `[]`), "127.0.0.2"},
		{"only agents that are no servers", pool("id-a", "127.0.0.9", "node"), "127.0.0.2"},
		{"a torn answer", answer(200, `[{"Name":`), "127.0.0.2"},
		{"a pool without this server", pool("id-b", "127.0.0.3", "consul"), "127.0.0.2"},
		{"a pool that has moved", pool("id-a", "127.0.0.3", "consul"), "127.0.0.3"},
		{"a token that is refused", answer(403, "Permission denied"), "127.0.0.3"},
	} {
		wan.Store(tc.wan)
		snap := c.Snapshot(t.Context())
		bound := must.Get(snap.AgentPorts().Get(t.Context()))(t) // Not after the reports: it has to find them itself.
		reports := must.Get(snap.PortReports().Get(t.Context()))(t)
		snap.Close()
		want := []string{"a serf_lan/tcp+udp 127.0.0.1:1"}
		wantBound := []string{"a serf_lan/tcp 127.0.0.1:1"}
		if tc.want != "" {
			want = append(want, "a serf_wan/tcp+udp "+tc.want+":1")
			wantBound = append(wantBound, "a serf_wan/tcp "+tc.want+":1")
		}
		var probed, counted []Port
		for _, r := range reports {
			probed = append(probed, r.Port)
			if r.Result.Up || r.Result.Reason != "refused" {
				t.Errorf("%s: %s is up %v, reason %q; want that it was asked, and refused", tc.name, r.Address, r.Result.Up,
					r.Result.Reason)
			}
		}
		for _, b := range bound {
			counted = append(counted, b.Port)
		}
		expectSame(t, tc.name+": probed ports", want, planned(probed))
		expectSame(t, tc.name+": ports whose connections are counted", wantBound, planned(counted))
	}
}
