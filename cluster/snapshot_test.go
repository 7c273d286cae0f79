// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// fakeAgent is an HTTP API for what a real one does not do on demand. It fails the test when it is asked for a path that it
// has no handler for.
func fakeAgent(t *testing.T, handlers map[string]http.HandlerFunc) Address {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler, ok := handlers[r.URL.Path]
		if !ok {
			handler, ok = circumstancesOfFake[r.URL.Path]
		}
		if !ok {
			t.Errorf("unexpected request %s %s", r.Method, r.URL)
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.URL.Path != endpointAuthorize.path {
			t.Errorf("request %s %s; the exporter only reads", r.Method, r.URL)
		}
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	address, err := ParseAddress(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// circumstancesOfFake is what decides, with a fakeAgent that does not say otherwise, that everything is asked: a server without ACLs.
var circumstancesOfFake = map[string]http.HandlerFunc{
	"/v1/agent/self":    answer(http.StatusOK, `{"Config":{"NodeName":"a","Server":true},"DebugConfig":{"ACLsEnabled":false}}`),
	"/v1/agent/members": answer(http.StatusOK, `[{"Name":"a","Status":1,"Tags":{"role":"consul","acls":"0"}}]`),
	"/v1/status/leader": answer(http.StatusOK, `"10.0.0.1:8300"`),

	"/v1/internal/acl/authorize": answer(http.StatusNotFound, ""), // As before Consul 1.8.
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func newTestCluster(t *testing.T, opts ClientOptions) *Cluster {
	t.Helper()
	if opts.Timeout == 0 {
		opts.Timeout = 5 * time.Second
	}
	c := New(Options{Client: opts, Ports: PortOptions{Timeout: time.Second, Concurrency: 4}})
	t.Cleanup(c.Close)
	return c
}

func snapshot(t *testing.T, c *Cluster) *Snapshot {
	t.Helper()
	snap := c.Snapshot(t.Context())
	t.Cleanup(snap.Close)
	return snap
}

func TestClient_Request(t *testing.T) {
	t.Parallel()
	var got *http.Request
	address := fakeAgent(t, map[string]http.HandlerFunc{"/prefix/v1/agent/members": func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
		_, _ = io.WriteString(w, `[{"Name":"a","Status":1,"Tags":{"role":"node"}}]`)
	}})
	address.Path = "/prefix"
	c := newTestCluster(t, ClientOptions{
		Address: address, Token: func() string { return "t0ken" }, BasicAuth: &api.HttpBasicAuth{Username: "u", Password: "p"},
		Namespace: "team", Partition: "part",
	})
	snap := snapshot(t, c)
	members, err := snap.WANMembers().Get(t.Context())
	if err != nil || len(members) != 1 || members[0].Name != "a" {
		t.Fatalf("members %v, error %v", members, err)
	}
	query := got.URL.Query()
	if query.Get("wan") != "1" || !query.Has("stale") || query.Get("ns") != "team" || query.Get("partition") != "part" {
		t.Errorf("query is %s; want wan, stale, namespace and partition", got.URL.RawQuery)
	}
	if strings.Contains(got.URL.RawQuery, "t0ken") || got.Header.Get("X-Consul-Token") != "t0ken" {
		t.Errorf("token is %q, query %q; want the token in its header only", got.Header.Get("X-Consul-Token"), got.URL.RawQuery)
	}
	if user, password, _ := got.BasicAuth(); user != "u" || password != "p" {
		t.Errorf("basic auth is %q, %q", user, password)
	}
	if meta := snap.Queries()["/v1/agent/members"]; !meta.Filtered || meta.HasLeader {
		t.Errorf("meta is %+v; want filtered, and nothing about a leader", meta)
	}
	if got := c.Requests()[RequestKey{"/v1/agent/members", "200"}]; got != 2 { // The LAN pool's tells first whether the token is known.
		t.Errorf("%d requests counted; want 2", got)
	}
}

// A refusal holds for the token that was refused, even if the file of the token changes while the question is asked.
func TestClient_TokenChanges(t *testing.T) {
	t.Parallel()
	address := fakeAgent(t, map[string]http.HandlerFunc{"/v1/agent/members": func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Consul-Token") != "strong" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, "[]")
	}})
	var reads atomic.Int64
	var back atomic.Bool
	c := newTestCluster(t, ClientOptions{Address: address, Token: func() string {
		if reads.Add(1) == 1 || back.Load() {
			return "strong"
		}
		return "weak"
	}})
	_, _ = snapshot(t, c).Members().Get(t.Context())
	back.Store(true)
	if _, err := snapshot(t, c).Members().Get(t.Context()); err != nil {
		t.Errorf("with the strong token again: %v", err)
	}
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
		{"forbidden", answer(403, "Permission denied"), "403", true, "read /v1/status/leader: refused: Unexpected response code: 403 (Permission denied)"},
		{"unknown", answer(404, ""), "404", true, "404"},
		{"not implemented", answer(501, ""), "501", true, "501"},
		{"too many requests", answer(429, "Your IP is issuing too many concurrent connections"), "429", false, "429"},
		{"server error", answer(500, "No known Consul servers"), "500", false, "No known Consul servers"},
		{"not JSON", answer(200, "<html>"), "error", false, "invalid character"},
		{"other JSON", answer(200, `{"a":1}`), "error", false, "cannot unmarshal"},
		{"empty", answer(200, ""), "error", false, "EOF"},
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
			c := newTestCluster(t, ClientOptions{
				Address: fakeAgent(t, map[string]http.HandlerFunc{path: tc.handler}), Timeout: timeout,
				Token: func() string { return "t0ken" },
			})
			_, err := snapshot(t, c).StatusLeader().Get(t.Context())
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

// An answer of the very length that is allowed is read, one of a byte more is not; what is decoded as a whole has a limit of its own.
func TestBoundedBody(t *testing.T) {
	t.Parallel()
	const (
		ofFlag  = "the answer is larger than 4 bytes, the limit set by --consul.max-response-bytes (max_response_bytes in a module)"
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
			address := fakeAgent(t, map[string]http.HandlerFunc{"/v1/test": answer(200, text)})
			c := newTestCluster(t, ClientOptions{Address: address, MaxResponseBytes: tc.maxBytes})
			var got string
			ep := endpoint{path: "/v1/test"}
			if tc.streamed {
				ep.decode = func(r io.Reader) error { return json.NewDecoder(r).Decode(&got) }
			}
			err := snapshot(t, c).readAgent(t.Context(), ep, &got)
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
		"CONSUL_HTTP_ADDR": "127.0.0.1:1", "CONSUL_HTTP_SSL": "true", "CONSUL_HTTP_SSL_VERIFY": "false", "CONSUL_HTTP_AUTH": "user:secret",
		"CONSUL_HTTP_TOKEN": "secret", "CONSUL_HTTP_TOKEN_FILE": "/nonexistent/token", "CONSUL_NAMESPACE": "team", "CONSUL_PARTITION": "part",
		"CONSUL_CACERT": "/nonexistent/ca.pem", "CONSUL_CAPATH": "/nonexistent", "CONSUL_CLIENT_CERT": "/nonexistent/cert.pem",
		"CONSUL_CLIENT_KEY": "/nonexistent/key.pem", "CONSUL_TLS_SERVER_NAME": "secret",
	} {
		t.Setenv(name, value)
	}
	for _, ep := range []endpoint{endpointStatusLeader, endpointWANMembers} {
		var got *http.Request
		address := fakeAgent(t, map[string]http.HandlerFunc{ep.path: func(w http.ResponseWriter, r *http.Request) {
			got = r
			_, _ = io.WriteString(w, "null")
		}})
		snap := snapshot(t, newTestCluster(t, ClientOptions{Address: address}))
		var err error
		if ep.path == endpointStatusLeader.path {
			_, err = snap.StatusLeader().Get(t.Context())
		} else {
			_, err = snap.WANMembers().Get(t.Context())
		}
		if err != nil {
			t.Errorf("%s: %v", ep.path, err)
			continue
		}
		for _, header := range []string{"X-Consul-Token", "Authorization", "X-Consul-Namespace"} {
			if value, ok := got.Header[header]; ok {
				t.Errorf("%s: header %s is %q; want none", ep.path, header, value)
			}
		}
		for _, param := range []string{"ns", "partition", "namespace"} {
			if got.URL.Query().Has(param) {
				t.Errorf("%s: query is %s; want no %s", ep.path, got.URL.RawQuery, param)
			}
		}
	}
}

func TestTokenFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	write := func(content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := NewTokenFile(path, nil); err == nil {
		t.Error("no error for a missing file")
	}
	write("first\n")
	var errs []error
	f, err := NewTokenFile(path, func(err error) { errs = append(errs, err) })
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want string, wantErrs int) {
		t.Helper()
		if got := f.Token(); got != want || len(errs) != wantErrs {
			t.Errorf("token %q after errors %v; want %q and %d errors", got, errs, want, wantErrs)
		}
	}
	expect("first", 0)
	write("second")
	expect("second", 0)
	write("")
	expect("second", 1) // Empty for a moment while it is rotated.
	expect("second", 1) // Said once.
	write("two tokens")
	expect("second", 1)
	write("third")
	expect("third", 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect("third", 2)
	for _, err := range errs {
		if !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "second") {
			t.Errorf("error %q; want one with the path and without a token", err)
		}
	}
}

// A fact is fetched once however many ask, and a caller that cannot wait does not end it for the others.
func TestFact(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	fetched := 0
	var f Fact[int]
	start := func() *Fact[int] {
		return f.start(t.Context(), func(context.Context) (int, error) {
			fetched++
			<-release
			return 42, nil
		})
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := start().Get(impatient); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v; want that of the caller's context", err)
	}
	close(release)
	for range 2 {
		if got, err := start().Get(t.Context()); got != 42 || err != nil {
			t.Errorf("got %d, %v; want 42", got, err)
		}
	}
	if fetched != 1 {
		t.Errorf("fetched %d times; want once", fetched)
	}
}

func TestFact_AfterTheEnd(t *testing.T) {
	t.Parallel()
	var f Fact[int]
	f.start(t.Context(), func(context.Context) (int, error) { return 1, nil })
	if _, err := f.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 1000 {
		if v, err := f.Get(ended); v != 1 || err != nil {
			t.Fatalf("got %d, %v after the context has ended; want the value, which is there", v, err)
		}
	}
}

func TestFact_Panic(t *testing.T) {
	t.Parallel()
	var f Fact[int]
	_, err := f.start(t.Context(), func(context.Context) (int, error) { panic("boom") }).Get(t.Context())
	if err == nil || !strings.Contains(err.Error(), "panic: boom") {
		t.Errorf("error %v; want the panic", err)
	}
}

// What was learnt stays when the agent is gone, when it has just started and knows nobody, or when the token is too weak.
func TestTopologyIsKept(t *testing.T) {
	t.Parallel()
	members := `[{"Name":"a","Addr":"127.0.0.1","Status":1,"Tags":{"role":"consul","port":"1","id":"id-a"}},
		{"Name":"b","Addr":"127.0.0.1","Status":1,"Tags":{"role":"consul","port":"2","id":"id-b"}}]`
	raft := `{"Servers":[{"ID":"id-a","Node":"a","Address":"127.0.0.1:1","Voter":true},{"ID":"id-b","Node":"b","Address":"127.0.0.1:2","Voter":true}]}`
	state := struct{ membersStatus, raftStatus int }{200, 200}
	address := fakeAgent(t, map[string]http.HandlerFunc{
		"/v1/agent/members":               func(w http.ResponseWriter, r *http.Request) { answer(state.membersStatus, members)(w, r) },
		"/v1/operator/raft/configuration": func(w http.ResponseWriter, r *http.Request) { answer(state.raftStatus, raft)(w, r) },
	})
	c := newTestCluster(t, ClientOptions{Address: address})
	names := func() string {
		snap := c.Snapshot(t.Context())
		defer snap.Close()
		topology, err := snap.Topology().Get(t.Context())
		text := fmt.Sprint(err)
		if err == nil {
			text = ""
		}
		for _, s := range topology.Servers {
			text += fmt.Sprintf("%s(%v) ", s.Name, s.Voter)
		}
		return text
	}
	for _, step := range []struct {
		name   string
		change func()
		want   string
	}{
		{"all is well", func() {}, "a(true) b(true) "},
		{"members cannot be read", func() { state.membersStatus = 500 }, "a(true) b(true) "},
		{"nothing can be read", func() { state.raftStatus = 500 }, "a(true) b(true) "},
		{"the agent knows only itself", func() {
			state.membersStatus, members = 200, `[{"Name":"client","Status":1,"Tags":{"role":"node"}}]`
		}, "a(true) b(true) "},
		{"the token sees nobody", func() { members = `[]` }, "a(true) b(true) "},
		{"a server has left", func() {
			members = `[{"Name":"a","Addr":"127.0.0.1","Status":1,"Tags":{"role":"consul","port":"1","id":"id-a"}},
				{"Name":"b","Addr":"127.0.0.1","Status":3,"Tags":{"role":"consul","port":"2","id":"id-b"}}]`
			state.raftStatus, raft = 200, `{"Servers":[{"ID":"id-a","Node":"a","Address":"127.0.0.1:1","Voter":true}]}`
		}, "a(true) "},
	} {
		step.change()
		if got := names(); got != step.want {
			t.Errorf("%s: servers are %q; want %q", step.name, got, step.want)
		}
	}
}

func TestNoServerKnown(t *testing.T) {
	t.Parallel()
	address := fakeAgent(t, map[string]http.HandlerFunc{
		"/v1/agent/members": answer(200, `[]`), "/v1/operator/raft/configuration": answer(403, ""), "/v1/status/peers": answer(200, `[]`),
		"/v1/agent/self": answer(403, ""),
	})
	_, err := snapshot(t, newTestCluster(t, ClientOptions{Address: address})).Reports().Get(t.Context())
	if !errors.Is(err, errNoServers) {
		t.Errorf("error %v; want errNoServers", err)
	}
}

func TestUp(t *testing.T) {
	t.Parallel()
	const self, leader = "/v1/agent/self", "/v1/status/leader"
	for _, tc := range []struct {
		name         string
		self, leader http.HandlerFunc
		want         bool
	}{
		{"well", answer(200, `{"Config":{"NodeName":"a"}}`), answer(200, `"10.0.0.1:8300"`), true},
		{"may not tell about itself", answer(403, ""), answer(200, `""`), true},
		{"a client without servers", answer(200, `{"Config":{"NodeName":"a"}}`), answer(500, "No known Consul servers"), true},
		{"too many connections", answer(429, ""), answer(429, ""), true},
		{"a proxy before a dead agent", answer(502, ""), answer(502, ""), false},
		{"another program", answer(404, ""), answer(404, ""), false},
		{"another program that answers anything", answer(200, "<html>"), answer(200, "<html>"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newTestCluster(t, ClientOptions{Address: fakeAgent(t, map[string]http.HandlerFunc{self: tc.self, leader: tc.leader})})
			if got, err := snapshot(t, c).Up().Get(t.Context()); got != tc.want || err != nil {
				t.Errorf("up = %v, %v; want %v", got, err, tc.want)
			}
		})
	}
}

// What the agent tells by itself does not wait behind what it asks the servers about, however many of those requests hang: an agent that has lost its
// servers is up. One request at a time is the tightest limit that users can set.
func TestUp_ServersHang(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	handlers := map[string]http.HandlerFunc{endpointSelf.path: answer(200, `{"Config":{"NodeName":"a"}}`)}
	forwarded := []endpoint{
		endpointRaft, endpointStatusPeers, endpointCatalogNodes, endpointDatacenters, endpointMeshRoots, endpointSessions,
		endpointCoordinates, endpointLicense, endpointAutopilotState, endpointAutopilotConfig, endpointStatusLeader,
	}
	for _, ep := range forwarded {
		handlers[ep.path] = hang
	}
	for _, limit := range []int{0, 1} {
		c := newTestCluster(t, ClientOptions{Address: fakeAgent(t, handlers), Timeout: 2 * time.Second, RequestLimit: limit})
		snap := snapshot(t, c)
		var hanging sync.WaitGroup
		for _, ep := range forwarded {
			ep.timeout = 6 * time.Second // They keep the connections for longer than anybody waits for the agent.
			hanging.Go(func() { _ = snap.readAgent(t.Context(), ep, &struct{}{}) })
		}
		<-time.After(200 * time.Millisecond) // They have the connections.
		if up, err := snap.Up().Get(t.Context()); err != nil || !up {
			t.Errorf("limit %d: up is %v, error %v; want that the agent is up", limit, up, err)
		}
		hanging.Wait()
	}
}
