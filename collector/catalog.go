// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/catalog"
	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// catalogCollector exports what is registered with Consul and its health: the families of consul_exporter, and
// counts.
//
// Requests: /v1/agent/members for LAN and WAN, /v1/catalog/nodes, and one for /v1/catalog/services that shows whether
// Consul would change the catalog when asked for all of it. If not, /v1/internal/ui/nodes for the nodes that it
// leaves alone, however many services there are. For other nodes, if there are any, /v1/catalog/services,
// /v1/health/state/any and /v1/health/service/:name for each of their services, 1,000 at most. With
// --consul.agent-only: /v1/agent/self, /v1/agent/services and /v1/agent/checks. ACL: node:read and service:read;
// Consul leaves out what the token may not read. Nine series for an instance with three tags and a check, and four
// for each service.
type catalogCollector struct {
	settings CatalogSettings

	services, nodes, unread, instances, lost *desc
	nodeHealthy, tag, meta                   *desc
	nodeStatus, serviceStatus, serviceChecks *desc
	series, seriesLimit                      *desc
}

func newCatalogCollector(define *definitions) collector {
	const status = " 1 for the current one, otherwise 0. For maintenance, critical is also 1."
	return &catalogCollector{
		settings: define.settings.Catalog,
		services: define.gauge("consul_catalog_services", "Services in the catalog."),
		nodes:    define.gauge("consul_catalog_nodes", "Nodes in the catalog."),
		unread: define.gauge("consul_catalog_nodes_unread",
			"Nodes with services that were not read, because reading them at once would change Consul and there "+
				"are too many to read one by one. 0 if the catalog is complete."),
		instances: define.gauge("consul_catalog_service_instances",
			"Instances of a service by the worst status of their own and their node's checks. A sidecar of a "+
				"service in maintenance counts as in maintenance; unknown is omitted if 0.", "service_name",
			"status"),
		lost: define.gauge("consul_catalog_failed_node_instances",
			"Critical instances of a service on a node whose agent failed (serfHealth). Absent if none.",
			"service_name", "node"),
		nodeHealthy: define.gauge("consul_catalog_service_node_healthy",
			"1 if all checks of the instance and its node pass, otherwise 0.", "service_id", "node",
			"service_name"),
		tag: define.gauge("consul_service_tag", "A tag of a service instance; always 1.", "service_id", "node", "tag"),
		meta: define.gauge("consul_service_meta_info",
			"An entry of a service instance's meta; always 1.", "service_id", "node", "key", "value"),
		nodeStatus: define.gauge("consul_health_node_status",
			"Status of a check of a node:"+status, "check", "node", "status"),
		serviceStatus: define.gauge("consul_health_service_status",
			"Status of a check of a service instance:"+status, "check", "node", "service_id", "service_name", "status"),
		serviceChecks: define.gauge("consul_service_checks",
			"A check of a service instance; always 1.", "service_id", "service_name", "check_id", "check_name",
			"node"),
		series: define.gauge("consul_exporter_catalog_series",
			"Series of the catalog, without its totals; above the limit they are omitted."),
		seriesLimit: define.gauge("consul_exporter_catalog_series_limit",
			"How many series the catalog may have; absent without a limit."),
	}
}

func (c *catalogCollector) collect(ctx context.Context, snap *cluster.Snapshot, out *families) error {
	all, err := snap.Catalog().Get(ctx)
	if err != nil {
		return err
	}
	if err := c.export(all, out); err != nil {
		return err
	}
	return all.Incomplete
}

// export adds the totals, and all other series if they are not too many.
func (c *catalogCollector) export(all *catalog.Catalog, out *families) error {
	counts := all.InstanceCounts()
	size := c.measure(all, counts)
	out.add(c.nodes, float64(len(all.Nodes)))
	out.add(c.services, float64(len(counts)+len(all.Missing)))
	out.add(c.unread, float64(all.Unread))
	out.add(c.series, float64(size.series()))
	if limit := c.settings.MaxSeries; limit > 0 {
		out.add(c.seriesLimit, float64(limit))
		if size.series() > limit {
			return fmt.Errorf("the catalog has %d series, more than the limit of %d: %w", size.series(), limit, errTooManySeries)
		}
	}
	// Two cores need half the time for it.
	checks := newFamilies()
	wait := alongside(func() { c.addChecks(all, size, checks) })
	c.addCounts(counts, out)
	c.addLost(all, out)
	c.addInstances(all, size, out)
	wait()
	out.merge(checks)
	return nil
}

var errTooManySeries = errors.New("only totals are exported; raise --collector.catalog.max-series, " +
	"or use the filters beside it")

func (c *catalogCollector) addCounts(counts map[string]*catalog.InstanceCounts, out *families) {
	if !c.settings.Instances {
		return
	}
	sel := newSelection(&c.settings)
	statuses := statusLabels(out)
	for _, service := range slices.Sorted(maps.Keys(counts)) {
		if sel.services.has(service) {
			name := out.label("service_name", service)
			for i, status := range catalog.Statuses() {
				out.addLabels(c.instances, float64(counts[service][status]), name, statuses[i])
			}
			if n := counts[service][catalog.Unknown]; n > 0 {
				out.addLabels(c.instances, float64(n), name, out.label("status", catalog.Unknown.String()))
			}
		}
	}
}

