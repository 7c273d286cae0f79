// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package agenttest stands in for an agent's HTTP API, for answers that a real one does not give on demand.
package agenttest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// authorize is the only path to which something may be posted: it asks what a token may read.
const authorize = "/v1/internal/acl/authorize"

// Serve answers on these paths until the test ends, and returns the address. The test fails if another path is asked
// for, or something is to be changed.
func Serve(tb testing.TB, handlers map[string]http.HandlerFunc) consul.Address {
	tb.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler, ok := handlers[r.URL.Path]
		if !ok {
			tb.Errorf("unexpected request %s %s", r.Method, r.URL)
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.URL.Path != authorize {
			tb.Errorf("request %s %s; the exporter only reads", r.Method, r.URL)
		}
		handler(w, r)
	}))
	tb.Cleanup(server.Close)
	return must.Get(consul.ParseAddress(server.URL))(tb)
}

// Answer is a handler that answers with this status and body.
func Answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}
