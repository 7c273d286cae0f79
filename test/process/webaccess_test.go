// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// Who may see the exporter's pages is decided by --web.config.file of exporter-toolkit. These tests start the exporter
// with one.

// guarded is an exporter with a web configuration.
type guarded struct {
	*harness.Exporter
	agent *recorder
}

func startGuarded(t *testing.T, webConfig string) *guarded {
	t.Helper()
	agent := startRecorder(t)
	folder := harness.WriteFiles(t, map[string]string{"web.yml": webConfig, "modules.yml": someModules})
	return &guarded{harness.StartExporter(t, nil, "--consul.server="+agent.address, "--web.config.file="+folder+"/web.yml",
		"--config.file="+folder+"/modules.yml", "--web.enable-lifecycle", "--web.enable-pprof"), agent}
}

// viewer is somebody who wants to see the pages at a URL.
type viewer struct {
	url    string
	client *http.Client
}

// expectRefused fails if a page has another status than this one, or if TLS does not keep it from coming where that is
// 0. Consul must not have been asked.
func (g *guarded) expectRefused(t *testing.T, who string, v viewer, status int) {
	t.Helper()
	for _, path := range []string{
		"/", "/?format=json", "/metrics", "/probe?module=m&target=127.0.0.1:1", "/-/healthy", "/-/ready", "/-/reload",
		"/debug/pprof/", "/nonsense",
	} {
		got, _, err := v.get(path)
		if got != status || (err != nil) != (status == 0) {
			t.Errorf("%s: %s: status %d, error %v; want %d", who, path, got, err, status)
		}
	}
	if n := len(g.agent.requests()); n != 0 {
		t.Errorf("%s: the agent was asked %d times", who, n)
	}
}

// get returns the status and the version of HTTP of an answer; 0 means that TLS keeps it from coming.
func (v viewer) get(path string) (status, version int, err error) {
	resp, err := v.client.Get(v.url + path)
	if err != nil {
		return 0, 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, resp.ProtoMajor, nil
}

// Without the password there is nothing to see on any page, and Consul is not asked.
func TestWebBasicAuth(t *testing.T) {
	// The password is "correct horse", hashed with bcrypt.
	g := startGuarded(t, "basic_auth_users: {prometheus: $2a$04$xq7PTQ/Gci7kox5f4IYxL.1F3QSnl5INCnQ8Ha18OPRN.RX2LHWSi}")
	as := func(user, password string) viewer {
		return viewer{"http://" + url.UserPassword(user, password).String() + "@" + g.HostPort(), http.DefaultClient}
	}
	for who, v := range map[string]viewer{
		"nobody": {g.URL, http.DefaultClient}, "no password": as("prometheus", ""),
		"wrong password": as("prometheus", "wrong"), "wrong user": as("nobody", "correct horse"),
	} {
		g.expectRefused(t, who, v, http.StatusUnauthorized)
	}
	status, _, err := as("prometheus", "correct horse").get("/metrics")
	if err != nil || status != http.StatusOK || len(g.agent.requests()) == 0 {
		t.Errorf("with the password: status %d, error %v; want 200, and that the agent was asked", status, err)
	}
	if log := g.Log.String(); strings.Contains(log, "correct horse") {
		t.Errorf("the log has the password:\n%s", log)
	}
}

// overTLS trusts the authority of these certificates, and shows some if there are any. It speaks HTTP/2 if it can.
func (g *guarded) overTLS(t *testing.T, trusts consultest.Certificates, shows ...consultest.Certificates) viewer {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(must.Get(os.ReadFile(trusts.CACert))(t)) {
		t.Fatalf("%s has no certificate", trusts.CACert)
	}
	for _, c := range shows {
		config.Certificates = append(config.Certificates, must.Get(tls.LoadX509KeyPair(c.Cert, c.Key))(t))
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, DisableKeepAlives: true}
	return viewer{"https" + strings.TrimPrefix(g.URL, "http"), &http.Client{Transport: transport}}
}

// With TLS no page answers in plain text, and a certificate that is replaced is used from the next connection on.
func TestWebTLS(t *testing.T) {
	own, other := consultest.NewCertificates(t), consultest.NewCertificates(t)
	served := t.TempDir()
	serve := func(c consultest.Certificates) {
		t.Helper()
		for name, from := range map[string]string{"cert.pem": c.Cert, "key.pem": c.Key} {
			must.Do(t, os.WriteFile(filepath.Join(served, name), must.Get(os.ReadFile(from))(t), 0o600))
		}
	}
	serve(own)
	g := startGuarded(t, fmt.Sprintf("tls_server_config: {cert_file: %[1]s/cert.pem, key_file: %[1]s/key.pem}", served))
	g.expectRefused(t, "plain text", viewer{g.URL, http.DefaultClient}, http.StatusBadRequest)
	status, version, err := g.overTLS(t, own).get("/metrics")
	if err != nil || status != http.StatusOK || version != 2 {
		t.Errorf("status %d in HTTP/%d, error %v; want 200 in HTTP/2", status, version, err)
	}
	_, _, err = g.overTLS(t, other).get("/metrics")
	if err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("a client of another authority got error %v; want that it is unknown", err)
	}
	serve(other)
	if status, _, err := g.overTLS(t, other).get("/-/healthy"); err != nil || status != http.StatusOK {
		t.Errorf("with the new certificate: status %d, error %v; want 200", status, err)
	}
	// What clients do wrong is not in the log, which has what is wrong with the agent.
	for line := range strings.Lines(g.Log.String()) {
		if !strings.Contains(line, "level=info") && !strings.Contains(line, "caller=journal.go") {
			t.Errorf("the log has what the clients did wrong: %s", line)
		}
	}
}

// With mTLS only those see a page who show a certificate of the authority.
func TestWebMutualTLS(t *testing.T) {
	own, other := consultest.NewCertificates(t), consultest.NewCertificates(t)
	g := startGuarded(t, fmt.Sprintf("tls_server_config: {cert_file: %s, key_file: %s, client_ca_file: %s, "+
		"client_auth_type: RequireAndVerifyClientCert}", own.Cert, own.Key, own.CACert))
	g.expectRefused(t, "no certificate", g.overTLS(t, own), 0)
	g.expectRefused(t, "another authority", g.overTLS(t, own, other), 0)
	status, _, err := g.overTLS(t, own, own).get("/metrics")
	if err != nil || status != http.StatusOK || len(g.agent.requests()) == 0 {
		t.Errorf("with the certificate: status %d, error %v; want 200, and that the agent was asked", status, err)
	}
}
