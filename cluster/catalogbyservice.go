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
// services are not seen in this way, and services that cannot be asked for are in Catalog.Missing.
func (s *Snapshot) readCatalogByService(ctx context.Context) (*Catalog, error) {
	var names map[string][]string
	if err := s.readAgent(ctx, endpointServices, &names); err != nil {
		return nil, err
	}
	var checks []*api.HealthCheck
	if err := s.readAgent(ctx, endpointHealthState, &checks); err != nil {
		return nil, err
	}
	var services, missing []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if canBeAsked(name) {
			services = append(services, name)
		} else {
			missing = append(missing, name)
		}
	}
	entries, err := s.readServices(ctx, services)
	if err != nil {
		return nil, err
	}
	nodes := make(nodesByName)
	for _, c := range checks {
		nodes.addCheck(c)
	}
	for i, service := range services {
		for _, entry := range entries[i] {
			nodes.addEntry(service, entry)
		}
	}
	catalog := nodes.catalog()
	catalog.Missing = missing
	return catalog, nil
}

// readServices reads the instances of each service.
func (s *Snapshot) readServices(ctx context.Context, services []string) ([][]*api.ServiceEntry, error) {
	entries := make([][]*api.ServiceEntry, len(services))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.cluster.client.opts.maxConns())
	for i, service := range services {
		group.Go(func() error { return s.readAgent(ctx, endpointHealthOf(service), &entries[i]) })
	}
	return entries, group.Wait()
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

func (nodes nodesByName) addCheck(c *api.HealthCheck) {
	if c == nil || c.PeerName != "" {
		return
	}
	n := nodes.at(c.Node)
	n.Checks = append(n.Checks, Check{
		ID: c.CheckID, Name: c.Name, Status: newHealthStatus([]byte(c.Status)), ServiceID: c.ServiceID, ServiceName: c.ServiceName,
	})
}

// addEntry adds an instance from the answer for a service. Consul does not tell upper from lower case there: instances of a service
// with another spelling are in the answer for that one, too.
func (nodes nodesByName) addEntry(service string, entry *api.ServiceEntry) {
	if entry == nil || entry.Node == nil || entry.Service == nil || entry.Service.Service != service {
		return
	}
	n := nodes.at(entry.Node.Node)
	n.Instances = append(n.Instances, newInstance(entry.Service))
}

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
