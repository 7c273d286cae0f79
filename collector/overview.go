// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// overviewCollector exports Consul's own summary of the catalog. It costs a millisecond however large the catalog is, so it is there when
// the catalog itself is too large, too slow, refused, or cannot be read without changing it.
//
// Requests: /v1/internal/ui/catalog-overview; /v1/health/state/critical for what is in maintenance, if something is critical. ACL:
// operator:read; the summary is not filtered by the token's rights, but without node:read and service:read maintenance counts as critical.
// Four series for each service. A server that started less than nine seconds ago has no summary, and then there are no series.
type overviewCollector struct {
	settings CatalogSettings

	nodes, checks, services, instances *desc
}

func newOverviewCollector(define *definitions) collector {
	const age = " Up to nine seconds old; absent until the server that answers has made its first summary."
	return &overviewCollector{
		settings: define.settings.Catalog,
		nodes: define.gauge("consul_catalog_overview_nodes",
			"Nodes by the worst of their own checks, in Consul's summary of the catalog."+age, "status"),
		checks: define.gauge("consul_catalog_overview_checks",
			"Checks of nodes and services by status, in Consul's summary of the catalog.", "status"),
		services: define.gauge("consul_catalog_overview_services", "Services in Consul's summary of the catalog."),
		instances: define.gauge("consul_catalog_overview_service_instances",
			"Instances of a service by the worst of their own checks, in Consul's summary of the catalog. Unlike consul_catalog_service_instances, "+
				"checks of nodes do not count, and imported instances count too.", "service_name", "status"),
	}
}

func (c *overviewCollector) collect(ctx context.Context, snap *cluster.Snapshot, out *families) error {
	overview, err := snap.CatalogOverview().Get(ctx)
	if err != nil || overview == nil {
		return err
	}
	c.addCounts(c.nodes, &overview.Nodes, out)
	c.addCounts(c.checks, &overview.Checks, out)
	out.add(c.services, float64(len(overview.Services)))
	c.addServices(overview.Services, out)
	return nil
}

// addServices adds the series of the selected services, if they are not too many. If they are, so are those of the catalog, which says so.
func (c *overviewCollector) addServices(services []cluster.ServiceOverview, out *families) {
	if !c.settings.Instances {
		return
	}
	sel := newSelection(&c.settings)
	selected := 0
	for i := range services {
		if sel.services.has(services[i].Name) {
			selected++
		}
	}
	if limit := c.settings.MaxSeries; limit > 0 && 4*selected > limit {
		return
	}
	for i := range services {
		if sel.services.has(services[i].Name) {
			c.addCounts(c.instances, &services[i].OverviewCounts, out, services[i].Name)
		}
	}
}

// addCounts adds a series for each state.
func (c *overviewCollector) addCounts(d *desc, counts *cluster.OverviewCounts, out *families, labels ...string) {
	for _, state := range []struct {
		status cluster.HealthStatus
		count  int
	}{
		{cluster.HealthPassing, counts.Passing},
		{cluster.HealthWarning, counts.Warning},
		{cluster.HealthCritical, counts.Critical},
		{cluster.HealthMaintenance, counts.Maintenance},
	} {
		out.add(d, float64(state.count), append(labels, state.status.String())...)
	}
}
