// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
)

func agentUnreachable(e *evidence, report report) {
	if e.Up != nil && !*e.Up {
		report(e.ofAgent(), "The agent at %s does not answer: the catalog and the members cannot be read.", e.Address)
	}
}

// gossipHealthPoor finds pools in which the agent's score is worse than this.
func gossipHealthPoor(most uint64, how string) func(*evidence, report) {
	return func(e *evidence, report report) {
		if e.Up != nil && !*e.Up {
			return // It is the last one that it told.
		}
		for _, pool := range e.Pools {
			if pool.HealthScore != nil && *pool.HealthScore > most {
				report(e.ofAgent().with("pool", pool.Name), "%s %s: its health score in the pool %s is %d, where 0 is best and 7 worst.",
					e.agentName(), how, pool.Name, *pool.HealthScore)
			}
		}
	}
}

// collectorRefused is about what the token may not read.
func collectorRefused(e *evidence, report report) {
	if denied := e.missingThat(func(m *Missing) bool { return m.Denied }); len(denied) > 0 {
		report(wholeCluster, "Consul refuses to tell about: %s. The token is missing, was revoked, or has too few rights.",
			wording.List(denied, maxNamed))
	}
}

// collectorFails leaves out what an agent that does not answer cannot tell.
func collectorFails(e *evidence, report report) {
	if e.Up != nil && !*e.Up {
		return
	}
	if failed := e.missingThat(func(m *Missing) bool { return !m.Denied && !m.Refused && !m.Own }); len(failed) > 0 {
		report(wholeCluster, "Nothing could be found out about: %s.", wording.List(failed, maxNamed))
	}
}

// missingThat names what could not be found out in this way.
func (f *Facts) missingThat(is func(*Missing) bool) []string {
	var names []string
	for i := range f.Missing {
		if is(&f.Missing[i]) {
			names = append(names, f.Missing[i].What)
		}
	}
	return names
}

func resultsFiltered(e *evidence, report report) {
	if len(e.Filtered) > 0 {
		report(wholeCluster, "Consul leaves things out of its answers at %s, because the token may not read them.",
			wording.List(e.Filtered, maxNamed))
	}
}

func serfMemberFailed(e *evidence, report report) {
	var clients []string
	for _, m := range e.LAN {
		switch {
		case m.Status != cluster.StatusFailed:
		case m.Server():
			report(ofServer(m.Name), "The other members take the server %s for failed.", m.Name)
		default:
			clients = append(clients, m.Name)
		}
	}
	if len(clients) > 0 {
		report(wholeCluster, "%s for failed, and their services count as critical: %s.",
			wording.Plural(len(clients), "client agent is taken", "client agents are taken"), wording.List(clients, maxNamed))
	}
}

func serfWANMemberFailed(e *evidence, report report) {
	var far []string
	for _, m := range e.WAN {
		name, own := strings.CutSuffix(m.Name, "."+e.datacenter())
		switch {
		case m.Status != cluster.StatusFailed:
		case own:
			report(ofServer(name), "The servers of all datacenters take %s for failed.", m.Name)
		default:
			far = append(far, m.Name)
		}
	}
	if len(far) > 0 {
		report(wholeCluster, "%s for failed: %s.",
			wording.Plural(len(far), "server of another datacenter is taken", "servers of other datacenters are taken"),
			wording.List(far, maxNamed))
	}
}

// datacenter is the agent's own; empty when unknown.
func (f *Facts) datacenter() string {
	if f.Agent == nil {
		return ""
	}
	return f.Agent.Datacenter
}
