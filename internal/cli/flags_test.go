// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/config"
)

// parsed are good flags.
func parsed(t *testing.T, args ...string) *options {
	t.Helper()
	var out, errs bytes.Buffer
	opts, _, done := parse(args, &out, &errs)
	if done {
		t.Fatalf("parse %q ends: %s", args, errs.String())
	}
	return opts
}

// An option of a module is a flag of the commands that its tag says, and problems are reported with existing flags.
func TestModuleFlags(t *testing.T) {
	serve, check := App().GetCommand(commandServe), App().GetCommand(commandCheck)
	keys := slices.Collect(maps.Keys(jointFlags))
	for _, o := range new(config.Module).Options() {
		keys = append(keys, o.Key)
		if wanted := o.Flag != "-"; (serve.GetFlag(o.Flag) != nil) != wanted ||
			(check.GetFlag(o.Flag) != nil) != (wanted && !o.ServeOnly) {
			t.Errorf("%s is not a flag of those commands that are to have --%s", o.Key, o.Flag)
		}
	}
	for _, key := range keys {
		for flag := range strings.SplitSeq(flagsOf(key), ", ") {
			if name, ok := strings.CutPrefix(flag, "--"); ok && serve.GetFlag(name) == nil {
				t.Errorf("there is no flag %s", flag)
			}
		}
	}
}

// The flags and a module of the configuration file say the same in the same way.
func TestFlagsFillAModule(t *testing.T) {
	opts := parsed(t,
		"--rpc.tls=on", "--rpc.server-name=s", "--dns.domain=d", "--probe.protocols=rpc,dns", "--probe.protocols=http",
		"--probe.client-ports=off", "--probe.timeout=1s", "--no-collector.raft",
	)
	want := config.DefaultModule()
	want.RPC.TLS, want.RPC.ServerName, want.DNS.Domain = "on", "s", "d"
	want.Probe.Timeout, want.Probe.Protocols, want.Probe.ClientPorts = time.Second, []string{"rpc", "dns", "http"}, "off"
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
	want = config.DefaultModule()
	want.Collectors = on
	if diff := cmp.Diff(want, parsed(t).filledModule()); diff != "" {
		t.Errorf("module without flags differs (-want +got):\n%s", diff)
	}
}

// The two flags of consul_exporter about consistency say one thing together; only both at once are an error.
func TestConsistency(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"", "stale"},
		{"--consul.allow_stale", "stale"},
		{"--no-consul.allow_stale", "default"},
		{"--consul.require_consistent", "consistent"},
		{"--no-consul.allow_stale --consul.require_consistent", "consistent"},
	} {
		opts := parsed(t, strings.Fields(tc.args)...)
		if got := opts.filledModule().Consistency; got != tc.want || opts.consistency.check() != nil {
			t.Errorf("%q is %q, error %v; want %q", tc.args, got, opts.consistency.check(), tc.want)
		}
	}
}

