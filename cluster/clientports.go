// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"net/netip"
	"slices"
)

// servesOthers reports whether the HTTP APIs of the other servers can be expected to answer from here: when the agent asked is
// a server and offers its own on an address that others can reach, they will do so too. A client's configuration says
// nothing about the servers', and an address of the loopback is the agent's alone, unless it is the very one it advertises.
func servesOthers(configured Address, asked Agent) bool {
	if !asked.Server || configured.Socket != "" || configured.Path != "" {
		return false
	}
	return slices.ContainsFunc(asked.ClientAddrs, func(s string) bool {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return false // A unix socket.
		}
		return !addr.IsLoopback() || s == asked.AdvertiseAddr
	})
}
