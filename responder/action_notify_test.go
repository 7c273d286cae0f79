// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNotify(t *testing.T) {
	t.Parallel()
	bodies := make(chan []byte, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- body
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/", http.StatusTemporaryRedirect)
		case "/error":
			http.Error(w, "no", http.StatusInternalServerError)
		case "/hang":
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	a := &Alert{
		Labels: map[string]string{"alertname": "A", "odd": "\"\n"}, Annotations: map[string]string{"summary": "S."}, StartsAt: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC),
	}
	run := func(path string, limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		plan, ruling := (&notify{rule: "r", url: server.URL + path}).judge(a, nil)
		if !ruling.allowed || plan.what != "Notify: POST to "+server.URL {
			t.Errorf("allowed %v, %q", ruling.allowed, plan.what)
		}
		_, err := plan.run(ctx)
		return err
	}
	must(t, run("/", time.Minute))
	var got map[string]any
	must(t, json.Unmarshal(<-bodies, &got))
	want := map[string]any{
		"rule": "r", "labels": map[string]any{"alertname": "A", "odd": "\"\n"}, "annotations": map[string]any{"summary": "S."}, "startsAt": "2026-11-25T12:00:00Z",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the notification differs (-want +got):\n%s", diff)
	}
	for path, want := range map[string]string{"/redirect": "the answer is 307 Temporary Redirect", "/error": "the answer is 500 Internal Server Error"} {
		if err := run(path, time.Minute); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v; want %s", path, err, want)
		}
	}
	if err := run("/hang", 100*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v; want that it took too long", err)
	}
}

// Notifications look at no cluster, and count for no limit but that of their rule.
func TestNotify_Limits(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	b := newBench(t)
	b.maximum = 1
	tell := b.rule("tell")
	tell.matchers[0].value, tell.action, tell.cooldown = "B", &notify{rule: "tell", url: server.URL, limit: time.Minute}, time.Second
	b.rules = append(b.rules, tell)
	b.restart()
	for range 3 {
		about := b.alert("anything", 0)
		about.Labels["alertname"] = "B"
		b.deliver(about)
		b.clock = b.clock.Add(2 * time.Second)
	}
	b.expect(nil, ResultDone, ResultDone, ResultDone)
	if b.looks > 0 {
		t.Errorf("the cluster was looked at %d times for notifications", b.looks)
	}
	b.deliver(b.alert("server-2", 0))
	b.clock = b.clock.Add(2 * time.Minute)
	b.deliver(b.alert("server-3", 0))
	b.expect([]string{"server-2"}, ResultDone, ResultDone, ResultDone, ResultDone, ResultCooldown)
	b.expectReason("All rules together acted 1 times in the last hour, and may 1 times.")
}
