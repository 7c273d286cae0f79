// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

func serverWANMissing(e *evidence, s *verdict.Server) string {
	since, missing := e.WANMissing[s.Server.Name]
	lasts := e.Start.Sub(since)
	return wording.If(missing && lasts > verdict.WANGrace,
		"%s has a WAN port and has been missing from the WAN pool for %s: other datacenters cannot reach it.",
		s.Server.Name, wording.Rounded(lasts))
}

// serfWANMemberFailed finds each server of the agent's own datacenter that failed, and all others together, except
// those of datacenters that are gone.
func serfWANMemberFailed(e *evidence, report report) {
	local, alive := e.datacenter(), e.datacentersAlive()
	far := wording.Names(e.WAN, func(m cluster.Member) (string, bool) {
		failed := m.Status == cluster.StatusFailed
		own := m.Datacenter == local
		if failed && own {
			name := strings.TrimSuffix(m.Name, "."+m.Datacenter) // As the alert has it.
			report(aboutServer(name), fmt.Sprintf("The servers of all datacenters take %s for failed.", m.Name))
		}
		return m.Name, failed && !own && alive[m.Datacenter]
	})
	report(nil, wording.If(len(far) > 0, "%s for failed: %s.",
		wording.Plural(len(far), "server of another datacenter is taken", "servers of other datacenters are taken"),
		wording.List(far)))
}

// datacenterGone finds other datacenters of which servers failed and none is alive.
func datacenterGone(e *evidence, report report) {
	gone, alive := make(map[string]bool), e.datacentersAlive()
	for _, m := range e.WAN {
		if m.Status == cluster.StatusFailed && m.Datacenter != e.datacenter() && !alive[m.Datacenter] {
			gone[m.Datacenter] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(gone)) {
		report(labels{"dc": name}, fmt.Sprintf(
			"No server of the datacenter %s is alive in the WAN pool: they all failed, or the link to them is broken.", name))
	}
}

// datacentersAlive are those with a server that is alive in the WAN pool.
func (e *evidence) datacentersAlive() map[string]bool {
	alive := make(map[string]bool)
	for _, m := range e.WAN {
		alive[m.Datacenter] = alive[m.Datacenter] || m.Status == cluster.StatusAlive
	}
	return alive
}
