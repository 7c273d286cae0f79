// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
)

// What an action writes carries the token that the responder was given, and nothing from the environment.
func TestOperator_Environment(t *testing.T) {
	for name, value := range map[string]string{
		"CONSUL_HTTP_TOKEN": "ambient", "CONSUL_HTTP_TOKEN_FILE": "/nonexistent/token", "CONSUL_HTTP_AUTH": "ambient:secret",
		"CONSUL_NAMESPACE": "ambient", "CONSUL_PARTITION": "ambient",
	} {
		t.Setenv(name, value)
	}
	for _, token := range []string{"", "own"} {
		var sent []*http.Request
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sent = append(sent, r)
			_, _ = io.WriteString(w, `{"Success":true}`)
		}))
		o, err := newOperator(consul.Options{
			Address:   consul.Address{Scheme: "http", Host: strings.TrimPrefix(server.URL, "http://")},
			Token:     func() string { return token },
			Namespace: "team",
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{
			o.transfer(t.Context(), "id"),
			o.removePeer(t.Context(), cluster.RaftPeer{ID: "id"}),
			o.removePeer(t.Context(), cluster.RaftPeer{Address: "127.0.0.1:8300"}),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		server.Close()
		if len(sent) != 3 {
			t.Fatalf("%d requests were sent; want 3", len(sent))
		}
		for _, r := range sent {
			query := r.URL.Query()
			if got := r.Header.Get("X-Consul-Token"); got != token || r.Header.Get("Authorization") != "" || query.Has("ns") || query.Has("partition") {
				t.Errorf("%s %s: token %q, authorization %q; want token %q and nothing else", r.Method, r.URL, got, r.Header.Get("Authorization"), token)
			}
		}
	}
}
