// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

func webhookOf(alerts ...string) string {
	return `{"version":"4","groupKey":"{}:{}","status":"firing","receiver":"responder","groupLabels":{},` +
		`"commonLabels":{},"truncatedAlerts":0,"externalURL":"http://am","alerts":[` + strings.Join(alerts, ",") + `]}`
}

const goodAlert = `{"status":"firing","labels":{"alertname":"ConsulServerHung","server":"server-1"},` +
	`"annotations":{"summary":"It hangs."},"startsAt":"2026-11-25T12:00:00.123Z","endsAt":"0001-01-01T00:00:00Z",` +
	`"generatorURL":"http://p","fingerprint":"cafe"}`

func TestDecodeWebhook(t *testing.T) {
	t.Parallel()
	// As Alertmanager 0.31 sends it.
	real := must.Get(os.ReadFile(filepath.Join("testdata", "webhook.json")))(t)
	alerts := must.Get(decodeWebhook(real))(t)
	want := []Alert{
		{
			Firing: true,
			Labels: map[string]string{
				"alertname": "ConsulServerHung", "cluster": "hung", "datacenter": "dc1", "job": "consul",
				"server": "server-1", "severity": "critical",
			},
			Annotations: map[string]string{"summary": "A Consul server accepts connections but responds on no port."},
			StartsAt:    time.Date(2026, 11, 25, 14, 51, 30, 123000000, time.UTC),
		},
		{
			Labels:      map[string]string{"alertname": "ConsulServerHung", "server": "server-2", "severity": "critical"},
			Annotations: map[string]string{},
			StartsAt:    time.Date(2026, 11, 25, 14, 41, 30, 0, time.UTC),
			EndsAt:      time.Date(2026, 11, 25, 14, 45, 30, 0, time.UTC),
		},
	}
	if diff := cmp.Diff(want, alerts); diff != "" {
		t.Errorf("alerts differ (-want +got):\n%s", diff)
	}
}

func TestDecodeWebhook_Bad(t *testing.T) {
	t.Parallel()
	alert := func(replace, by string) string { return webhookOf(strings.Replace(goodAlert, replace, by, 1)) }
	many := slices.Repeat([]string{goodAlert}, maxWebhookAlerts+1)
	for _, tc := range []struct{ name, body, want string }{
		{"empty", "", "read the webhook: unexpected end of JSON input"},
		{"no JSON", "alert!", "read the webhook: invalid character"},
		{"a list", "[]", "cannot unmarshal array"},
		{"two documents", webhookOf() + webhookOf(), "invalid character '{' after top-level value"},
		{"torn", webhookOf(goodAlert)[:200], "unexpected end of JSON input"},
		{"no version", `{"alerts":[]}`, `the webhook has version ""; want "4"`},
		{"version 3", `{"version":"3"}`, `the webhook has version "3"`},
		{"deep", `{"version":"4","alerts":` + strings.Repeat("[", 100000), "read the webhook"},
		{"too many alerts", webhookOf(many...), "more than 500 alerts; set max_alerts"},
		{"status", alert(`"firing"`, `"pending"`), `alert 1: the status is "pending"; want firing or resolved`},
		{"no name", alert(`"alertname"`, `"name"`), "alert 1: there is no label alertname"},
		{"no labels", alert(`"labels"`, `"label"`), "alert 1: there is no label alertname"},
		{"no start", alert(`"startsAt"`, `"began"`), "alert 1: startsAt is missing"},
		{"bad start", alert(`2026-11-25T12`, `yesterday`), "parsing time"},
		{"label without a name", alert(`"server"`, `""`), "alert 1: a label or annotation has no name"},
		{"label that is no text", alert(`"server-1"`, `{"a":1}`), "cannot unmarshal object"},
		{"large label", alert("server-1", strings.Repeat("x", maxAlertBytes)), "more than 16384"},
	} {
		alerts, err := decodeWebhook([]byte(tc.body))
		if err == nil || !strings.Contains(err.Error(), tc.want) || alerts != nil {
			t.Errorf("%s: %d alerts, error %v; want none, and %s", tc.name, len(alerts), err, tc.want)
		}
	}
}

// What is in the labels stays what it is, and no two sets of them are taken for the same.
func TestAlert_Fingerprint(t *testing.T) {
	t.Parallel()
	seen := make(map[string]string)
	for _, labels := range []string{
		`{"alertname":"A"}`, `{"alertname":"A","b":""}`, `{"alertname":"A","b":"c\"d"}`, `{"alertname":"A","b":"c\nd"}`,
		`{"alertname":"A","b":"$(reboot)"}`, `{"alertname":"A","b\u0000c":"d"}`, `{"alertname":"A","b":"c\u0000d"}`,
		`{"alertname":"A\u0000b"}`,
	} {
		alert := `{"status":"firing","labels":` + labels + `,"startsAt":"2026-11-25T12:00:00Z"}`
		alerts := must.Get(decodeWebhook([]byte(webhookOf(alert))))(t)
		var want map[string]string
		must.Do(t, json.Unmarshal([]byte(labels), &want))
		if diff := cmp.Diff(want, alerts[0].Labels); diff != "" {
			t.Errorf("labels differ (-want +got):\n%s", diff)
		}
		fingerprint := alerts[0].fingerprint()
		if other := seen[fingerprint]; other != "" {
			t.Errorf("%s and %s have one fingerprint", labels, other)
		}
		seen[fingerprint] = labels
	}
}

// Whatever is delivered, either it is rejected, or each of its alerts can be told apart, recorded, and given to a
// program.
func FuzzDecodeWebhook(f *testing.F) {
	f.Add(must.Get(os.ReadFile(filepath.Join("testdata", "webhook.json")))(f))
	f.Add([]byte(webhookOf(goodAlert, goodAlert)))
	f.Add([]byte(webhookOf(
		`{"status":"resolved","labels":{"alertname":"a\u0000\n\"$(reboot)"},"startsAt":"2026-11-25T12:00:00Z"}`)))
	f.Add([]byte(`{"version":"4","alerts":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		alerts, err := decodeWebhook(body)
		if err != nil {
			if alerts != nil {
				t.Fatal("there are an error and alerts")
			}
			return
		}
		for i := range alerts {
			a := &alerts[i]
			if a.name() == "" || a.StartsAt.IsZero() || len(a.fingerprint()) != 16 {
				t.Fatalf("%+v is no alert that can be told apart", a)
			}
			must.Get(json.Marshal(Record{Alert: AlertRef{Labels: a.Labels, StartsAt: a.StartsAt}}))(t)
			for _, variable := range must.Get((&execCommand{rule: "r"}).environment(a))(t) {
				ours := strings.HasPrefix(variable, execPrefix) || strings.HasPrefix(variable, "PATH=")
				if strings.Contains(variable, "\x00") || len(variable) > 128<<10-1 || !ours {
					t.Fatalf("the variable %.100q of %+v", variable, a)
				}
			}
		}
	})
}
