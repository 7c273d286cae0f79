// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/catalog"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// Facts that are one answer of the agent: what they make of a good one, of a refusal, and of one that is no JSON.
func TestSnapshot_OneAnswer(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		path, answer string
		read         func(*testing.T, *Cluster) (any, error)
		want         any
	}{
		{"/v1/session/list", `[{"ID":"a"},{"ID":"b"}]`, valueOf((*Snapshot).Sessions), 2},
		{"/v1/catalog/nodes", `[{},{},{}]`, valueOf((*Snapshot).CatalogNodes), 3},
		{"/v1/catalog/datacenters", `["dc1","dc2"]`, valueOf((*Snapshot).Datacenters), 2},
		{
			"/v1/operator/license", `{"Valid":true,"License":{"expiration_time":"2027-01-02T03:04:05Z"}}`,
			valueOf((*Snapshot).License),
			api.LicenseReply{Valid: true, License: &api.License{ExpirationTime: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)}},
		},
		{
			"/v1/kv/limits/", `[{"Key":"limits/count","Value":"NDI="},{"Key":"limits/word","Value":"eWVz"}]`,
			valueOf((*Snapshot).KeyNumbers),
			[]KeyNumber{{"limits/count", 42}},
		},
		{
			"/v1/connect/ca/roots",
			`{"ActiveRootID":"a","Roots":[{"ID":"a","NotAfter":"2036-01-02T03:04:05Z"},{"ID":"b",
				"NotAfter":"2027-01-02T03:04:05Z"},{"ID":"c"}]}`,
			valueOf((*Snapshot).MeshRoots),
			[]MeshRoot{
				{"a", true, time.Date(2036, 1, 2, 3, 4, 5, 0, time.UTC)},
				{"b", false, time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)},
			},
		},
	} {
		t.Run(tc.path, func(t *testing.T) {
			t.Parallel()
			ask := func(status int, body string) (any, error) {
				handlers := map[string]http.HandlerFunc{tc.path: answer(status, body)}
				return tc.read(t, newTestCluster(t, Options{KVPrefix: "limits/"}, handlers))
			}
			expectSame(t, tc.path, tc.want, must.Get(ask(http.StatusOK, tc.answer))(t))
			_, err := ask(http.StatusForbidden, "Permission denied")
			if !errors.Is(err, consul.ErrRefused) || !consul.IsDenied(err) {
				t.Errorf("status 403 is the error %v; want ErrRefused, for want of rights", err)
			}
			if _, err := ask(http.StatusOK, "{["); err == nil || errors.Is(err, consul.ErrRefused) {
				t.Errorf("what is no JSON is the error %v; want one other than ErrRefused", err)
			}
		})
	}
}

// An authority whose expiry cannot be read has none: half of an answer is not used.
func TestMeshRoots_Half(t *testing.T) {
	t.Parallel()
	half := answer(http.StatusOK, `{"ActiveRootID":"a","Roots":[{"ID":"a","NotAfter":"soon"}]}`)
	handlers := map[string]http.HandlerFunc{"/v1/connect/ca/roots": half}
	roots, err := valueOf((*Snapshot).MeshRoots)(t, newTestCluster(t, Options{}, handlers))
	if err == nil || len(roots.([]MeshRoot)) > 0 {
		t.Errorf("the authorities are %v, %v; want an error and none", roots, err)
	}
}

// valueOf reads a fact of any type.
func valueOf[T any](fact func(*Snapshot) *Fact[T]) func(*testing.T, *Cluster) (any, error) {
	return func(t *testing.T, c *Cluster) (any, error) {
		t.Helper()
		return scrape(t, c, fact)
	}
}

// All facts are to be had of a cluster that answers everything.
func TestSnapshot_Everything(t *testing.T) {
	t.Parallel()
	const members = `[
		{"Name":"a","Addr":"127.0.0.1","Status":1,"Tags":{"role":"consul","port":"1","id":"id-a","acls":"0"}},
		{"Name":"b","Addr":"127.0.0.1","Status":1,"Tags":{"role":"consul","port":"2","id":"id-b","acls":"0"}}]`
	answers := map[string]string{
		"/v1/agent/self": `{"Config":{"NodeName":"a","NodeID":"id-a","Server":true},"Member":{"Addr":"127.0.0.1"},
			"DebugConfig":{"ClientAddrs":["127.0.0.1"]}}`,
		"/v1/agent/members":                       members,
		"/v1/agent/metrics":                       `{"Counters":[{"Name":"consul.rpc.request","Sum":2}]}`,
		"/v1/status/leader":                       `"127.0.0.1:1"`,
		"/v1/status/peers":                        `["127.0.0.1:1"]`,
		"/v1/operator/raft/configuration":         `{"Servers":[{"ID":"id-a","Address":"127.0.0.1:1","Voter":true}]}`,
		"/v1/operator/autopilot/state":            `{"Healthy":true,"Servers":{"id-a":{"ID":"id-a","Name":"a"}}}`,
		"/v1/operator/autopilot/configuration":    `{"MaxTrailingLogs":7}`,
		"/v1/health/node/consul_cluster_exporter": `[]`,
		"/v1/health/state/any":                    `[{"Node":"n","Status":"passing"}]`,
		"/v1/health/service/web":                  `[{"Node":{"Node":"n"},"Service":{"ID":"1","Service":"web"}}]`,
		"/v1/catalog/nodes":                       `[{"Node":"n"}]`,
		"/v1/catalog/services":                    `{"web":[]}`,
		"/v1/catalog/datacenters":                 `["dc1"]`,
		"/v1/connect/ca/roots":                    `{}`,
		"/v1/peerings":                            `[]`,
		"/v1/acl/replication":                     `{}`,
		"/v1/session/list":                        `[]`,
		"/v1/coordinate/nodes":                    `[]`,
	}
	handlers := make(map[string]http.HandlerFunc)
	for path, body := range answers {
		handlers[path] = answer(http.StatusOK, body)
	}
	c := newTestCluster(t, Options{TelemetryWait: time.Nanosecond}, handlers)
	snap := snapshot(t, c)
	for name, err := range everything(t.Context(), snap) {
		t.Errorf("%s: %v", name, err)
	}
	registered, _ := snap.Catalog().Get(t.Context())
	if counts := registered.InstanceCounts(); counts["web"] == nil || counts["web"][catalog.Passing] != 1 {
		t.Errorf("instances are counted as %v", counts)
	}
	telemetry, _ := snap.Telemetry().Get(t.Context())
	if sum, ok := telemetry.Sum("rpc.request"); !ok || sum != 2 {
		t.Errorf("sum %v, %v; want 2", sum, ok)
	}
}
