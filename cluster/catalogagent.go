// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/hashicorp/consul/api"
)

var (
	endpointAgentServices = endpoint{path: "/v1/agent/services"}
	endpointAgentChecks   = endpoint{path: "/v1/agent/checks"}
)

// readAgentCatalog reads what the configured agent has registered itself: it is the agent's own account, and needs no server.
func (s *Snapshot) readAgentCatalog(ctx context.Context) (*Catalog, error) {
	self := s.Agent()
	var services map[string]*api.AgentService
	if err := s.readAgent(ctx, endpointAgentServices, &services); err != nil {
		return nil, err
	}
	var checks map[string]*api.AgentCheck
	if err := s.readAgent(ctx, endpointAgentChecks, &checks); err != nil {
		return nil, err
	}
	agent, err := self.Get(ctx)
	if err != nil {
		return nil, err
	}
	node := newAgentNode(agent.Name, services, checks)
	return &Catalog{Nodes: []CatalogNode{node}}, nil
}

// newAgentNode returns the node of an agent's own account, by ID.
func newAgentNode(name string, services map[string]*api.AgentService, checks map[string]*api.AgentCheck) CatalogNode {
	n := CatalogNode{Name: name}
	for _, id := range slices.Sorted(maps.Keys(services)) {
		if service := services[id]; service != nil {
			in := newInstance(service)
			in.ID = cmp.Or(in.ID, id)
			n.Instances = append(n.Instances, in)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(checks)) {
		if c := checks[id]; c != nil {
			n.Checks = append(n.Checks, Check{
				ID: cmp.Or(c.CheckID, id), Name: c.Name, Status: newHealthStatus([]byte(c.Status)),
				ServiceID: c.ServiceID, ServiceName: c.ServiceName,
			})
		}
	}
	n.judge(make(map[string]HealthStatus))
	return n
}

func newInstance(service *api.AgentService) Instance {
	in := Instance{ID: service.ID, Service: service.Service, Tags: service.Tags}
	for _, key := range slices.Sorted(maps.Keys(service.Meta)) {
		in.Meta = append(in.Meta, Meta{key, service.Meta[key]})
	}
	return in
}
