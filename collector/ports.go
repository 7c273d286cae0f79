// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// portsCollector exports whether each server's ports answer in their own protocol, and counts that over the scrapes.
//
// Requests: those of the topology (see newRaftCollector) and /v1/agent/self for the ports. Each port is probed once.
// ACL: agent:read; without it gossip is only connected to, and the ports for clients are unknown. Some twenty series
// per port.
type portsCollector struct {
	up, verified, skipped, turnedAway, duration, phase, probes, probeFailures, lastSuccess, certExpiry, certLifetime,
	dnsAnswers,
	dnsCode *desc

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
		up: define.gauge("consul_port_up",
			"1 if the port responded in its own protocol, otherwise 0.", port...),
		verified: define.gauge("consul_port_protocol_verified",
			"1 if the probe verified a protocol response, 0 if it only checked that the port accepts connections.", port...),
		skipped: define.gauge("consul_port_probe_skipped",
			"Always 1: the port was not probed, for this reason, so its state is unknown. The port label is "+
				"empty if the number is unknown.", with("reason")...),
		turnedAway: define.gauge("consul_port_turned_away",
			"Always 1: the port responded but turned the exporter away, or the exporter rejected its "+
				"certificate, so the server's health is unknown. Stays until the probe is repeated.", with("reason")...),
		duration: define.gauge("consul_port_probe_duration_seconds", "How long the probe took.", port...),
		phase: define.gauge("consul_port_probe_phase_duration_seconds",
			"How long each phase of the probe took; absent for phases not reached.", with("phase")...),
		probes: define.counter("consul_port_probes_total", "Probes of the port.", port...),
		probeFailures: define.counter("consul_port_probe_failures_total",
			"Failed probes of the port by reason, also those it answered with a denial (auth, limit), which "+
				"leave it up.",
			with("reason")...),
		lastSuccess: define.gauge("consul_port_last_success_timestamp_seconds",
			"When the port last responded in its own protocol; absent if never.", port...),
		certExpiry: define.gauge("consul_port_tls_earliest_cert_expiry_timestamp_seconds",
			"When the first certificate that the port shows expires, verified or not.", port...),
		certLifetime: define.gauge("consul_port_tls_earliest_cert_lifetime_seconds",
			"Total lifetime of that certificate, for example 72 hours where Consul issues it.", port...),
		dnsAnswers: define.gauge("consul_dns_answers",
			"Server addresses in DNS's answer for consul.service.<domain>.", port...),
		dnsCode: define.gauge("consul_dns_response_code",
			"Code of DNS's answer for consul.service.<domain>: 0 no error, 3 no such name, 5 refused.", port...),
		history: make(map[portKey]*portHistory),
	}
}

func (c *portsCollector) collect(ctx context.Context, snap *cluster.Snapshot, out *families) error {
	reports, err := snap.PortReports().Get(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known := make(map[portKey]bool, len(reports))
	for i := range reports {
		r := &reports[i]
		key := portKey{r.Server, "", string(r.Protocol), r.Transport}
		if number := r.Number(); number != 0 {
			key.port = strconv.Itoa(number)
		}
		known[key] = true
		c.port(key, r, out)
	}
	maps.DeleteFunc(c.history, func(key portKey, _ *portHistory) bool { return !known[key] })
	return nil
}

// port adds one port's families and its counts so far. It assumes that mu is held.
func (c *portsCollector) port(key portKey, r *cluster.PortReport, out *families) {
	labels := func(more ...string) []string {
		return append([]string{key.server, key.port, key.protocol, key.transport}, more...)
	}
	if !r.Result.Skipped || (r.ConnectOnly() && !r.Unasked()) {
		out.flag(c.verified, !r.ConnectOnly(), labels()...)
	}
	if reason := r.Result.TurnedAwayBy(); reason != "" {
		out.add(c.turnedAway, 1, labels(string(reason))...)
	}
	if r.Result.Skipped {
		out.add(c.skipped, 1, labels(string(r.Result.Reason))...)
		return
	}
	h := c.history[key]
	if h == nil {
		h = &portHistory{failures: make(map[probe.Reason]uint64)}
		c.history[key] = h
	}
	h.note(&r.Result)

	out.flag(c.up, r.Result.Up, labels()...)
	out.add(c.duration, r.Result.Duration.Seconds(), labels()...)
	for _, p := range r.Result.Phases {
		out.add(c.phase, p.Duration.Seconds(), labels(string(p.Phase))...)
	}
	out.add(c.probes, float64(h.probes), labels()...)
	for _, reason := range probe.Reasons() {
		out.add(c.probeFailures, float64(h.failures[reason]), labels(string(reason))...)
	}
	out.instant(c.lastSuccess, h.lastSuccess, labels()...)
	if !r.Result.CertExpiry.IsZero() {
		out.instant(c.certExpiry, r.Result.CertExpiry, labels()...)
		out.add(c.certLifetime, r.Result.CertLifetime.Seconds(), labels()...)
	}
	if r.DNS != nil {
		out.add(c.dnsAnswers, float64(r.DNS.Answers), labels()...)
		out.add(c.dnsCode, float64(r.DNS.Rcode), labels()...)
	}
}

func (h *portHistory) note(res *probe.Result) {
	h.probes++
	if res.Reason != "" {
		h.failures[res.Reason]++
	}
	if res.Up {
		h.lastSuccess = res.Start.Add(res.Duration)
	}
}
