// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serve is an agent's HTTP API with one handler for everything.
func serve(t *testing.T, handler http.HandlerFunc) Address {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	address, err := ParseAddress(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func respond(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func newTestClient(t *testing.T, opts Options) *Client {
	t.Helper()
	c := NewClient(opts)
	t.Cleanup(c.CloseIdle)
	return c
}

func TestClient_BadAnswers(t *testing.T) {
	t.Parallel()
	const path = "/v1/status/leader"
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		code    string
		refused bool
		text    string
	}{
		{
			"forbidden", respond(403, "Permission denied"), "403", true,
			"read /v1/status/leader: refused: Unexpected response code: 403 (Permission denied)",
		},
		{"unknown", respond(404, ""), "404", true, "404"},
		{"not implemented", respond(501, ""), "501", true, "501"},
		{"too many requests", respond(429, "Your IP is issuing too many concurrent connections"), "429", false, "429"},
		{"server error", respond(500, "No known Consul servers"), "500", false, "No known Consul servers"},
		{"not JSON", respond(200, "<html>"), "error", false, "invalid character"},
		{"other JSON", respond(200, `{"a":1}`), "error", false, "cannot unmarshal"},
		{"empty", respond(200, ""), "error", false, "EOF"},
		{"torn", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `"10.0.0`)
		}, "error", false, "unexpected EOF"},
		{"slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "error", false, "deadline exceeded"},
		{"closed", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "error", false, "EOF"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/stolen", http.StatusFound)
		}, "302", false, "302"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			timeout := 20 * time.Second // Too long to be the reason, even on a busy machine.
			if tc.name == "slow" {
				timeout = 500 * time.Millisecond
			}
			address := serve(t, tc.handler)
			c := newTestClient(t, Options{Address: address, Timeout: timeout, Token: func() string { return "t0ken" }})
			var leader string
			_, err := c.Get(t.Context(), address, Endpoint{Path: path}, &leader)
			if err == nil || !strings.Contains(err.Error(), tc.text) || strings.Contains(err.Error(), "t0ken") {
				t.Errorf("error is %v; want one with %q and without the token", err, tc.text)
			}
			if got := errors.Is(err, ErrRefused); got != tc.refused {
				t.Errorf("refused = %v; want %v", got, tc.refused)
			}
			if got := c.Requests()[RequestKey{path, tc.code}]; got != 1 {
				t.Errorf("requests are %v; want one with code %s", c.Requests(), tc.code)
			}
		})
	}
}

// An answer of the very length that is allowed is read, one of a byte more is not; what is decoded as a whole has a
// limit of its own.
func TestBoundedBody(t *testing.T) {
	t.Parallel()
	const (
		ofFlag = "the answer is larger than 4 bytes, " +
			"the limit set by --consul.max-response-bytes (max_response_bytes in a module)"
		ofWhole = "the answer is larger than 1048576 bytes, which is not what Consul answers here"
	)
	for _, tc := range []struct {
		name     string
		streamed bool
		length   int
		maxBytes int64
		want     string // Empty: it is read.
	}{
		{"streamed, within", true, 4, 4, ""},
		{"streamed, beyond", true, 5, 4, ofFlag},
		{"whole, within", false, wholeAnswerBytes, 4 << 20, ""},
		{"whole, beyond", false, wholeAnswerBytes + 1, 4 << 20, ofWhole},
		{"whole, beyond the flag", false, 5, 4, ofFlag},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			text := `"` + strings.Repeat("x", tc.length-2) + `"`
			address := serve(t, respond(200, text))
			c := newTestClient(t, Options{Address: address, MaxResponseBytes: tc.maxBytes, Timeout: 20 * time.Second})
			var got string
			ep := Endpoint{Path: "/v1/test"}
			if tc.streamed {
				ep.Decode = func(r io.Reader) error { return json.NewDecoder(r).Decode(&got) }
			}
			_, err := c.Get(t.Context(), address, ep, &got)
			switch {
			case tc.want != "" && (err == nil || !strings.HasSuffix(err.Error(), tc.want)):
				t.Errorf("error %v; want %s", err, tc.want)
			case tc.want == "" && (err != nil || len(got) != tc.length-2):
				t.Errorf("read %d bytes, error %v; want all", len(got), err)
			}
		})
	}
}

// What CONSUL_* variables say is for the flags that name them, and never for a client that was not told so.
func TestClient_Environment(t *testing.T) {
	for name, value := range map[string]string{
		"CONSUL_HTTP_ADDR": "127.0.0.1:1", "CONSUL_HTTP_SSL": "true", "CONSUL_HTTP_SSL_VERIFY": "false",
		"CONSUL_HTTP_AUTH":  "user:secret",
		"CONSUL_HTTP_TOKEN": "secret", "CONSUL_HTTP_TOKEN_FILE": "/nonexistent/token", "CONSUL_NAMESPACE": "team",
		"CONSUL_PARTITION": "part",
		"CONSUL_CACERT":    "/nonexistent/ca.pem", "CONSUL_CAPATH": "/nonexistent",
		"CONSUL_CLIENT_CERT": "/nonexistent/cert.pem",
		"CONSUL_CLIENT_KEY":  "/nonexistent/key.pem", "CONSUL_TLS_SERVER_NAME": "secret",
	} {
		t.Setenv(name, value)
	}
	for name, ep := range map[string]Endpoint{
		"whole": {Path: "/v1/test"}, "streamed": {Path: "/v1/test", Decode: func(io.Reader) error { return nil }},
	} {
		var got *http.Request
		address := serve(t, func(w http.ResponseWriter, r *http.Request) {
			got = r
			_, _ = io.WriteString(w, "null")
		})
		c := newTestClient(t, Options{Address: address, Timeout: 20 * time.Second})
		if _, err := c.Get(t.Context(), address, ep, new(any)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, header := range []string{"X-Consul-Token", "Authorization", "X-Consul-Namespace"} {
			if value, ok := got.Header[header]; ok {
				t.Errorf("%s: header %s is %q; want none", name, header, value)
			}
		}
		for _, param := range []string{"ns", "partition", "namespace"} {
			if got.URL.Query().Has(param) {
				t.Errorf("%s: query is %s; want no %s", name, got.URL.RawQuery, param)
			}
		}
	}
}
