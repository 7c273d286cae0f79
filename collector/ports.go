// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// portsCollector tells whether each server's ports answer in their own protocol, and counts that over the scrapes.
//
// It asks no HTTP API but for the topology (see raftCollector); it probes each server once. No ACL. A fixed number of series per port.
type portsCollector struct {
	up, verified, duration, phase, probes, probeFailures, lastSuccess *desc

	mu      sync.Mutex
	history map[portKey]*portHistory // Guarded by mu.
}

// portKey has the labels of a port.
type portKey struct{ server, port, protocol, transport string }

// portHistory is what is kept of a port between scrapes, as long as the server is known.
type portHistory struct {
	probes      uint64
	failures    map[probe.Reason]uint64
	lastSuccess time.Time
}

func newPortsCollector(define *definitions) collector {
	port := []string{"server", "port", "protocol", "transport"}
	with := func(label string) []string { return append(slices.Clip(port), label) }
	return &portsCollector{
		up: define.gauge("consul_port_up", "Whether the port answered in its own protocol this scrape (1) or not (0).", port...),
		verified: define.gauge("consul_port_protocol_verified",
			"Whether an answer was asked for (1), or up means no more than that the port accepts connections (0).", port...),
		duration: define.gauge("consul_port_probe_duration_seconds", "How long the probe of the port took in all.", port...),
		phase: define.gauge("consul_port_probe_phase_duration_seconds",
			"How long each phase of the probe took; phases the probe did not get to are absent.", with("phase")...),
		probes: define.counter("consul_port_probes_total", "Probes of the port that were made.", port...),
		probeFailures: define.counter("consul_port_probe_failures_total",
			"Probes of the port that failed, by reason.", with("reason")...),
		lastSuccess: define.gauge("consul_port_last_success_timestamp_seconds",
			"When the port last answered in its own protocol; absent until it has.", port...),
		history: make(map[portKey]*portHistory),
	}
}

func (c *portsCollector) collect(ctx context.Context, snap *cluster.Snapshot, out *families) error {
	reports, err := snap.Reports().Get(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known := make(map[portKey]bool, len(reports))
	for _, r := range reports {
		_, port, _ := net.SplitHostPort(r.Server.RPCAddress)
		key := portKey{r.Server.Name, port, "rpc", "tcp"}
		known[key] = true
		c.port(key, &r.RPC.Result, out)
	}
	for key := range c.history {
		if !known[key] {
			delete(c.history, key)
		}
	}
	return nil
}

// port adds one port's families and its counts so far. It assumes that mu is held.
func (c *portsCollector) port(key portKey, res *probe.Result, out *families) {
	labels := func(more ...string) []string {
		return append([]string{key.server, key.port, key.protocol, key.transport}, more...)
	}
	h := c.history[key]
	if h == nil {
		h = &portHistory{failures: make(map[probe.Reason]uint64)}
		c.history[key] = h
	}
	h.note(res)

	out.flag(c.up, res.Up, labels()...)
	out.flag(c.verified, res.Verified || !res.Up, labels()...)
	out.add(c.duration, res.Duration.Seconds(), labels()...)
	for _, p := range res.Phases {
		out.add(c.phase, p.Duration.Seconds(), labels(string(p.Phase))...)
	}
	out.add(c.probes, float64(h.probes), labels()...)
	for _, reason := range probe.Reasons() {
		out.add(c.probeFailures, float64(h.failures[reason]), labels(string(reason))...)
	}
	if !h.lastSuccess.IsZero() {
		out.add(c.lastSuccess, unixSeconds(h.lastSuccess), labels()...)
	}
}

func (h *portHistory) note(res *probe.Result) {
	h.probes++
	if !res.Up {
		h.failures[res.Reason]++
		return
	}
	h.lastSuccess = res.Start.Add(res.Duration)
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
