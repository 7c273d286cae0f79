// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/hashicorp/consul/api"
	"golang.org/x/sync/errgroup"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

const (
	pathServices      = "/v1/catalog/services"
	pathHealthService = "/v1/health/service/"
)

// endpointServices answers with the names of the services.
func endpointServices(filter string) consul.Endpoint {
	return consul.Endpoint{Path: pathServices, HasMeta: true, Chosen: true, Params: consul.Filtered(filter)}
}

// endpointHealthOf answers with the instances of a service, and their checks and those of their nodes.
func endpointHealthOf(service, filter string) consul.Endpoint {
	return consul.Endpoint{
		Path: pathHealthService + service, Label: pathHealthService + ":name",
		HasMeta: true, Chosen: true, Params: consul.Filtered(filter),
	}
}

// endpointNodeChecks answers with the node checks of these nodes, or of all if they are too many to be named.
func endpointNodeChecks(nodes []string) consul.Endpoint {
	filter := `ServiceID == ""`
	if pattern, ok := consul.AnyOf(nodes); ok {
		filter += " and Node matches `" + pattern + "`"
	}
	return consul.Endpoint{Path: "/v1/health/state/any", HasMeta: true, Chosen: true, Params: consul.Filtered(filter)}
}

// canBeAsked reports whether Consul's HTTP API can be asked for a service of this name. It cleans paths, so a name
// cannot begin or end with a slash, or have two in a row (hashicorp/consul issue 1096).
func canBeAsked(service string) bool {
	return path.Clean(pathHealthService+service) == pathHealthService+service
}

// maxServiceReads bounds the requests for one service each in a scrape. A scrape with more would not end in time.
const maxServiceReads = 1000

// remainder is what is read service by service: all of the catalog, or what a dump leaves out.
type remainder struct {
	nodes  []string   // The names of the nodes.
	dumped *selection // What is not part of it; nil for nothing.
}

// services and instances are the filters for the remainder; empty for all. The one for instances is evaluated up to a
// thousand times in a scrape. It lists no addresses, which would take ten times as long, and selects too much.
func (r *remainder) services() string {
	if r.dumped == nil {
		return ""
	}
	return r.dumped.rest()
}

func (r *remainder) instances() string {
	if r.dumped == nil {
		return ""
	}
	return `"` + versionKey + `" not in Node.Meta`
}

// readByService reads a part of the catalog service by service. Services beyond maxServiceReads, and those that
// cannot be asked for, are in Catalog.Missing. All answers together have one budget.
func (r *Reader) readByService(ctx context.Context, part *remainder, memory *consul.Budget) (*Catalog, error) {
	var names []string
	if err := r.stream(ctx, endpointServices(part.services()), memory, decodeNames(&names)); err != nil {
		return nil, err
	}
	nodes := make(nodesByName)
	for _, name := range part.nodes {
		nodes[name] = &partialNode{Node: Node{Name: name}}
	}
	if err := memory.Spend(nodeBytes * int64(len(nodes))); err != nil {
		return nil, err
	}
	if err := r.stream(ctx, endpointNodeChecks(part.nodes), memory, nodes.decodeChecks); err != nil {
		return nil, err
	}
	services, missing, why := askable(names)
	found, err := r.readServices(ctx, services, part.instances(), memory)
	if err != nil {
		return nil, err
	}
	for _, instances := range found {
		nodes.place(instances)
	}
	catalog := nodes.catalog()
	if len(missing) > 0 {
		catalog.Missing, catalog.Unread, catalog.Incomplete = missing, len(nodes), why
	}
	return catalog, nil
}

// askable returns the services that are asked for, those that are not, and why they are not. Both are in order.
func askable(names []string) (services, missing []string, why error) {
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		switch {
		case !canBeAsked(name):
			missing, why = append(missing, name), errNameNotAskable
		case len(services) == maxServiceReads:
			missing, why = append(missing, name), errTooManyServices
		default:
			services = append(services, name)
		}
	}
	if why != nil {
		why = fmt.Errorf("%d services cannot be read one by one, %q for example: %w", len(missing), missing[0], why)
	}
	return services, missing, why
}

var (
	errNameNotAskable  = errors.New("the HTTP API takes no name that begins or ends with a slash, or has two in a row")
	errTooManyServices = fmt.Errorf("there are more than %d services on nodes whose meta lacks %s, "+
		"or Consul refuses to tell all at once", maxServiceReads, versionKey)
)

