// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/catalog"
	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// Services that could not be read are counted by Consul's summary, and so are all if there is no catalog.
func TestJudgeCatalog(t *testing.T) {
	t.Parallel()
	overview := &catalog.Overview{
		Nodes: catalog.OverviewCounts{Total: 7},
		Services: []catalog.ServiceOverview{
			{Name: "consul", OverviewCounts: catalog.OverviewCounts{Total: 3, Passing: 3}},
			{Name: "db", OverviewCounts: catalog.OverviewCounts{Total: 3, Critical: 2, Maintenance: 1}},
			{Name: "off", OverviewCounts: catalog.OverviewCounts{Total: 1, Maintenance: 1}},
			{Name: "web", OverviewCounts: catalog.OverviewCounts{Total: 5, Passing: 1, Warning: 1, Critical: 3}},
		},
	}
	all := &catalog.Catalog{Missing: []string{"db"}, Nodes: []catalog.Node{{Instances: []catalog.Instance{
		{Service: "web", Status: catalog.Passing},
		{Service: "db", Status: catalog.Passing},
		{Service: "api", Status: catalog.Critical},
	}}}}
	api, db, web := Service{Name: "api", Critical: 1}, Service{"db", 0, 0, 2, 1, 0}, Service{"web", 1, 1, 3, 0, 0}
	own, none := catalog.InstanceCounts{catalog.Passing: 3}, catalog.InstanceCounts{}
	counts := func(passing, warning, critical, maintenance int) map[string]int {
		return map[string]int{"passing": passing, "warning": warning, "critical": critical, "maintenance": maintenance}
	}
	for _, tc := range []struct {
		name     string
		catalog  *catalog.Catalog
		overview *catalog.Overview
		want     *Catalog
	}{
		{"neither", nil, nil, nil},
		{"no catalog", nil, overview, &Catalog{true, 7, 4, counts(4, 1, 5, 2), []Service{db, web}, 0, 1, nil, 0, own}},
		{
			"a service is missing", all, overview,
			&Catalog{false, 1, 3, counts(1, 0, 3, 1), []Service{db, api}, 0, 2, nil, 0, none},
		},
		{
			"one is missing, no summary", all, nil,
			&Catalog{false, 1, 3, counts(1, 0, 1, 0), []Service{api}, 0, 1, nil, 0, none},
		},
	} {
		if diff := cmp.Diff(tc.want, JudgeCatalog(tc.catalog, tc.overview)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

// The lists of thousands of services and members stay short, and have the worst.
func TestJudge_ManyServicesAndMembers(t *testing.T) {
	t.Parallel()
	c := &catalog.Catalog{Nodes: make([]catalog.Node, 1)}
	var members []cluster.Member
	for i := range 150 {
		critical := catalog.Instance{Service: fmt.Sprintf("service-%03d", i), Status: catalog.Critical}
		other := critical
		if i%2 == 0 {
			other.Status = catalog.Passing
		}
		c.Nodes[0].Instances = append(c.Nodes[0].Instances, critical, other)
		members = append(members, cluster.Member{Name: fmt.Sprintf("client-%03d", i), Status: cluster.StatusLeft})
	}
	got := JudgeCatalog(c, nil)
	if got.Services != 150 || got.Down != 75 || len(got.Failing) != 100 || got.FailingOmitted != 50 ||
		got.Failing[0] != (Service{"service-001", 0, 0, 2, 0, 0}) ||
		got.Failing[75] != (Service{"service-000", 1, 0, 1, 0, 0}) {
		t.Errorf("catalog is %+v", got)
	}
	members = append(members,
		cluster.Member{Name: "server-3", Role: "consul", Status: cluster.StatusFailed},
		cluster.Member{Name: "server-1", Role: "consul", Status: cluster.StatusAlive})
	pools := JudgePools(members, nil)
	pool := pools[0]
	if diff := cmp.Diff(map[string]int{"alive": 1, "leaving": 0, "left": 150, "failed": 1}, pool.ByStatus); diff != "" {
		t.Errorf("counts differ (-want +got):\n%s", diff)
	}
	if len(pools) != 1 || pool.Pool != "lan" || pool.Count != 152 || len(pool.NotAlive) != 100 ||
		pool.NotAliveOmitted != 51 || pool.NotAlive[0] != (PoolMember{"server-3", "failed", true}) ||
		pool.NotAlive[1].Name != "client-000" {
		t.Errorf("pool is %+v", pool)
	}
}

// What is critical only because the agent of its node failed is listed under the node, and sidecars follow their
// service. A service that lost all instances with several nodes is down all the same.
func TestJudgeCatalog_Gone(t *testing.T) {
	t.Parallel()
	failed := []catalog.Check{{ID: "serfHealth", Status: catalog.Critical}}
	instances := func(status catalog.Status, services ...string) (list []catalog.Instance) {
		for _, service := range services {
			list = append(list, catalog.Instance{Service: service, Status: status})
		}
		return list
	}
	got := JudgeCatalog(&catalog.Catalog{Nodes: []catalog.Node{
		{Name: "spot-1", Checks: failed, Instances: instances(catalog.Critical, "dev", "dev-sidecar-proxy", "pay", "web")},
		{Name: "spot-2", Checks: failed, Instances: instances(catalog.Critical, "pay", "pay-sidecar-proxy")},
		{Name: "spot-3", Checks: failed, Instances: instances(catalog.Maintenance, "old")},
		{Name: "server-1", Checks: failed, Instances: instances(catalog.Critical, "consul")},
		{Name: "node-1", Instances: instances(catalog.Passing, "web", "api")},
		{Name: "node-2", Instances: instances(catalog.Critical, "api", "lone-sidecar-proxy", "api-sidecar-proxy")},
	}}, nil)
	want := []Service{
		{Name: "pay", Critical: 2}, {Name: "lone-sidecar-proxy", Critical: 1}, {Name: "api", Passing: 1, Critical: 1},
	}
	if diff := cmp.Diff(want, got.Failing); diff != "" || got.Down != 2 {
		t.Errorf("%d are down; want 2; those that fail differ (-want +got):\n%s", got.Down, diff)
	}
	gone := []GoneNode{
		{"spot-1", []string{"dev", "dev-sidecar-proxy", "pay", "web"}}, {"spot-2", []string{"pay", "pay-sidecar-proxy"}},
	}
	if diff := cmp.Diff(gone, got.Gone); diff != "" {
		t.Errorf("nodes that are gone differ (-want +got):\n%s", diff)
	}
}

func TestCriticalNodes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		checks []catalog.Check
		want   bool
	}{
		{[]catalog.Check{{ID: "disk", Status: catalog.Warning}}, false},
		{[]catalog.Check{{ID: "disk", Status: catalog.Critical}}, true},
		{[]catalog.Check{{ID: "serfHealth", Status: catalog.Critical}}, false},
		{[]catalog.Check{{ID: "disk", Status: catalog.Critical}, {ID: "serfHealth", Status: catalog.Critical}}, false},
		{[]catalog.Check{{ID: "web", ServiceID: "web-1", Status: catalog.Critical}}, false},
		{[]catalog.Check{{ID: "disk", Status: catalog.Critical}, {ID: "_node_maintenance"}}, false},
	} {
		nodes := CriticalNodes(&catalog.Catalog{Nodes: []catalog.Node{{Name: "a", Checks: tc.checks}}})
		if got := len(nodes) > 0; got != tc.want {
			t.Errorf("%+v: got %v; want %v", tc.checks, got, tc.want)
		}
	}
}
