// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"encoding/json"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

func (b *fixture) request(method, target, body string, header ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	req := httptest.NewRequestWithContext(b.t.Context(), method, target, strings.NewReader(body))
	req.Host = "localhost:9108"
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	NewHandler(b.Responder).ServeHTTP(w, req)
	return w
}

// series returns the values of a family by the label result.
func (b *fixture) series(name string) map[string]float64 {
	b.t.Helper()
	families := must.Get(b.metrics.registry.Gather())(b.t)
	values := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			result := ""
			for _, l := range m.GetLabel() {
				if l.GetName() == "result" {
					result = l.GetValue()
				}
			}
			if f.GetName() == name {
				values[result] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return values
}

// Those who do not know the secret can neither deliver nor read.
func TestServer_Secret(t *testing.T) {
	b := newFixture(t)
	secret := "s3cret"
	b.secret = func() string { return secret }
	var logged strings.Builder
	b.logger = log.NewLogfmtLogger(&logged)
	for authorization, status := range map[string]int{
		"": 401, "Bearer ": 401, "Bearer s3cre": 401, "Bearer s3cret ": 401, "Bearer s3creT": 401, "Bearer wrong": 401,
		"bearer s3cret": 401, "s3cret": 401, "Basic czNjcmV0": 401, "Bearer s3cret": 200,
	} {
		for _, asked := range [][2]string{{"POST", "/alerts"}, {"GET", "/history"}} {
			w := b.request(asked[0], asked[1], webhookOf(goodAlert), "Authorization", authorization)
			if w.Code != status || strings.Contains(w.Body.String(), secret) {
				t.Errorf("%s with %q: status %d, %s; want %d", asked, authorization, w.Code, w.Body, status)
			}
		}
	}
	if n := b.series("consul_responder_alerts_received_total")[""]; n != 1 {
		t.Errorf("%v alerts were received; want the one that was authorized", n)
	}
	if strings.Contains(logged.String(), secret) || !strings.Contains(logged.String(), "the secret is missing") {
		t.Errorf("the log has the secret, or not what was refused:\n%s", logged.String())
	}
	secret = "rotated"
	if w := b.request("GET", "/history", "", "Authorization", "Bearer s3cret"); w.Code != 401 {
		t.Errorf("status %d for the old secret; want 401", w.Code)
	}
	for _, path := range []string{"/-/healthy", "/-/ready", "/metrics"} {
		if w := b.request("GET", path, ""); w.Code != 200 {
			t.Errorf("GET %s: status %d; want 200 also without the secret", path, w.Code)
		}
	}
}

// Without a secret, requests must be for this host: the name of another web page can lead here.
func TestServer_Host(t *testing.T) {
	b := newFixture(t)
	for host, status := range map[string]int{
		"localhost": 200, "localhost:9108": 200, "127.0.0.1:9108": 200, "127.3.2.1": 200, "[::1]:9108": 200, "[::1]": 200,
		"evil.example": 421, "evil.example:9108": 421, "localhost.evil.example": 421, "10.0.0.1:9108": 421, "": 421,
	} {
		for _, asked := range [][2]string{{"POST", "/alerts"}, {"GET", "/history"}} {
			req := httptest.NewRequestWithContext(t.Context(), asked[0], asked[1], strings.NewReader(webhookOf()))
			req.Host = host
			req.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			NewHandler(b.Responder).ServeHTTP(w, req)
			if w.Code != status {
				t.Errorf("%s for %q: status %d, %s; want %d", asked, host, w.Code, w.Body, status)
			}
		}
	}
}

// Nothing of a request is read before the secret is known, and whoever does not know it cannot fill the log.
func TestServer_TurnedAway(t *testing.T) {
	b := newFixture(t)
	b.secret = func() string { return "s3cret" }
	for range 100 {
		body := &countingReader{}
		req := httptest.NewRequestWithContext(t.Context(), "POST", "/alerts", body)
		w := httptest.NewRecorder()
		NewHandler(b.Responder).ServeHTTP(w, req)
		if w.Code != 401 || body.read || w.Header().Get("Connection") != "close" {
			t.Fatalf("status %d, body read: %v, header %v", w.Code, body.read, w.Header())
		}
	}
	b.wait(2 * complaintInterval)
	b.request("GET", "/history", "")
	if n := b.series("consul_responder_requests_turned_away_total")[""]; n != 101 {
		t.Errorf("%v requests are counted; want 101", n)
	}
	lines := b.logged.String()
	if n := strings.Count(lines, "turned away"); n != 2 || !strings.Contains(lines, "more_since_last_line=99") {
		t.Errorf("%d lines, and not how many there were in between:\n%s", n, lines)
	}
	req := httptest.NewRequestWithContext(t.Context(), "POST", "/alerts", strings.NewReader("{"))
	req.Header.Set("Authorization", "Bearer s3cret")
	req.Header.Set("Content-Type", "application/json")
	NewHandler(b.Responder).ServeHTTP(httptest.NewRecorder(), req)
	if lines := b.logged.String(); !strings.Contains(lines, "delivery is rejected") {
		t.Errorf("strangers hide what is wrong with Alertmanager's deliveries:\n%s", lines)
	}
}

type countingReader struct{ read bool }

func (c *countingReader) Read([]byte) (int, error) {
	c.read = true
	return 0, io.EOF
}

func TestServer_BadDeliveries(t *testing.T) {
	b := newFixture(t)
	const form = "application/x-www-form-urlencoded"
	large := strings.Replace(goodAlert, "server-1", strings.Repeat("x", 10<<20), 1)
	for _, tc := range []struct {
		name, method, kind, body string
		status                   int
		want                     string
	}{
		{"10 MB", "POST", "application/json", webhookOf(large), 413, "more than 1048576 bytes"},
		{"torn", "POST", "application/json", webhookOf(goodAlert)[:300], 400, "read the webhook"},
		{"a form of a web page", "POST", form, "a=b", 415, "no application/json"},
		{"text of a web page", "POST", "text/plain", webhookOf(goodAlert), 415, "no application/json"},
		{"no type", "POST", "", webhookOf(goodAlert), 415, "no application/json"},
		{"method", "GET", "application/json", "", 405, ""},
		{"no rule", "POST", "application/json; charset=utf-8", webhookOf(goodAlert), 200, "0 of 1 alerts are looked at\n"},
	} {
		w := b.request(tc.method, "/alerts", tc.body, "Content-Type", tc.kind)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("%s: status %d, %.200s; want %d, %s", tc.name, w.Code, w.Body, tc.status, tc.want)
		}
	}
	if len(b.queue) > 0 {
		t.Errorf("%d alerts wait; want none", len(b.queue))
	}
}

