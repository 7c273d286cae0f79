// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"
	"golang.org/x/sync/errgroup"
)

const (
	// maxTxnOps is how many operations Consul accepts in one transaction.
	maxTxnOps = 128
	// txnWriters is how many transactions are under way at the same time. More make it no faster, but the servers too
	// busy to keep their leader.
	txnWriters = 3
	// Every warningEvery-th check is warning, and every criticalEvery-th one critical, also if it is both.
	warningEvery, criticalEvery = 50, 97
)

// A Catalog says how much LoadCatalog writes into the catalog: so many instances, spread evenly over so many services
// and nodes. The same numbers always give the same catalog.
//
// The services are called "web-0001", "api-0002" and so on, their instances "web-0001-1" and so on, the nodes
// "worker-0001" and so on. Each instance has three tags, for example "v12", "zone-a" and "primary", the meta entries
// "team" and "runtime", and one check. Every 50th check is warning and every 97th critical. There is no agent on the
// nodes, hence they have no check serfHealth.
type Catalog struct {
	// Nodes, Services and Instances are how many there are to be, 1 at least, and not fewer instances than services.
	Nodes, Services, Instances int
	// CheckOutput is how many bytes the output of each check has at least; Consul keeps 4,096 by default.
	CheckOutput int
}

// LoadCatalog writes these nodes, services and instances into the catalog. It returns when every server that is
// neither killed nor stopped has all of them. What the catalog has already stays there, except that an instance of
// the same name on the same node is replaced.
func (c *Cluster) LoadCatalog(ctx context.Context, catalog Catalog) error {
	// A service is refused if its node is not there.
	if err := c.transact(ctx, catalog.nodeOps()); err != nil {
		return fmt.Errorf("load the nodes: %w", err)
	}
	if err := c.transact(ctx, catalog.instanceOps()); err != nil {
		return fmt.Errorf("load the services: %w", err)
	}
	return c.waitReplicated(ctx)
}

// transact performs the operations in as few transactions as possible, several at a time. Their order is kept within
// a transaction only.
func (c *Cluster) transact(ctx context.Context, ops api.TxnOps) error {
	writers, ctx := errgroup.WithContext(ctx)
	writers.SetLimit(txnWriters)
	for batch := range slices.Chunk(ops, maxTxnOps) {
		writers.Go(func() error { return c.transactBatch(ctx, batch) })
	}
	return writers.Wait()
}

// transactBatch performs one transaction, again and again until a leader accepts it: servers that are as busy as
// these can have an election. It must not matter whether it is performed twice.
func (c *Cluster) transactBatch(ctx context.Context, ops api.TxnOps) error {
	// A slow transaction is not given up, unlike other looks.
	return Poll(ctx, "a transaction", func(context.Context) error {
		i := slices.IndexFunc(c.Servers, (*Agent).answering)
		if i < 0 {
			return errors.New("no server is running")
		}
		server := c.Servers[i] // It forwards to the leader.
		ok, response, _, err := server.client.Txn().Txn(ops, read(ctx))
		if err != nil {
			return fmt.Errorf("write to %s: %w", server, err)
		}
		if !ok {
			first := response.Errors[0]
			return fatalError{fmt.Errorf("%s refuses operation %d: %s", server, first.OpIndex, first.What)}
		}
		return nil
	})
}

