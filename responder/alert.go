// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"time"

	"github.com/prometheus/common/model"
)

// The labels of an alert that the responder itself looks at.
const (
	labelAlertName = "alertname"
	labelServer    = "server"
)

// Alert is an alert as Alertmanager delivers it.
type Alert struct {
	Firing      bool
	Labels      map[string]string
	Annotations map[string]string
	// StartsAt is when it began to fire, and EndsAt when it ended, or will be taken for ended without news.
	StartsAt, EndsAt time.Time
}

// fingerprint tells alerts apart by their labels, as Prometheus and Alertmanager do. What a delivery says it is does
// not count.
func (a *Alert) fingerprint() string {
	labels := make(model.LabelSet, len(a.Labels))
	for name, value := range a.Labels {
		labels[model.LabelName(name)] = model.LabelValue(value)
	}
	return labels.Fingerprint().String()
}

func (a *Alert) name() string   { return a.Labels[labelAlertName] }
func (a *Alert) server() string { return a.Labels[labelServer] }
