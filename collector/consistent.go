// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import "github.com/zervigo/consul_cluster_exporter/cluster"

// consistentName is the collector's. Where it is off, nothing makes the read.
const consistentName = "consistent"

// newConsistentCollector exports whether the cluster serves a linearizable read, which is what its clients need it
// for: a leader, and a quorum that follows it. A cluster that does not is a result and no failure of the collector.
// That one agent turns the read away, or does not answer in time, says nothing about the cluster: the agents of two
// other servers are asked then. If they cannot tell either, nothing is known, and that is a failure.
//
// Requests: /v1/status/leader, /v1/agent/self and, if there is a leader, /v1/health/node for a node that does not
// exist, with ?consistent and a timeout of its own. ACL: none. Two series.
func newConsistentCollector(define *definitions) collector {
	success := define.gauge("consul_cluster_consistent_read_success",
		"1 if the cluster answered a linearizable read in time. 0 if there is no leader, servers returned "+
			"errors, or neither the leader nor two servers answered. Absent if unknown.")
	duration := define.gauge("consul_cluster_consistent_read_duration_seconds",
		"How long the linearizable read took; absent if it timed out.")
	return ofFact((*cluster.Snapshot).ConsistentRead, func(read cluster.ConsistentRead, out *families) {
		out.flag(success, read.OK)
		if read.OK {
			out.add(duration, read.Duration.Seconds())
		}
	})
}
