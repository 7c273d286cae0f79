// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// membersCollector exports the members of the Serf pools, as consul_exporter does, and how many are in each state.
//
// Requests: /v1/agent/members for LAN and for WAN, /v1/catalog/nodes and /v1/catalog/datacenters. ACL: node:read;
// Consul leaves out other members. Two series per member, and one answer of Consul that grows with the nodes.
type membersCollector struct {
	lanMembers, lanInfo, lanStatus, wanInfo, wanStatus, count, datacenters *desc
}

func newMembersCollector(define *definitions) collector {
	const codes = "1=alive, 2=leaving, 3=left, 4=failed."
	return &membersCollector{
		lanMembers: define.gauge("consul_serf_lan_members",
			"Nodes in the catalog, as consul_exporter counts them; consul_serf_member_count counts the members."),
		lanInfo: define.gauge("consul_serf_lan_member_info", "A member of the LAN pool; the value is its state: "+codes,
			"member", "role", "version"),
		lanStatus: define.gauge("consul_serf_lan_member_status", "State of a member of the LAN pool: "+codes, "member"),
		wanInfo: define.gauge("consul_serf_wan_member_info", "A member of the WAN pool; the value is its state: "+codes,
			"member", "dc", "role", "version"),
		wanStatus: define.gauge("consul_serf_wan_member_status",
			"State of a member of the WAN pool: "+codes, "member", "dc"),
		datacenters: define.gauge("consul_catalog_datacenters", "Datacenters that the configured agent knows of."),
		count: define.gauge("consul_serf_member_count",
			"Members of a Serf pool in each state, as the configured agent sees them.", "pool", "status"),
	}
}

func (c *membersCollector) collect(ctx context.Context, snap *cluster.Snapshot, out *families) error {
	lanFact, wanFact := snap.Members(), snap.WANMembers()
	nodesFact, datacentersFact := snap.CatalogNodes(), snap.Datacenters()
	var errs failures
	if lan, err := lanFact.Get(ctx); errs.note(err) {
		for _, m := range lan {
			out.add(c.lanInfo, float64(m.Status), m.Name, m.Role, m.Version)
			out.add(c.lanStatus, float64(m.Status), m.Name)
		}
		c.counts("lan", lan, out)
	}
	if wan, err := wanFact.Get(ctx); errs.note(err) {
		for _, m := range wan {
			out.add(c.wanInfo, float64(m.Status), m.Name, m.Datacenter, m.Role, m.Version)
			out.add(c.wanStatus, float64(m.Status), m.Name, m.Datacenter)
		}
		c.counts("wan", wan, out)
	}
	if nodes, err := nodesFact.Get(ctx); errs.note(err) {
		out.add(c.lanMembers, float64(nodes))
	}
	if datacenters, err := datacentersFact.Get(ctx); errs.note(err) {
		out.add(c.datacenters, float64(datacenters))
	}
	return errs.err()
}

func (c *membersCollector) counts(pool string, members []cluster.Member, out *families) {
	counts := make(map[cluster.MemberStatus]int)
	for _, m := range members {
		counts[m.Status]++
	}
	for _, status := range cluster.MemberStatuses() {
		out.add(c.count, float64(counts[status]), pool, status.String())
	}
}
