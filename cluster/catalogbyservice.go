// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"maps"
	"path"
	"slices"

	"github.com/hashicorp/consul/api"
	"golang.org/x/sync/errgroup"
)

var (
	endpointServices    = endpoint{path: "/v1/catalog/services", hasMeta: true, chosen: true}
	endpointHealthState = endpoint{path: "/v1/health/state/any", hasMeta: true, chosen: true}
)

// endpointHealthOf answers with the instances of a service.
func endpointHealthOf(service string) endpoint {
	return endpoint{path: pathHealthService + service, label: pathHealthService + ":name", hasMeta: true, chosen: true}
}

const pathHealthService = "/v1/health/service/"

// canBeAsked reports whether Consul's HTTP API can be asked for a service of this name. It takes a path for the one that is left after
// cleaning it, so that a name cannot begin or end with a slash, or have two in a row (hashicorp/consul issue 1096).
func canBeAsked(service string) bool {
	return path.Clean(pathHealthService+service) == pathHealthService+service
}

// readCatalogByService reads the catalog service by service, for agents that refuse to tell all at once. Nodes without checks and without
// services are not seen in this way, and services that cannot be asked for are in Catalog.Missing. All answers together have one budget.
func (s *Snapshot) readCatalogByService(ctx context.Context) (*Catalog, error) {
	memory := s.newBudget()
	var names []string
	if err := s.stream(ctx, endpointServices, memory, decodeNames(&names)); err != nil {
		return nil, err
	}
	nodes := make(nodesByName)
	if err := s.stream(ctx, endpointHealthState, memory, nodes.decodeChecks); err != nil {
		return nil, err
	}
	slices.Sort(names)
	var services, missing []string
	for _, name := range slices.Compact(names) {
		if canBeAsked(name) {
			services = append(services, name)
		} else {
			missing = append(missing, name)
		}
	}
	instances, err := s.readServices(ctx, services, memory)
	if err != nil {
		return nil, err
	}
	for _, ins := range instances {
		for _, in := range ins {
			n := nodes.at(in.node)
			n.Instances = append(n.Instances, in.Instance)
		}
	}
	catalog := nodes.catalog()
	catalog.Missing = missing
	return catalog, nil
}

// decodeNames reads an answer of endpointServices into the names of the services.
func decodeNames(names *[]string) func(*jsonReader) error {
	return func(d *jsonReader) error {
		return d.object(func(key []byte) (err error) {
			if *names, err = keep(d.memory, *names, string(key)); err != nil {
				return err
			}
			return d.list(d.SkipValue) // Its tags.
		})
	}
}

// placedInstance is an instance and the name of its node.
type placedInstance struct {
	Instance

	node string
}

// readServices reads the instances of each service.
func (s *Snapshot) readServices(ctx context.Context, services []string, memory *budget) ([][]placedInstance, error) {
	instances := make([][]placedInstance, len(services))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.cluster.client.opts.maxConns())
	for i, service := range services {
		group.Go(func() error {
			return s.stream(ctx, endpointHealthOf(service), memory, func(d *jsonReader) (err error) {
				instances[i], err = decodeEntries(d, service)
				return err
			})
		})
	}
	return instances, group.Wait()
}

// decodeEntries reads an answer of endpointHealthOf. Consul does not tell upper from lower case there: instances of a service with another
// spelling are in the answer for that one, too.
func decodeEntries(d *jsonReader, service string) (list []placedInstance, err error) {
	err = eachElement(d, func(e *api.ServiceEntry) (err error) {
		if e.Node == nil || e.Service == nil || e.Service.Service != service {
			return nil
		}
		in := newInstance(e.Service)
		if err := d.memory.spend(in.listBytes()); err != nil {
			return err
		}
		list, err = keep(d.memory, list, placedInstance{in, e.Node.Node})
		return err
	})
	return list, err
}

// nodesByName is a catalog that is put together from several answers.
type nodesByName map[string]*CatalogNode

func (nodes nodesByName) at(name string) *CatalogNode {
	n := nodes[name]
	if n == nil {
		n = &CatalogNode{Name: name}
		nodes[name] = n
	}
	return n
}

// decodeChecks reads an answer of endpointHealthState.
func (nodes nodesByName) decodeChecks(d *jsonReader) error {
	return eachElement(d, func(c *api.HealthCheck) (err error) {
		if c.PeerName != "" {
			return nil
		}
		n := nodes.at(c.Node)
		if len(n.Checks) == 0 {
			if err := d.memory.spend(nodeBytes); err != nil {
				return err
			}
		}
		n.Checks, err = keep(d.memory, n.Checks, Check{
			ID: c.CheckID, Name: c.Name, Status: newHealthStatus([]byte(c.Status)), ServiceID: c.ServiceID, ServiceName: c.ServiceName,
		})
		return err
	})
}

// nodeBytes is about what a node costs, without what is on it.
const nodeBytes = 128

func (nodes nodesByName) catalog() *Catalog {
	catalog := &Catalog{}
	scratch := make(map[string]HealthStatus)
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		n := nodes[name]
		n.judge(scratch)
		catalog.Nodes = append(catalog.Nodes, *n)
	}
	return catalog
}
