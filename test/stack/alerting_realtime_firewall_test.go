// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

// realFirewallActs are played by TestE2ERealTime.
var realFirewallActs = []realAct{
	{
		name: "all servers are cut off from each other", cluster: "apart", servers: 3, marked: "server-1",
		breaks:  block(append(between("server-1", "server-2, server-3"), between("server-2", "server-3")...)...),
		repairs: rejoin,
		alerts:  []realAlert{{critical("ConsulNoLeader", ""), quorumLostWithin}},
	},
	{
		name: "one of two exporters is cut off from the network", cluster: "blind", servers: 3,
		asked: "server-1", marked: "server-2",
		breaks:  block("ip daddr { server-1, server-2, server-3 } meta mark " + markedGroup + " drop"),
		repairs: unblock,
	},
}
