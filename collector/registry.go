// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"slices"
	"strings"
)

// Info describes a collector, for flags and documentation.
type Info struct {
	// Name is the stem of the file, the suffix of the flag --collector.<name> and the value of the label "collector".
	Name string
	// Help completes the flag's "Collect ...".
	Help string
	// Enabled is whether it runs by default.
	Enabled bool
	// AgentOnly is whether it also runs when only the configured agent itself is of interest.
	AgentOnly bool

	// new makes the collector. It does no I/O and cannot fail.
	new func(*definitions) collector
}

// registry is the only list of collectors: flags, documentation and tests loop over it.
var registry = []Info{
	{"acl", "how ACLs are copied from the primary datacenter", true, false, newACLCollector},
	{
		"agent", "the agent's own state, the list of servers, and the Raft figures of each server's HTTP API",
		true, true, newAgentCollector,
	},
	{"autopilot", "autopilot's verdict on each server, and its settings", true, false, newAutopilotCollector},
	{
		"catalog", "what is registered with Consul: services, their instances, tags and checks",
		true, true, newCatalogCollector,
	},
	{"connect", "the root certificates of the service mesh", true, false, newConnectCollector},
	{
		"connections", "the connections to the configured agent's ports, where it runs on the same host",
		true, true, newConnectionsCollector,
	},
	{consistentName, "whether the cluster serves a linearizable read, and how fast", true, false, newConsistentCollector},
	{"kv", "keys whose values are numbers, below --kv.prefix", true, false, newKVCollector},
	{"license", "the license of Consul Enterprise", true, false, newLicenseCollector},
	{"members", "the members of the Serf pools and their state", true, false, newMembersCollector},
	{
		"overview", "Consul's own summary of the catalog, even when the catalog is too large to read",
		true, false, newOverviewCollector,
	},
	{"peering", "the peerings with other clusters", true, false, newPeeringCollector},
	{"ports", "whether each server answers on its ports, in each port's own protocol", true, false, newPortsCollector},
	{"raft", "what each server says about Raft, and what that means for the cluster", true, false, newRaftCollector},
	{
		"serf", "the health of gossip, the versions of the members, and the round trips between servers",
		true, false, newSerfCollector,
	},
	{"sessions", "the number of sessions; costs more the more there are", false, false, newSessionsCollector},
	{
		"telemetry", "what the agent measures of itself: RPC requests and errors, Raft's timing, memory",
		true, true, newTelemetryCollector,
	},
}

// All returns all collectors there are, by name.
func All() []Info { return slices.Clone(registry) }

// FamilyInfo describes a family of metrics, for documentation.
type FamilyInfo struct {
	Name, Help string
	// Type is "gauge" or "counter".
	Type   string
	Labels []string
	// Collector is the name of the collector it comes from; empty for those about the exporter itself.
	Collector string
}

// AllFamilies returns every family that any collector may export, by collector and then in the order of their
// definition.
func AllFamilies() []FamilyInfo {
	own := Info{new: func(d *definitions) collector { newOwnFamilies(d); return nil }}
	var families []FamilyInfo
	for _, c := range append(All(), own) {
		var d definitions
		c.new(&d)
		for _, f := range d.all {
			families = append(families, FamilyInfo{f.name, f.help, strings.ToLower(f.kind.String()), f.labels, c.Name})
		}
	}
	return families
}
