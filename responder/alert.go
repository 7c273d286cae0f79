// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/prometheus/common/model"
)

// The labels of an alert that the responder itself looks at.
const (
	labelAlertName = "alertname"
	labelCluster   = "cluster"
	labelServer    = "server"
)

// Alert is an alert as Alertmanager delivers it.
type Alert struct {
	Firing      bool              `json:"-"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	// StartsAt is when it began to fire, and EndsAt when it ended, or will be taken for ended without news.
	StartsAt time.Time `json:"startsAt"`
	EndsAt   time.Time `json:"endsAt"`
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

// asJSON writes the alert, and more fields, for programs and webhooks.
func (a *Alert) asJSON(more map[string]any) ([]byte, error) {
	fields := map[string]any{"labels": a.Labels, "annotations": a.Annotations, "startsAt": a.StartsAt}
	maps.Copy(fields, more)
	return json.Marshal(fields)
}

func (a *Alert) name() string   { return a.Labels[labelAlertName] }
func (a *Alert) server() string { return a.Labels[labelServer] }
