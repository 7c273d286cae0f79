// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"net/http"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// Maintenance is only told from critical if the list of what is in maintenance is known to be complete.
func TestCatalogOverview_Maintenance(t *testing.T) {
	t.Parallel()
	const (
		summary = `{"Nodes":[{"Total":1,"Passing":1}],"Services":[{"Name":"web","Total":2,"Critical":2}],
			"Checks":[{"Total":2,"Critical":2}]}`
		one    = `[{"CheckID":"_service_maintenance:web-1","ServiceID":"web-1","ServiceName":"web"}]`
		open   = `[{"Name":"a","Addr":"127.0.0.1","Status":1,"Tags":{"role":"consul","acls":"0"}}]`
		closed = `[{"Name":"a","Addr":"127.0.0.1","Status":1,"Tags":{"role":"consul","acls":"1"}}]`
	)
	both, half := OverviewCounts{Total: 2, Critical: 2}, OverviewCounts{Total: 2, Critical: 1, Maintenance: 1}
	for _, tc := range []struct {
		name, members string
		list          http.HandlerFunc
		token         string
		want          *OverviewCounts // Of the service; nil is an error.
		told          bool
	}{
		{"no ACLs", open, answer(200, one), "", &half, true},
		{"a token that may read all", closed, answer(200, one), "t", &half, true},
		{"a token that may not read all", closed, filtered(`[]`), "t", &both, false},
		{"no token where there are ACLs", closed, answer(200, `[]`), "", &both, false},
		{"no token and no members", `[]`, answer(200, `[]`), "", &both, false},
		{"no answer", open, answer(500, "rate limit"), "", nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			opts := Options{Client: consul.Options{Token: func() string { return tc.token }}}
			got, err := scrape(t, newTestCluster(t, opts, map[string]http.HandlerFunc{
				"/v1/agent/members":                answer(200, tc.members),
				"/v1/internal/ui/catalog-overview": answer(200, summary),
				"/v1/health/state/critical":        tc.list,
			}), (*Snapshot).CatalogOverview)
			if tc.want == nil {
				if err == nil || got != nil {
					t.Errorf("CatalogOverview() = %+v, %v; want nothing but an error", got, err)
				}
				return
			}
			must.Do(t, err)
			expectSame(t, "the service", *tc.want, got.Services[0].OverviewCounts)
			expectSame(t, "told", tc.told, got.MaintenanceTold)
		})
	}
}
