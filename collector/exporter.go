// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"maps"
	"path/filepath"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/memory"
)

// ownFamilies are about the exporter itself.
type ownFamilies struct {
	ownFaults, unreadable, certExpiry, certLifetime, stateFile                                                     *desc
	success, supported, duration, dropped, requests, knownLeader, lastContact, filtered, scrapes, shared, timeouts *desc
}

func newOwnFamilies(define *definitions) ownFamilies {
	certificate := []string{"use", "file", "subject"}
	return ownFamilies{
		success: define.gauge("consul_exporter_collector_success",
			"1 if the collector succeeded completely, otherwise 0. What this Consul does not have is not a "+
				"failure.", "collector"),
		supported: define.gauge("consul_exporter_collector_supported",
			"1 if this Consul has what the collector reads and the token may read it, otherwise 0.",
			"collector"),
		duration: define.gauge("consul_exporter_collector_duration_seconds",
			"How long the collector took.", "collector"),
		dropped: define.counter("consul_exporter_dropped_series_total",
			"Series dropped because another one had the same labels.", "collector"),
		requests: define.counter("consul_exporter_consul_requests_total",
			"Requests to Consul's HTTP API by status: error without a response, own_fault if it could not be "+
				"sent.", "endpoint", "code"),
		ownFaults: define.counter("consul_exporter_own_faults_total",
			"Probes and requests that the exporter could not send: no file descriptors, buffers, memory, "+
				"permission, or local address.",
			"kind"),
		unreadable: define.gauge("consul_exporter_unreadable_files",
			"Token, key, and certificate files that can no longer be read; their last good content is in use."),
		certExpiry: define.gauge("consul_exporter_certificate_expiry_timestamp_seconds",
			"When a certificate of the exporter's own files expires: the first of a client chain, or the next of "+
				"the authorities. Use is http_client, http_ca, rpc_client, or rpc_ca (rpc is port 8300 with its own "+
				"files).",
			certificate...),
		certLifetime: define.gauge("consul_exporter_certificate_lifetime_seconds",
			"Total lifetime of that certificate.", certificate...),
		stateFile: define.gauge("consul_exporter_state_file_ok",
			"1 if the state file was last written successfully, otherwise 0; absent without --state.file."),
		knownLeader: define.gauge("consul_exporter_query_known_leader",
			"1 if the server that answered this query knows a leader, otherwise 0.", "endpoint"),
		lastContact: define.gauge("consul_exporter_query_last_contact_seconds",
			"Age of the answer: time since the server that gave it had heard from the leader.",
			"endpoint"),
		filtered: define.gauge("consul_exporter_query_results_filtered_by_acls",
			"1 if the token's rights left something out of the answer, otherwise 0. Unknown without a token.", "endpoint"),
		scrapes: define.counter("consul_exporter_scrapes_total", "Requested scrapes."),
		shared: define.counter("consul_exporter_scrapes_shared_total",
			"Scrapes that shared the snapshot of a simultaneous one."),
		timeouts: define.counter("consul_exporter_scrape_timeouts_total",
			"Scrapes of at least 4 s that ran out of time."),
	}
}

// addOwn adds the families that are not about one collector's outcome.
func (e *Exporter) addOwn(snap *cluster.Snapshot, out *families) {
	requests := e.cluster.Requests()
	for _, key := range slices.SortedFunc(maps.Keys(requests), consul.RequestKey.Compare) {
		out.add(e.own.requests, float64(requests[key]), key.Endpoint, key.Code)
	}
	own := e.cluster.OwnFaults()
	out.add(e.own.ownFaults, float64(own.Probes), "probe")
	out.add(e.own.ownFaults, float64(own.Requests), "request")
	out.add(e.own.unreadable, float64(len(own.Files)))
	for _, cert := range snap.Certificates() {
		labels := []string{cert.Use(), filepath.Base(cert.File), cert.Subject}
		out.instant(e.own.certExpiry, cert.Expiry, labels...)
		out.add(e.own.certLifetime, cert.Lifetime.Seconds(), labels...)
	}
	if file := e.memory.File(); file != memory.FileNone {
		out.flag(e.own.stateFile, file == memory.FileGood)
	}
	queries := snap.Queries()
	for _, endpoint := range slices.Sorted(maps.Keys(queries)) {
		meta := queries[endpoint]
		out.flag(e.own.filtered, meta.Filtered, endpoint)
		if meta.HasLeader {
			out.flag(e.own.knownLeader, meta.LeaderKnown, endpoint)
			out.add(e.own.lastContact, meta.LastContactSeconds, endpoint)
		}
	}
	e.mu.Lock()
	for _, c := range e.collectors {
		out.add(e.own.dropped, float64(e.dropped[c.name]), c.name)
	}
	e.mu.Unlock()
	out.add(e.own.scrapes, float64(e.scrapes.Load()))
	out.add(e.own.shared, float64(e.shared.Load()))
	out.add(e.own.timeouts, float64(e.timeouts.Load()))
}
