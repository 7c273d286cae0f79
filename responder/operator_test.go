// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// What an action sends is what it says, with the token that the responder was given, and nothing from the environment.
func TestOperator_Environment(t *testing.T) {
	for name, value := range map[string]string{
		"CONSUL_HTTP_TOKEN": "ambient", "CONSUL_HTTP_TOKEN_FILE": "/nonexistent/token", "CONSUL_HTTP_AUTH": "ambient:secret",
		"CONSUL_NAMESPACE": "ambient", "CONSUL_PARTITION": "ambient",
	} {
		t.Setenv(name, value)
	}
	for _, token := range []string{"", "own"} {
		var sent *http.Request
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sent = r
			_, _ = io.WriteString(w, `{"Success":true}`)
		}))
		c := cluster.New(cluster.Options{Client: consul.Options{
			Address:   consul.Address{Scheme: "http", Host: strings.TrimPrefix(server.URL, "http://")},
			Token:     func() string { return token },
			Namespace: "team",
		}})
		o := must.Get(newOperator(c))(t)
		for _, r := range []request{o.transfer("id"), o.removePeer("id")} {
			must.Do(t, r.send(t.Context()))
			asked := must.Get(url.QueryUnescape(sent.Method + " " + sent.URL.RequestURI()))(t)
			header := sent.Header
			if asked != r.text || header.Get("X-Consul-Token") != token || header.Get("Authorization") != "" {
				t.Errorf("%s with %v; want %s, token %q and nothing else", asked, header, r.text, token)
			}
		}
		c.Close()
		server.Close()
	}
}