// Every flag can be set by an environment variable, and those about the agent by those of Consul's CLI; the nearer
// wins.
func TestEnvironment(t *testing.T) {
	if got := joinedServers(parsed(t)); got != "http://localhost:8500" {
		t.Errorf("default server is %q", got)
	}
	for variable, value := range map[string]string{
		"CONSUL_HTTP_ADDR": "10.0.0.1:8501", "CONSUL_HTTP_SSL": "true", "CONSUL_HTTP_SSL_VERIFY": "false",
		"CONSUL_CACERT": "/ca", "CONSUL_CLIENT_CERT": "/cert", "CONSUL_CLIENT_KEY": "/key",
		"CONSUL_TLS_SERVER_NAME": "name", "CONSUL_HTTP_TOKEN_FILE": "/token", "CONSUL_HTTP_TOKEN": " t0ken\n",
		"CONSUL_HTTP_AUTH": "user:password", "CONSUL_CAPATH": "/authorities", "CONSUL_NAMESPACE": "team",
		"CONSUL_PARTITION": "part",
	} {
		t.Setenv(variable, value)
	}
	opts := parsed(t)
	want := config.DefaultModule()
	want.TLS = config.TLS{
		CAFile: "/ca", CAPath: "/authorities", CertFile: "/cert", KeyFile: "/key", ServerName: "name", Insecure: true,
	}
	want.TokenFile, want.Token, want.BasicAuth.UserPassword = "/token", "t0ken", "user:password"
	want.Namespace, want.Partition = "team", "part"
	if diff := cmp.Diff(want, opts.agentModule()); diff != "" || joinedServers(opts) != "https://10.0.0.1:8501" {
		t.Errorf("server is %s, module differs (-want +got):\n%s", joinedServers(opts), diff)
	}
	t.Setenv("CONSUL_CLUSTER_EXPORTER_CONSUL_SERVER", "http://near:8500, b:8500")
	t.Setenv("CONSUL_CLUSTER_EXPORTER_COLLECTOR_RAFT", "false")
	if opts := parsed(t); joinedServers(opts) != "http://near:8500,b:8500" || *opts.collectors["raft"] {
		t.Errorf("server is %q, collector raft %v; want what the exporter's own variables say", joinedServers(opts),
			*opts.collectors["raft"])
	}
	flags := parsed(t, "--consul.server=http://flag:8500", "--consul.server=b:1,c:2")
	if got := joinedServers(flags); got != "http://flag:8500,b:1,c:2" {
		t.Errorf("server is %q; want what the flag says", got)
	}
}

// No variable means something to both the exporter and the responder, which needs another token.
func TestEnvironment_Responder(t *testing.T) {
	envars := func(command string) (names []string) {
		for _, f := range App().GetCommand(command).Model().Flags {
			names = append(names, f.Envar)
		}
		return names
	}
	exporters := envars(commandServe)
	for _, name := range envars(commandResponder) {
		if !strings.HasPrefix(name, responderVariables) || slices.Contains(exporters, name) {
			t.Errorf("the responder has the variable %q; want one of its own", name)
		}
	}
	for name, value := range map[string]string{
		"CONSUL_HTTP_ADDR": "exporters:1", "CONSUL_HTTP_TOKEN": "exporters", "CONSUL_HTTP_AUTH": "exporters:password",
		"CONSUL_HTTP_SSL": "true", "CONSUL_CACERT": "/exporters", "CONSUL_CAPATH": "/exporters",
		"CONSUL_CLUSTER_EXPORTER_CONFIG_FILE": "/exporters", "CONSUL_CLUSTER_EXPORTER_LOG_LEVEL": "debug",
	} {
		t.Setenv(name, value)
	}
	opts := parsed(t, commandResponder)
	want := config.DefaultModule()
	if diff := cmp.Diff(want, opts.agentModule()); diff != "" || joinedServers(opts) != "http://localhost:8500" ||
		opts.responder.configFile != "" || opts.logLevel != "info" {
		t.Errorf("what is for the exporter is for the responder, too: %q, %q, log %s (-want +got):\n%s",
			joinedServers(opts), opts.responder.configFile, opts.logLevel, diff)
	}
	for name, value := range map[string]string{
		"CONSUL_RESPONDER_HTTP_ADDR": "own:1", "CONSUL_RESPONDER_HTTP_TOKEN": "own", "CONSUL_RESPONDER_HTTP_SSL": "true",
		"CONSUL_RESPONDER_HTTP_AUTH": "own:password", "CONSUL_RESPONDER_CACERT": "/ca", "CONSUL_RESPONDER_CAPATH": "/path",
		"CONSUL_RESPONDER_HTTP_SSL_VERIFY": "false", "CONSUL_RESPONDER_CONFIG_FILE": "/own",
	} {
		t.Setenv(name, value)
	}
	opts = parsed(t, commandResponder)
	want.Token, want.BasicAuth.UserPassword = "own", "own:password"
	want.TLS = config.TLS{CAFile: "/ca", CAPath: "/path", Insecure: true}
	if diff := cmp.Diff(want, opts.agentModule()); diff != "" || joinedServers(opts) != "https://own:1" ||
		opts.responder.configFile != "/own" {
		t.Errorf("%q, %q (-want +got):\n%s", joinedServers(opts), opts.responder.configFile, diff)
	}
}

