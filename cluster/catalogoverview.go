// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"slices"
)

// endpointOverview answers with counts that the server makes every nine seconds (Consul: agent/consul/server_overview.go): a millisecond
// and no output of checks, however large the catalog is. It needs operator:read, knows nothing of the rights to single services, and reads only.
var endpointOverview = endpoint{path: "/v1/internal/ui/catalog-overview", chosen: true}

// CatalogOverview is a summary of the catalog. It is up to nine seconds older than the catalog itself, and it differs in what it counts:
// a service instance by its own checks only, without its node's; maintenance as critical; and, with peerings, also what other clusters
// export to this one.
type CatalogOverview struct {
	// Nodes are counted by their own checks.
	Nodes  OverviewCounts
	Checks OverviewCounts
	// Services have their instances counted, by name and in order.
	Services []ServiceOverview
}

// OverviewCounts are how many are in each state. Total is all of them, Consul's other states included.
type OverviewCounts struct{ Total, Passing, Warning, Critical int }

// ServiceOverview counts the instances of a service. The answer's lists of nodes and checks have elements of the same form.
type ServiceOverview struct {
	Name string
	OverviewCounts
}

func (c *OverviewCounts) add(other OverviewCounts) {
	c.Total += other.Total
	c.Passing += other.Passing
	c.Warning += other.Warning
	c.Critical += other.Critical
}

// CatalogOverview is the server's summary of the catalog; nil if it has made none since it started.
func (s *Snapshot) CatalogOverview() *Fact[*CatalogOverview] {
	return s.overview.start(s.ctx, func(ctx context.Context) (*CatalogOverview, error) {
		overview := &CatalogOverview{}
		if err := s.stream(ctx, endpointOverview, s.newBudget(), overview.decode); err != nil {
			return nil, err
		}
		if overview.Nodes.Total == 0 {
			return nil, nil //nolint:nilnil // A catalog has at least the node of the server; without it there is no summary, and no error.
		}
		return overview, nil
	})
}

func (o *CatalogOverview) decode(d *jsonReader) error {
	services := make(map[string]*ServiceOverview) // Enterprise has an entry for each namespace.
	err := d.object(func(key []byte) error {
		switch string(key) {
		case "Nodes":
			return eachElement(d, func(e *ServiceOverview) error {
				o.Nodes.add(e.OverviewCounts)
				return nil
			})
		case "Checks":
			return eachElement(d, func(e *ServiceOverview) error {
				o.Checks.add(e.OverviewCounts)
				return nil
			})
		case "Services":
			return eachElement(d, func(e *ServiceOverview) error {
				if services[e.Name] == nil {
					services[e.Name] = &ServiceOverview{Name: e.Name}
					if err := d.memory.spend(nodeBytes); err != nil {
						return err
					}
				}
				services[e.Name].add(e.OverviewCounts)
				return nil
			})
		default:
			return d.SkipValue()
		}
	})
	for _, service := range services {
		o.Services = append(o.Services, *service)
	}
	slices.SortFunc(o.Services, func(a, b ServiceOverview) int { return cmp.Compare(a.Name, b.Name) })
	return err
}
