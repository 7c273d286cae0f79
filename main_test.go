// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runProgram runs the program in this process until it ends by itself.
func runProgram(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	code = run(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestBadOptions(t *testing.T) {
	clearEnv(t)
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	empty, junk := write("empty", ""), write("junk", "junk\njunk")
	badYAML := write("web.yml", "tls_server_config: {nonsense: 1}")
	missing := filepath.Join(dir, "missing")

	for _, tc := range []struct {
		name string
		args []string
		want []string // One line each, in this order.
	}{
		{"unknown flag", []string{"--nonsense"}, []string{"unknown long flag '--nonsense', try --help"}},
		{"unknown argument", []string{"nonsense"}, []string{"unexpected nonsense, try --help"}},
		{"bad duration", []string{"--consul.timeout=soon"}, []string{`time: invalid duration "soon", try --help`}},
		{"scheme", []string{"--consul.server=ftp://localhost"}, []string{`--consul.server: "ftp://localhost" has the scheme "ftp"; want http, https or unix`}},
		{"port", []string{"--consul.server=localhost:99999"}, []string{`--consul.server: "localhost:99999" has the port 99999; want 1 to 65535`}},
		{"no host", []string{"--consul.server=http://:8500"}, []string{`--consul.server: "http://:8500" has no host; want for example http://localhost:8500`}},
		{"no URL", []string{"--consul.server=http://[::1"}, []string{`--consul.server: "http://[::1" is not a URL: missing ']' in host`}},
		{"password in the URL", []string{"--consul.server=http://u:secret@localhost"}, []string{"--consul.server: user and password do not belong into the URL; put user:password into CONSUL_HTTP_AUTH"}},
		{"socket", []string{"--consul.server=unix://consul.sock"}, []string{`--consul.server: "unix://consul.sock" has no absolute path of a socket; want unix:///path/to/socket`}},
		{"log level", []string{"--log.level=loud"}, []string{"enum value must be one of debug,info,warn,error, got 'loud', try --help"}},
		{"telemetry path", []string{"--web.telemetry-path=/-/ready"}, []string{`--web.telemetry-path: "/-/ready" is taken by another page`}},
		{"telemetry root", []string{"--web.telemetry-path=/"}, []string{`--web.telemetry-path: "/" is not a plain path other than /`}},
		{"telemetry without slash", []string{"--web.telemetry-path=metrics"}, []string{`--web.telemetry-path: "metrics" does not begin with a slash`}},
		{"web configuration", []string{"--web.config.file=" + badYAML}, []string{"--web.config.file: yaml: unmarshal errors:", "--web.config.file: line 1: field nonsense not found in type web.TLSConfig"}},
		{"all at once", []string{
			"--consul.ca-file=" + missing, "--consul.cert-file=" + junk, "--consul.token-file=" + empty,
			"--consul.timeout=0s", "--probe.timeout=-1s", "--probe.concurrency=0", "--web.scrape-timeout-offset=-1s",
			"--no-collector.agent", "--no-collector.members", "--no-collector.ports", "--no-collector.raft",
		}, []string{
			"--consul.ca-file, --consul.cert-file, --consul.key-file: authorities: open " + missing + ": no such file or directory",
			"--consul.ca-file, --consul.cert-file, --consul.key-file: a client certificate needs both a certificate file and a key file",
			"--consul.token-file: token file " + empty + " is empty",
			"--consul.timeout: 0s is not above 0",
			"--probe.timeout: -1s is not above 0",
			"--probe.concurrency: 0 is less than 1",
			"--web.scrape-timeout-offset: -1s is less than 0",
			"--collector.*: all collectors are switched off",
		}},
		{"junk in files", []string{"--consul.ca-file=" + junk, "--consul.token-file=" + junk}, []string{
			"--consul.ca-file, --consul.cert-file, --consul.key-file: authorities: file " + junk + " has no PEM certificate",
			"--consul.token-file: token file " + junk + " holds something else than one token",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := runProgram(t, append(tc.args, "--web.listen-address=127.0.0.1:0")...)
			want := ""
			for _, line := range tc.want {
				want += "consul_cluster_exporter: error: " + line + "\n"
			}
			if code != 1 || stdout != "" || stderr != want {
				t.Errorf("exit code %d, printed %q and\n%s\nwant exit code 1 and only\n%s", code, stdout, stderr, want)
			}
		})
	}
}

func TestAddressInUse(t *testing.T) {
	clearEnv(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	code, _, stderr := runProgram(t, "--web.listen-address="+listener.Addr().String())
	if code != 1 || !strings.Contains(stderr, "address already in use") {
		t.Errorf("exit code %d and %q; want 1 and the reason", code, stderr)
	}
}

func TestHelpAndVersion(t *testing.T) {
	clearEnv(t)
	for flag, want := range map[string]string{"--help": "--consul.server", "--version": "consul_cluster_exporter, version "} {
		code, stdout, stderr := runProgram(t, flag)
		if code != 0 || !strings.Contains(stdout, want) || stderr != "" {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want 0 and %q on stdout", flag, code, stdout, stderr, want)
		}
	}
}

// Every flag can be set by an environment variable, and those about the agent by those of Consul's CLI; the nearer wins.
func TestEnvironment(t *testing.T) {
	clearEnv(t)
	parsed := func(args ...string) *options {
		t.Helper()
		var out, errs bytes.Buffer
		opts, _, done := parse(args, &out, &errs)
		if done {
			t.Fatalf("parse %q ends: %s", args, errs.String())
		}
		return opts
	}
	if got := parsed().consulServer; got != "http://localhost:8500" {
		t.Errorf("default server is %q", got)
	}
	t.Setenv("CONSUL_HTTP_ADDR", "10.0.0.1:8501")
	t.Setenv("CONSUL_HTTP_SSL", "true")
	t.Setenv("CONSUL_HTTP_SSL_VERIFY", "false")
	t.Setenv("CONSUL_CACERT", "/ca")
	t.Setenv("CONSUL_CLIENT_CERT", "/cert")
	t.Setenv("CONSUL_CLIENT_KEY", "/key")
	t.Setenv("CONSUL_TLS_SERVER_NAME", "name")
	t.Setenv("CONSUL_HTTP_TOKEN_FILE", "/token")
	opts := parsed()
	for _, tc := range []struct{ what, got, want string }{
		{"server", opts.consulServer, "https://10.0.0.1:8501"},
		{"authority", opts.tls.CAFile, "/ca"},
		{"certificate", opts.tls.CertFile, "/cert"},
		{"key", opts.tls.KeyFile, "/key"},
		{"server name", opts.tls.ServerName, "name"},
		{"token file", opts.consulTokenFile, "/token"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s is %q; want %q", tc.what, tc.got, tc.want)
		}
	}
	if !opts.tls.Insecure {
		t.Error("CONSUL_HTTP_SSL_VERIFY=false has no effect")
	}
	t.Setenv("CONSUL_CLUSTER_EXPORTER_CONSUL_SERVER", "http://near:8500")
	t.Setenv("CONSUL_CLUSTER_EXPORTER_COLLECTOR_RAFT", "false")
	if opts := parsed(); opts.consulServer != "http://near:8500" || *opts.collectors["raft"] {
		t.Errorf("server is %q, collector raft %v; want what the exporter's own variables say", opts.consulServer, *opts.collectors["raft"])
	}
	if got := parsed("--consul.server=http://flag:8500").consulServer; got != "http://flag:8500" {
		t.Errorf("server is %q; want what the flag says", got)
	}
}

// SIGTERM, here its like, lets a running scrape finish and then ends with 0.
func TestStopFinishesScrapes(t *testing.T) {
	// An agent that accepts and never answers keeps the scrape running until --consul.timeout.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	accepted := make(chan struct{}, 100)
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			accepted <- struct{}{}
		}
	}()
	e := startExporter(t, nil, "--consul.server="+silent.Addr().String(), "--consul.timeout=2s", "--log.format=json")
	type answer struct {
		status int
		body   string
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		status, body, err := e.get(t.Context(), "/metrics", 10*time.Second)
		answered <- answer{status, body, err}
	}()
	<-accepted
	if err := e.stop(); err != nil {
		t.Errorf("exporter ended with %v; want exit code 0", err)
	}
	a := <-answered
	if a.err != nil || a.status != http.StatusOK {
		t.Fatalf("the running scrape ended with status %d and error %v", a.status, a.err)
	}
	parseSamples(t, a.body).expect(t, samples{"consul_up": 0, `consul_exporter_collector_success{collector="raft"}`: 0})
	if log := e.log.String(); !strings.Contains(log, `"msg":"stopped"`) {
		t.Errorf("log has no line about the end:\n%s", log)
	}
}