// A mistake in what the responder and its command test are given is explained as any other.
func TestResponder_BadFlags(t *testing.T) {
	t.Setenv("CONSUL_RESPONDER_CONSUL_TIMEOUT", "soon")
	for _, args := range []string{"responder", "responder run", "responder test --alert=a"} {
		var stderr strings.Builder
		if code := Run(t.Context(), strings.Fields(args), io.Discard, &stderr); code != 1 ||
			!strings.Contains(stderr.String(), "CONSUL_RESPONDER_CONSUL_TIMEOUT") {
			t.Errorf("%s: exit code %d, %s; want the variable", args, code, stderr.String())
		}
	}
	t.Setenv("CONSUL_RESPONDER_CONSUL_TIMEOUT", "")
	var stderr strings.Builder
	code := Run(t.Context(), []string{"responder", "--config.fil=a"}, io.Discard, &stderr)
	if code != 1 || !strings.Contains(stderr.String(), "--config.file") {
		t.Errorf("exit code %d, %s; want the flag that was meant", code, stderr.String())
	}
}

// What a hook gets is what reaches Consul as the responder does: a check in it has the same options.
func TestHookEnvironment(t *testing.T) {
	t.Setenv("CONSUL_RESPONDER_HTTP_TOKEN", "never")
	flags := []string{
		"--consul.server=https://a:8501", "--consul.server=b:8501", "--consul.token-file=/token", "--consul.insecure",
		"--consul.ca-file=/ca", "--consul.cert-file=/cert", "--consul.key-file=/key", "--consul.server-name=name",
		"--rpc.ca-file=/rpc-ca", "--serf.encrypt-key-file=/gossip", "--probe.protocols=rpc,dns", "--probe.timeout=3s",
	}
	opts := parsed(t, append([]string{commandResponder}, flags...)...)
	for _, variable := range opts.hookEnvironment() {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
		if strings.Contains(value, "never") {
			t.Errorf("%s has the token", name)
		}
	}
	want := parsed(t, append([]string{commandCheck}, flags...)...)
	got := parsed(t, commandCheck)
	if diff := cmp.Diff(want.agentModule(), got.agentModule()); diff != "" || joinedServers(want) != joinedServers(got) {
		t.Errorf("a check in a hook asks %s, with other options (-responder +check):\n%s", joinedServers(got), diff)
	}
	relative := parsed(t, commandResponder, "--consul.token-file=token").hookEnvironment()
	if !slices.ContainsFunc(relative, func(v string) bool { return strings.HasPrefix(v, "CONSUL_HTTP_TOKEN_FILE=/") }) {
		t.Errorf("%q; want an absolute path: hooks run in /", relative)
	}
}

func joinedServers(opts *options) string { return strings.Join(opts.consulServers, ",") }

// The flags of agentFlags mean the same to both commands.
func TestCheck_Flags(t *testing.T) {
	t.Setenv("CONSUL_HTTP_TOKEN", "secret")
	t.Setenv("CONSUL_CLUSTER_EXPORTER_PROBE_CONCURRENCY", "7")
	flags := []string{"--consul.server=http://x:1", "--rpc.tls=on", "--probe.protocols=rpc,dns", "--consul.insecure"}
	check := parsed(t, append([]string{commandCheck}, flags...)...)
	serve := parsed(t, append([]string{commandServe}, flags...)...)
	if joinedServers(check) != "http://x:1" || joinedServers(check) != joinedServers(serve) {
		t.Errorf("servers are %q and %q", check.consulServers, serve.consulServers)
	}
	want := serve.filledModule()
	want.Collectors = nil // Those of the exporter are no matter of the command.
	if got := check.agentModule(); !reflect.DeepEqual(got, want) || got.Probe.Concurrency != 7 || got.Token != "secret" {
		t.Errorf("module is %#v; want %#v", got, want)
	}
}
