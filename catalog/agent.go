// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog

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

// AgentNode reads what the agent itself has registered, which needs no server. The node lacks its name.
func (r *Reader) AgentNode(ctx context.Context) (Node, error) {
	memory := r.Options.NewBudget()
	var node partialNode
	if err := r.stream(ctx, endpointAgentServices, memory, node.decodeServices); err != nil {
		return Node{}, err
	}
	if err := r.stream(ctx, endpointAgentChecks, memory, node.decodeChecks); err != nil {
		return Node{}, err
	}
	node.judge(make(map[string]instanceHealth), node.sidecars)
	return node.Node, nil
}

// decodeServices reads an answer of endpointAgentServices, by ID.
func (n *partialNode) decodeServices(d *consul.JSONReader) error {
	proxies := make(map[string]string) // The IDs of the instances that they are for.
	err := consul.EachEntry(d, func(id string, service *api.AgentService) (err error) {
		in := newInstance(service)
		in.ID = cmp.Or(in.ID, id)
		if err := d.Memory.Spend(in.listBytes()); err != nil {
			return err
		}
		if of := proxyOf(service); of != "" {
			proxies[in.ID] = of
		}
		n.Instances, err = consul.Keep(d.Memory, n.Instances, in)
		return err
	})
	slices.SortFunc(n.Instances, func(a, b Instance) int { return cmp.Compare(a.ID, b.ID) })
	for i := range n.Instances {
		if of := proxies[n.Instances[i].ID]; of != "" {
			n.sidecars = append(n.sidecars, sidecar{i, of})
		}
	}
	return err
}

// decodeChecks reads an answer of endpointAgentChecks, by ID.
func (n *partialNode) decodeChecks(d *consul.JSONReader) error {
	err := consul.EachEntry(d, func(id string, c *api.AgentCheck) (err error) {
		check := Check{ID: cmp.Or(c.CheckID, id), Name: c.Name, ServiceID: c.ServiceID, ServiceName: c.ServiceName}
		check.setStatus([]byte(c.Status))
		n.Checks, err = consul.Keep(d.Memory, n.Checks, check)
		return err
	})
	slices.SortFunc(n.Checks, func(a, b Check) int { return cmp.Compare(a.ID, b.ID) })
	return err
}

// proxyOf returns the ID of the instance that a service instance is a sidecar proxy for; empty if it is none.
func proxyOf(service *api.AgentService) string {
	if service.Proxy == nil {
		return ""
	}
	return service.Proxy.DestinationServiceID
}

func newInstance(service *api.AgentService) Instance {
	in := Instance{ID: service.ID, Service: service.Service, Tags: service.Tags}
	for _, key := range slices.Sorted(maps.Keys(service.Meta)) {
		in.Meta = append(in.Meta, Meta{key, service.Meta[key]})
	}
	return in
}
