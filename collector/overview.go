// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"slices"

	"github.com/zervigo/consul_cluster_exporter/catalog"
	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// newOverviewCollector exports Consul's own summary of the catalog. It takes a millisecond however large the catalog
// is, so it is there when the catalog itself is too large, too slow, refused, or cannot be read without changing it.
//
// Requests: /v1/internal/ui/catalog-overview; if something is critical, /v1/health/state/critical for what of it is
// in maintenance, and /v1/agent/members for whether ACLs are off. ACL: operator:read. The token's rights do not
// filter the summary, but without node:read and service:read for everything it is unknown what is in maintenance, and
// the series critical and maintenance are absent. Four series for each service. A server that started less than nine
// seconds ago has no summary, and then there are no series.
func newOverviewCollector(define *definitions) collector {
	const rights = " Without critical and maintenance if the token may not read everything."
	settings := define.settings.Catalog
	nodes := define.gauge("consul_catalog_overview_nodes",
		"Nodes by the worst of their own checks, in Consul's summary, which is up to nine seconds old."+rights, "status")
	checks := define.gauge("consul_catalog_overview_checks", "Checks by status, in Consul's summary."+rights, "status")
	services := define.gauge("consul_catalog_overview_services", "Services in Consul's summary.")
	instances := define.gauge("consul_catalog_overview_service_instances",
		"Instances of a service by the worst of their own checks, in Consul's summary. Checks of nodes do not count; "+
			"imported instances do."+rights, "service_name", "status")
	return ofFact((*cluster.Snapshot).CatalogOverview, func(overview *catalog.Overview, out *families) {
		if overview == nil {
			return
		}
		addOverviewCounts(nodes, overview, &overview.Nodes, out)
		addOverviewCounts(checks, overview, &overview.Checks, out)
		out.add(services, float64(len(overview.Services)))
		for _, s := range selectServices(overview.Services, &settings) {
			addOverviewCounts(instances, overview, &s.OverviewCounts, out, s.Name)
		}
	})
}

// selectServices returns the selected services, if they do not have too many series. If they do, so does the catalog,
// which says so.
func selectServices(services []catalog.ServiceOverview, settings *CatalogSettings) []catalog.ServiceOverview {
	if !settings.Instances {
		return nil
	}
	names := newSelector(settings.Services)
	omitted := func(s catalog.ServiceOverview) bool { return !names.has(s.Name) }
	selected := slices.DeleteFunc(slices.Clone(services), omitted)
	if limit := settings.MaxSeries; limit > 0 && 4*len(selected) > limit {
		return nil
	}
	return selected
}

// addOverviewCounts adds a series for each state that is known.
func addOverviewCounts(
	d *desc, of *catalog.Overview, counts *catalog.OverviewCounts, out *families, labels ...string,
) {
	add := func(status catalog.Status, count int) {
		out.add(d, float64(count), append(labels, status.String())...)
	}
	add(catalog.Passing, counts.Passing)
	add(catalog.Warning, counts.Warning)
	if of.MaintenanceTold {
		add(catalog.Critical, counts.Critical)
		add(catalog.Maintenance, counts.Maintenance)
	}
}
