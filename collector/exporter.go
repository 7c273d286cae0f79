// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"maps"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/memory"
)

// ownFamilies are about the exporter itself.
type ownFamilies struct {
	ownFaults, unreadable, stateFile                                                                               *desc
	success, supported, duration, dropped, requests, knownLeader, lastContact, filtered, scrapes, shared, timeouts *desc
}

func newOwnFamilies(define *definitions) ownFamilies {
	return ownFamilies{
		success: define.gauge("consul_exporter_collector_success",
			"Whether the collector found out all it is for (1), or some of its metrics are absent (0).", "collector"),
		supported: define.gauge("consul_exporter_collector_supported",
			"Whether the collector may and can find out what it is for (1), or Consul refuses it: the token's rights, the "+
				"version, the edition (0).",
			"collector"),
		duration: define.gauge("consul_exporter_collector_duration_seconds",
			"How long the collector took this scrape.", "collector"),
		dropped: define.counter("consul_exporter_dropped_series_total",
			"Series that were dropped because another one had the same labels.", "collector"),
		requests: define.counter("consul_exporter_consul_requests_total",
			"Requests to Consul's HTTP API, by the status of the answer; error where there was none, own_fault where the "+
				"request could not be made.", "endpoint", "code"),
		ownFaults: define.counter("consul_exporter_own_faults_total",
			"Probes and requests to Consul that could not be made for a reason of the exporter's own: it lacked file "+
				"descriptors, buffers, memory, permission or a local address.",
			"kind"),
		unreadable: define.gauge("consul_exporter_unreadable_files",
			"Files (token, keys, certificates) that could not be read again: their last good content is still in use."),
		stateFile: define.gauge("consul_exporter_state_file_ok",
			"Whether the state file could be written the last time (1) or not (0); absent without --state.file."),
		knownLeader: define.gauge("consul_exporter_query_known_leader",
			"Whether the server that answered this scrape's query knows of a leader (1) or not (0).", "endpoint"),
		lastContact: define.gauge("consul_exporter_query_last_contact_seconds",
			"How long before this scrape's query the server that answered it had heard of the leader: the age of the answer.",
			"endpoint"),
		filtered: define.gauge("consul_exporter_query_results_filtered_by_acls",
			"Whether the token's rights left something out of the answer to this scrape's query (1) or not (0); without a "+
				"token Consul does not say so.", "endpoint"),
		scrapes: define.counter("consul_exporter_scrapes_total", "Scrapes that were asked for."),
		shared: define.counter("consul_exporter_scrapes_shared_total",
			"Scrapes that were served from the snapshot of another one at the same time."),
		timeouts: define.counter("consul_exporter_scrape_timeouts_total",
			"Scrapes of at least 4 s that ran out of time: collectors gave up, or were left behind."),
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
