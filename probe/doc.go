// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package probe asks one port of one Consul server a question in that port's own protocol, and reports the result.
//
// There is one file per wire protocol. Each probe takes a [Target] and returns a [Result]: plain data with the time
// each phase took, the reason of a failure from a small fixed set, and what the server said. A probe never logs,
// never touches a metric and knows nothing of clusters; it dials only through the Prober's dialer.
//
// Two rules hold for all of them:
//
//   - Only an answer in the port's own protocol is "up". A stopped process still completes TCP handshakes, because the
//     kernel does that.
//   - No probe leaves a trace: nothing at WARN or above in Consul's log, no member, no connection that stays open. See
//     silent.go for what that takes when a server hangs.
//
// What the protocols have in common is in tcp.go (one question on one connection, and its end), udp.go (a question
// that is sent again once) and tls.go (handshakes that say nothing when they fail, and when certificates expire). The
// bytes of gossip are in serfwire.go and serfcrypt.go; those of the other protocols are left to libraries.
package probe
