// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// newTelemetryCollector exports what the configured agent measures of itself, mainly of its RPC: requests, errors,
// blocking queries and connections. It is a selection from the JSON form of Consul's telemetry, which needs no
// configuration.
//
// Consul reports its last full interval of ten seconds. A rate is 0 when nothing was counted in it; everything else
// is absent when it was not measured, and all of it for the first 25 seconds after a server was first seen up or
// ceased to lead. Metrics with several labels are taken together.
//
// Requests: /v1/agent/metrics and /v1/agent/self. ACL: agent:read. Up to 40 series.
func newTelemetryCollector(define *definitions) collector {
	const interval = ", in the agent's last full interval of 10 seconds"
	var all []func(*cluster.Telemetry, *families)
	family := func(name, help string, labels ...string) *desc {
		return define.gauge("consul_agent_"+name, help, append([]string{"server"}, labels...)...)
	}
	// A counter of Consul's. What only servers count is absent for clients.
	rate := func(consul, name, help string) {
		perSecond := family(name+"_per_second", help+interval+".")
		all = append(all, func(t *cluster.Telemetry, out *families) {
			if rate, ok := t.Rate(consul); ok && (t.Agent.Server || strings.HasPrefix(consul, "client.")) {
				out.add(perSecond, rate, t.Agent.Name)
			}
		})
	}
	// A gauge of Consul's. The unit is how much one of its units is in ours.
	gauge := func(consul string, unit float64, d *desc) {
		all = append(all, func(t *cluster.Telemetry, out *families) {
			if value, ok := t.Gauge(consul); ok && value >= 0 {
				out.add(d, value*unit, t.Agent.Name)
			}
		})
	}
	// A sample of Consul's, of which mean and maximum are exported. The label values come before stat.
	sample := func(consul string, unit float64, d *desc, labels ...string) {
		all = append(all, func(t *cluster.Telemetry, out *families) {
			for _, m := range t.Samples(consul) {
				labels := append([]string{t.Agent.Name}, labels...)
				out.add(d, m.Mean*unit, append(labels, "mean")...)
				out.add(d, m.Max*unit, append(labels, "max")...)
			}
		})
	}
	timing := func(consul, name, help string) {
		sample(consul, milliseconds, family(name, help+interval+".", "stat"))
	}
	saturation := family("raft_thread_saturation_ratio",
		"Share of its time that a thread of Raft is busy"+interval+"; over 0.5 is too much.", "thread", "stat")

	rate("rpc.request", "rpc_requests", "RPC requests that the server received")
	rate("rpc.request_error", "rpc_request_errors", "RPC requests that the server answered with an error")
	rate("rpc.accept_conn", "rpc_accepted_connections", "Connections that the server accepted on port 8300")
	rate("rpc.rate_limit.exceeded", "rpc_rate_limit_exceeded", "RPC requests over the server's rate limits")
	rate("client.rpc", "client_rpc", "RPC requests that the agent sent to servers")
	rate("client.rpc.failed", "client_rpc_failed", "RPC requests of the agent to servers that failed")
	rate("client.rpc.exceeded", "client_rpc_exceeded", "RPC requests that the agent's own rate limit refused")
	rate("raft.apply", "raft_apply", "Raft log entries that the server, as leader, began to write")

	gauge("rpc.queries_blocking", 1, family("rpc_queries_blocking",
		"Blocking queries that the server held; absent unless one began or ended in the agent's last full interval."))
	gauge("raft.leader.oldestLogAge", milliseconds, family("raft_oldest_log_age_seconds",
		"Age of the oldest entry in the leader's Raft log; a follower that is further behind needs a snapshot."))
	gauge("raft.fsm.lastRestoreDuration", milliseconds, family("raft_restore_duration_seconds",
		"How long the server took for its last restore from a snapshot; absent unless that was in the last interval."))
	gauge("raft.boltdb.freelistBytes", 1, family("raft_boltdb_freelist_bytes",
		"Size of the free list in the server's Raft log, which each write rewrites (BoltDB only)."))
	gauge("runtime.alloc_bytes", 1, family("memory_alloc_bytes", "Memory that the agent uses, of what its runtime has."))
	gauge("runtime.sys_bytes", 1, family("memory_sys_bytes", "Memory that the agent's runtime has from the system."))
	gauge("runtime.num_goroutines", 1, family("goroutines",
		"Goroutines of the agent; their number grows with its connections."))
	gauge("autopilot.healthy", 1, family("autopilot_healthy",
		"Whether the leader's autopilot calls all servers healthy (1) or not (0), by the agent's telemetry."))
	gauge("autopilot.failure_tolerance", 1, family("autopilot_failure_tolerance",
		"Healthy voters that can be lost without an outage, by the agent's telemetry."))

	timing("raft.commitTime", "raft_commit_time_seconds", "How long the leader took to commit a Raft log entry")
	timing("raft.leader.lastContact", "raft_leader_last_contact_seconds",
		"How long ago the leader had heard of its followers, whenever it checked its lease")
	timing("raft.boltdb.storeLogs", "raft_boltdb_store_logs_seconds",
		"How long the server took to store Raft log entries (BoltDB only)")
	sample("raft.thread.main.saturation", 1, saturation, "main")
	sample("raft.thread.fsm.saturation", 1, saturation, "fsm")

	checksumFailures := family("raft_log_checksum_failures", "Raft log entries whose checksum was wrong when they "+
		"were read"+interval+"; any is corruption. Only where raft_logstore.verification is on.")
	all = append(all, func(t *cluster.Telemetry, out *families) {
		// Writes prove nothing: a server whose uncommitted entries a new leader has replaced counts them in its next
		// checksum, too (raft-wal: verifier.LogStore.DeleteRange). That they are counted at all cannot be seen from an
		// interval without any.
		if read, ok := t.Sum("raft.logstore.verifier.read_checksum_failures"); ok && t.Agent.Server {
			out.add(checksumFailures, read, t.Agent.Name)
		}
	})
	gauge("runtime.total_gc_pause_ns", nanoseconds, define.counter("consul_agent_gc_pause_seconds_total",
		"Time that the agent stood still for garbage collection since it started.", "server"))

	return ofFact((*cluster.Snapshot).Telemetry, func(t cluster.Telemetry, out *families) {
		for _, add := range all {
			add(&t, out)
		}
	})
}

const (
	milliseconds = 1e-3
	nanoseconds  = 1e-9
)