// waitReplicated waits until every server that is neither killed nor stopped has everything that was written before.
// It writes a key, looks for it on each server and removes it: servers apply all writes in the same order.
func (c *Cluster) waitReplicated(ctx context.Context) error {
	key := "consultest/" + rand.Text()
	if err := c.transact(ctx, api.TxnOps{{KV: &api.KVTxnOp{Verb: api.KVSet, Key: key}}}); err != nil {
		return fmt.Errorf("write a key: %w", err)
	}
	err := pollEach(ctx, "all servers to be up to date", c.Servers, func(ctx context.Context, server *Agent) error {
		pair, _, err := server.client.KV().Get(key, stale(ctx))
		if err == nil && pair == nil {
			err = errors.New("it is behind")
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := c.transact(ctx, api.TxnOps{{KV: &api.KVTxnOp{Verb: api.KVDelete, Key: key}}}); err != nil {
		return fmt.Errorf("remove a key: %w", err)
	}
	return nil
}

func (c Catalog) nodeOps() api.TxnOps {
	ops := make(api.TxnOps, 0, c.Nodes)
	for node := range c.Nodes {
		addr := nodeAddr(node)
		ops = append(ops, &api.TxnOp{Node: &api.NodeTxnOp{Verb: api.NodeSet, Node: api.Node{
			Node:            nodeName(node),
			Address:         addr,
			TaggedAddresses: map[string]string{"lan": addr, "wan": addr},
			Meta:            map[string]string{"zone": zone(node)},
		}}})
	}
	return ops
}

// instanceOps returns the operations that enter the instances, each followed by that for its check. As a transaction
// has an even number of operations, both are in the same one.
func (c Catalog) instanceOps() api.TxnOps {
	ops := make(api.TxnOps, 0, 2*c.Instances)
	for i := range c.Instances {
		in := c.instance(i)
		ops = append(ops, in.serviceOp(), in.checkOp())
	}
	return ops
}

// An instance is one instance of a service. Nodes and services are numbered from 0, the instances of a service from
// 1.
type instance struct {
	service, index, node, port, output int
	status                             string
}

// instance returns the i-th instance, counted from 0. Those of one service follow each other, so they are on
// different nodes as long as there are enough.
func (c Catalog) instance(i int) instance {
	service := i * c.Services / c.Instances
	// The smallest i that gives this service.
	first := (service*c.Instances + c.Services - 1) / c.Services
	in := instance{
		service: service,
		index:   i - first + 1,
		node:    i % c.Nodes,
		port:    20000 + i/c.Nodes, // Of its own on that node.
		output:  c.CheckOutput,
		status:  api.HealthPassing,
	}
	switch n := i + 1; {
	case n%criticalEvery == 0:
		in.status = api.HealthCritical
	case n%warningEvery == 0:
		in.status = api.HealthWarning
	}
	return in
}

func (in instance) serviceOp() *api.TxnOp {
	role := "replica"
	if in.index == 1 {
		role = "primary"
	}
	service := api.AgentService{
		ID:      in.id(),
		Service: serviceName(in.service),
		Tags:    []string{"v" + strconv.Itoa(in.service%20+1), "zone-" + zone(in.node), role},
		Meta:    map[string]string{"team": teams[in.service%len(teams)], "runtime": runtimes[in.service%len(runtimes)]},
		Port:    in.port,
		Weights: api.AgentWeights{Passing: 1, Warning: 1},
	}
	return &api.TxnOp{Service: &api.ServiceTxnOp{Verb: api.ServiceSet, Node: nodeName(in.node), Service: service}}
}

// checkOp names the check as agents name that of a service with a single one, and gives it the output of an HTTP
// check.
func (in instance) checkOp() *api.TxnOp {
	head := fmt.Sprintf("HTTP GET http://%s:%d/health: %s Output: ", nodeAddr(in.node), in.port, httpStatus[in.status])
	return &api.TxnOp{Check: &api.CheckTxnOp{Verb: api.CheckSet, Check: api.HealthCheck{
		Node:        nodeName(in.node),
		CheckID:     "service:" + in.id(),
		Name:        "Service '" + serviceName(in.service) + "' check",
		Status:      in.status,
		Output:      head + strings.Repeat("x", max(in.output-len(head), 0)),
		ServiceID:   in.id(),
		ServiceName: serviceName(in.service),
		Type:        "http",
	}}}
}

func (in instance) id() string { return serviceName(in.service) + "-" + strconv.Itoa(in.index) }

// What names are made of.
var (
	roles    = []string{"web", "api", "auth", "billing", "cart", "orders", "search", "cache", "mail", "reports"}
	teams    = []string{"checkout", "identity", "platform", "discovery", "finance"}
	runtimes = []string{"go", "java", "node", "python"}
)

// httpStatus is the answer that gives an HTTP check this status.
var httpStatus = map[string]string{
	api.HealthPassing:  "200 OK",
	api.HealthWarning:  "429 Too Many Requests",
	api.HealthCritical: "503 Service Unavailable",
}

func serviceName(service int) string {
	return fmt.Sprintf("%s-%04d", roles[service%len(roles)], service+1)
}

func nodeName(node int) string { return fmt.Sprintf("worker-%04d", node+1) }

// nodeAddr returns an address that is never dialed.
func nodeAddr(node int) string {
	n := node + 1
	return fmt.Sprintf("10.%d.%d.%d", n>>16&0xff, n>>8&0xff, n&0xff)
}

func zone(node int) string { return string("abc"[node%3]) }
