// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/catalog"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
)

// maxListed bounds each list of members and services, of which there may be thousands.
const maxListed = 100

// Catalog are the totals of what is registered with Consul. As JSON it is public: fields are only ever added.
type Catalog struct {
	// Summary is whether all counts are those of Consul's own summary, because the catalog itself could not be read.
	Summary bool `json:"summary,omitempty"` // See catalog.Overview.
	// Nodes is the number of nodes.
	Nodes int `json:"nodes"`
	// Services is the number of services.
	Services int `json:"services"`
	// Instances counts the service instances that are passing, warning, critical, in maintenance and, if there are any, of
	// unknown state.
	Instances map[string]int `json:"instances"`
	// Failing are the services with critical instances, worst first: at most 100, without the servers' own service, and
	// without those that have lost only what was on a node whose agent failed.
	Failing []Service `json:"failing"` // See addFailing.
	// FailingOmitted is how many more there are.
	FailingOmitted int `json:"failing_omitted,omitempty"`
	// Down is how many of the failing services have no instance that is passing or warning.
	Down int `json:"down"`
	// Gone are the nodes whose agent failed, with the services that have critical instances there: at most 100.
	Gone []GoneNode `json:"gone,omitempty"`
	// GoneOmitted is how many more there are.
	GoneOmitted int `json:"gone_omitted,omitempty"`
	// Own are those of Instances that are Consul's servers: they are no tenants.
	Own catalog.InstanceCounts `json:"-"`
}

// Service counts the instances of one service by their state.
type Service struct {
	// Name is that of the service.
	Name string `json:"name"`
	// Passing is the number of instances whose checks all pass.
	Passing int `json:"passing"`
	// Warning is the number of instances of which the worst check is a warning.
	Warning int `json:"warning"`
	// Critical is the number of instances with a critical check.
	Critical int `json:"critical"`
	// Maintenance is the number of instances in maintenance.
	Maintenance int `json:"maintenance"`
	// Unknown is the number of instances of unknown state.
	Unknown int `json:"unknown,omitempty"`
}

// GoneNode is a node whose agent failed. Servers are none: they have problems of their own.
type GoneNode struct {
	// Node is its name.
	Node string `json:"node"`
	// Services are those with critical instances there.
	Services []string `json:"services"`
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
	lost := totals.addGone(c)
	for name, n := range counts {
		totals.add(name, n)
		// A sidecar proxy fails with the service that it is for.
		of, sidecar := strings.CutSuffix(name, sidecarSuffix)
		if !sidecar || counts[of] == nil {
			totals.addFailing(name, n, lost[name])
		}
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

// lost is what a service lost together with nodes: critical instances, and the nodes.
type lost struct{ instances, nodes int }

// addGone adds the nodes whose agent failed. It returns what each service lost there. The catalog may be nil.
func (c *Catalog) addGone(all *catalog.Catalog) map[string]lost {
	services := make(map[string]lost)
	if all == nil {
		return services
	}
	for i := range all.Nodes {
		instances := all.Nodes[i].Lost()
		for service, n := range instances {
			services[service] = lost{services[service].instances + n, services[service].nodes + 1}
		}
		if len(instances) > 0 && instances[serversService] == 0 {
			c.Gone = append(c.Gone, GoneNode{all.Nodes[i].Name, slices.Sorted(maps.Keys(instances))})
		}
	}
	c.GoneOmitted = max(0, len(c.Gone)-maxListed)
	c.Gone = c.Gone[:len(c.Gone)-c.GoneOmitted]
	return services
}

// sidecarSuffix is how Consul names the sidecar proxy of a service.
const sidecarSuffix = "-sidecar-proxy"

// add counts the instances of one service.
func (c *Catalog) add(name string, counts *catalog.InstanceCounts) {
	for status, n := range counts {
		if n > 0 {
			c.Instances[catalog.Status(status).String()] += n
		}
	}
	if name == serversService {
		c.Own = *counts
	}
}

// addFailing adds a service that has critical instances, unless these are critical only because of their nodes: the
// nodes are in Gone then. A service that lost all of its instances with several nodes is down all the same.
func (c *Catalog) addFailing(name string, counts *catalog.InstanceCounts, lost lost) {
	s := Service{
		name, counts[catalog.Passing], counts[catalog.Warning], counts[catalog.Critical],
		counts[catalog.Maintenance], counts[catalog.Unknown],
	}
	byNode := s.Critical == lost.instances && (s.serving() > 0 || lost.nodes == 1)
	if name == serversService || s.Critical == 0 || byNode {
		return
	}
	c.Failing = append(c.Failing, s)
	if s.Down() {
		c.Down++
	}
}

// CriticalNodes names the nodes with a critical check of their own that are not in maintenance, without those whose
// agent failed, about which the members say more. The catalog may be nil.
func CriticalNodes(c *catalog.Catalog) []string {
	if c == nil {
		return nil
	}
	return wording.Names(c.Nodes, func(n catalog.Node) (string, bool) {
		critical := false
		if n.Gone() {
			return "", false
		}
		for i := range n.Checks {
			switch check := &n.Checks[i]; {
			case check.ServiceID != "":
			case check.InMaintenance():
				return "", false
			case check.Status == catalog.Critical:
				critical = true
			}
		}
		return n.Name, critical
	})
}