func TestServer_History(t *testing.T) {
	b := newFixture(t)
	for _, r := range []Record{
		sampleRecord(1, ResultRefused), sampleRecord(2, ResultStarted), sampleRecord(2, ResultDone),
		sampleRecord(3, ResultRefused), sampleRecord(4, ResultStarted),
	} {
		must.Do(t, b.history.add(r))
	}
	for _, tc := range []struct {
		query string
		want  []uint64
		next  uint64
	}{
		{"", []uint64{4, 3, 2, 1}, 0},
		{"limit=2", []uint64{4, 3}, 3},
		{"limit=2&before=3", []uint64{2, 1}, 0},
		{"rule=rule-1", []uint64{3, 1}, 0},
		{"result=started", []uint64{4}, 0}, // An action that has ended is not under way.
		{"result=done", []uint64{2}, 0},
		{"action=notify", nil, 0},
		{"server=server-1", []uint64{4, 1}, 0},
		{"alertname=B", nil, 0},
		{"since=2026-11-25T12:00:03Z", []uint64{4, 3}, 0},
		{"until=2026-11-25T12:00:03Z", []uint64{2, 1}, 0},
		{"rule=rule-1&since=2026-11-25T12:00:02Z", []uint64{3}, 0},
		{"rule=rule-0&result=done&server=server-2&alertname=A&action=exec", []uint64{2}, 0},
	} {
		w := b.request("GET", "/history?"+tc.query, "")
		var page historyPage
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != 200 || page.Records == nil {
			t.Fatalf("%s: status %d, %v: %s", tc.query, w.Code, err, w.Body)
		}
		if diff := cmp.Diff(tc.want, ids(page.Records)); diff != "" || page.NextBefore != tc.next {
			t.Errorf("%s: next before %d, want %d; records (-want +got):\n%s", tc.query, page.NextBefore, tc.next, diff)
		}
	}
	for _, bad := range []string{"limit=0", "limit=1001", "limit=x", "since=yesterday", "before=-1", "rules=act"} {
		if w := b.request("GET", "/history?"+bad, ""); w.Code != 400 {
			t.Errorf("%s: status %d; want 400", bad, w.Code)
		}
	}
}

// The metrics begin at 0 for each result, so that the first one is an increase, and the time of the last action
// outlives a restart.
func TestMetrics(t *testing.T) {
	b := newFixture(t)
	const actions, last = "consul_responder_actions_total", "consul_responder_last_action_timestamp_seconds"
	if n, m := len(b.series(actions)), len(b.series(last)); n != len(results) || m != 0 {
		t.Errorf("%d series, and %d of the last action; want one for each of %d results, and none", n, m, len(results))
	}
	b.deliver(b.alert("server-2", 0))
	b.err = errFake
	b.wait(time.Hour)
	at := float64(b.clock.Unix())
	b.deliver(b.alert("server-2", 0))
	b.wait(time.Hour)
	b.view = healthyView(3).kill(1)
	b.deliver(b.alert("server-2", 0))
	want := map[string]float64{
		"done": 1, "failed": 1, "refused_by_guard": 1, "cooldown": 0, "timeout": 0, "dry_run": 0, "unknown": 0,
	}
	if diff := cmp.Diff(want, b.series(actions)); diff != "" {
		t.Errorf("decisions (-want +got):\n%s", diff)
	}
	b.restart()
	if diff := cmp.Diff(map[string]float64{"": at}, b.series(last)); diff != "" {
		t.Errorf("the time of the last action after a restart (-want +got):\n%s", diff)
	}
}
