// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package consultest_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
)

// contents is what a server has in its catalog, apart from the agents.
type contents struct {
	Nodes, Services, Instances, Tags, Meta int
	// Checks are how many there are by status.
	Checks map[string]int
}

// contentsOf reads the catalog that a server has itself.
func contentsOf(t *testing.T, server *consultest.Agent) contents {
	t.Helper()
	options := (&api.QueryOptions{AllowStale: true}).WithContext(soon(t))
	found := contents{Checks: map[string]int{}}
	nodes, _, err := server.Client().Catalog().Nodes(options)
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes {
		if strings.HasPrefix(node.Node, "worker-") {
			found.Nodes++
		}
	}
	services, _, err := server.Client().Catalog().Services(options)
	if err != nil {
		t.Fatal(err)
	}
	delete(services, "consul")
	found.Services = len(services)
	for name := range services {
		instances, _, err := server.Client().Catalog().Service(name, "", options)
		if err != nil {
			t.Fatal(err)
		}
		found.Instances += len(instances)
		for _, instance := range instances {
			found.Tags += len(instance.ServiceTags)
			found.Meta += len(instance.ServiceMeta)
		}
	}
	checks, _, err := server.Client().Health().State(api.HealthAny, options)
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range checks {
		if check.CheckID != "serfHealth" {
			found.Checks[check.Status]++
		}
	}
	return found
}

func TestLoadCatalog(t *testing.T) {
	t.Parallel()
	cluster := consultest.Start(t, consultest.Options{})
	ctx := soon(t)
	// 200 instances are written in four transactions, the last one not full.
	if err := cluster.LoadCatalog(ctx, consultest.Catalog{Nodes: 5, Services: 7, Instances: 200}); err != nil {
		t.Fatalf("LoadCatalog() error = %v", err)
	}
	want := contents{
		Nodes: 5, Services: 7, Instances: 200, Tags: 600, Meta: 400,
		Checks: map[string]int{"passing": 194, "warning": 4, "critical": 2},
	}
	for _, server := range cluster.Servers {
		if diff := cmp.Diff(want, contentsOf(t, server)); diff != "" {
			t.Errorf("the catalog of %s (-want +got):\n%s", server.Name, diff)
		}
		checkInstance(ctx, t, server)
	}

	// Killed servers are not waited for, and what is there stays there.
	leader, err := cluster.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	keys, _, err := leader.Client().KV().Keys("", "", new(api.QueryOptions).WithContext(ctx))
	if err != nil || len(keys) > 0 {
		t.Errorf("Keys() = %v, %v, want none to be left behind", keys, err)
	}
	running := []*consultest.Agent{leader}
	for _, server := range cluster.Servers {
		switch {
		case server == leader:
		case len(running) == 1:
			running = append(running, server)
		default:
			if err := server.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Only web-0001-1 is there already; the others have other nodes than before.
	if err := cluster.LoadCatalog(ctx, consultest.Catalog{Nodes: 8, Services: 8, Instances: 8}); err != nil {
		t.Fatalf("the second LoadCatalog() error = %v", err)
	}
	want = contents{
		Nodes: 8, Services: 8, Instances: 207, Tags: 621, Meta: 414,
		Checks: map[string]int{"passing": 201, "warning": 4, "critical": 2},
	}
	for _, server := range running {
		if diff := cmp.Diff(want, contentsOf(t, server)); diff != "" {
			t.Errorf("the catalog of %s after the second load (-want +got):\n%s", server.Name, diff)
		}
	}
}

// A leader that dies while the catalog is loaded makes it slower, not incomplete.
func TestLoadCatalog_Election(t *testing.T) {
	t.Parallel()
	cluster := consultest.Start(t, consultest.Options{})
	ctx := soon(t)
	leader, err := cluster.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	loaded := make(chan error, 1)
	go func() {
		loaded <- cluster.LoadCatalog(ctx, consultest.Catalog{Nodes: 50, Services: 50, Instances: 2500})
	}()
	eventually(t, "some services", func() bool {
		services, _, err := leader.Client().Catalog().Services((&api.QueryOptions{AllowStale: true}).WithContext(ctx))
		return err == nil && len(services) > 5
	})
	select {
	case err := <-loaded:
		t.Fatalf("LoadCatalog() ended before the leader was killed, with error %v", err)
	default:
	}
	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-loaded; err != nil {
		t.Fatalf("LoadCatalog() error = %v", err)
	}
	want := contents{
		Nodes: 50, Services: 50, Instances: 2500, Tags: 7500, Meta: 5000,
		Checks: map[string]int{"passing": 2425, "warning": 50, "critical": 25},
	}
	for _, server := range cluster.Servers {
		if server == leader {
			continue
		}
		if diff := cmp.Diff(want, contentsOf(t, server)); diff != "" {
			t.Errorf("the catalog of %s (-want +got):\n%s", server.Name, diff)
		}
	}
}

// checkInstance looks at one instance, the last of the first service, with its node and check.
func checkInstance(ctx context.Context, t *testing.T, server *consultest.Agent) {
	t.Helper()
	query := (&api.QueryOptions{AllowStale: true, Filter: `Service.ID == "web-0001-29"`}).WithContext(ctx)
	entries, _, err := server.Client().Health().Service("web-0001", "", false, query)
	if err != nil || len(entries) != 1 {
		t.Fatalf("Service() = %v, %v, want one instance", entries, err)
	}
	entry := entries[0]
	type instance struct {
		Node, Addr, Zone string
		Tags             []string
		Meta             map[string]string
		Port             int
		CheckID          string
		CheckName        string
		CheckService     string
		Status, Output   string
	}
	want := instance{
		Node: "worker-0004", Addr: "10.0.0.4", Zone: "a",
		Tags:         []string{"v1", "zone-a", "replica"},
		Meta:         map[string]string{"team": "checkout", "runtime": "go"},
		Port:         20005,
		CheckID:      "service:web-0001-29",
		CheckName:    "Service 'web-0001' check",
		CheckService: "web-0001",
		Status:       "passing",
		Output:       "HTTP GET http://10.0.0.4:20005/health: 200 OK Output: ",
	}
	check := entry.Checks[0]
	got := instance{
		entry.Node.Node, entry.Node.Address, entry.Node.Meta["zone"],
		entry.Service.Tags, entry.Service.Meta, entry.Service.Port,
		check.CheckID, check.Name, check.ServiceName, check.Status, check.Output,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("an instance in the catalog of %s (-want +got):\n%s", server.Name, diff)
	}
}
