// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/status"
)

// history is an answer of the responder, with a name that attacks the page.
const history = `{"records":[
	{"id":2,"time":"2026-11-25T14:02:00Z","rule":"hung-<script>alert(1)</script>","action":"exec","dry_run":false,
	 "result":"failed","error":"exit status 3","output":"a s3cret of the hook","what":"Run /bin/hook s3cret",
	 "alert":{"fingerprint":"f","starts_at":"2026-11-25T14:01:00Z",
	 "labels":{"alertname":"ConsulServerHung","server":"server-1"}},"reasons":["It is safe."],"later":1},
	{"id":1,"time":"2026-11-25T13:00:00Z","rule":"dead-peer","action":"remove-dead-peer","dry_run":true,
	 "result":"refused_by_guard","alert":{"labels":{"alertname":"ConsulServerDown","server":"server-3"}},
	 "reasons":["First.","Without server-3 there are 2 voters left."]}
],"next_before":1}`

// pageWith is the page of a healthy cluster with a responder that answers with this.
func pageWith(t *testing.T, answer http.HandlerFunc, secret func() string) http.Handler {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return newTestPage(t, func(context.Context) status.View { return healthyStatus(3) }, Options{
		Responder: Responder{URL: server.URL + "/", Secret: secret},
	})
}

func show(t *testing.T, page http.Handler, target string) string {
	t.Helper()
	w := get(t, page, target)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestRecovery_Shown(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	page := pageWith(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.URL.RequestURI() + " " + r.Header.Get("Authorization")
		fmt.Fprint(w, history)
	}, func() string { return "s3cret" })
	if html := show(t, page, "/"); strings.Count(html, "<script>") > 1 || strings.Contains(html, "s3cret") {
		t.Errorf("the page has another script or the secret:\n%s", html)
	}
	var document struct{ Recovery recovery }
	must.Do(t, json.Unmarshal([]byte(show(t, page, "/?format=json")), &document))
	if r := document.Recovery; len(r.Records) != 2 || r.Records[0].Result != "failed" || !r.Records[1].DryRun ||
		r.Error != "" {
		t.Errorf("as JSON it is %+v", document.Recovery)
	}
	if n := len(asked); n != 1 || <-asked != "GET /history?limit=10 Bearer s3cret" {
		t.Errorf("the responder was asked %d times, or in another way; want once for its history", n)
	}
}

// Whatever is wrong with the responder, the page says so, and shows the cluster.
func TestRecovery_Fails(t *testing.T) {
	t.Parallel()
	says := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
	}
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"nothing decided", says(`{"records":[]}`), "The responder has decided nothing yet."},
		{"no list", says(`{"records":null}`), "The responder has decided nothing yet."},
		{"wrong secret", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "the secret is missing or wrong", http.StatusUnauthorized)
		}, `answers 401 Unauthorized: "the secret is missing or wrong\n"`},
		{"no JSON", says("<html>"), "What the responder decided is not known.\nError read http://127.0.0.1:"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, "answers 302 Found"},
		{"endless", says(strings.Repeat(" ", maxRecoveryBytes+1)), "unexpected end of JSON input"},
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "context deadline exceeded"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			page := pageWith(t, tc.answer, nil)
			if document := show(t, page, "/?format=json"); strings.Contains(document, `"records":null`) {
				t.Errorf("records are null in %s", document)
			}
			got := text(show(t, page, "/"))
			if !strings.Contains(got, tc.want) || !strings.Contains(got, "3 of 3 voters answer") {
				t.Errorf("the page lacks %q, or the verdict:\n%s", tc.want, got)
			}
		})
	}
}

func TestValidateResponderURL(t *testing.T) {
	t.Parallel()
	for s, good := range map[string]bool{
		"http://localhost:9108": true, "https://responder.example/": true, "http://[::1]:9108": true, "localhost:9108": false,
		"ftp://a": false, "http://": false,
		"http://a/history": false, "http://u:p@a": false, "http://a?b=c": false, "": false,
	} {
		if err := ValidateResponderURL(s); (err == nil) != good {
			t.Errorf("%q: %v; want good: %v", s, err, good)
		}
	}
}