// addLost adds what failed together with its node.
func (c *catalogCollector) addLost(all *catalog.Catalog, out *families) {
	if !c.settings.Instances {
		return
	}
	sel := newSelection(&c.settings)
	for i := range all.Nodes {
		n := &all.Nodes[i]
		lost := n.Lost()
		for _, service := range slices.Sorted(maps.Keys(lost)) {
			if sel.services.has(service) {
				out.addLabels(c.lost, float64(lost[service]), out.label("service_name", service), out.label("node", n.Name))
			}
		}
	}
}

// catalogSize is how many series of each kind the selected part of a catalog has, totals apart.
type catalogSize struct {
	services, instances, tags, meta int
	// unknown is how many services have instances of unknown state, for which there is another series.
	unknown int
	// lost is how many services each failed node has, in all.
	lost int
	// nodeChecks and serviceChecks have a series for each state; the latter have another one.
	nodeChecks, serviceChecks int
}

// states is how many series a set of states has.
var states = len(catalog.Statuses())

func (s *catalogSize) series() int {
	return states*s.services + s.unknown + s.lost + s.instances + s.tags + s.meta +
		states*s.nodeChecks + (states+1)*s.serviceChecks
}

// measure must count what the functions below add.
func (c *catalogCollector) measure(
	all *catalog.Catalog, counts map[string]*catalog.InstanceCounts,
) (size catalogSize) {
	sel := newSelection(&c.settings)
	for service, n := range counts {
		if c.settings.Instances && sel.services.has(service) {
			size.services++
			size.unknown += min(n[catalog.Unknown], 1)
		}
	}
	for i := range all.Nodes {
		for service := range all.Nodes[i].Lost() {
			if c.settings.Instances && sel.services.has(service) {
				size.lost++
			}
		}
	}
	for n := range sel.nodesOf(all) {
		for j := range n.Instances {
			if c.settings.HealthSummary {
				sel.measure(&n.Instances[j], &size)
			}
		}
		for j := range n.Checks {
			switch check := &n.Checks[j]; {
			case !sel.check(check):
			case check.ServiceID == "":
				size.nodeChecks++
			default:
				size.serviceChecks++
			}
		}
	}
	return size
}

// addInstances adds what consul_exporter calls the health summary.
func (c *catalogCollector) addInstances(all *catalog.Catalog, size catalogSize, out *families) {
	if !c.settings.HealthSummary {
		return
	}
	out.expectSeries(c.nodeHealthy, size.instances, size.instances)
	out.expectSeries(c.tag, size.tags, size.tags)
	out.expectSeries(c.meta, size.meta, size.meta)
	sel := newSelection(&c.settings)
	for n := range sel.nodesOf(all) {
		node := out.label("node", n.Name)
		for j := range n.Instances {
			if in := &n.Instances[j]; sel.services.has(in.Service) {
				c.addInstance(in, node, sel, out)
			}
		}
	}
}

func (c *catalogCollector) addInstance(in *catalog.Instance, node *label, sel *selection, out *families) {
	id := out.label("service_id", in.ID)
	out.addLabels(c.nodeHealthy, binary(in.Healthy), id, node,
		out.label("service_name", in.Service))
	for i, tag := range in.Tags {
		if sel.tag(in, i) {
			out.addLabels(c.tag, 1, id, node, out.label("tag", tag))
		}
	}
	for _, m := range in.Meta {
		if sel.meta.has(m.Key) {
			out.addLabels(c.meta, 1, id, node, out.label("key", m.Key), out.label("value", m.Value))
		}
	}
}

// addChecks adds the states of all checks.
func (c *catalogCollector) addChecks(all *catalog.Catalog, size catalogSize, out *families) {
	out.expect(4 * size.serviceChecks) // Most have an ID, a service ID and a name of their own.
	out.expectSeries(c.nodeStatus, states*size.nodeChecks, size.nodeChecks)
	out.expectSeries(c.serviceStatus, states*size.serviceChecks, size.serviceChecks)
	out.expectSeries(c.serviceChecks, size.serviceChecks, size.serviceChecks)
	sel := newSelection(&c.settings)
	statuses := statusLabels(out)
	for n := range sel.nodesOf(all) {
		node := out.label("node", n.Name)
		for j := range n.Checks {
			if check := &n.Checks[j]; sel.check(check) {
				c.addCheck(check, node, statuses, out)
			}
		}
	}
}

func (c *catalogCollector) addCheck(check *catalog.Check, node *label, statuses []*label, out *families) {
	is := func(i int) bool {
		status := catalog.Statuses()[i]
		return check.Is(status) || (status == catalog.Maintenance && check.InMaintenance())
	}
	checkID := out.label("check", check.ID)
	if check.ServiceID == "" {
		out.addStates(c.nodeStatus, statuses, is, checkID, node)
		return
	}
	id, name := out.label("service_id", check.ServiceID), out.label("service_name", check.ServiceName)
	out.addStates(c.serviceStatus, statuses, is, checkID, node, id, name)
	out.addLabels(c.serviceChecks, 1, id, name, out.label("check_id", check.ID), out.label("check_name", check.Name), node)
}

// statusLabels are those of all statuses, in their order.
func statusLabels(out *families) []*label {
	var labels []*label
	for _, status := range catalog.Statuses() {
		labels = append(labels, out.label("status", status.String()))
	}
	return labels
}
