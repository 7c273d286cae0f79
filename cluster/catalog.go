// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"io"
)

// Catalog is what is registered with Consul, as far as it is exported. Texts that are the same share their memory.
type Catalog struct {
	Nodes []CatalogNode
	// Missing are the names of services that could not be asked for.
	Missing []string
}

// InstanceCounts are how many instances of a service are in each state of health.
type InstanceCounts [HealthMaintenance + 1]int

// InstanceCounts counts by service.
func (c *Catalog) InstanceCounts() map[string]*InstanceCounts {
	counts := make(map[string]*InstanceCounts)
	for i := range c.Nodes {
		for j := range c.Nodes[i].Instances {
			in := &c.Nodes[i].Instances[j]
			if counts[in.Service] == nil {
				counts[in.Service] = &InstanceCounts{}
			}
			counts[in.Service][in.Status]++
		}
	}
	return counts
}

// CatalogNode is a node with the service instances on it and the checks of both.
type CatalogNode struct {
	Name      string
	Instances []Instance
	Checks    []Check
}

// Instance is a service instance.
type Instance struct {
	ID, Service string
	Tags        []string
	Meta        []Meta
	// Status is the worst of its checks and its node's. Without checks it is HealthPassing.
	Status HealthStatus
}

// Meta is an entry of a service's meta.
type Meta struct{ Key, Value string }

// Check is a health check of a node, or of a service instance.
type Check struct {
	ID, Name string
	Status   HealthStatus
	// ServiceID and ServiceName are empty for checks of the node.
	ServiceID, ServiceName string
}

// judge sets the status of the node's instances. byID is scratch space.
func (n *CatalogNode) judge(byID map[string]HealthStatus) {
	clear(byID)
	for i := range n.Checks {
		c := &n.Checks[i]
		byID[c.ServiceID] = max(byID[c.ServiceID], c.health())
	}
	for i := range n.Instances {
		in := &n.Instances[i]
		in.Status = max(byID[""], byID[in.ID])
	}
}

// endpointCatalog answers with all of the catalog at once. It is made for Consul's own pages, is there since 0.7 and filters by the
// token's rights as the others do (Consul: agent/ui_endpoint.go, UINodes).
var endpointCatalog = endpoint{path: "/v1/internal/ui/nodes", hasMeta: true, chosen: true, long: true}

// Catalog is what is registered with Consul: with the configured agent alone, if the options say so.
func (s *Snapshot) Catalog() *Fact[*Catalog] { return s.catalog.start(s.ctx, s.readCatalog) }

func (s *Snapshot) readCatalog(ctx context.Context) (*Catalog, error) {
	if s.cluster.opts.AgentOnly {
		return s.readAgentCatalog(ctx)
	}
	var catalog *Catalog
	ep := endpointCatalog
	ep.decode = func(r io.Reader) (err error) {
		catalog, err = decodeCatalog(r, s.cluster.client.opts.newBudget())
		return err
	}
	err := s.readAgent(ctx, ep, nil)
	if errors.Is(err, ErrRefused) {
		return s.readCatalogByService(ctx)
	}
	return catalog, err
}
