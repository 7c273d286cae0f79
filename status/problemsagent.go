// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
)

// agentOf finds what is wrong with the agent that is asked.
func (fs *findings) agentOf(f *Facts, st *View) {
	fs.portsOf(f, st.Agent.Name, st.Agent.Ports)
	if f.Up != nil && !*f.Up {
		fs.add(alertAgentUnreachable, st.Agent.Name, "The agent at %s does not answer: the catalog and the members cannot be read.", st.Agent.Address)
		return
	}
	if f.Agent == nil {
		return
	}
	for _, pool := range f.Pools {
		switch {
		case pool.HealthScore == nil:
		case *pool.HealthScore > gossipScoreCritical:
			fs.add(alertGossipHealthPoor, st.Agent.Name, "%s is far from keeping up with gossip: its health score in the pool %s is %d, where 0 is best and 7 worst.",
				st.Agent.Name, pool.Name, *pool.HealthScore)
		case *pool.HealthScore > gossipScoreWarning:
			fs.add(alertGossipHealthPoorWarning, st.Agent.Name, "%s does not keep up with gossip: its health score in the pool %s is %d, where 0 is best and 7 worst.",
				st.Agent.Name, pool.Name, *pool.HealthScore)
		}
	}
}

// answersOf finds what Consul does not tell.
func (fs *findings) answersOf(f *Facts) {
	var denied, failed []string
	for _, m := range f.Missing {
		switch {
		case m.Denied:
			denied = append(denied, m.What)
		case !m.Refused && !m.Own:
			failed = append(failed, m.What)
		}
	}
	if len(denied) > 0 {
		fs.add(alertCollectorRefused, "", "Consul refuses to tell about: %s. The token is missing, was revoked, or has too few rights.", wording.List(denied, maxNamed))
	}
	if len(failed) > 0 {
		fs.add(alertCollectorFails, "", "Nothing could be found out about: %s.", wording.List(failed, maxNamed))
	}
	if len(f.Filtered) > 0 {
		fs.add(alertResultsFiltered, "", "Consul leaves things out of its answers at %s, because the token may not read them.", wording.List(f.Filtered, maxNamed))
	}
}

// gossipOf finds members that failed.
func (fs *findings) gossipOf(f *Facts) {
	var clients, far []string
	for _, m := range f.LAN {
		switch {
		case m.Status != cluster.StatusFailed:
		case m.Server():
			fs.add(alertSerfMemberFailed, m.Name, "The other members take the server %s for failed.", m.Name)
		default:
			clients = append(clients, m.Name)
		}
	}
	if len(clients) > 0 {
		fs.add(alertSerfMemberFailed, "", "%s for failed, and their services count as critical: %s.",
			wording.Plural(len(clients), "client agent is taken", "client agents are taken"), wording.List(clients, maxNamed))
	}
	for _, m := range f.WAN {
		name, own := strings.CutSuffix(m.Name, "."+f.datacenter())
		switch {
		case m.Status != cluster.StatusFailed:
		case own:
			fs.add(alertSerfWANMemberFailed, name, "The servers of all datacenters take %s for failed.", m.Name)
		default:
			far = append(far, m.Name)
		}
	}
	if len(far) > 0 {
		fs.add(alertSerfWANMemberFailed, "", "%s for failed: %s.",
			wording.Plural(len(far), "server of another datacenter is taken", "servers of other datacenters are taken"), wording.List(far, maxNamed))
	}
}

// datacenter is the agent's own; empty when unknown.
func (f *Facts) datacenter() string {
	if f.Agent == nil {
		return ""
	}
	return f.Agent.Datacenter
}

// dnsOf finds agents whose DNS names fewer servers than are alive. Over UDP Consul answers with three, however many there are; one that names
// none may mostly not read them.
func (fs *findings) dnsOf(f *Facts) {
	alive := f.Topology.ServerStates[cluster.StatusAlive]
	for i := range f.Ports {
		p := &f.Ports[i]
		if p.DNS != nil && p.Transport == cluster.TransportTCP && 0 < p.DNS.Answers && p.DNS.Answers < alive {
			fs.addPort(alertDNSFewerServers, p.Server, p.Number(), "DNS of %s names %s for consul.service, and %d are alive.", p.Server,
				wording.Plural(p.DNS.Answers, "server", "servers"), alive)
		}
	}
}

// catalogOf finds services and nodes whose checks fail.
func (fs *findings) catalogOf(f *Facts, st *View) {
	if st.Catalog == nil {
		return
	}
	var down, partly []string
	for _, s := range st.Catalog.Failing {
		if s.down() {
			down = append(down, s.Name)
		} else {
			partly = append(partly, fmt.Sprintf("%s (%d of %d)", s.Name, s.Critical, s.Passing+s.Warning+s.Critical+s.Maintenance))
		}
	}
	if n := st.Catalog.Down; n > 0 {
		fs.add(alertServiceDown, "", "%s critical on all instances: %s.", wording.Plural(n, "service is", "services are"), wording.ListOf(down, n, maxNamed))
	}
	if n := len(st.Catalog.Failing) + st.Catalog.FailingOmitted - st.Catalog.Down; n > 0 {
		fs.add(alertServiceInstancesCritical, "", "%s critical on some instances%s.", wording.Plural(n, "service is", "services are"), wording.Around(": ", wording.ListOf(partly, n, maxNamed), ""))
	}
	if f.Catalog == nil {
		return // The summary names no nodes.
	}
	if nodes := criticalNodes(f.Catalog); len(nodes) > 0 {
		fs.add(alertNodeCheckCritical, "", "%s, and with them all services there: %s.",
			wording.Plural(len(nodes), "node has checks that are critical", "nodes have checks that are critical"), wording.List(nodes, maxNamed))
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
