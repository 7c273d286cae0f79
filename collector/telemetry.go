// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// telemetryCollector tells what the configured agent measured of itself, and above all of its RPC: requests, errors,
// blocking queries and connections. It is curated from the JSON form of Consul's telemetry, which is there without
// any configuration.
//
// Consul tells of its last full interval of ten seconds. A rate is 0 when nothing was counted in it; everything else
// is absent when it was not measured, and all of it for the first 25 seconds after a server was first seen up or
// ceased to lead. Where Consul has a metric with several labels, they are taken together.
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
	family      *desc
	consul      string
	serversOnly bool
}

// telemetrySample is a sample of Consul's, of which mean and maximum are exported. The label values come before stat.
type telemetrySample struct {
	family *desc
	consul string
	unit   float64
	labels []string
}

const (
	milliseconds = 1e-3
	nanoseconds  = 1e-9
)

func newTelemetryCollector(define *definitions) collector {
	gauge := func(name, help string, labels ...string) *desc {
		return define.gauge("consul_agent_"+name, help, append([]string{"server"}, labels...)...)
	}
	const interval = ", in the agent's last full interval of 10 seconds"
	saturation := gauge("raft_thread_saturation_ratio", "Share of its time that a thread of Raft is busy"+interval+"; over 0.5 is too much.", "thread", "stat")
	return &telemetryCollector{
		rates: []telemetryRate{
			{gauge("rpc_requests_per_second", "RPC requests that the server received"+interval+"."), "rpc.request", true},
			{gauge("rpc_request_errors_per_second", "RPC requests that the server answered with an error"+interval+"."), "rpc.request_error", true},
			{gauge("rpc_accepted_connections_per_second", "Connections that the server accepted on port 8300"+interval+"."), "rpc.accept_conn", true},
			{gauge("rpc_rate_limit_exceeded_per_second", "RPC requests over the server's rate limits"+interval+"."), "rpc.rate_limit.exceeded", true},
			{gauge("client_rpc_per_second", "RPC requests that the agent sent to servers"+interval+"."), "client.rpc", false},
			{gauge("client_rpc_failed_per_second", "RPC requests of the agent to servers that failed"+interval+"."), "client.rpc.failed", false},
			{gauge("client_rpc_exceeded_per_second", "RPC requests that the agent's own rate limit refused"+interval+"."), "client.rpc.exceeded", false},
			{gauge("raft_apply_per_second", "Raft log entries that the server, as leader, began to write"+interval+"."), "raft.apply", true},
		},
		gauges: []telemetryGauge{
			{gauge("rpc_queries_blocking", "Blocking queries that the server held; absent unless one began or ended in the agent's last full interval."), "rpc.queries_blocking", 1},
			{gauge("raft_oldest_log_age_seconds", "Age of the oldest entry in the leader's Raft log; a follower that is further behind needs a snapshot."), "raft.leader.oldestLogAge", milliseconds},
			{gauge("raft_restore_duration_seconds", "How long the server took for its last restore from a snapshot; absent unless that was in the last interval."), "raft.fsm.lastRestoreDuration", milliseconds},
			{gauge("raft_boltdb_freelist_bytes", "Size of the free list in the server's Raft log, which each write rewrites (BoltDB only)."), "raft.boltdb.freelistBytes", 1},
			{gauge("memory_alloc_bytes", "Memory that the agent uses, of what its runtime has."), "runtime.alloc_bytes", 1},
			{gauge("memory_sys_bytes", "Memory that the agent's runtime has from the system."), "runtime.sys_bytes", 1},
			{gauge("goroutines", "Goroutines of the agent; their number grows with its connections."), "runtime.num_goroutines", 1},
			{gauge("autopilot_healthy", "Whether the leader's autopilot calls all servers healthy (1) or not (0), by the agent's telemetry."), "autopilot.healthy", 1},
			{gauge("autopilot_failure_tolerance", "Healthy voters that can be lost without an outage, by the agent's telemetry."), "autopilot.failure_tolerance", 1},
		},
		samples: []telemetrySample{
			{gauge("raft_commit_time_seconds", "How long the leader took to commit a Raft log entry"+interval+".", "stat"), "raft.commitTime", milliseconds, nil},
			{gauge("raft_leader_last_contact_seconds", "How long ago the leader had heard of its followers, whenever it checked its lease"+interval+".", "stat"), "raft.leader.lastContact", milliseconds, nil},
			{gauge("raft_boltdb_store_logs_seconds", "How long the server took to store Raft log entries (BoltDB only)"+interval+".", "stat"), "raft.boltdb.storeLogs", milliseconds, nil},
			{saturation, "raft.thread.main.saturation", 1, []string{"main"}},
			{saturation, "raft.thread.fsm.saturation", 1, []string{"fsm"}},
		},
		checksumFailures: gauge("raft_log_checksum_failures", "Raft log entries whose checksum was wrong when they were written or read"+interval+"; any is corruption. Only where raft_logstore.verification is on."),
		gcPause:          define.counter("consul_agent_gc_pause_seconds_total", "Time that the agent stood still for garbage collection since it started.", "server"),
	}
}

func (c *telemetryCollector) collect(ctx context.Context, snap *cluster.Snapshot, out *families) error {
	t, err := snap.Telemetry().Get(ctx)
	if err != nil {
		return err
	}
	server := t.Agent.Name
	for _, r := range c.rates {
		if rate, ok := t.Rate(r.consul); ok && (t.Agent.Server || !r.serversOnly) {
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
			addMeasurement(out, s.family, m, s.unit, append([]string{server}, s.labels...)...)
		}
	}
	if pause, ok := t.Gauge("runtime.total_gc_pause_ns"); ok && pause >= 0 {
		out.add(c.gcPause, pause*nanoseconds, server)
	}
	c.checksums(&t, out)
	return nil
}

// addMeasurement adds mean and maximum.
func addMeasurement(out *families, family *desc, m cluster.Measurement, unit float64, labels ...string) {
	out.add(family, m.Mean*unit, append(labels, "mean")...)
	out.add(family, m.Max*unit, append(labels, "max")...)
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
