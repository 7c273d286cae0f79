// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import "github.com/zervigo/consul_cluster_exporter/cluster"

// newMembersCollector exports the members of the Serf pools, as consul_exporter does, and how many are in each state.
//
// Requests: /v1/agent/members for LAN and for WAN, /v1/catalog/nodes and /v1/catalog/datacenters. ACL: node:read;
// Consul leaves out other members. Two series per member, and one answer of Consul that grows with the nodes.
func newMembersCollector(define *definitions) collector {
	const codes = "1=alive, 2=leaving, 3=left, 4=failed."
	lanMembers := define.gauge("consul_serf_lan_members",
		"Nodes in the catalog, as consul_exporter counts. See consul_serf_members.")
	lanInfo := define.gauge("consul_serf_lan_member_info", "A member of the LAN pool; the value is its state: "+codes,
		"member", "role", "version")
	lanStatus := define.gauge("consul_serf_lan_member_status", "State of a LAN member: "+codes, "member")
	wanInfo := define.gauge("consul_serf_wan_member_info", "A member of the WAN pool; the value is its state: "+codes,
		"member", "dc", "role", "version")
	wanStatus := define.gauge("consul_serf_wan_member_status",
		"State of a WAN member: "+codes, "member", "dc")
	datacenters := define.gauge("consul_catalog_datacenters", "Datacenters that the agent knows.")
	count := define.gauge("consul_serf_members",
		"Members of a Serf pool by state, as the agent sees them.", "pool", "status")
	addMemberCounts := func(pool string, members []cluster.Member, out *families) {
		counts := make(map[cluster.MemberStatus]int)
		for _, m := range members {
			counts[m.Status]++
		}
		for _, status := range cluster.MemberStatuses() {
			out.add(count, float64(counts[status]), pool, status.String())
		}
	}
	return together(
		ofFact((*cluster.Snapshot).Members, func(lan []cluster.Member, out *families) {
			for _, m := range lan {
				out.add(lanInfo, float64(m.Status), m.Name, m.Role, m.Version)
				out.add(lanStatus, float64(m.Status), m.Name)
			}
			addMemberCounts("lan", lan, out)
		}),
		ofFact((*cluster.Snapshot).WANMembers, func(wan []cluster.Member, out *families) {
			for _, m := range wan {
				out.add(wanInfo, float64(m.Status), m.Name, m.Datacenter, m.Role, m.Version)
				out.add(wanStatus, float64(m.Status), m.Name, m.Datacenter)
			}
			addMemberCounts("wan", wan, out)
		}),
		readWANMissing(define),
		ofFact((*cluster.Snapshot).CatalogNodes, func(n int, out *families) { out.add(lanMembers, float64(n)) }),
		ofFact((*cluster.Snapshot).Datacenters, func(n int, out *families) { out.add(datacenters, float64(n)) }),
	)
}
