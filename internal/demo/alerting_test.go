// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/alerts"
)

// Of the example, all but who gets the notifications and how soon is Alertmanager's configuration.
func TestAlertmanagerConfig(t *testing.T) {
	t.Parallel()
	example, err := alerts.Alertmanager(nil)
	if err != nil {
		t.Fatal(err)
	}
	content, err := alertmanagerConfig("http://192.0.2.1/webhook")
	if err != nil {
		t.Fatal(err)
	}
	var want, got map[string]any
	for _, c := range []struct {
		text []byte
		into *map[string]any
	}{{example.Content, &want}, {content, &got}} {
		if err := yaml.Unmarshal(c.text, c.into); err != nil {
			t.Fatal(err)
		}
	}
	route := want["route"].(map[string]any)
	route["group_wait"], route["group_interval"] = "5s", "10s"
	receivers := want["receivers"].([]any)
	for i, r := range receivers {
		receivers[i] = map[string]any{
			"name":            r.(map[string]any)["name"],
			"webhook_configs": []any{map[string]any{"url": "http://192.0.2.1/webhook", "send_resolved": true}},
		}
	}
	if len(receivers) == 0 {
		t.Error("the example has no receivers")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestHoldTimes(t *testing.T) {
	t.Parallel()
	got, err := holdTimes([]byte(`
groups:
  - rules:
      - {record: "a:b", expr: "1"}
      - {alert: X, expr: "1", for: 1m}
  - rules:
      - {alert: X, expr: "1", for: 1d}
      - {alert: Y, expr: "1", for: 1d}
`))
	if err != nil {
		t.Fatal(err)
	}
	if got["X"] != "1m" || got["Y"] != "1d" {
		t.Errorf("got %v, want 1m for X, which comes twice, and 1d for Y", got)
	}
	if _, err := holdTimes([]byte("groups: 1")); err == nil {
		t.Error("no error for what is no rule file")
	}
}

// expectAlerting expects that Prometheus evaluates all alerts of the pack without an error, sends them to this Alertmanager, and
// finds that none fires, and that none is about to.
func expectAlerting(t *testing.T, prometheusURL, alertmanagerURL string) {
	t.Helper()
	rules, err := alerts.Pack(nil)
	if err != nil {
		t.Fatal(err)
	}
	evaluated := waitEvaluated(t, prometheusURL)
	if want := bytes.Count(alerts.Join(rules), []byte("- alert: ")); evaluated != want || want == 0 {
		t.Errorf("Prometheus evaluates %d alerts, want %d", evaluated, want)
	}

	var managers struct{ ActiveAlertmanagers []struct{ URL string } }
	if err := get(t.Context(), prometheusURL+"/api/v1/alertmanagers", &managers); err != nil {
		t.Fatal(err)
	}
	if a := managers.ActiveAlertmanagers; len(a) != 1 || a[0].URL != alertmanagerURL+"/api/v2/alerts" {
		t.Errorf("Prometheus sends alerts to %v, want %s alone", a, alertmanagerURL)
	}

	waitNoAlerts(t, prometheusURL)
}

// waitNoAlerts waits until no alert is pending. On a machine that is busy a follower hears of the leader late now and then, which is
// over by the next evaluation.
func waitNoAlerts(t *testing.T, prometheusURL string) {
	t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	var before []result
	for {
		results, err := ask(t.Context(), prometheusURL, "ALERTS")
		if err != nil {
			t.Fatalf("there were alerts until the demo ended: %v: %v", before, err)
		}
		if len(results) == 0 {
			return
		}
		before = results
		<-ticker.C
	}
}

// waitEvaluated waits until Prometheus has evaluated all rules, and returns how many of them are alerts.
func waitEvaluated(t *testing.T, prometheusURL string) (evaluated int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	type rule struct{ Type, Name, Health, LastError string }
	for {
		var data struct{ Groups []struct{ Rules []rule } }
		if err := get(ctx, prometheusURL+"/api/v1/rules", &data); err != nil {
			t.Fatal(err)
		}
		var all []rule
		for _, group := range data.Groups {
			all = append(all, group.Rules...)
		}
		if !slices.ContainsFunc(all, func(r rule) bool { return r.Health == "unknown" }) {
			for _, r := range all {
				if r.Health != "ok" {
					t.Errorf("rule %s is %s: %s", r.Name, r.Health, r.LastError)
				}
				if r.Type == "alerting" {
					evaluated++
				}
			}
			return evaluated
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatal("Prometheus does not evaluate all rules")
		}
	}
}
