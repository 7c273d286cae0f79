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
			"Whether the port answered in its own protocol this scrape (1) or not (0).", port...),
		verified: define.gauge("consul_port_protocol_verified",
			"Whether an answer was asked for (1), or up means no more than that the port accepts connections (0).", port...),
		skipped: define.gauge("consul_port_probe_skipped",
			"Always 1: the port was not probed this scrape, so nothing is known about it. The reason is own_fault (the "+
				"exporter lacked file descriptors, buffers, memory, permission, a local address or time), no_key (gossip is "+
				"encrypted and there is no key), held_back (the server rejected the same question recently), or one that "+
				"Consul's configuration gives: not_allowed, unknown_address, unknown_encryption, loopback_only, behind_proxy, "+
				"no_certificate, unknown_authority, mesh_gateways or departed (the server left in order). The label port is "+
				"empty if the number is unknown.", with("reason")...),
		turnedAway: define.gauge("consul_port_turned_away",
			"Always 1: the port responded and turned the exporter away, or the exporter rejected its certificate, so nothing "+
				"is known about the server's health. The reason is client_certificate, name, tls, auth, limit, reset, or "+
				"protocol. While the question is not repeated, this stays.", with("reason")...),
		duration: define.gauge("consul_port_probe_duration_seconds", "How long the probe of the port took in all.", port...),
		phase: define.gauge("consul_port_probe_phase_duration_seconds",
			"How long each phase of the probe took; phases the probe did not get to are absent.", with("phase")...),
		probes: define.counter("consul_port_probes_total", "Probes of the port that were made.", port...),
		probeFailures: define.counter("consul_port_probe_failures_total",
			"Probes of the port that failed, by reason; also those that the port answered with a refusal: up is 1 then, and "+
				"the reason auth or limit.",
			with("reason")...),
		lastSuccess: define.gauge("consul_port_last_success_timestamp_seconds",
			"When the port last answered in its own protocol; absent until it has.", port...),
		certExpiry: define.gauge("consul_port_tls_earliest_cert_expiry_timestamp_seconds",
			"When the first of the certificates expires that the port showed, whether they verify or not.", port...),
		certLifetime: define.gauge("consul_port_tls_earliest_cert_lifetime_seconds",
			"How long the certificate that expires first is valid in all: 72 hours, for example, where Consul itself issues "+
				"and renews it.", port...),
		dnsAnswers: define.gauge("consul_dns_answers",
			"Addresses of servers that DNS answers with, for the name consul.service.<domain>.", port...),
		dnsCode: define.gauge("consul_dns_response_code",
			"Code of DNS's answer for the name consul.service.<domain>: 0 is no error, 3 no such name, 5 refused.", port...),
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
