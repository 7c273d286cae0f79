// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// telemetryCollector exports what the configured agent measures of itself, mainly of its RPC: requests, errors,
// blocking queries and connections. It is a selection from the JSON form of Consul's telemetry, which needs no
// configuration.
//
// Consul reports its last full interval of ten seconds. A rate is 0 when nothing was counted in it; everything else
// is absent when it was not measured, and all of it for the first 25 seconds after a server was first seen up or
// ceased to lead. Metrics with several labels are taken together.
//
// Requests: /v1/agent/metrics and /v1/agent/self. ACL: agent:read. Up to 40 series.
type telemetryCollector struct {
	gauges  []telemetryGauge
	rates   []telemetryRate
	samples []telemetrySample

	checksumFailures, gcPause *desc
}

// telemetryGauge is a gauge of Consul's, and how much one of its units is in ours.
type telemetryGauge struct {
	family *desc
	consul string
	unit   float64
}

// telemetryRate is a counter of Consul's. What only servers count is absent for clients.
type telemetryRate struct {
	family *desc
	consul string
}

// telemetrySample is a sample of Consul's, of which mean and maximum are exported. The label values come before stat.
type telemetrySample struct {
	telemetryGauge
	labels []string
}

const (
	milliseconds = 1e-3
	nanoseconds  = 1e-9
)

func newTelemetryCollector(define *definitions) collector {
	const interval = ", in the agent's last full interval of 10 seconds"
	family := func(name, help string, labels ...string) *desc {
		return define.gauge("consul_agent_"+name, help, append([]string{"server"}, labels...)...)
	}
	rate := func(consul, name, help string) telemetryRate {
		return telemetryRate{family(name+"_per_second", help+interval+"."), consul}
	}
	gauge := func(consul string, unit float64, name, help string) telemetryGauge {
		return telemetryGauge{family(name, help), consul, unit}
	}
	sample := func(consul, name, help string) telemetrySample {
		return telemetrySample{telemetryGauge{family(name, help+interval+".", "stat"), consul, milliseconds}, nil}
	}
	saturation := family("raft_thread_saturation_ratio",
		"Share of its time that a thread of Raft is busy"+interval+"; over 0.5 is too much.", "thread", "stat")
	return &telemetryCollector{
		rates: []telemetryRate{
			rate("rpc.request", "rpc_requests", "RPC requests that the server received"),
			rate("rpc.request_error", "rpc_request_errors", "RPC requests that the server answered with an error"),
			rate("rpc.accept_conn", "rpc_accepted_connections", "Connections that the server accepted on port 8300"),
			rate("rpc.rate_limit.exceeded", "rpc_rate_limit_exceeded", "RPC requests over the server's rate limits"),
			rate("client.rpc", "client_rpc", "RPC requests that the agent sent to servers"),
			rate("client.rpc.failed", "client_rpc_failed", "RPC requests of the agent to servers that failed"),
			rate("client.rpc.exceeded", "client_rpc_exceeded", "RPC requests that the agent's own rate limit refused"),
			rate("raft.apply", "raft_apply", "Raft log entries that the server, as leader, began to write"),
		},
		gauges: []telemetryGauge{
			gauge("rpc.queries_blocking", 1, "rpc_queries_blocking",
				"Blocking queries that the server held; absent unless one began or ended in the agent's last full interval."),
			gauge("raft.leader.oldestLogAge", milliseconds, "raft_oldest_log_age_seconds",
				"Age of the oldest entry in the leader's Raft log; a follower that is further behind needs a snapshot."),
			gauge("raft.fsm.lastRestoreDuration", milliseconds, "raft_restore_duration_seconds",
				"How long the server took for its last restore from a snapshot; absent unless that was in the last interval."),
			gauge("raft.boltdb.freelistBytes", 1, "raft_boltdb_freelist_bytes",
				"Size of the free list in the server's Raft log, which each write rewrites (BoltDB only)."),
			gauge("runtime.alloc_bytes", 1, "memory_alloc_bytes", "Memory that the agent uses, of what its runtime has."),
			gauge("runtime.sys_bytes", 1, "memory_sys_bytes", "Memory that the agent's runtime has from the system."),
			gauge("runtime.num_goroutines", 1, "goroutines",
				"Goroutines of the agent; their number grows with its connections."),
			gauge("autopilot.healthy", 1, "autopilot_healthy",
				"Whether the leader's autopilot calls all servers healthy (1) or not (0), by the agent's telemetry."),
			gauge("autopilot.failure_tolerance", 1, "autopilot_failure_tolerance",
				"Healthy voters that can be lost without an outage, by the agent's telemetry."),
		},
		samples: []telemetrySample{
			sample("raft.commitTime", "raft_commit_time_seconds", "How long the leader took to commit a Raft log entry"),
			sample("raft.leader.lastContact", "raft_leader_last_contact_seconds",
				"How long ago the leader had heard of its followers, whenever it checked its lease"),
			sample("raft.boltdb.storeLogs", "raft_boltdb_store_logs_seconds",
				"How long the server took to store Raft log entries (BoltDB only)"),
			{telemetryGauge{saturation, "raft.thread.main.saturation", 1}, []string{"main"}},
			{telemetryGauge{saturation, "raft.thread.fsm.saturation", 1}, []string{"fsm"}},
		},
		checksumFailures: family("raft_log_checksum_failures", "Raft log entries whose checksum was wrong when they "+
			"were written or read"+interval+"; any is corruption. Only where raft_logstore.verification is on."),
		gcPause: define.counter("consul_agent_gc_pause_seconds_total",
			"Time that the agent stood still for garbage collection since it started.", "server"),
	}
}

func (c *telemetryCollector) collect(ctx context.Context, snap *cluster.Snapshot, out *families) error {
	t, err := snap.Telemetry().Get(ctx)
	if err != nil {
		return err
	}
	server := t.Agent.Name
	for _, r := range c.rates {
		if rate, ok := t.Rate(r.consul); ok && (t.Agent.Server || strings.HasPrefix(r.consul, "client.")) {
			out.add(r.family, rate, server)
		}
	}
	for _, g := range c.gauges {
		if value, ok := t.Gauge(g.consul); ok && value >= 0 {
			out.add(g.family, value*g.unit, server)
		}
	}
	for _, s := range c.samples {
		for _, m := range t.Samples(s.consul) {
			labels := append([]string{server}, s.labels...)
			out.add(s.family, m.Mean*s.unit, append(labels, "mean")...)
			out.add(s.family, m.Max*s.unit, append(labels, "max")...)
		}
	}
	if pause, ok := t.Gauge("runtime.total_gc_pause_ns"); ok && pause >= 0 {
		out.add(c.gcPause, pause*nanoseconds, server)
	}
	c.checksums(&t, out)
	return nil
}

// checksums adds the sum of both kinds of failures. That they are counted at all cannot be seen from an interval
// without any.
func (c *telemetryCollector) checksums(t *cluster.Telemetry, out *families) {
	written, okWritten := t.Sum("raft.logstore.verifier.write_checksum_failures")
	read, okRead := t.Sum("raft.logstore.verifier.read_checksum_failures")
	if t.Agent.Server && okWritten && okRead {
		out.add(c.checksumFailures, written+read, t.Agent.Name)
	}
}
