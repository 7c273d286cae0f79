// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/catalog"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// The dump is not asked for where it could change the catalog.
func TestCatalog_WhenDumped(t *testing.T) {
	t.Parallel()
	const keyed = `"consul-version" in Meta`
	server := func(version, acls string, status int) string {
		return fmt.Sprintf(`{"Name":"s-%[1]s","Addr":"10.0.0.1","Status":%[3]d,"Tags":{"role":"consul","dc":"dc1",
			"build":"%[1]s:x","acls":"%[2]s"}}`,
			version, acls, status)
	}
	current := server("1.22.5", "0", 1)
	for _, tc := range []struct {
		name           string
		members, guard http.HandlerFunc
		token          string
		want           []string // The filters of the dumps that were asked for.
	}{
		{"no ACLs", answer(200, list(current)), answer(200, `{}`), "", []string{keyed}},
		{"the guard names a service", answer(200, list(current)), answer(200, `{"consul":[]}`), "", nil},
		{"the guard fails", answer(200, list(current)), answer(500, "rate limit"), "", nil},
		{"the guard is no object", answer(200, list(current)), answer(200, `null`), "", nil},
		{"the guard's answer was cut short", answer(200, list(current)), filtered(`{}`), "t", nil},
		{"no token where there are ACLs", answer(200, list(server("1.22.5", "1", 1))), answer(200, `{}`), "", nil},
		{"a token", answer(200, list(server("1.22.5", "1", 1))), answer(200, `{}`), "t", []string{keyed}},
		{"some members hidden", filtered(list(server("1.22.5", "1", 1))), answer(200, `{}`), "t", []string{keyed}},
		{"an old server among new ones", answer(200, list(current, server("1.16.1", "0", 1))), answer(200, `{}`), "", nil},
		{"an old server that failed", answer(200, list(current, server("1.15.0", "0", 4))), answer(200, `{}`), "", nil},
		{
			"an old server that left", answer(200, list(current, server("1.15.0", "0", 3))), answer(200, `{}`), "",
			[]string{keyed},
		},
		{"a server without a version", answer(200, list(current, server("", "0", 1))), answer(200, `{}`), "", nil},
		{"all servers too old to write", answer(200, list(server("1.13.9", "0", 1))), nil, "", []string{""}},
		{"some hidden of servers too old to write", filtered(list(server("1.13.9", "0", 1))), answer(200, `{}`), "t", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var dumps []string
			opts := Options{Client: consul.Options{Token: func() string { return tc.token }}}
			registered, err := scrape(t, newTestCluster(t, opts, map[string]http.HandlerFunc{
				"/v1/agent/members": tc.members,
				"/v1/catalog/nodes": answer(200, `[{"Node":"s","Address":"10.0.0.1","Meta":{"consul-version":"1.22.5"}}]`),
				"/v1/catalog/services": func(w http.ResponseWriter, r *http.Request) {
					if strings.HasPrefix(r.URL.Query().Get("filter"), "ServiceID") {
						tc.guard(w, r)
						return
					}
					_, _ = w.Write([]byte(`{}`))
				},
				"/v1/health/state/any": answer(200, `[]`),
				"/v1/internal/ui/nodes": func(w http.ResponseWriter, r *http.Request) {
					mu.Lock()
					defer mu.Unlock()
					dumps = append(dumps, r.URL.Query().Get("filter"))
					_, _ = w.Write([]byte(`[{"Node":"s"}]`))
				},
			}), (*Snapshot).Catalog)
			if err != nil || len(registered.Nodes) != 1 || registered.Nodes[0].Name != "s" || registered.Unread != 0 {
				t.Errorf("catalog is %+v, error %v; want the node", registered, err)
			}
			expectSame(t, "dumps", tc.want, dumps)
		})
	}
}

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
	both := catalog.OverviewCounts{Total: 2, Critical: 2}
	half := catalog.OverviewCounts{Total: 2, Critical: 1, Maintenance: 1}
	for _, tc := range []struct {
		name, members string
		list          http.HandlerFunc
		token         string
		want          *catalog.OverviewCounts // Of the service; nil is an error.
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
