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

// endpointOverview answers with counts that the server makes every nine seconds (Consul:
// agent/consul/server_overview.go), in a millisecond however large the catalog is. It needs operator:read, ignores
// rights to single services, and only reads.
var endpointOverview = consul.Endpoint{Path: "/v1/internal/ui/catalog-overview", Chosen: true}

// endpointMaintenance answers with the checks that stand for maintenance, which Consul's summary counts as critical.
var endpointMaintenance = consul.Endpoint{
	Path: "/v1/health/state/critical", HasMeta: true, Chosen: true,
	Params: consul.Filtered("CheckID == `" + nodeMaintenanceID +
		"` or CheckID matches `^" + serviceMaintenancePrefix + "`"),
}

// Overview is a summary of the catalog, up to nine seconds older than the catalog. It counts a service instance by its
// own checks, without its node's; and, with peerings, also what other clusters export to this one.
type Overview struct {
	// Nodes are counted by their own checks.
	Nodes  OverviewCounts
	Checks OverviewCounts
	// Services have their instances counted, by name and in order.
	Services []ServiceOverview
	// MaintenanceTold is whether it is known what is in maintenance. If not, it is among what is critical.
	MaintenanceTold bool
}

// OverviewCounts are how many are in each state. Total is all of them, Consul's other states included.
type OverviewCounts struct{ Total, Passing, Warning, Critical, Maintenance int }

// ServiceOverview counts the instances of a service.
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

// maintain moves critical ones to maintenance. The list of them is newer than the summary, which may lack some.
func (c *OverviewCounts) maintain(n int) {
	n = min(n, c.Critical)
	c.Critical -= n
	c.Maintenance += n
}

// Overview reads the server's summary of the catalog; nil if it has made none since it started. What is in maintenance
// is only asked for if something is critical, and only known if the token may read everything.
func (r *Reader) Overview(ctx context.Context) (*Overview, error) {
	overview := &Overview{}
	if err := r.stream(ctx, endpointOverview, r.Options.NewBudget(), overview.decode); err != nil {
		return nil, err
	}
	if overview.Nodes.Total == 0 {
		return nil, nil //nolint:nilnil // Without even the node of the server there is no summary, and no error.
	}
	if overview.Checks.Critical == 0 {
		overview.MaintenanceTold = true
		return overview, nil
	}
	err := r.stream(ctx, endpointMaintenance, r.Options.NewBudget(), overview.decodeMaintenance)
	if err != nil {
		return nil, err
	}
	overview.MaintenanceTold = r.IsWhole(ctx, endpointMaintenance)
	return overview, nil
}

// decodeMaintenance reads an answer of endpointMaintenance.
func (o *Overview) decodeMaintenance(d *consul.JSONReader) error {
	return consul.EachElement(d, func(c *api.HealthCheck) error {
		o.Checks.maintain(1)
		if c.ServiceID == "" {
			o.Nodes.maintain(1)
			return nil
		}
		byName := func(s ServiceOverview, name string) int { return cmp.Compare(s.Name, name) }
		if i, found := slices.BinarySearchFunc(o.Services, c.ServiceName, byName); found {
			o.Services[i].maintain(1)
		}
		return nil
	})
}

func (o *Overview) decode(d *consul.JSONReader) error {
	services := make(map[string]*ServiceOverview) // Enterprise has an entry for each namespace.
	sum := func(into *OverviewCounts) error {
		return consul.EachElement(d, func(e *ServiceOverview) error {
			into.add(e.OverviewCounts)
			return nil
		})
	}
	err := d.Object(func(key []byte) error {
		switch string(key) {
		case "Nodes":
			return sum(&o.Nodes)
		case "Checks":
			return sum(&o.Checks)
		case "Services":
			return consul.EachElement(d, func(e *ServiceOverview) error {
				if services[e.Name] == nil {
					services[e.Name] = &ServiceOverview{Name: e.Name}
					if err := d.Memory.Spend(nodeBytes); err != nil {
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
	for _, name := range slices.Sorted(maps.Keys(services)) {
		o.Services = append(o.Services, *services[name])
	}
	return err
}
