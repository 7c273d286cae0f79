// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

func TestBadOptions(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		harness.Must(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	empty, junk := write("empty", ""), write("junk", "junk\njunk")
	badYAML := write("web.yml", "tls_server_config: {nonsense: 1}")
	badConfig := write("config.yml", "modules: {a: {scheme: ftp, token_file: missing}}")
	missing := filepath.Join(dir, "missing")

	var off, protocols []string
	for _, c := range collector.All() {
		off = append(off, "--no-collector."+c.Name)
	}
	for _, p := range cluster.Protocols() {
		protocols = append(protocols, string(p))
	}

	for _, tc := range []struct {
		name string
		args []string
		want []string // One line each, in this order.
	}{
		{"unknown flag", []string{"--nonsense"}, []string{"unknown long flag '--nonsense', try --help"}},
		{"unknown argument", []string{"nonsense"}, []string{"unexpected nonsense, try --help"}},
		{"bad duration", []string{"--consul.timeout=soon"}, []string{`time: invalid duration "soon", try --help`}},
		{"scheme", []string{"--consul.server=ftp://localhost"}, []string{
			`--consul.server: the scheme is "ftp"; want http, https or unix`,
		}},
		{
			"port",
			[]string{"--consul.server=localhost:99999"},
			[]string{"--consul.server: the port is not a number from 1 to 65535"},
		},
		{
			"no host",
			[]string{"--consul.server=http://:8500"},
			[]string{"--consul.server: no host; want for example http://localhost:8500"},
		},
		{
			"no URL",
			[]string{"--consul.server=http://[::1"},
			[]string{"--consul.server: not a URL; want for example http://localhost:8500"},
		},
		{
			"password in the URL",
			[]string{"--consul.server=http://u:secret@localhost"},
			[]string{"--consul.server: user and password do not belong in the URL; put user:password into CONSUL_HTTP_AUTH"},
		},
		{
			"socket",
			[]string{"--consul.server=unix://consul.sock"},
			[]string{"--consul.server: no absolute path of a socket; want unix:///path/to/socket"},
		},
		{
			"log level",
			[]string{"--log.level=loud"},
			[]string{"enum value must be one of debug,info,warn,error, got 'loud', try --help"},
		},
		{"telemetry path", []string{"--web.telemetry-path=/-/ready"}, []string{
			`--web.telemetry-path: "/-/ready" is taken by another page`,
		}},
		{"telemetry root", []string{"--web.telemetry-path=/"}, []string{
			`--web.telemetry-path: "/" is not a plain path other than /`,
		}},
		{"telemetry without slash", []string{"--web.telemetry-path=metrics"}, []string{
			`--web.telemetry-path: "metrics" does not begin with a slash`,
		}},
		{"web configuration", []string{"--web.config.file=" + badYAML}, []string{
			"--web.config.file: yaml: unmarshal errors:",
			"--web.config.file: line 1: field nonsense not found in type web.TLSConfig",
		}},
		{
			"contradiction",
			[]string{"--consul.require_consistent", "--consul.allow_stale"},
			[]string{"--consul.allow_stale, --consul.require_consistent: the two contradict each other, leave out one of them"},
		},
		{"expressions", []string{"--kv.filter=(", "--meta.filter=[", "--collector.catalog.tag-filter=*"}, []string{
			`--collector.catalog.tag-filter: "*" is no regular expression: missing argument to repetition operator: ` + "`*`",
			`--meta.filter: "[" is no regular expression: missing closing ]: ` + "`[`",
			`--kv.filter: "(" is no regular expression: missing closing ): ` + "`(`",
		}},
		{"limits", []string{
			"--consul.request-limit=-1", "--consul.max-response-bytes=1KiB", "--collector.catalog.max-series=-1",
			"--collector.consistent.timeout=0s", "--web.max-requests=-1",
		}, []string{
			"--consul.request-limit: -1 is less than 0",
			"--consul.max-response-bytes: 1KiB is less than 64KiB",
			"--collector.consistent.timeout: 0s is not above 0",
			"--collector.catalog.max-series: -1 is less than 0",
			"--web.max-requests: -1 is less than 0",
		}},
		{"size", []string{"--consul.max-response-bytes=much"}, []string{
			`"much" is no size; want for example 64MiB, try --help`,
		}},
		{
			"size without a unit",
			[]string{"--consul.max-response-bytes=1000"},
			[]string{"--consul.max-response-bytes: 1000B is less than 64KiB"},
		},
		{"all at once", append([]string{
			"--consul.ca-file=" + missing, "--consul.cert-file=" + junk, "--consul.token-file=" + empty,
			"--consul.timeout=0s", "--probe.timeout=-1s", "--probe.concurrency=0", "--web.scrape-timeout-offset=-1s",
		}, off...), []string{
			"--consul.ca-file, --consul.cert-file, --consul.key-file: authorities: open " + missing +
				": no such file or directory",
			"--consul.ca-file, --consul.cert-file, --consul.key-file: a client certificate needs both a certificate file and " +
				"a key file",
			"--consul.token-file: token file " + empty + " is empty",
			"--consul.timeout: 0s is not above 0",
			"--probe.timeout: -1s is not above 0",
			"--probe.concurrency: 0 is less than 1",
			"--web.scrape-timeout-offset: -1s is less than 0",
			"--collector.*: all collectors are switched off",
		}},
		{"probes", []string{
			"--rpc.tls=maybe", "--rpc.ca-file=" + missing, "--rpc.key-file=" + junk, "--serf.encrypt-key-file=" + empty,
			"--dns.domain=con sul",
			"--probe.protocols=rpc,icmp", "--probe.client-ports=all",
		}, []string{
			"--rpc.ca-file: authorities: open " + missing + ": no such file or directory",
			"--rpc.cert-file, --rpc.key-file: a client certificate needs both a certificate file and a key file",
			`--rpc.tls: "maybe" is none of: auto, on, off`,
			"--serf.encrypt-key-file: key file " + empty + " holds no key",
			`--dns.domain: "con sul" is no domain`,
			`--probe.protocols: there is no protocol "icmp"; there are: ` + strings.Join(protocols, ", "),
			`--probe.client-ports: "all" is none of: auto, agent, servers, off`,
		}},
		{"configuration file", []string{"--config.file=" + badConfig, "--rpc.tls=maybe"}, []string{
			`--rpc.tls: "maybe" is none of: auto, on, off`,
			badConfig + `: modules.a.scheme: "ftp" is none of: http, https`,
			badConfig + ": modules.a.token_file: open " + missing + ": no such file or directory",
			badConfig + ": modules.a.targets: no target is allowed, so the module is of no use",
		}},
		{
			"no configuration file",
			[]string{"--config.file=" + missing},
			[]string{"open " + missing + ": no such file or directory"},
		},
		{"junk in files", []string{"--consul.ca-file=" + junk, "--consul.token-file=" + junk}, []string{
			"--consul.ca-file, --consul.cert-file, --consul.key-file: authorities: file " + junk + " has no PEM certificate",
			"--consul.token-file: token file " + junk + " holds something else than one token",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			expectErrors(t, append(tc.args, "--web.listen-address=127.0.0.1:0"), tc.want)
		})
	}
}

// expectErrors runs the program, which must print these errors, one in a line, and nothing else.
func expectErrors(t *testing.T, args, want []string) {
	t.Helper()
	code, stdout, stderr := harness.RunProgram(t, args...)
	lines := ""
	for _, line := range want {
		lines += "consul_cluster_exporter: error: " + line + "\n"
	}
	if code != 1 || stdout != "" || stderr != lines {
		t.Errorf("%q: exit code %d, printed %q and\n%s\nwant exit code 1 and only\n%s", args, code, stdout, stderr, lines)
	}
}

func TestConfigCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yml")
	harness.Must(t, os.WriteFile(path, []byte("modules: {a: {targets: [localhost]}}"), 0o600))
	for _, args := range [][]string{{"--config.check"}, {"--config.check", "--config.file=" + path}} {
		if code, stdout, stderr := harness.RunProgram(t, args...); code != 0 || stdout != "configuration is good\n" ||
			stderr != "" {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q; want 0 and that it is good", args, code, stdout, stderr)
		}
	}
	harness.Must(t, os.WriteFile(path, []byte("modules: {a: {}}"), 0o600))
	expectErrors(t, []string{"--config.check", "--config.file=" + path},
		[]string{path + ": modules.a.targets: no target is allowed, so the module is of no use"})
}

