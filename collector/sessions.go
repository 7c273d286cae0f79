// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import "github.com/zervigo/consul_cluster_exporter/cluster"

// newSessionsCollector counts the sessions, which hold locks. It is off by default, as the answer grows with them.
//
// Requests: /v1/session/list. ACL: session:read; sessions of nodes that the token may not read are left out of the
// answer. One series.
func newSessionsCollector(define *definitions) collector {
	sessions := define.gauge("consul_sessions", "Sessions that the token may read.")
	return ofFact((*cluster.Snapshot).Sessions, func(count int, out *families) { out.add(sessions, float64(count)) })
}
