// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// serve is an agent's HTTP API with one handler for everything.
func serve(t *testing.T, handler http.HandlerFunc) Address {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return must.Get(ParseAddress(server.URL))(t)
}

func respond(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

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
		{"bad request", respond(400, "Bad request"), "400", false, "400 (Bad request)"},
		{"server error", respond(500, "No known Consul servers"), "500", false, "No known Consul servers"},
		{"not JSON", respond(200, "<html>"), "error", false, "invalid character"},
		{"other JSON", respond(200, `{"a":1}`), "error", false, "cannot unmarshal"},
		{"empty", respond(200, ""), "error", false, "EOF"},
		{"torn", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `"10.0.0`)
		}, "error", false, "unexpected EOF"},
		{"slow", hang, "error", false, "deadline exceeded"},
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

// What an agent refuses is not asked again at once: not the question itself, or not any other that would be refused for
// the same reason.
func TestClient_Refusals(t *testing.T) {
	t.Parallel()
	first, other := Endpoint{Path: "/v1/test"}, Endpoint{Path: "/v1/other"}
	far, farOther := Endpoint{Path: "/v1/test", Elsewhere: true}, Endpoint{Path: "/v1/other", Elsewhere: true}
	leader, settling := Endpoint{Path: "/v1/status/leader"}, Endpoint{Path: "/v1/test", Settles: time.Hour}
	uncertain, maybeEmpty := Endpoint{Path: "/v1/test", Uncertain: true}, Endpoint{Path: "/v1/test", MaybeEmpty: true}
	slow := Endpoint{Path: "/v1/test", Uncertain: true, Timeout: 50 * time.Millisecond}
	denied, unknownToken := respond(403, "Permission denied"), respond(403, "ACL not found")
	fails := respond(500, "rpc error making call: Connect must be enabled in order to use this endpoint")
	notANumber := respond(500, "json: unsupported value: NaN")
	unserved := respond(500, "rpc error getting client: failed to get conn: dial tcp: connect: connection refused")
	leaderless := respond(500, "rpc error making call: No cluster leader")
	enterprise := respond(400, `Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`)
	askAgain := func(c *Client) { c.AskAgain(c.opts.Address) }
	for _, tc := range []struct {
		name     string
		handler  http.HandlerFunc
		ep, next Endpoint
		after    func(*Client) // Is called before next is asked.
		want     error         // What the answer is, if not only an error.
		asked    int32         // In all.
	}{
		{"refused", denied, first, first, nil, ErrRefused, 1},
		{"refused, and another question", denied, first, other, nil, ErrRefused, 2},
		{"the configuration has changed", denied, first, first, askAgain, ErrRefused, 2},
		{"an unknown token", unknownToken, first, other, nil, ErrRefused, 1},
		{"an unknown token, and a question that needs none", unknownToken, first, leader, nil, ErrRefused, 2},
		{"a token that may be known now", unknownToken, first, first, (*Client).AskAgainWithToken, ErrRefused, 2},
		{"what may be switched off", fails, uncertain, first, nil, ErrRefused, 1},
		{"what may be switched off, but no server answered the agent", unserved, uncertain, first, nil, nil, 2},
		{"what may be switched off, but there is no leader", leaderless, uncertain, first, nil, nil, 2},
		{"what may be switched off, and hangs", hang, slow, first, nil, context.DeadlineExceeded, 1},
		{"a datacenter out of reach", fails, far, farOther, nil, nil, 1},
		{"a server that fails", fails, first, first, nil, nil, 2},
		{"no number", notANumber, settling, first, nil, nil, 1},
		{"a namespace without Consul Enterprise", enterprise, first, first, nil, nil, 1},
		{"a bad request", respond(400, "Bad request"), first, first, nil, nil, 2},
		{"nothing there", respond(404, ""), maybeEmpty, other, nil, ErrNothing, 2},
		{"answered", respond(200, "{}"), far, farOther, nil, nil, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			address := serve(t, func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				tc.handler(w, r)
			})
			c := newTestClient(t, Options{Address: address, Timeout: 20 * time.Second, Datacenter: "dc2"})
			_, err := c.Get(t.Context(), address, tc.ep, new(any))
			if tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("error %v; want %v", err, tc.want)
			}
			if tc.after != nil {
				tc.after(c)
			}
			_, next := c.Get(t.Context(), address, tc.next, new(any))
			if got := asked.Load(); got != tc.asked || (err == nil) != (next == nil) {
				t.Errorf("asked %d times, errors %v and %v; want %d times", got, err, next, tc.asked)
			}
		})
	}
}