func TestAddressInUse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	harness.Must(t, err)
	defer listener.Close()
	code, _, stderr := harness.RunProgram(t, "--web.listen-address="+listener.Addr().String())
	if code != 1 || !strings.Contains(stderr, "address already in use") {
		t.Errorf("exit code %d and %q; want 1 and the reason", code, stderr)
	}
}

func TestHelpAndVersion(t *testing.T) {
	for flag, want := range map[string]string{
		"--help": "--consul.server", "--version": "consul_cluster_exporter, version ",
	} {
		code, stdout, stderr := harness.RunProgram(t, flag)
		if code != 0 || !strings.Contains(stdout, want) || stderr != "" {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want 0 and %q on stdout", flag, code, stdout, stderr, want)
		}
	}
}

// The help of each command names the values of its flags in a word, or shows their defaults.
func TestHelpOfValues(t *testing.T) {
	unclear := regexp.MustCompile(`--[a-z.-]+=("" |[A-Z]+[.-][A-Z.-]*).*`)
	for _, args := range []string{"--help", "serve --help", "check --help", "alerts --help", "dashboards --help"} {
		_, stdout, _ := harness.RunProgram(t, strings.Fields(args)...)
		if found := unclear.FindAllString(stdout, -1); found != nil {
			t.Errorf("%s has %q", args, found)
		}
	}
	if _, stdout, _ := harness.RunProgram(t, "--help"); !strings.Contains(stdout, "--consul.ca-file=FILE ") ||
		!strings.Contains(stdout, "--consul.timeout=2s ") {
		t.Errorf("help has no name of a value, or no default:\n%s", stdout)
	}
}
