// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"errors"
	"io"
	"reflect"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// Catalog is what is registered with Consul, as far as it is exported. Texts that are the same share their memory.
type Catalog struct {
	Nodes []Node
	// Missing are the names of services of which some instances were not read, in order, and Unread is how many nodes
	// may have such instances. Incomplete says why; it is nil if everything was read.
	Missing    []string
	Unread     int
	Incomplete error
}

// InstanceCounts are how many instances of a service are in each state of health.
type InstanceCounts [Maintenance + 1]int

// InstanceCounts counts by service. It leaves out services in Missing, of which only a part was read.
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
	for _, name := range c.Missing {
		delete(counts, name)
	}
	return counts
}

// Node is a node with the service instances on it and the checks of both.
type Node struct {
	Name      string
	Instances []Instance
	Checks    []Check
}

// Instance is a service instance.
type Instance struct {
	ID, Service string
	Tags        []string
	Meta        []Meta
	// Status is the worst of its checks and its node's. Without checks it is Passing. A sidecar proxy whose service is in
	// maintenance is, too: its alias check is critical, as planned.
	Status Status
	// Healthy is whether each of its checks and its node's is passing, see Check.Misspelled.
	Healthy bool
}

// Meta is an entry of a service's meta.
type Meta struct{ Key, Value string }

// Check is a health check of a node, or of a service instance.
type Check struct {
	ID, Name string
	Status   Status
	// Misspelled is whether Consul's word for the status has other capitals, as "Passing" has. Consul compares it letter
	// by letter, and so did consul_exporter.
	Misspelled bool
	// ServiceID and ServiceName are empty for checks of the node.
	ServiceID, ServiceName string
}

// instanceHealth is what the checks of one instance, or of a node, say.
type instanceHealth struct {
	status Status
	failed bool // Whether one of them is not passing.
}

// sidecar is a proxy of the service mesh: the index of its instance, and the ID of the one on the same node that it
// is for.
type sidecar struct {
	index int
	of    string
}

// judge sets the status of the node's instances. byID is scratch space.
func (n *Node) judge(byID map[string]instanceHealth, sidecars []sidecar) {
	clear(byID)
	for i := range n.Checks {
		c := &n.Checks[i]
		h := byID[c.ServiceID]
		byID[c.ServiceID] = instanceHealth{max(h.status, c.health()), h.failed || !c.Is(Passing)}
	}
	node := byID[""]
	for i := range n.Instances {
		in := &n.Instances[i]
		own := byID[in.ID]
		in.Status, in.Healthy = max(node.status, own.status), !node.failed && !own.failed
	}
	for _, s := range sidecars {
		if byID[s.of].status == Maintenance {
			n.Instances[s.index].Status = Maintenance
		}
	}
}

// endpointDump answers with the whole catalog at once, filtered by the token's rights (Consul: agent/ui_endpoint.go,
// UINodes). It is made for Consul's own pages. Which part of it may be read, writers.go says.
func endpointDump(sel *selection) consul.Endpoint {
	return consul.Endpoint{
		Path: "/v1/internal/ui/nodes", HasMeta: true, Chosen: true, Long: true, Params: consul.Filtered(sel.filter()),
	}
}

// Catalog reads all that is registered with Consul, given the nodes in the catalog.
func (r *Reader) Catalog(ctx context.Context, nodes Entries, members *Members) (*Catalog, error) {
	memory := r.Options.NewBudget()
	everything := &remainder{nodes: nodes.names()}
	sel, ok := r.selectDump(ctx, nodes, members)
	if !ok {
		return r.readByService(ctx, everything, memory)
	}
	catalog, err := r.readDump(ctx, &sel, memory)
	if errors.Is(err, consul.ErrRefused) {
		return r.readByService(ctx, everything, memory)
	}
	if err != nil {
		return nil, err
	}
	if left := sel.left(nodes); len(left) > 0 {
		rest, err := r.readByService(ctx, &remainder{left, &sel}, memory)
		if err != nil {
			return nil, err
		}
		catalog.add(rest)
	}
	return catalog, nil
}

// readDump reads a part of the catalog at once.
func (r *Reader) readDump(ctx context.Context, sel *selection, memory *consul.Budget) (catalog *Catalog, err error) {
	ep := endpointDump(sel)
	ep.Decode = func(answer io.Reader) (err error) {
		catalog, err = decodeCatalog(answer, memory)
		return err
	}
	err = r.Read(ctx, ep)
	return catalog, err
}

// selectDump returns the part of the catalog that can be dumped without changing it; ok is false if there is none.
func (r *Reader) selectDump(ctx context.Context, nodes Entries, m *Members) (sel selection, ok bool) {
	if m.Complete && allBefore(m.Versions, writersSince) {
		return selection{all: true}, true
	}
	if anyBefore(m.Versions, versionedSince) || !r.guardIsEmpty(ctx) {
		return selection{}, false
	}
	return selectSafe(nodes, m), true
}

// listBytes is what the tags and the meta of an instance cost.
func (in *Instance) listBytes() int64 {
	tag, entry := reflect.TypeFor[string]().Size(), reflect.TypeFor[Meta]().Size()
	return int64(uintptr(len(in.Tags))*tag + uintptr(len(in.Meta))*entry)
}
