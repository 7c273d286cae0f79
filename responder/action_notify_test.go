// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

func TestNotify(t *testing.T) {
	t.Parallel()
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
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
		Labels:      map[string]string{"alertname": "A", "odd": "\"\n"},
		Annotations: map[string]string{"summary": "S."}, StartsAt: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC),
	}
	for _, tc := range []struct {
		path  string
		limit time.Duration
		want  string
	}{
		{"/", time.Minute, ""},
		{"/redirect", time.Minute, "the answer is 307 Temporary Redirect"},
		{"/error", time.Minute, "the answer is 500 Internal Server Error"},
		{"/hang", 100 * time.Millisecond, context.DeadlineExceeded.Error()},
	} {
		plan, d := (&notify{NotifyConfig{URL: server.URL + tc.path}, "r"}).judge(a, nil)
		if !d.allowed || plan.what != "Notify: POST to "+server.URL {
			t.Errorf("%s: allowed %v, %q", tc.path, d.allowed, plan.what)
		}
		ctx, cancel := context.WithTimeout(t.Context(), tc.limit)
		defer cancel()
		_, err := plan.run(ctx, nil)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v; want %q", tc.path, err, tc.want)
		}
		if tc.path == "/hang" {
			return // Its body may not have been read.
		}
		var got any
		must.Do(t, json.Unmarshal(body, &got))
		if diff := cmp.Diff(map[string]any{
			"rule": "r", "labels": map[string]any{"alertname": "A", "odd": "\"\n"},
			"annotations": map[string]any{"summary": "S."}, "startsAt": "2026-11-25T12:00:00Z",
		}, got); diff != "" {
			t.Errorf("%s: the notification differs (-want +got):\n%s", tc.path, diff)
		}
	}
}

// The URL may be a secret: it can be in a file, which is read each time, and nothing says more of it than the host.
func TestNotify_SecretURL(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	file := filepath.Join(t.TempDir(), "url")
	n := &notify{NotifyConfig{URLFile: file}, "r"}
	for _, url := range []string{
		server.URL + "/s3cret", "http://a:s3cret@127.0.0.1:1/s3cret?s3cret", "http://127.0.0.1:s3cret/", "s3cret",
		"http://127.0.0.1/%zzs3cret", "http://s3cret%41@127.0.0.1:1/", "ftp://s3cret/",
	} {
		must.Do(t, os.WriteFile(file, []byte(url+"\n"), 0o600))
		p, _ := n.judge(&Alert{}, nil)
		_, err := p.run(t.Context(), nil)
		if err == nil || strings.Contains(err.Error()+p.what, "s3cret") {
			t.Errorf("%s: %q, error %v; want an error without the secret", url, p.what, err)
		}
	}
	server.Close()
}

// A notification that hangs keeps no repair waiting.
func TestNotify_Hangs(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	b := newFixture(t)
	tell := b.rule("tell", "B")
	tell.action = &notify{NotifyConfig{URL: server.URL, Timeout: time.Minute}, "tell"}
	b.rules = append(b.rules, tell)
	b.restart()
	told, repaired := b.alert("anything", 0), b.alert("server-2", 0)
	told.Labels["alertname"] = "B"
	b.enqueue(told, repaired)
	for range 2 {
		next, _ := b.take()
		b.decide(t.Context(), next)
	}
	b.expect([]string{"server-2"}, ResultStarted, ResultDone)
	close(release)
	b.running.Wait()
	b.expect([]string{"server-2"}, ResultDone, ResultDone)
}

// Notifications look at no cluster, and count for no limit but that of their rule.
func TestNotify_Limits(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	b := newFixture(t)
	b.maximum = 1
	tell := b.rule("tell", "B")
	tell.action, tell.Cooldown = &notify{NotifyConfig{URL: server.URL, Timeout: time.Minute}, "tell"}, time.Second
	b.rules = append(b.rules, tell)
	b.restart()
	for range 3 {
		a := b.alert("anything", 0)
		a.Labels["alertname"] = "B"
		b.deliver(a)
		b.wait(2 * time.Second)
	}
	b.expect(nil, ResultDone, ResultDone, ResultDone)
	if b.looks > 0 {
		t.Errorf("the cluster was looked at %d times for notifications", b.looks)
	}
	b.deliver(b.alert("server-2", 0))
	b.wait(2 * time.Minute)
	b.deliver(b.alert("server-3", 0))
	b.expect([]string{"server-2"}, ResultDone, ResultDone, ResultDone, ResultDone, ResultCooldown)
	b.expectReason("All rules together acted 1 times in the last hour, and may 1 times.")
}