// decodeNames reads an answer of endpointServices into the names of the services.
func decodeNames(names *[]string) func(*consul.JSONReader) error {
	return func(d *consul.JSONReader) error {
		return d.Object(func(key []byte) (err error) {
			if *names, err = consul.Keep(d.Memory, *names, string(key)); err != nil {
				return err
			}
			return d.List(d.SkipValue) // Its tags.
		})
	}
}

// placedInstance is an instance with its own checks and the name of its node.
type placedInstance struct {
	Instance

	checks  []Check
	node    string
	proxyOf string // The ID of the instance that it is a sidecar proxy for; empty if it is none.
}

// readServices reads the instances of each service on the nodes that the filter selects.
func (r *Reader) readServices(
	ctx context.Context, services []string, filter string, memory *consul.Budget,
) ([][]placedInstance, error) {
	instances := make([][]placedInstance, len(services))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.Options.MaxConns())
	for i, service := range services {
		group.Go(func() error {
			return r.stream(ctx, endpointHealthOf(service, filter), memory, func(d *consul.JSONReader) (err error) {
				instances[i], err = decodeEntries(d, service)
				return err
			})
		})
	}
	return instances, group.Wait()
}

// decodeEntries reads an answer of endpointHealthOf. Consul ignores case there, so the answer also has instances of
// services with another spelling. The checks of the nodes come from endpointNodeChecks.
func decodeEntries(d *consul.JSONReader, service string) (list []placedInstance, err error) {
	err = consul.EachElement(d, func(e *api.ServiceEntry) (err error) {
		if e.Node == nil || e.Service == nil || e.Service.Service != service {
			return nil
		}
		placed := placedInstance{Instance: newInstance(e.Service), node: e.Node.Node, proxyOf: proxyOf(e.Service)}
		if err := d.Memory.Spend(placed.listBytes()); err != nil {
			return err
		}
		for _, c := range e.Checks {
			if c == nil || c.ServiceID == "" {
				continue
			}
			if placed.checks, err = consul.Keep(d.Memory, placed.checks, newCheck(c)); err != nil {
				return err
			}
		}
		list, err = consul.Keep(d.Memory, list, placed)
		return err
	})
	return list, err
}

func newCheck(c *api.HealthCheck) Check {
	check := Check{ID: c.CheckID, Name: c.Name, ServiceID: c.ServiceID, ServiceName: c.ServiceName}
	check.setStatus([]byte(c.Status))
	return check
}

// nodesByName is a catalog that is put together from several answers.
type nodesByName map[string]*partialNode

// partialNode is a node of it.
type partialNode struct {
	Node

	sidecars []sidecar
}

// decodeChecks reads an answer of endpointNodeChecks; those of other nodes are left out.
func (nodes nodesByName) decodeChecks(d *consul.JSONReader) error {
	return consul.EachElement(d, func(c *api.HealthCheck) (err error) {
		n := nodes[c.Node]
		if n == nil || c.PeerName != "" || c.ServiceID != "" {
			return nil
		}
		n.Checks, err = consul.Keep(d.Memory, n.Checks, newCheck(c))
		return err
	})
}

// place adds instances to their nodes; those of other nodes are left out.
func (nodes nodesByName) place(instances []placedInstance) {
	for i := range instances {
		if n := nodes[instances[i].node]; n != nil {
			if of := instances[i].proxyOf; of != "" {
				n.sidecars = append(n.sidecars, sidecar{len(n.Instances), of})
			}
			n.Instances = append(n.Instances, instances[i].Instance)
			n.Checks = append(n.Checks, instances[i].checks...)
		}
	}
}

// nodeBytes is about what a node costs, without what is on it.
const nodeBytes = 128

func (nodes nodesByName) catalog() *Catalog {
	catalog := &Catalog{}
	scratch := make(map[string]instanceHealth)
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		n := nodes[name]
		n.judge(scratch, n.sidecars)
		catalog.Nodes = append(catalog.Nodes, n.Node)
	}
	return catalog
}

// add adds the nodes of another catalog that are not there yet, and what is missing of it.
func (c *Catalog) add(other *Catalog) {
	known := make(map[string]bool, len(c.Nodes))
	for i := range c.Nodes {
		known[c.Nodes[i].Name] = true
	}
	for i := range other.Nodes {
		if !known[other.Nodes[i].Name] {
			c.Nodes = append(c.Nodes, other.Nodes[i])
		}
	}
	c.Missing, c.Unread, c.Incomplete = other.Missing, other.Unread, other.Incomplete
}
