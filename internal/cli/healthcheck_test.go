// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// The command distinguishes a running exporter from one that has ended, even without Consul.
func TestHealthcheck(t *testing.T) {
	e := harness.StartExporter(t, nil, "--consul.server=http://127.0.0.1:1")
	url := e.URL + "/-/healthy"
	code, stdout, stderr := harness.RunProgram(t, "healthcheck", "--url="+url)
	if code != 0 || stdout != "healthy\n" || stderr != "" {
		t.Errorf("while the exporter runs: exit code %d, output %q, errors %q; want 0, healthy", code, stdout, stderr)
	}
	must.Do(t, e.Stop())
	code, stdout, stderr = harness.RunProgram(t, "healthcheck", "--url="+url)
	want := `consul_cluster_exporter: error: the exporter does not answer: dial tcp `
	if code != 1 || stdout != "" || !strings.HasPrefix(stderr, want) {
		t.Errorf("after it has ended: exit code %d, output %q, errors %q; want 1, %s", code, stdout, stderr, want)
	}
}

// It works with what a web configuration asks for: TLS, with a certificate that is not for this host, and a password.
func TestHealthcheck_WebConfig(t *testing.T) {
	certificates := httptest.NewTLSServer(http.NotFoundHandler())
	defer certificates.Close()
	pair := certificates.TLS.Certificates[0]
	key := must.Get(x509.MarshalPKCS8PrivateKey(pair.PrivateKey))(t)
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: key},
	} {
		must.Do(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	config := filepath.Join(dir, "web.yml")
	must.Do(t, os.WriteFile(config, []byte(`
tls_server_config: {cert_file: cert.pem, key_file: key.pem}
basic_auth_users: {prometheus: $2a$04$OL9h/Q2rjjnmrFMjIXuEWO4nhxDPQkAIvYJHWXP02paplu94cRp8G}
`), 0o600))
	e := harness.StartExporter(t, nil, "--web.config.file="+config)
	url := strings.Replace(e.URL, "http://127.0.0.1", "https://localhost", 1) + "/-/healthy"
	if code, stdout, stderr := harness.RunProgram(t, "healthcheck", "--url="+url); code != 0 || stdout != "healthy\n" {
		t.Errorf("exit code %d, output %q, errors %q; want 0, healthy", code, stdout, stderr)
	}
}

func TestHealthcheck_Unhealthy(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, strings.Repeat("x", 10_000), http.StatusInternalServerError)
	})
	mux.Handle("/elsewhere", http.RedirectHandler("/", http.StatusFound))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	for _, tc := range []struct{ url, want string }{
		{server.URL + "/nowhere", `/nowhere answers with status 404: "404 page not found"`},
		{server.URL + "/broken", `/broken answers with status 500: "` + strings.Repeat("x", 200) + `"`},
		{server.URL + "/elsewhere", `/elsewhere answers with status 302: `},
		{"localhost:9107", `unsupported protocol scheme "localhost"`},
		{"http://[::1", "--url: not a URL; want for example http://localhost:9107/-/healthy"},
	} {
		code, stdout, stderr := harness.RunProgram(t, "healthcheck", "--url="+tc.url)
		if code != 1 || stdout != "" || !strings.Contains(stderr, tc.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("--url=%s: exit code %d, output %q, errors %q; want 1, one line with %s", tc.url, code, stdout, stderr,
				tc.want)
		}
	}
}
