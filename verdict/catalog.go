// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"cmp"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/catalog"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
)

// maxListed bounds each list of members and services, of which there may be thousands.
const maxListed = 100

// Catalog are the totals of what is registered with Consul. As JSON it is public: fields are only ever added.
type Catalog struct {
	// Summary is whether all counts are those of Consul's own summary, because the catalog itself could not be read: see
	// catalog.Overview.
	Summary  bool `json:"summary,omitempty"`
	Nodes    int  `json:"nodes"`
	Services int  `json:"services"`
	// Instances counts the service instances that are passing, warning, critical, in maintenance and, if there are any, of
	// unknown state.
	Instances map[string]int `json:"instances"`
	// Failing are the services with critical instances, worst first, and FailingOmitted is how many more there are; the
	// servers' own service is left out. Down of them have no instance that is passing or warning.
	Failing        []Service `json:"failing"`
	FailingOmitted int       `json:"failing_omitted,omitempty"`
	Down           int       `json:"down"`
	// Own are those of Instances that are Consul's servers: they are no tenants.
	Own catalog.InstanceCounts `json:"-"`
}

// Service counts the instances of one service by their state.
type Service struct {
	Name        string `json:"name"`
	Passing     int    `json:"passing"`
	Warning     int    `json:"warning"`
	Critical    int    `json:"critical"`
	Maintenance int    `json:"maintenance"`
	Unknown     int    `json:"unknown,omitempty"`
}

// serving is how many instances Consul names to those who ask for the service.
func (s Service) serving() int { return s.Passing + s.Warning + s.Unknown }

// Total is how many instances there are.
func (s Service) Total() int { return s.serving() + s.Critical + s.Maintenance }

// Down reports whether Consul returns no address for the service.
func (s Service) Down() bool { return s.Critical > 0 && s.serving() == 0 }

// serversService is what the servers are registered as (Consul: structs.ConsulServiceName).
const serversService = "consul"

// JudgeCatalog counts by the catalog, and by Consul's summary what is missing from it. Either may be nil; the result is
// nil if both are.
func JudgeCatalog(c *catalog.Catalog, overview *catalog.Overview) *Catalog {
	totals := &Catalog{Instances: make(map[string]int), Failing: []Service{}}
	var counts map[string]*catalog.InstanceCounts
	var missing []string
	switch {
	case c != nil:
		counts, missing = c.InstanceCounts(), c.Missing
		totals.Nodes, totals.Services = len(c.Nodes), len(counts)+len(missing)
	case overview != nil:
		counts = make(map[string]*catalog.InstanceCounts)
		totals.Summary, totals.Nodes, totals.Services = true, overview.Nodes.Total, len(overview.Services)
	default:
		return nil
	}
	if overview != nil {
		for _, o := range overview.Services {
			if _, isMissing := slices.BinarySearch(missing, o.Name); isMissing || totals.Summary {
				counts[o.Name] = &catalog.InstanceCounts{
					catalog.Passing: o.Passing, catalog.Warning: o.Warning,
					catalog.Critical: o.Critical, catalog.Maintenance: o.Maintenance,
					catalog.Unknown: max(0, o.Total-o.Passing-o.Warning-o.Critical-o.Maintenance),
				}
			}
		}
	}
	for _, status := range catalog.Statuses() {
		totals.Instances[status.String()] = 0
	}
	for name, n := range counts {
		totals.add(name, n)
	}
	slices.SortFunc(totals.Failing, func(a, b Service) int {
		return cmp.Or(
			cmp.Compare(min(a.serving(), 1), min(b.serving(), 1)), // Those that are down are the worst.
			cmp.Compare(b.Critical, a.Critical), cmp.Compare(a.Name, b.Name),
		)
	})
	totals.FailingOmitted = max(0, len(totals.Failing)-maxListed)
	totals.Failing = totals.Failing[:len(totals.Failing)-totals.FailingOmitted]
	return totals
}

// DownNames names services of which no instance is passing or warning, as far as they are in Failing.
func (c *Catalog) DownNames() []string {
	return wording.Names(c.Failing, func(s Service) (string, bool) { return s.Name, s.Down() })
}

// add counts the instances of one service.
func (c *Catalog) add(name string, counts *catalog.InstanceCounts) {
	for status, n := range counts {
		if n > 0 {
			c.Instances[catalog.Status(status).String()] += n
		}
	}
	s := Service{
		name, counts[catalog.Passing], counts[catalog.Warning], counts[catalog.Critical],
		counts[catalog.Maintenance], counts[catalog.Unknown],
	}
	if name == serversService {
		c.Own = *counts
		return
	}
	if s.Critical == 0 {
		return
	}
	c.Failing = append(c.Failing, s)
	if s.Down() {
		c.Down++
	}
}

// serfHealthID is the check of gossip, about which the members say more.
const serfHealthID = "serfHealth"

// CriticalNodes names the nodes with a critical check of their own that are not in maintenance. The catalog may be nil.
func CriticalNodes(c *catalog.Catalog) []string {
	if c == nil {
		return nil
	}
	return wording.Names(c.Nodes, func(n catalog.Node) (string, bool) {
		critical := false
		for i := range n.Checks {
			switch check := &n.Checks[i]; {
			case check.ServiceID != "":
			case check.InMaintenance():
				return "", false
			case check.Status == catalog.Critical && check.ID != serfHealthID:
				critical = true
			}
		}
		return n.Name, critical
	})
}
