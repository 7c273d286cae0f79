// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// someModules is a configuration file.
const someModules = "modules: {m: {targets: [127.0.0.1]}}"

// recorder is an agent's HTTP API that has nothing to say and remembers what it was sent.
type recorder struct {
	address string

	mu   sync.Mutex
	sent []*http.Request // Guarded by mu.
}

func startRecorder(t *testing.T) *recorder {
	t.Helper()
	r := &recorder{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.sent = append(r.sent, req)
		r.mu.Unlock()
		_, _ = io.WriteString(w, "null")
	}))
	t.Cleanup(server.Close)
	r.address = strings.TrimPrefix(server.URL, "http://")
	return r
}

// requests returns what was sent since the last call.
func (r *recorder) requests() []*http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent := r.sent
	r.sent = nil
	return sent
}

// identity is all that a request says about who sends it.
func identity(r *http.Request) string {
	query := r.URL.Query()
	return fmt.Sprintf("token=%s auth=%s ns=%s partition=%s", strings.Join(r.Header.Values("X-Consul-Token"), ","),
		strings.Join(r.Header.Values("Authorization"), ","), strings.Join(query["ns"], ","),
		strings.Join(query["partition"], ","))
}

// nobody is the identity of a request that says nothing.
const nobody = "token= auth= ns= partition="

// expectIdentity fails unless there were requests, all with this identity except those of the port's probe, which has
// none.
func (r *recorder) expectIdentity(t *testing.T, what, want string) {
	t.Helper()
	identities := make(map[string]bool)
	for _, req := range r.requests() {
		if id := identity(req); id != nobody || want == nobody {
			identities[id] = true
		} else if req.URL.Path != "/v1/status/leader" {
			t.Errorf("%s: %s was sent without an identity", what, req.URL.Path)
		}
	}
	if got := slices.Sorted(maps.Keys(identities)); !slices.Equal(got, []string{want}) {
		t.Errorf("%s: requests had the identities %q; want only %q", what, got, want)
	}
}

// Variables of Consul's CLI are the defaults of flags, and so they are for the cluster of --consul.server. Nothing of
// them reaches the targets of a module that does not name it, nor stands in the way of a flag.
func TestEnvironment_Requests(t *testing.T) {
	folder := harness.WriteFiles(t, map[string]string{
		"config.yml": "modules: {empty: {targets: [127.0.0.0/8]}}", "token": "from-file", "ambient": "ambient-file",
	})
	path := func(name string) string { return filepath.Join(folder, name) }
	for name, value := range map[string]string{
		"CONSUL_HTTP_TOKEN": "ambient", "CONSUL_HTTP_AUTH": "ambient:secret", "CONSUL_NAMESPACE": "ambient-ns",
		"CONSUL_PARTITION": "ambient-part", "CONSUL_TLS_SERVER_NAME": "ambient-name", "CONSUL_HTTP_SSL_VERIFY": "false",
	} {
		t.Setenv(name, value)
	}
	for _, tc := range []struct {
		name, tokenFile string // Of the environment.
		flags           []string
		token           string
	}{
		{"token", "", nil, "ambient"},
		{"token file", path("ambient"), nil, "ambient-file"},
		{"flag before a missing file", path("missing"), []string{"--consul.token-file=" + path("token")}, "from-file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			own, target := startRecorder(t), startRecorder(t)
			t.Setenv("CONSUL_HTTP_ADDR", own.address)
			if tc.tokenFile != "" {
				t.Setenv("CONSUL_HTTP_TOKEN_FILE", tc.tokenFile)
			}
			want := "token=" + tc.token + " auth=Basic YW1iaWVudDpzZWNyZXQ= ns=ambient-ns partition=ambient-part"
			e := harness.StartExporter(t, nil, append(tc.flags, "--config.file="+path("config.yml"))...)
			e.Scrape(t)
			own.expectIdentity(t, "a scrape", want)
			e.Page(t, probePage("empty", target.address), http.StatusOK)
			target.expectIdentity(t, "/probe", nobody)
			if sent := own.requests(); len(sent) > 0 {
				t.Errorf("%d requests about another target went to the agent of the environment", len(sent))
			}

			// The other exit codes are about the cluster, which has nothing to say.
			code, _, stderr := harness.RunProgram(t, append([]string{"check"}, tc.flags...)...)
			if code == cli.ExitUsage {
				t.Errorf("check: exit code %d, printed %s", code, stderr)
			}
			own.expectIdentity(t, "check", want)

			const rule = "- {name: a, cluster: any, matchers: [alertname=A], action: {transfer-leadership: {}}}"
			for _, name := range []string{"HTTP_TOKEN", "HTTP_TOKEN_FILE", "HTTP_AUTH", "NAMESPACE", "PARTITION"} {
				t.Setenv("CONSUL_RESPONDER_"+name, os.Getenv("CONSUL_"+name))
			}
			r := harness.StartResponder(t, own.address, 3, rule, tc.flags...)
			r.Deliver(t, harness.Firing("A", time.Now()))
			r.WaitDecision(t)
			own.expectIdentity(t, "the responder", want)
			must.Do(t, r.Stop())
		})
	}
}
