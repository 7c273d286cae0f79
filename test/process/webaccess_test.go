// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// Who may see the exporter's pages is decided by --web.config.file of exporter-toolkit. These tests start the
// exporter with one.

// startGuarded starts an exporter with this web configuration, whose agent counts the connections to it.
func startGuarded(t *testing.T, webConfig string) (e *harness.Exporter, asked *atomic.Int64) {
	t.Helper()
	agent, err := net.Listen("tcp", "127.0.0.1:0")
	harness.Must(t, err)
	t.Cleanup(func() { agent.Close() })
	asked = new(atomic.Int64)
	go func() {
		for {
			conn, err := agent.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			conn.Close()
		}
	}()
	folder := harness.WriteFiles(t, map[string]string{
		"web.yml": webConfig, "modules.yml": "modules: {m: {targets: [127.0.0.1]}}",
	})
	e = harness.StartExporter(t, nil, "--consul.server="+agent.Addr().String(), "--web.config.file="+filepath.Join(folder, "web.yml"),
		"--config.file="+filepath.Join(folder, "modules.yml"), "--web.enable-lifecycle", "--web.enable-pprof")
	return e, asked
}

// pages are all that the exporter has.
var pages = []string{"/", "/?format=json", "/metrics", "/probe?module=m&target=127.0.0.1:1", "/-/healthy", "/-/ready", "/-/reload", "/debug/pprof/", "/nonsense"}

// Without the password there is nothing to see on any page, and Consul is not asked.
func TestWebBasicAuth(t *testing.T) {
	// The password is "correct horse", hashed with bcrypt.
	e, asked := startGuarded(t, "basic_auth_users: {prometheus: $2a$04$xq7PTQ/Gci7kox5f4IYxL.1F3QSnl5INCnQ8Ha18OPRN.RX2LHWSi}")
	ask := func(path, user, password string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.URL+path, http.NoBody)
		harness.Must(t, err)
		if user != "" {
			req.SetBasicAuth(user, password)
		}
		resp, err := http.DefaultClient.Do(req)
		harness.Must(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, path := range pages {
		for _, try := range [][2]string{{"", ""}, {"prometheus", ""}, {"prometheus", "wrong"}, {"nobody", "correct horse"}} {
			if status := ask(path, try[0], try[1]); status != http.StatusUnauthorized {
				t.Errorf("%s as %q: status %d; want 401", path, try[0], status)
			}
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the agent was asked %d times for somebody without a password", n)
	}
	if status := ask("/metrics", "prometheus", "correct horse"); status != http.StatusOK || asked.Load() == 0 {
		t.Errorf("with the password: status %d, the agent was asked %d times; want 200, and that it was", status, asked.Load())
	}
	if log := e.Log.String(); strings.Contains(log, "correct horse") {
		t.Errorf("the log has the password:\n%s", log)
	}
}

// tlsClient is a client that trusts an authority, and shows a certificate if it has one. It speaks HTTP/2 if the
// server does.
func tlsClient(t *testing.T, authority string, shows ...tls.Certificate) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(authority)
	harness.Must(t, err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("%s has no certificate", authority)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: shows}, ForceAttemptHTTP2: true, DisableKeepAlives: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func loadCertificate(t *testing.T, c consultest.Certificates) tls.Certificate {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	harness.Must(t, err)
	return cert
}

// With TLS no page answers in plain text, and a certificate that is replaced is used from the next connection on.
func TestWebTLS(t *testing.T) {
	own, other := consultest.NewCertificates(t), consultest.NewCertificates(t)
	served := harness.WriteFiles(t, nil)
	replace := func(c consultest.Certificates) {
		t.Helper()
		for name, from := range map[string]string{"cert.pem": c.Cert, "key.pem": c.Key} {
			content, err := os.ReadFile(from)
			harness.Must(t, err)
			harness.Must(t, os.WriteFile(filepath.Join(served, name), content, 0o600))
		}
	}
	replace(own)
	e, asked := startGuarded(t, fmt.Sprintf("tls_server_config: {cert_file: %[1]s/cert.pem, key_file: %[1]s/key.pem}", served))
	for _, path := range pages {
		status, body, err := e.Get(t.Context(), path, harness.ProbeTimeout)
		if err != nil || status != http.StatusBadRequest || !strings.Contains(body, "Client sent an HTTP request to an HTTPS server") {
			t.Errorf("%s in plain text: status %d, body %s, error %v; want 400", path, status, body, err)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the agent was asked %d times for somebody who spoke plain text", n)
	}
	secure := "https" + strings.TrimPrefix(e.URL, "http")
	resp, err := tlsClient(t, own.CACert).Get(secure + "/metrics")
	harness.Must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
		t.Errorf("status %d in HTTP/%d; want 200 in HTTP/2", resp.StatusCode, resp.ProtoMajor)
	}
	if _, err := tlsClient(t, other.CACert).Get(secure + "/metrics"); err == nil || //nolint:bodyclose // There is none.
		!strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("a client of another authority got error %v; want that it is unknown", err)
	}
	replace(other)
	resp, err = tlsClient(t, other.CACert).Get(secure + "/-/healthy")
	harness.Must(t, err)
	resp.Body.Close()
	// What clients do wrong is not in the log.
	if log := e.Log.String(); strings.Contains(log, "level=warn") || strings.Contains(log, "level=error msg=\"HTTP server\"") {
		t.Errorf("the log has what the clients did wrong:\n%s", log)
	}
}

// With mTLS only those see a page who show a certificate of the authority.
func TestWebMutualTLS(t *testing.T) {
	own, other := consultest.NewCertificates(t), consultest.NewCertificates(t)
	e, asked := startGuarded(t, fmt.Sprintf("tls_server_config: {cert_file: %s, key_file: %s, client_ca_file: %s, client_auth_type: RequireAndVerifyClientCert}",
		own.Cert, own.Key, own.CACert))
	secure := "https" + strings.TrimPrefix(e.URL, "http")
	for _, path := range pages {
		for name, shows := range map[string][]tls.Certificate{"none": nil, "one of another authority": {loadCertificate(t, other)}} {
			resp, err := tlsClient(t, own.CACert, shows...).Get(secure + path)
			if err == nil {
				resp.Body.Close()
				t.Errorf("%s with the certificate %s: status %d; want no answer", path, name, resp.StatusCode)
			}
			if _, ok := errors.AsType[*url.Error](err); !ok {
				t.Errorf("%s with the certificate %s: error %v; want one of TLS", path, name, err)
			}
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the agent was asked %d times for somebody without a certificate", n)
	}
	resp, err := tlsClient(t, own.CACert, loadCertificate(t, own)).Get(secure + "/metrics")
	harness.Must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || asked.Load() == 0 {
		t.Errorf("with the certificate: status %d, the agent was asked %d times; want 200, and that it was", resp.StatusCode, asked.Load())
	}
}
