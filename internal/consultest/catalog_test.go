// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package consultest

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

type contents struct {
	Nodes, Services, Instances, Tags, Meta int
	// Checks are how many there are by status.
	Checks map[string]int
}

// contentsOf reads the catalog that a server has itself.
func contentsOf(t *testing.T, server *Agent) contents {
	t.Helper()
	options := stale(soon(t))
	found := contents{Checks: map[string]int{}}
	nodes, _, err := server.Client().Catalog().Nodes(options)
	must.Do(t, err)
	for _, node := range nodes {
		if strings.HasPrefix(node.Node, "worker-") {
			found.Nodes++
		}
	}
	services, _, err := server.Client().Catalog().Services(options)
	must.Do(t, err)
	delete(services, "consul")
	found.Services = len(services)
	for name := range services {
		instances, _, err := server.Client().Catalog().Service(name, "", options)
		must.Do(t, err)
		found.Instances += len(instances)
		for _, instance := range instances {
			found.Tags += len(instance.ServiceTags)
			found.Meta += len(instance.ServiceMeta)
		}
	}
	checks, _, err := server.Client().Health().State(api.HealthAny, options)
	must.Do(t, err)
	for _, check := range checks {
		if check.CheckID != "serfHealth" {
			found.Checks[check.Status]++
		}
	}
	return found
}

// checkLoad loads the catalog twice. The second time the leader dies, which makes it slower but not incomplete.
func checkLoad(t *testing.T, cluster *Cluster) {
	t.Helper()
	leader := cluster.Servers[0]
	expect := func(want contents, servers ...*Agent) {
		t.Helper()
		for _, server := range servers {
			if diff := cmp.Diff(want, contentsOf(t, server)); diff != "" {
				t.Errorf("the catalog of %s (-want +got):\n%s", server, diff)
			}
		}
	}
	err := cluster.transact(soon(t), Catalog{Nodes: 1, Services: 100, Instances: 100}.instanceOps())
	if err == nil || !strings.Contains(err.Error(), "refuses operation 0: ") {
		t.Errorf("services without a node: %v; want which operation is refused", err)
	}

	// 200 instances are written in four transactions, the last one not full.
	must.Do(t, cluster.LoadCatalog(soon(t), Catalog{Nodes: 5, Services: 7, Instances: 200}))
	expect(contents{
		Nodes: 5, Services: 7, Instances: 200, Tags: 600, Meta: 400,
		Checks: map[string]int{"passing": 194, "warning": 4, "critical": 2},
	}, cluster.Servers...)
	if keys, _, err := leader.Client().KV().Keys("", "", read(soon(t))); err != nil || len(keys) > 0 {
		t.Errorf("the keys are %v, %v; want none to be left behind", keys, err)
	}

	loaded := make(chan error, 1)
	ctx := soon(t)
	go func() { loaded <- cluster.LoadCatalog(ctx, Catalog{Nodes: 50, Services: 50, Instances: 2500}) }()
	eventually(t, "some services", func() bool {
		services, _, err := leader.Client().Catalog().Services(stale(ctx))
		return err == nil && len(services) > 12
	})
	select {
	case err := <-loaded:
		t.Fatalf("LoadCatalog() ended before the leader was killed, with error %v", err)
	default:
	}
	must.Do(t, leader.Kill())
	must.Do(t, <-loaded)
	// Ten passing instances were there already, on the same nodes.
	expect(contents{
		Nodes: 50, Services: 50, Instances: 2690, Tags: 8070, Meta: 5380,
		Checks: map[string]int{"passing": 2609, "warning": 54, "critical": 27},
	}, cluster.Servers[1:]...)
	must.Do(t, leader.Restart(soon(t)))
	must.Do(t, cluster.WaitMembers(soon(t), 4))
}

// Instances are spread evenly, each with a name and, on its node, a port of its own.
func TestCatalog_Instances(t *testing.T) {
	t.Parallel()
	for _, catalog := range []Catalog{
		{Nodes: 1, Services: 1, Instances: 1},
		{Nodes: 5, Services: 7, Instances: 200},
		{Nodes: 960, Services: 5000, Instances: 24000},
	} {
		services, nodes := map[int]int{}, map[int]int{}
		ids, ports := map[string]bool{}, map[[2]int]bool{}
		for i := range catalog.Instances {
			in := catalog.instance(i)
			services[in.service]++
			nodes[in.node]++
			ids[in.id()] = true
			ports[[2]int{in.node, in.port}] = true
		}
		if len(services) != catalog.Services || len(nodes) != catalog.Nodes ||
			len(ids) != catalog.Instances || len(ports) != catalog.Instances {
			t.Errorf("%+v has %d services, %d nodes, %d names and %d ports",
				catalog, len(services), len(nodes), len(ids), len(ports))
		}
		for _, counts := range []map[int]int{services, nodes} {
			numbers := slices.Collect(maps.Values(counts))
			if least, most := slices.Min(numbers), slices.Max(numbers); most-least > 1 {
				t.Errorf("%+v: from %d to %d instances each", catalog, least, most)
			}
		}
	}
}
