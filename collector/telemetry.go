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
	const interval = ", in the last 10 s"
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
		"Share of its time that a Raft thread is busy"+interval+"; over 0.5 is too much.", "thread", "stat")

	rate("rpc.request", "rpc_requests", "RPC requests received")
	rate("rpc.request_error", "rpc_request_errors", "RPC requests answered with an error")
	rate("rpc.accept_conn", "rpc_accepted_connections", "Connections accepted on port 8300")
	rate("rpc.rate_limit.exceeded", "rpc_rate_limit_exceeded", "RPC requests over the server's rate limits")
	rate("client.rpc", "client_rpc", "RPC requests that the agent sent to servers")
	rate("client.rpc.failed", "client_rpc_failed", "RPC requests to servers that failed")
	rate("client.rpc.exceeded", "client_rpc_exceeded", "RPC requests over the agent's own rate limit")
	rate("raft.apply", "raft_apply", "Raft log entries that the leader began to write")

	gauge("rpc.queries_blocking", 1, family("rpc_queries_blocking",
		"Blocking queries held; absent if none began or ended in the last 10 s."))
	gauge("raft.leader.oldestLogAge", milliseconds, family("raft_oldest_log_age_seconds",
		"Age of the oldest entry in the leader's Raft log; a follower further behind needs a snapshot."))
	gauge("raft.fsm.lastRestoreDuration", milliseconds, family("raft_restore_duration_seconds",
		"How long a restore from a snapshot took that ended in the last 10 s."))
	gauge("raft.boltdb.freelistBytes", 1, family("raft_boltdb_freelist_bytes",
		"Size of the Raft log's free list, which each write rewrites (BoltDB only)."))
	gauge("runtime.alloc_bytes", 1, family("memory_alloc_bytes", "Memory in use."))
	gauge("runtime.sys_bytes", 1, family("memory_sys_bytes", "Memory obtained from the system."))
	gauge("runtime.num_goroutines", 1, family("goroutines", "Goroutines; their number grows with connections."))

	timing("raft.commitTime", "raft_commit_time_seconds", "How long the leader took to commit a Raft log entry")
	timing("raft.leader.lastContact", "raft_follower_contact_age_seconds",
		"Time since the leader heard from its followers, at each lease check")
	timing("raft.boltdb.storeLogs", "raft_boltdb_store_logs_seconds",
		"How long storing Raft log entries took (BoltDB only)")
	sample("raft.thread.main.saturation", 1, saturation, "main")
	sample("raft.thread.fsm.saturation", 1, saturation, "fsm")

	checksumFailures := family("raft_log_checksum_failures", "Raft log entries read with a wrong checksum"+interval+
		"; any is corruption. Needs raft_logstore.verification.")
	all = append(all, func(t *cluster.Telemetry, out *families) {
		// Writes prove nothing: a server whose uncommitted entries a new leader has replaced counts them in its next
		// checksum, too (raft-wal: verifier.LogStore.DeleteRange). That they are counted at all cannot be seen from an
		// interval without any.
		if read, ok := t.Sum("raft.logstore.verifier.read_checksum_failures"); ok && t.Agent.Server {
			out.add(checksumFailures, read, t.Agent.Name)
		}
	})
	gauge("runtime.total_gc_pause_ns", nanoseconds, define.counter("consul_agent_gc_pause_seconds_total",
		"Time that garbage collection stopped the agent, since it started.", "server"))

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
