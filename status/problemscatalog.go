// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
)

func serviceDown(e *evidence, report report) {
	if e.catalog == nil || e.catalog.Down == 0 {
		return
	}
	var down []string
	for _, s := range e.catalog.Failing {
		if s.down() {
			down = append(down, s.Name)
		}
	}
	n := e.catalog.Down
	report(wholeCluster, "%s critical on all instances: %s.", wording.Plural(n, "service is", "services are"), wording.ListOf(down, n, maxNamed))
}

func serviceInstancesCritical(e *evidence, report report) {
	if e.catalog == nil {
		return
	}
	var partly []string
	for _, s := range e.catalog.Failing {
		if !s.down() {
			partly = append(partly, fmt.Sprintf("%s (%d of %d)", s.Name, s.Critical, s.Passing+s.Warning+s.Critical+s.Maintenance))
		}
	}
	if n := len(e.catalog.Failing) + e.catalog.FailingOmitted - e.catalog.Down; n > 0 {
		report(wholeCluster, "%s critical on some instances%s.", wording.Plural(n, "service is", "services are"),
			wording.Around(": ", wording.ListOf(partly, n, maxNamed), ""))
	}
}

// nodeCheckCritical finds nodes that have a critical check of their own and are not in maintenance. Consul's summary names none.
func nodeCheckCritical(e *evidence, report report) {
	if e.Catalog == nil {
		return
	}
	if nodes := criticalNodes(e.Catalog); len(nodes) > 0 {
		report(wholeCluster, "%s, and with them all services there: %s.",
			wording.Plural(len(nodes), "node has checks that are critical", "nodes have checks that are critical"),
			wording.List(nodes, maxNamed))
	}
}

// serfHealthID is the check of gossip, for which there are the members.
const serfHealthID = "serfHealth"

// criticalNodes returns the nodes that have a critical check of their own and are not in maintenance.
func criticalNodes(c *cluster.Catalog) []string {
	var nodes []string
	for i := range c.Nodes {
		critical := false
		maintained := false
		for j := range c.Nodes[i].Checks {
			check := &c.Nodes[i].Checks[j]
			if check.ServiceID == "" {
				maintained = maintained || check.InMaintenance()
				critical = critical || (check.Status == cluster.HealthCritical && check.ID != serfHealthID)
			}
		}
		if critical && !maintained {
			nodes = append(nodes, c.Nodes[i].Name)
		}
	}
	return nodes
}
