// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

const keyed = `"consul-version" in Meta`

// What the dump is asked for, and what is left to be read service by service.
func TestSelectSafe(t *testing.T) {
	t.Parallel()
	const notKeyed = `"consul-version" not in NodeMeta`
	member := func(addr string) Member { return Member{Addr: addr} }
	two := pools{lan: []Member{member("10.0.0.1")}, wan: []Member{member("10.0.0.2"), member("10.0.0.1")}, complete: true}
	many := pools{complete: true} // Too many for a filter.
	var far catalogEntries
	for i := range 1000 {
		many.lan = append(many.lan, member(fmt.Sprintf("10.1.%d.%d", i/256, i%256)))
		far = append(far, catalogEntry{name: fmt.Sprint(i), address: fmt.Sprintf("10.2.%d.%d", i/256, i%256)})
	}
	versioned := catalogEntry{"new", "10.0.0.1", true}
	safe, atMember := catalogEntry{"esm", "db.example.com", false}, catalogEntry{"ext", "10.0.0.2", false}
	odd := catalogEntry{"odd", "a b`", false}
	for _, tc := range []struct {
		name         string
		nodes        catalogEntries
		pools        pools
		filter, rest string
		left         []string
	}{
		{"all have the key", catalogEntries{versioned}, two, keyed, notKeyed, nil},
		{
			"safe addresses",
			catalogEntries{versioned, safe, atMember, odd},
			two,
			"\"consul-version\" in Meta or Address matches `^(?:db\\.example\\.com)$`",
			"\"consul-version\" not in NodeMeta and Address not matches `^(?:db\\.example\\.com)$`",
			[]string{"ext", "odd"},
		},
		{
			"too many safe addresses", append(far, atMember), two,
			"\"consul-version\" in Meta or Address not matches `^(?:10\\.0\\.0\\.1|10\\.0\\.0\\.2)$`",
			"\"consul-version\" not in NodeMeta and Address matches `^(?:10\\.0\\.0\\.1|10\\.0\\.0\\.2)$`",
			[]string{"ext"},
		},
		{"too many of both", far, many, keyed, notKeyed, far.names()},
		{"members not all known", catalogEntries{versioned, safe}, pools{lan: two.lan}, keyed, notKeyed, []string{"esm"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			sel := selectSafe(tc.nodes, &tc.pools)
			if sel.filter() != tc.filter || sel.rest() != tc.rest || !slices.Equal(sel.left(tc.nodes), tc.left) {
				t.Errorf("filter %s, rest %s, left %q; want %s, %s, %q",
					sel.filter(), sel.rest(), sel.left(tc.nodes), tc.filter, tc.rest, tc.left)
			}
		})
	}
}

func TestMemberBefore(t *testing.T) {
	t.Parallel()
	for text, version := range map[string][3]int{
		"1.22.5": {1, 22, 5}, "1.16.1+ent": {1, 16, 1}, "1.17.0-rc1": {1, 17, 0}, "1.9.10dev": {1, 9, 10},
		"": {}, "1.22": {}, "v1.2.3": {}, "1.2.99999999999": {}, "a.b.c": {},
	} {
		known, next := version != [3]int{}, version
		next[2]++
		m := Member{Version: text}
		if earlier, ok := m.before(version); earlier || ok != known {
			t.Errorf("%q is before %v: %v, %v; want false, %v", text, version, earlier, ok, known)
		}
		if earlier, ok := m.before(next); earlier != known || ok != known {
			t.Errorf("%q is before %v: %v, %v; want %v", text, next, earlier, ok, known)
		}
	}
}

// The dump is not asked for where it could change the catalog.
func TestCatalog_WhenDumped(t *testing.T) {
	t.Parallel()
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
			catalog, err := scrape(t, newTestCluster(t, opts, map[string]http.HandlerFunc{
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
			if err != nil || len(catalog.Nodes) != 1 || catalog.Nodes[0].Name != "s" || catalog.Unread != 0 {
				t.Errorf("catalog is %+v, error %v; want the node", catalog, err)
			}
			expectSame(t, "dumps", tc.want, dumps)
		})
	}
}

// More services than can be read one by one: those that are read are always the same, and the others are named.
func TestAskable(t *testing.T) {
	t.Parallel()
	services, missing, why := askable([]string{"b", "/x", "a", "b"})
	if !slices.Equal(services, []string{"a", "b"}) || !slices.Equal(missing, []string{"/x"}) ||
		!errors.Is(why, errNameNotAskable) {
		t.Errorf("asked for %q, not for %q: %v", services, missing, why)
	}
	var names []string
	for i := range maxServiceReads + 2 {
		names = append(names, fmt.Sprintf("s-%04d", i))
	}
	services, missing, why = askable(names)
	if len(services) != 1000 || !slices.Equal(missing, []string{"s-1000", "s-1001"}) ||
		!errors.Is(why, errTooManyServices) {
		t.Errorf("%d services are asked for, %q are not: %v", len(services), missing, why)
	}
}
