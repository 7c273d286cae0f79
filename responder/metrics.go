// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	registry       *prometheus.Registry
	alertsReceived prometheus.Counter
	turnedAway     prometheus.Counter
	actions        *prometheus.CounterVec
	last           *prometheus.GaugeVec
}

// newMetrics has a series for each result of each rule, so that the first one is an increase.
func newMetrics(rules []*rule) *metrics {
	registry := prometheus.NewRegistry()
	auto := promauto.With(registry)
	m := &metrics{
		registry: registry,
		alertsReceived: auto.NewCounter(prometheus.CounterOpts{
			Name: "consul_responder_alerts_received_total",
			Help: "Alerts that were delivered, firing and resolved ones, whether a rule matches them or not.",
		}),
		turnedAway: auto.NewCounter(prometheus.CounterOpts{
			Name: "consul_responder_requests_turned_away_total",
			Help: "Deliveries and questions for the history without the secret, or where there is none, for another host.",
		}),
		actions: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "consul_responder_actions_total",
			Help: "Decisions on alerts since the start, by how they ended: done, failed, timeout, unknown (killed meanwhile), " +
				"dry_run, refused_by_guard or cooldown.",
		}, []string{"rule", "action", "result"}),
		last: auto.NewGaugeVec(prometheus.GaugeOpts{
			Name: "consul_responder_last_action_timestamp_seconds",
			Help: "When the last action began, dry runs left out; absent if there was none.",
		}, nil),
	}
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("consul_responder"),
	)
	for _, r := range rules {
		for _, result := range results {
			m.actions.WithLabelValues(r.Name, r.action.name(), string(result))
		}
	}
	return m
}

// lastAction sets when the last action was; zero means never.
func (m *metrics) lastAction(at time.Time) {
	if !at.IsZero() {
		m.last.WithLabelValues().Set(float64(at.UnixMilli()) / 1000)
	}
}
