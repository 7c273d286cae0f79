// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

var (
	endpointAgentServices = consul.Endpoint{Path: "/v1/agent/services"}
	endpointAgentChecks   = consul.Endpoint{Path: "/v1/agent/checks"}
)

// readAgentCatalog reads what the configured agent itself has registered, which needs no server.
func (s *Snapshot) readAgentCatalog(ctx context.Context) (*Catalog, error) {
	self := s.Agent()
	memory := s.newBudget()
	var node CatalogNode
	if err := s.stream(ctx, endpointAgentServices, memory, node.decodeServices); err != nil {
		return nil, err
	}
	if err := s.stream(ctx, endpointAgentChecks, memory, node.decodeChecks); err != nil {
		return nil, err
	}
	agent, err := self.Get(ctx)
	if err != nil {
		return nil, err
	}
	node.Name = agent.Name
	node.judge(make(map[string]HealthStatus))
	return &Catalog{Nodes: []CatalogNode{node}}, nil
}

// decodeServices reads an answer of endpointAgentServices, by ID.
func (n *CatalogNode) decodeServices(d *consul.JSONReader) error {
	err := consul.EachEntry(d, func(id string, service *api.AgentService) (err error) {
		in := newInstance(service)
		in.ID = cmp.Or(in.ID, id)
		if err := d.Memory.Spend(in.listBytes()); err != nil {
			return err
		}
		n.Instances, err = consul.Keep(d.Memory, n.Instances, in)
		return err
	})
	slices.SortFunc(n.Instances, func(a, b Instance) int { return cmp.Compare(a.ID, b.ID) })
	return err
}

// decodeChecks reads an answer of endpointAgentChecks, by ID.
func (n *CatalogNode) decodeChecks(d *consul.JSONReader) error {
	err := consul.EachEntry(d, func(id string, c *api.AgentCheck) (err error) {
		n.Checks, err = consul.Keep(d.Memory, n.Checks, Check{
			ID: cmp.Or(c.CheckID, id), Name: c.Name, Status: newHealthStatus([]byte(c.Status)),
			ServiceID: c.ServiceID, ServiceName: c.ServiceName,
		})
		return err
	})
	slices.SortFunc(n.Checks, func(a, b Check) int { return cmp.Compare(a.ID, b.ID) })
	return err
}

func newInstance(service *api.AgentService) Instance {
	in := Instance{ID: service.ID, Service: service.Service, Tags: service.Tags}
	for _, key := range slices.Sorted(maps.Keys(service.Meta)) {
		in.Meta = append(in.Meta, Meta{key, service.Meta[key]})
	}
	return in
}
