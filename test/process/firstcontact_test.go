// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// firstContact is what goes wrong when the exporter meets its agent.
type firstContact struct {
	name  string
	flags []string
	// headline is in the first line of all views, and remedy is the next one.
	headline, remedy string
}

// The parts of remedies that are the same for many.
const (
	otherAddress = "--consul.server to the HTTP API of a Consul agent, for example " +
		"--consul.server=http://127.0.0.1:8500."
	notConsul  = "Another program or a proxy listens there. Set " + otherAddress
	clientCert = "Set --consul.cert-file and --consul.key-file to a certificate that the agent's CA " +
		"issued and to its key, " +
		"for example --consul.cert-file=dc1-client-consul-0.pem --consul.key-file=dc1-client-consul-0-key.pem."
	giveToken = "Give the exporter a token that has agent:read, node:read, service:read and operator:read, for example " +
		"with --consul.token-file=/etc/consul/exporter.token."
)

// Whatever is wrong when the exporter first meets its agent, the page, check and the log say in the same words what
// happened, and then which flag or permission to set.
func TestFirstContact(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 1, ACL: true})
	server := c.Servers[0]
	must.Get(c.WaitLeader(t.Context()))(t)
	documented := harness.ReadDocument(t, "docs/runbooks/by-symptom.md").Column("the agent", 0)
	for _, tc := range append(contactsWithConsul(t, server), contactsWithout(t)...) {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if !slices.ContainsFunc(documented, func(text string) bool { return strings.Contains(tc.headline, text) }) {
				t.Errorf("docs/runbooks/by-symptom.md does not have %q", tc.headline)
			}
			tc.expectCheck(t)
			tc.expectExporter(t)
		})
	}
}

// expectCheck expects the headline and the next line of check.
func (tc *firstContact) expectCheck(t *testing.T) {
	t.Helper()
	_, stdout, stderr := harness.RunProgram(t, append([]string{"check", "--timeout=5s"}, tc.flags...)...)
	top, _, _ := strings.Cut(stdout, "\n\n")
	headline, _, found := strings.Cut(strings.Join(strings.Fields(top), " "), " "+tc.remedy) // Lines are wrapped.
	beginning, _, _ := strings.Cut(tc.remedy, " ")
	if !found || !containsFold(headline, tc.headline) || !strings.Contains(stdout, "\n  "+beginning) {
		t.Errorf("check prints %q, %s; want %q, and below it %q", stdout, stderr, tc.headline, tc.remedy)
	}
}

// expectExporter expects them of the page, for people and for programs, and in the log.
func (tc *firstContact) expectExporter(t *testing.T) {
	t.Helper()
	e := harness.StartExporter(t, nil, tc.flags...)
	view := e.FreshStatus(t)
	if !containsFold(view.Verdict, tc.headline) || view.Remedy != tc.remedy {
		t.Errorf("the page has %q and %q; want %q in it, and %q", view.Verdict, view.Remedy, tc.headline, tc.remedy)
	}
	page := html.UnescapeString(e.Page(t, "/", http.StatusOK))
	_, rest, found := strings.Cut(page, "<h1>"+view.Verdict+"</h1>\n")
	if next, _, _ := strings.Cut(rest, "\n"); !found || !strings.Contains(next, ">"+tc.remedy+"<") {
		t.Errorf("the page has %q after the headline; want %q", next, tc.remedy)
	}
	e.Scrape(t)
	log := strings.ReplaceAll(e.Log.String(), `\"`, `"`)
	if !containsFold(log, tc.headline) || !strings.Contains(log, tc.remedy) {
		t.Errorf("the log does not have %q and %q:\n%s", tc.headline, tc.remedy, log)
	}
}

