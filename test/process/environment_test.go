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
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

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
		strings.Join(r.Header.Values("Authorization"), ","), strings.Join(query["ns"], ","), strings.Join(query["partition"], ","))
}

// expectIdentity fails unless there were requests, all with this identity but those of the port's probe, which has
// none.
func (r *recorder) expectIdentity(t *testing.T, what, want string) {
	t.Helper()
	probed := identity(httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	identities := make(map[string]int)
	for _, req := range r.requests() {
		if id := identity(req); id != probed || want == probed {
			identities[id]++
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
		"config.yml": "modules: {empty: {targets: [127.0.0.0/8]}}",
		"token":      "from-file",
		"ambient":    "ambient-file",
	})
	path := func(name string) string { return filepath.Join(folder, name) }
	ambient := []string{
		"CONSUL_HTTP_TOKEN=ambient", "CONSUL_HTTP_AUTH=ambient:secret",
		"CONSUL_NAMESPACE=ambient-ns", "CONSUL_PARTITION=ambient-part", "CONSUL_TLS_SERVER_NAME=ambient-name", "CONSUL_HTTP_SSL_VERIFY=false",
	}
	const (
		nobody      = "token= auth= ns= partition="
		ambientRest = " auth=Basic YW1iaWVudDpzZWNyZXQ= ns=ambient-ns partition=ambient-part"
	)
	for _, tc := range []struct {
		name  string
		env   []string
		flags []string
		token string
	}{
		{"token", nil, nil, "ambient"},
		{"token file", []string{"CONSUL_HTTP_TOKEN_FILE=" + path("ambient")}, nil, "ambient-file"},
		{"flag before a missing file", []string{"CONSUL_HTTP_TOKEN_FILE=" + path("missing")}, []string{"--consul.token-file=" + path("token")}, "from-file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			own, target := startRecorder(t), startRecorder(t)
			env := append(slices.Clone(ambient), append(tc.env, "CONSUL_HTTP_ADDR="+own.address)...)
			e := harness.StartExporter(t, env, append(tc.flags, "--config.file="+path("config.yml"))...)
			e.Scrape(t)
			own.expectIdentity(t, "a scrape", "token="+tc.token+ambientRest)
			e.Page(t, probePage("empty", target.address), http.StatusOK)
			target.expectIdentity(t, "/probe", nobody)
			if sent := own.requests(); len(sent) > 0 {
				t.Errorf("%d requests about another target went to the agent of the environment", len(sent))
			}

			check := exec.CommandContext(t.Context(), os.Args[0], append([]string{"check"}, tc.flags...)...)
			check.Env = append(os.Environ(), append(env, harness.AsExporter+"=1")...)
			out, _ := check.CombinedOutput() // Its exit code is about the cluster, which has nothing to say.
			if code := check.ProcessState.ExitCode(); code == cli.ExitUsage {
				t.Errorf("check: exit code %d, printed %s", code, out)
			}
			own.expectIdentity(t, "check", "token="+tc.token+ambientRest)

			rules := harness.WriteFiles(t, map[string]string{"responder.yml": "expected_servers: 3\nhistory: {file: history.jsonl}\n" +
				"rules:\n- {name: hand-over, matchers: ['alertname=\"A\"'], action: {transfer-leadership: {}}}\n"})
			r := harness.Launch(t, os.Args[0], env, append([]string{"responder", "--config.file=" + filepath.Join(rules, "responder.yml")}, tc.flags...)...)
			responder := &harness.RunningResponder{Exporter: r}
			responder.Deliver(t, harness.Firing("A", time.Now()))
			responder.WaitDecision(t)
			own.expectIdentity(t, "the responder", "token="+tc.token+ambientRest)
			harness.Must(t, r.Stop())
		})
	}
}
