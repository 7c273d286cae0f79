// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/config"
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

// serveCommand is the command that has the exporter's flags.
func serveCommand() *kingpin.CmdClause { return newApp(&options{}).GetCommand(commandServe) }

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
	badConfig := write("config.yml", "modules: {a: {scheme: ftp, token_file: missing}}")
	missing := filepath.Join(dir, "missing")

	var off []string
	for _, c := range collector.All() {
		off = append(off, "--no-collector."+c.Name)
	}

	for _, tc := range []struct {
		name string
		args []string
		want []string // One line each, in this order.
	}{
		{"unknown flag", []string{"--nonsense"}, []string{"unknown long flag '--nonsense', try --help"}},
		{"unknown argument", []string{"nonsense"}, []string{"unexpected nonsense, try --help"}},
		{"bad duration", []string{"--consul.timeout=soon"}, []string{`time: invalid duration "soon", try --help`}},
		{"scheme", []string{"--consul.server=ftp://localhost"}, []string{`--consul.server: the scheme is "ftp"; want http, https or unix`}},
		{"port", []string{"--consul.server=localhost:99999"}, []string{"--consul.server: the port is not a number from 1 to 65535"}},
		{"no host", []string{"--consul.server=http://:8500"}, []string{"--consul.server: no host; want for example http://localhost:8500"}},
		{"no URL", []string{"--consul.server=http://[::1"}, []string{"--consul.server: not a URL; want for example http://localhost:8500"}},
		{"password in the URL", []string{"--consul.server=http://u:secret@localhost"}, []string{"--consul.server: user and password do not belong in the URL; put user:password into CONSUL_HTTP_AUTH"}},
		{"socket", []string{"--consul.server=unix://consul.sock"}, []string{"--consul.server: no absolute path of a socket; want unix:///path/to/socket"}},
		{"log level", []string{"--log.level=loud"}, []string{"enum value must be one of debug,info,warn,error, got 'loud', try --help"}},
		{"telemetry path", []string{"--web.telemetry-path=/-/ready"}, []string{`--web.telemetry-path: "/-/ready" is taken by another page`}},
		{"telemetry root", []string{"--web.telemetry-path=/"}, []string{`--web.telemetry-path: "/" is not a plain path other than /`}},
		{"telemetry without slash", []string{"--web.telemetry-path=metrics"}, []string{`--web.telemetry-path: "metrics" does not begin with a slash`}},
		{"web configuration", []string{"--web.config.file=" + badYAML}, []string{"--web.config.file: yaml: unmarshal errors:", "--web.config.file: line 1: field nonsense not found in type web.TLSConfig"}},
		{"contradiction", []string{"--consul.require_consistent", "--consul.allow_stale"}, []string{"--consul.allow_stale, --consul.require_consistent: the two contradict each other, leave out one of them"}},
		{"expressions", []string{"--kv.filter=(", "--meta.filter=[", "--collector.catalog.tag-filter=*"}, []string{
			`--collector.catalog.tag-filter: "*" is no regular expression: missing argument to repetition operator: ` + "`*`",
			`--meta.filter: "[" is no regular expression: missing closing ]: ` + "`[`",
			`--kv.filter: "(" is no regular expression: missing closing ): ` + "`(`",
		}},
		{"limits", []string{"--consul.request-limit=-1", "--consul.max-response-bytes=1KiB", "--collector.catalog.max-series=-1", "--collector.consistent.timeout=0s", "--web.max-requests=-1"}, []string{
			"--consul.request-limit: -1 is less than 0",
			"--consul.max-response-bytes: 1KiB is less than 64KiB",
			"--collector.consistent.timeout: 0s is not above 0",
			"--collector.catalog.max-series: -1 is less than 0",
			"--web.max-requests: -1 is less than 0",
		}},
		{"size", []string{"--consul.max-response-bytes=much"}, []string{`"much" is no size; want for example 64MiB, try --help`}},
		{"size without a unit", []string{"--consul.max-response-bytes=1000"}, []string{"--consul.max-response-bytes: 1000B is less than 64KiB"}},
		{"all at once", append([]string{
			"--consul.ca-file=" + missing, "--consul.cert-file=" + junk, "--consul.token-file=" + empty,
			"--consul.timeout=0s", "--probe.timeout=-1s", "--probe.concurrency=0", "--web.scrape-timeout-offset=-1s",
		}, off...), []string{
			"--consul.ca-file, --consul.cert-file, --consul.key-file: authorities: open " + missing + ": no such file or directory",
			"--consul.ca-file, --consul.cert-file, --consul.key-file: a client certificate needs both a certificate file and a key file",
			"--consul.token-file: token file " + empty + " is empty",
			"--consul.timeout: 0s is not above 0",
			"--probe.timeout: -1s is not above 0",
			"--probe.concurrency: 0 is less than 1",
			"--web.scrape-timeout-offset: -1s is less than 0",
			"--collector.*: all collectors are switched off",
		}},
		{"probes", []string{
			"--rpc.tls=maybe", "--rpc.ca-file=" + missing, "--rpc.key-file=" + junk, "--serf.encrypt-key-file=" + empty, "--dns.domain=con sul",
			"--probe.protocols=rpc,icmp", "--probe.client-ports=all",
		}, []string{
			"--rpc.ca-file: authorities: open " + missing + ": no such file or directory",
			"--rpc.cert-file, --rpc.key-file: a client certificate needs both a certificate file and a key file",
			`--rpc.tls: "maybe" is none of: auto, on, off`,
			"--serf.encrypt-key-file: key file " + empty + " holds no key",
			`--dns.domain: "con sul" is no domain`,
			`--probe.protocols: there is no protocol "icmp"; there are: rpc, serf_lan, serf_wan, http, https, grpc, grpc_tls, dns`,
			`--probe.client-ports: "all" is none of: auto, agent, servers, off`,
		}},
		{"configuration file", []string{"--config.file=" + badConfig, "--rpc.tls=maybe"}, []string{
			`--rpc.tls: "maybe" is none of: auto, on, off`,
			badConfig + `: modules.a.scheme: "ftp" is none of: http, https`,
			badConfig + ": modules.a.token_file: open " + missing + ": no such file or directory",
			badConfig + ": modules.a.targets: no target is allowed, so the module is of no use",
		}},
		{"no configuration file", []string{"--config.file=" + missing}, []string{"open " + missing + ": no such file or directory"}},
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

// A problem of any key that flags can fill is told with the flag.
func TestFlagsOf(t *testing.T) {
	clearEnv(t)
	// Come from --consul.server and --collector.*, cannot be wrong, or are part of another key.
	noFlag := []string{
		"scheme", "port", "collectors", "targets", "namespace", "partition", "tls.key_file", "tls.server_name", "tls.insecure",
		"rpc.key_file", "rpc.server_name",
	}
	var keys func(prefix string, v reflect.Type)
	keys = func(prefix string, v reflect.Type) {
		for field := range v.Fields() {
			key := prefix + field.Tag.Get("yaml")
			switch {
			case field.Tag.Get("yaml") == "-" || slices.Contains(noFlag, key):
			case field.Type.Kind() == reflect.Struct && key != "basic_auth": // That one is told as a whole.
				keys(key+".", field.Type)
			case flagsOf[key] == "":
				t.Errorf("there is no flag for %s", key)
			}
		}
	}
	keys("", reflect.TypeFor[config.Module]())
	serve := serveCommand()
	for _, flags := range flagsOf {
		for flag := range strings.SplitSeq(flags, ", ") {
			if name, ok := strings.CutPrefix(flag, "--"); ok && serve.GetFlag(name) == nil {
				t.Errorf("there is no flag %s", flag)
			}
		}
	}
}

func TestConfigCheck(t *testing.T) {
	clearEnv(t)
	path := filepath.Join(t.TempDir(), "config.yml")
	must(t, os.WriteFile(path, []byte("modules: {a: {targets: [localhost]}}"), 0o600))
	for _, args := range [][]string{{"--config.check"}, {"--config.check", "--config.file=" + path}} {
		if code, stdout, stderr := runProgram(t, args...); code != 0 || stdout != "configuration is good\n" || stderr != "" {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q; want 0 and that it is good", args, code, stdout, stderr)
		}
	}
	must(t, os.WriteFile(path, []byte("modules: {a: {}}"), 0o600))
	want := "consul_cluster_exporter: error: " + path + ": modules.a.targets: no target is allowed, so the module is of no use\n"
	if code, stdout, stderr := runProgram(t, "--config.check", "--config.file="+path); code != 1 || stdout != "" || stderr != want {
		t.Errorf("exit code %d, stdout %q, stderr %q; want 1 and %q", code, stdout, stderr, want)
	}
}

// The flags and a module of the configuration file say the same in the same way.
func TestFlagsFillAModule(t *testing.T) {
	clearEnv(t)
	var out, errs bytes.Buffer
	opts, _, done := parse([]string{
		"--rpc.tls=on", "--rpc.server-name=s", "--dns.domain=d", "--probe.protocols=rpc,dns", "--probe.protocols=http",
		"--probe.client-ports=off", "--probe.timeout=1s", "--no-collector.raft",
	}, &out, &errs)
	if done {
		t.Fatal(errs.String())
	}
	want := config.DefaultModule()
	want.RPC.TLS, want.RPC.ServerName, want.DNS.Domain = "on", "s", "d"
	want.Probe = config.Probe{Timeout: time.Second, Concurrency: 64, Protocols: []string{"rpc", "dns", "http"}, ClientPorts: "off"}
	var on []string
	for _, c := range collector.All() {
		if c.Enabled {
			on = append(on, c.Name)
		}
	}
	want.Collectors = slices.DeleteFunc(slices.Clone(on), func(name string) bool { return name == "raft" })
	if diff := cmp.Diff(want, opts.filledModule()); diff != "" {
		t.Errorf("module differs (-want +got):\n%s", diff)
	}
	parsed, _, _ := parse(nil, &out, &errs)
	want = config.DefaultModule()
	want.Collectors = on
	if diff := cmp.Diff(want, parsed.filledModule()); diff != "" {
		t.Errorf("module without flags differs (-want +got):\n%s", diff)
	}
}

// The two flags of consul_exporter about consistency say one thing together; only both at once are an error.
func TestConsistency(t *testing.T) {
	clearEnv(t)
	for _, tc := range []struct{ args, want string }{
		{"", "stale"},
		{"--consul.allow_stale", "stale"},
		{"--no-consul.allow_stale", "default"},
		{"--consul.require_consistent", "consistent"},
		{"--no-consul.allow_stale --consul.require_consistent", "consistent"},
	} {
		var out, errs bytes.Buffer
		opts, _, done := parse(strings.Fields(tc.args), &out, &errs)
		if done {
			t.Fatal(errs.String())
		}
		if got := opts.filledModule().Consistency; got != tc.want || opts.consistency.check() != nil {
			t.Errorf("%q is %q, error %v; want %q", tc.args, got, opts.consistency.check(), tc.want)
		}
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

// The help of each command names the values of its flags in a word, or shows their defaults.
func TestHelpOfValues(t *testing.T) {
	clearEnv(t)
	unclear := regexp.MustCompile(`--[a-z.-]+=("" |[A-Z]+[.-][A-Z.-]*).*`)
	for _, args := range [][]string{{"--help"}, {commandServe, "--help"}, {commandCheck, "--help"}, {commandAlerts, "--help"}, {commandDashboards, "--help"}} {
		_, stdout, _ := runProgram(t, args...)
		if found := unclear.FindAllString(stdout, -1); found != nil {
			t.Errorf("%v has %q", args, found)
		}
	}
	if _, stdout, _ := runProgram(t, "--help"); !strings.Contains(stdout, "--consul.ca-file=FILE ") || !strings.Contains(stdout, "--consul.timeout=2s ") {
		t.Errorf("help has no name of a value, or no default:\n%s", stdout)
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
	t.Setenv("CONSUL_HTTP_TOKEN", " t0ken\n")
	t.Setenv("CONSUL_HTTP_AUTH", "user:password")
	t.Setenv("CONSUL_CAPATH", "/authorities")
	t.Setenv("CONSUL_NAMESPACE", "team")
	t.Setenv("CONSUL_PARTITION", "part")
	opts := parsed()
	module := opts.agentModule()
	for _, tc := range []struct{ what, got, want string }{
		{"server", opts.consulServer, "https://10.0.0.1:8501"},
		{"authority", opts.module.TLS.CAFile, "/ca"},
		{"certificate", opts.module.TLS.CertFile, "/cert"},
		{"key", opts.module.TLS.KeyFile, "/key"},
		{"server name", opts.module.TLS.ServerName, "name"},
		{"token file", opts.module.TokenFile, "/token"},
		{"token", string(module.Token), "t0ken"},
		{"user and password", string(module.BasicAuth.UserPassword), "user:password"},
		{"folder of authorities", module.TLS.CAPath, "/authorities"},
		{"namespace", module.Namespace, "team"},
		{"partition", module.Partition, "part"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s is %q; want %q", tc.what, tc.got, tc.want)
		}
	}
	if !opts.module.TLS.Insecure {
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