func containsFold(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

// contactsWithConsul are those with a real server with ACLs.
func contactsWithConsul(t *testing.T, server *consultest.Agent) []firstContact {
	t.Helper()
	at := func(scheme string, port int) string { return scheme + "://" + server.HostPort(port) }
	api := at("http", consultest.PortHTTP)
	contacts := []firstContact{
		{
			"https to an http port",
			[]string{"--consul.server=" + at("https", consultest.PortHTTP)},
			"speaks HTTP, not HTTPS", "Set --consul.server=" + api + ".",
		},
		{"no token", []string{"--consul.server=" + api}, "the token cannot read everything", giveToken},
		{
			"an unknown token",
			[]string{"--consul.server=" + api, "--consul.token-file=" + harness.Secret(t, "unknown")},
			"the token cannot read everything", giveToken,
		},
		{
			"404",
			[]string{"--consul.server=" + api + "/prefix"},
			"the agent at " + api + "/prefix answers with status 404 (Not Found)",
			"Remove the path from --consul.server, or change it to the one under which the proxy has Consul's " +
				"API, for example " +
				"--consul.server=" + api + ".",
		},
	}
	for port, what := range map[int]string{
		consultest.PortServer: "RPC between servers", consultest.PortSerfLAN: "gossip", consultest.PortSerfWAN: "gossip",
		consultest.PortGRPC: "gRPC", consultest.PortGRPCTLS: "gRPC", consultest.PortDNS: "DNS",
	} {
		contacts = append(contacts, firstContact{
			fmt.Sprintf("port %d", port),
			[]string{"--consul.server=" + at("http", port), "--consul.timeout=1s"},
			fmt.Sprintf("does not speak HTTP: port %d is Consul's port for %s", port, what),
			"Set --consul.server to the port of the HTTP API, for example --consul.server=" + api + ".",
		})
	}
	return contacts
}

// contactsWithout are those with anything else than Consul.
func contactsWithout(t *testing.T) []firstContact {
	t.Helper()
	certs := consultest.NewCertificates(t)
	secure := serveTLS(t, "127.0.0.1", certs, tls.NoClientCert)
	mutual := serveTLS(t, "127.0.0.1", certs, tls.RequireAndVerifyClientCert)
	renamed := serveTLS(t, "127.0.0.2", certs, tls.NoClientCert)
	closed := closedAddress(t)
	silent := silentAddress(t)
	ca := "--consul.ca-file=" + certs.CACert
	contacts := []firstContact{
		{
			"connection refused",
			[]string{"--consul.server=" + closed},
			"the agent at " + closed + " refuses connections: nothing listens there",
			"Start Consul there, or set " + otherAddress,
		},
		{
			"http to an https port",
			[]string{"--consul.server=" + strings.Replace(secure, "https", "http", 1)},
			"speaks HTTPS, not HTTP", "Set --consul.server=" + secure + ".",
		},
		{
			"unknown authority",
			[]string{"--consul.server=" + secure},
			"the agent at " + secure + " shows a certificate of a CA that the exporter does not trust",
			"Set --consul.ca-file to the certificate of that CA, for example --consul.ca-file=consul-agent-ca.pem.",
		},
		{
			"client certificate required",
			[]string{"--consul.server=" + mutual, ca},
			"the agent at " + mutual + " requires a client certificate", clientCert,
		},
		{
			"name mismatch",
			[]string{"--consul.server=" + renamed, ca},
			"the agent at " + renamed + " shows a certificate for another name: it is for localhost and 127.0.0.1",
			"Set --consul.server-name to a name in the certificate, for example --consul.server-name=localhost.",
		},
		{
			"a name that does not resolve",
			[]string{"--consul.server=http://consul.invalid:8500"},
			"the agent at http://consul.invalid:8500 cannot be found: the name consul.invalid does not resolve",
			"Fix the name or DNS on this host, or set " + otherAddress,
		},
		{
			"a hung agent",
			[]string{"--consul.server=" + silent, "--consul.timeout=1s"},
			"the agent at " + silent + " accepts connections but does not answer in time",
			"Look at the log of that agent. If it is only slow, raise --consul.timeout, for example --consul.timeout=5s.",
		},
	}
	for _, answer := range []struct {
		name     string
		status   int
		body     string
		headline string
		remedy   string
	}{
		{"400", http.StatusBadRequest, "bad\nrequest", "answers with status 400 (Bad Request): bad request", notConsul},
		{
			"401", http.StatusUnauthorized, "Unauthorized",
			"answers with status 401 (Unauthorized): it wants a user and password",
			"Set the environment variable CONSUL_HTTP_AUTH, for example CONSUL_HTTP_AUTH=user:password.",
		},
		{
			"403", http.StatusForbidden, "Permission denied", "answers with status 403 (Forbidden): the token lacks rights",
			giveToken,
		},
		{
			"ACL not found", http.StatusForbidden, "ACL not found",
			"answers with status 403 (Forbidden): it does not know the token", giveToken,
		},
		{
			"429", http.StatusTooManyRequests, "Your IP is issuing too many concurrent connections",
			"answers with status 429 (Too Many Requests): a limit is reached",
			"Raise limits.request_limits or limits.http_max_conns_per_client in the agent's configuration, or " +
				"scrape less often, " +
				"for example with scrape_interval: 60s.",
		},
		{"a page", http.StatusOK, "<!DOCTYPE html><html>", "answers with a web page (status 200)", notConsul},
		{
			"a proxy's page", http.StatusBadGateway, "<html>Bad Gateway</html>", "answers with a web page (status 502)",
			notConsul,
		},
		{
			"other JSON", http.StatusOK, `{"name": "es-1", "cluster_name": "logs"}`, "answers, but not as Consul does",
			notConsul,
		},
		{"a JSON list", http.StatusOK, `["a"]`, "answers, but not as Consul does", notConsul},
	} {
		address := serveAnswer(t, answer.status, answer.body)
		contacts = append(contacts, firstContact{
			answer.name,
			[]string{"--consul.server=" + address},
			"the agent at " + address + " " + answer.headline, answer.remedy,
		})
	}
	return contacts
}

// serveAnswer answers all requests like this, until the test ends.
func serveAnswer(t *testing.T, status int, body string) (address string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// serveTLS serves HTTPS on this host, with a certificate for 127.0.0.1 only.
func serveTLS(
	t *testing.T, host string, certs consultest.Certificates, auth tls.ClientAuthType,
) (address string) {
	t.Helper()
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(must.Get(os.ReadFile(certs.CACert))(t))
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Listener.Close()
	server.Listener = must.Get(net.Listen("tcp", host+":0"))(t)
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{must.Get(tls.LoadX509KeyPair(certs.Cert, certs.Key))(t)},
		ClientAuth:   auth, ClientCAs: authorities,
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return "https://" + server.Listener.Addr().String()
}

// closedAddress is one where nothing listens.
func closedAddress(t *testing.T) string {
	t.Helper()
	listener := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
	must.Do(t, listener.Close())
	return "http://" + listener.Addr().String()
}

// silentAddress accepts connections and never answers.
func silentAddress(t *testing.T) string {
	t.Helper()
	listener := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
	t.Cleanup(func() { listener.Close() })
	return "http://" + listener.Addr().String()
}
