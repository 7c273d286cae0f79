// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// The bounds of a delivery. Alertmanager's max_alerts keeps it within them.
const (
	// maxWebhookBytes bounds the body.
	maxWebhookBytes = 1 << 20
	// maxWebhookAlerts bounds the alerts in it.
	maxWebhookAlerts = 500
	// maxAlertBytes bounds the labels and annotations of one alert. As JSON they can be six times as long, and must be
	// shorter than the 128 KiB of a variable in the environment of a program.
	maxAlertBytes = 16 << 10
)

// webhook is what Alertmanager sends, as far as it is needed (Alertmanager: "webhook_config", version 4). More may be
// in it.
type webhook struct {
	Version string         `json:"version"`
	Alerts  []webhookAlert `json:"alerts"`
}

type webhookAlert struct {
	Status string `json:"status"`
	Alert
}

// decodeWebhook reads a delivery. If anything is wrong with it, nothing of it counts.
func decodeWebhook(body []byte) ([]Alert, error) {
	var w webhook
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, fmt.Errorf("read the webhook: %w", err)
	}
	if w.Version != "4" {
		return nil, fmt.Errorf("the webhook has version %.20q; want \"4\", as Alertmanager sends it", w.Version)
	}
	if len(w.Alerts) > maxWebhookAlerts {
		return nil, fmt.Errorf("more than %d alerts; set max_alerts in Alertmanager's webhook_config", maxWebhookAlerts)
	}
	alerts := make([]Alert, 0, len(w.Alerts))
	for i := range w.Alerts {
		a, err := newAlert(&w.Alerts[i])
		if err != nil {
			return nil, fmt.Errorf("alert %d: %w", i+1, err)
		}
		alerts = append(alerts, a)
	}
	return alerts, nil
}

func newAlert(w *webhookAlert) (Alert, error) {
	a := w.Alert
	a.Firing = w.Status == "firing"
	size := 0
	for _, set := range []map[string]string{a.Labels, a.Annotations} {
		for name, value := range set {
			size += len(name) + len(value)
			if name == "" {
				return Alert{}, errors.New("a label or annotation has no name")
			}
		}
	}
	switch {
	case !a.Firing && w.Status != "resolved":
		return Alert{}, fmt.Errorf("the status is %.20q; want firing or resolved", w.Status)
	case a.name() == "":
		return Alert{}, errors.New("there is no label " + labelAlertName)
	case a.StartsAt.IsZero():
		return Alert{}, errors.New("startsAt is missing")
	case size > maxAlertBytes:
		return Alert{}, fmt.Errorf("labels and annotations have %d bytes, more than %d", size, maxAlertBytes)
	case !utf8.ValidString(a.name()):
		return Alert{}, errors.New("the name is not UTF-8")
	}
	return a, nil
}