// A refusal holds for the token that was refused, even if the file of the token changes while the question is asked.
func TestClient_TokenChanges(t *testing.T) {
	t.Parallel()
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Consul-Token") != "strong" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, `""`)
	})
	var reads atomic.Int64
	var back atomic.Bool
	c := newTestClient(t, Options{Address: address, Timeout: 20 * time.Second, Token: func() string {
		if reads.Add(1) == 1 || back.Load() {
			return "strong"
		}
		return "weak"
	}})
	var leader string
	ep := Endpoint{Path: "/v1/status/leader"}
	_, _ = c.Get(t.Context(), address, ep, &leader)
	back.Store(true)
	if _, err := c.Get(t.Context(), address, ep, &leader); err != nil {
		t.Errorf("with the strong token again: %v", err)
	}
}

// A long answer may take any time, as long as more and more of it arrives.
func TestClient_Long(t *testing.T) {
	t.Parallel()
	for name, pause := range map[string]time.Duration{"arrives": 0, "stalls": time.Minute} {
		address := serve(t, func(w http.ResponseWriter, r *http.Request) {
			for range 3 {
				_, _ = io.WriteString(w, `"part"`)
				_ = http.NewResponseController(w).Flush()
				select {
				case <-time.After(max(pause, 10*time.Millisecond)):
				case <-r.Context().Done():
				}
			}
		})
		c := newTestClient(t, Options{Address: address, Timeout: 300 * time.Millisecond, RequestLimit: 1})
		ep := Endpoint{Path: "/v1/test", Long: true, Body: []byte("{}"), Decode: func(r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		}}
		_, err := c.Get(t.Context(), address, ep, nil)
		stalls := pause > 0
		if errors.Is(err, context.DeadlineExceeded) != stalls || errors.As(err, new(stalledError)) != stalls {
			t.Errorf("%s: error %v; want that nothing more arrived: %v", name, err, stalls)
		}
	}
}

// HTTPS uses the authority of the files, for reading and for writing.
func TestClient_TLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(respond(200, `"10.0.0.1:8300"`))
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	must.Do(t, os.WriteFile(ca, block, 0o600))
	files := must.Get(TLSFiles{CAFile: ca, ServerName: "example.com"}.Open(nil))(t)
	address := must.Get(ParseAddress(server.URL))(t)
	opts := Options{Address: address, TLS: files, Timeout: 20 * time.Second}
	var leader string
	c := newTestClient(t, opts)
	if _, err := c.Get(t.Context(), address, Endpoint{Path: "/v1/status/leader"}, &leader); err != nil || leader == "" {
		t.Errorf("leader %q, error %v", leader, err)
	}
	c.Retain(func(string) bool { return false })
	writer := must.Get(NewAPIClient(opts))(t)
	if leader, err := writer.Status().Leader(); err != nil || leader != "10.0.0.1:8300" {
		t.Errorf("leader %q, error %v", leader, err)
	}
	opts.TLS = nil
	_, err := newTestClient(t, opts).Get(t.Context(), address, Endpoint{Path: "/v1/status/leader"}, &leader)
	expectError(t, err, "certificate")
	must.Do(t, files.Failing())
}
