// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package process_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	sys "golang.org/x/sys/unix"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// exporterImpaired is the alert about the exporter's own problems.
const exporterImpaired = "ConsulExporterImpaired"

// TestWithCluster has what needs a cluster that is well. Each subtest only reads from it.
func TestWithCluster(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, ACL: true})
	must.Do(t, c.WaitSynced(t.Context()))
	token := must.Get(c.NewToken(t.Context(), harness.ReadmePolicy(t)))(t)
	start := func(t *testing.T, binary string) *harness.Exporter {
		t.Helper()
		return harness.StartBinary(t, binary, []string{"CONSUL_HTTP_TOKEN=" + token}, "--consul.server="+c.Servers[0].URL())
	}
	start(t, os.Args[0]).ScrapeUntilUp(t, harness.PlainPorts, c.Servers...)
	// The hard limit as well: Go raises the other one to it.
	limited := harness.Script(t, "ulimit -n 64\nexec '"+os.Args[0]+"' \"$@\"")
	t.Run("FewDescriptors", func(t *testing.T) { fewDescriptors(t, c, start(t, limited)) })
	t.Run("NoDescriptors", func(t *testing.T) { noDescriptors(t, c, start(t, os.Args[0])) })
	t.Run("TokenFileBlocks", func(t *testing.T) { tokenFileBlocks(t, c, token) })
	t.Run("TwoClusters", func(t *testing.T) { twoClusters(t, c, token) })
}

// A healthy cluster stays one for an exporter with few descriptors, most of which idle clients want.
func fewDescriptors(t *testing.T, c *consultest.Cluster, e *harness.Exporter) {
	t.Helper()
	for range 60 {
		conn := must.Get(net.Dial("tcp", e.HostPort()))(t)
		t.Cleanup(func() { conn.Close() })
	}
	for range 10 {
		s := e.Scrape(t)
		s.ExpectNone(t, "consul_port_probe_skipped")
		s.ExpectPorts(t, harness.PlainPorts, c.Servers...)
		s.Expect(t, harness.Samples{
			"process_max_fds": 64, "consul_up": 1, "consul_cluster_failure_margin": 1, "consul_cluster_leaders": 1,
			harness.AnsweringVoters: 3, `consul_cluster_voters_state{state="unknown"}`: 0,
			`consul_exporter_own_faults_total{kind="probe"}`: 0, `consul_exporter_own_faults_total{kind="request"}`: 0,
		})
		expectSuccess(t, s)
	}
	if st := e.FreshStatus(t); st.Level != status.LevelHealthy {
		t.Errorf("the page says %s: %s, %q", st.Level, st.Verdict, harness.AlertsOf(st))
	}
}

// expectSuccess fails for each collector that is not complete, and could be.
func expectSuccess(t *testing.T, s harness.Samples) {
	t.Helper()
	for series, value := range s {
		supported := s[strings.Replace(series, "_success{", "_supported{", 1)]
		if strings.HasPrefix(series, "consul_exporter_collector_success{") && value == 0 && supported == 1 {
			t.Errorf("%s is 0", series)
		}
	}
}

// An exporter without any descriptor blames nothing on Consul, and recovers by itself.
func noDescriptors(t *testing.T, c *consultest.Cluster, e *harness.Exporter) {
	t.Helper()
	// One connection for each page, which are kept: no new one could be accepted.
	e.ScrapeUntilUp(t, harness.PlainPorts, c.Servers...)
	expectLevel(t, e, status.LevelHealthy)

	var before sys.Rlimit
	pid := e.Cmd.Process.Pid
	must.Do(t, sys.Prlimit(pid, sys.RLIMIT_NOFILE, nil, &before))
	must.Do(t, sys.Prlimit(pid, sys.RLIMIT_NOFILE, &sys.Rlimit{Cur: 0, Max: before.Max}, nil))
	planned := len(harness.PlainPorts) * len(c.Servers)
	for range 3 {
		s := e.Scrape(t)
		if skipped := len(s.Labels("consul_port_probe_skipped", "port")); skipped != planned {
			t.Errorf("%d ports are skipped; want all %d:\n%s", skipped, planned, s)
		}
		s.Expect(t, harness.Samples{
			"consul_cluster_voters":                                                 3,
			harness.AnsweringVoters:                                                 0,
			`consul_cluster_voters_state{state="lost"}`:                             0,
			`consul_cluster_voters_state{state="unknown"}`:                          3,
			`consul_cluster_quorum_state{state="unknown"}`:                          1,
			harness.PortSeries("probe_skipped", c.Servers[0], `reason="own_fault"`): 1,
		})
		s.ExpectNone(t, "consul_up", "consul_port_up", "consul_port_probe_failures_total", "consul_port_protocol_verified",
			"consul_cluster_failure_margin", "consul_cluster_leaders", "consul_cluster_consistent_read_success",
			"consul_raft_leader")
		const faults = "consul_exporter_own_faults_total"
		if s[faults+`{kind="probe"}`] < float64(planned) || s[faults+`{kind="request"}`] == 0 {
			t.Errorf("the own faults are not counted:\n%s", s)
		}
	}
	st := expectLevel(t, e, status.LevelUnknown)
	if got := harness.AlertsOf(st); !slices.Equal(got, []string{"ConsulQuorumUnknown", exporterImpaired}) ||
		!strings.Contains(st.Verdict, "the exporter itself has a problem") {
		t.Errorf("the page says %q and %q; want only that the exporter has a problem and sees no quorum", st.Verdict, got)
	}

	must.Do(t, sys.Prlimit(pid, sys.RLIMIT_NOFILE, &before, nil))
	e.Scrape(t).Expect(t, harness.Samples{"consul_up": 1, "consul_cluster_failure_margin": 1, "consul_cluster_leaders": 1})
	expectLevel(t, e, status.LevelHealthy)
}

// expectLevel waits until the page has this level.
func expectLevel(t *testing.T, e *harness.Exporter, level status.Level) (st status.View) {
	t.Helper()
	harness.WaitFor(t, 30*time.Second, "the level "+string(level), func() string {
		st = e.FreshStatus(t)
		return harness.Unless(st.Level == level, "%s: %s %q", st.Level, st.Verdict, st.Problems)
	})
	return st
}

// A token file that blocks costs no scrape, no goroutine but one, and no metric; what is written there in the end is
// used.
func tokenFileBlocks(t *testing.T, c *consultest.Cluster, token string) {
	t.Helper()
	file := harness.Secret(t, token)
	e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL(), "--consul.token-file="+file)
	complete := harness.Samples{"consul_up": 1, "consul_cluster_failure_margin": 1, "consul_exporter_unreadable_files": 0}
	s := e.Scrape(t)
	s.Expect(t, complete)
	expectSuccess(t, s)
	goroutines := s["go_goroutines"]

	for _, writer := range []bool{false, true} {
		fifo := file + ".fifo"
		must.Do(t, syscall.Mkfifo(fifo, 0o600))
		if writer { // Who holds it open, and writes nothing.
			held := must.Get(os.OpenFile(fifo, os.O_RDWR, 0))(t)
			defer held.Close()
		}
		must.Do(t, os.Rename(fifo, file))
		for range 10 {
			start := time.Now()
			s := e.Scrape(t)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("a scrape took %s", took)
			}
			s.Expect(t, harness.Samples{"consul_up": 1, "consul_cluster_failure_margin": 1})
			expectSuccess(t, s)
			if n := s["go_goroutines"]; n > goroutines+20 {
				t.Errorf("there are %v goroutines, %v before", n, goroutines)
			}
		}
		e.ScrapeUntil(t, 30*time.Second, "the file is reported", func(s harness.Samples) bool {
			return s["consul_exporter_unreadable_files"] == 1
		})
		if st := e.FreshStatus(t); !slices.Contains(harness.AlertsOf(st), exporterImpaired) {
			t.Errorf("the page says %q; want %s", harness.AlertsOf(st), exporterImpaired)
		}

		// What comes instead is used: this token may read next to nothing.
		weak := must.Get(c.NewToken(t.Context(), `key_prefix "x" { policy = "read" }`))(t)
		replace(t, file, weak)
		e.ScrapeUntil(t, 30*time.Second, "the new token is used", func(s harness.Samples) bool {
			return s[`consul_exporter_collector_supported{collector="agent"}`] == 0 && s["consul_exporter_unreadable_files"] == 0
		})
		replace(t, file, token)
		e.ScrapeUntil(t, 30*time.Second, "the first token is used again", func(s harness.Samples) bool {
			return s[`consul_exporter_collector_supported{collector="agent"}`] == 1
		}).Expect(t, complete)
	}
	log := e.Log.String()
	twice := strings.Count(log, "file cannot be read again") == 2
	if !twice || !strings.Contains(log, file) || strings.Contains(log, token) {
		t.Errorf("the log does not say twice which file cannot be read:\n%s", log)
	}
}

// Each file that blocks when the exporter starts is an error that names the flag or key, and the file.
func TestTrouble_FileBlocksAtStart(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	must.Do(t, syscall.Mkfifo(fifo, 0o600))
	certificates := consultest.NewCertificates(t)
	webConfig := func(cert, key, ca string) (flag string) {
		file := harness.WriteFile(t, "web.yml", "tls_server_config: {client_auth_type: RequireAndVerifyClientCert, "+
			"cert_file: "+cert+", key_file: "+key+", client_ca_file: "+ca+"}")
		must.Do(t, os.Symlink(fifo, filepath.Join(filepath.Dir(file), "fifo")))
		return "--web.config.file=" + file
	}
	cert := webConfig("fifo", certificates.Key, certificates.CACert)
	key := webConfig(certificates.Cert, fifo, certificates.CACert)
	const webTLS = "--web.config.file: tls_server_config."
	for _, tc := range []struct {
		want string
		args []string
	}{
		{"--consul.token-file: ", []string{"--consul.token-file=" + fifo}},
		{"--serf.encrypt-key-file: ", []string{"--serf.encrypt-key-file=" + fifo}},
		{"--consul.ca-file: ", []string{"--consul.ca-file=" + fifo}},
		{
			"--consul.cert-file, --consul.key-file: ",
			[]string{"--consul.cert-file=" + certificates.Cert, "--consul.key-file=" + fifo},
		},
		{"--rpc.ca-file: ", []string{"--rpc.ca-file=" + fifo}},
		{"--responder.secret-file: ", []string{"--responder.secret-file=" + fifo}},
		{"--config.file: ", []string{"--config.file=" + fifo}},
		{"--web.config.file: ", []string{"--web.config.file=" + fifo}},
		{webTLS + "cert_file: ", []string{cert}},
		{webTLS + "key_file: ", []string{key}},
		{webTLS + "client_ca_file: ", []string{webConfig(certificates.Cert, certificates.Key, "fifo")}},
		{webTLS + "key_file: ", []string{"--config.check", key}},
		{webTLS + "cert_file: ", []string{"responder", cert}},
		{"--consul.token-file: ", []string{"check", "--consul.token-file=" + fifo}},
		{"--config.file: ", []string{"responder", "--config.file=" + fifo}},
	} {
		t.Run(strings.SplitN(tc.args[0], "=", 2)[0], func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			code, _, stderr := harness.RunProgram(t, tc.args...)
			if took := time.Since(start); code == 0 || took > 30*time.Second ||
				!strings.Contains(stderr, "error: "+tc.want) || !strings.Contains(stderr, "fifo") {
				t.Errorf("%s: exit code %d after %s, %q; want an error with %q and %s", tc.args, code, took, stderr, tc.want, fifo)
			}
		})
	}
}

// What exporter-toolkit reads for each connection cannot be a pipe, even if somebody writes to it: it would have its
// content only once.
func TestTrouble_WebFilePiped(t *testing.T) {
	t.Parallel()
	file := harness.WriteFile(t, "web.yml", "tls_server_config: {cert_file: cert, key_file: key}")
	fifo := filepath.Join(filepath.Dir(file), "cert")
	must.Do(t, syscall.Mkfifo(fifo, 0o600))
	go os.WriteFile(fifo, []byte("certificate"), 0) // Waits for a reader.
	code, _, stderr := harness.RunProgram(t, "--config.check", "--web.config.file="+file)
	want := "--web.config.file: tls_server_config.cert_file: " + fifo + " is a pipe, which can be read only once"
	if code == 0 || !strings.Contains(stderr, want) {
		t.Errorf("exit code %d and %q; want an error with %q", code, stderr, want)
	}
}

// Authorities are read again when they change, for the HTTP API, for the servers' ports and for modules.
func TestTrouble_AuthoritiesChange(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 1, TLS: true})
	right := must.Get(os.ReadFile(c.CACert))(t)
	wrong := must.Get(os.ReadFile(consultest.NewCertificates(t).CACert))(t)
	server := c.Servers[0]
	address := strings.TrimPrefix(server.URL(), "https://")
	dir := harness.WriteFiles(t, map[string]string{"ca.pem": string(wrong), "config.yml": fmt.Sprintf(
		"modules:\n  tls: {scheme: https, tls: {ca_file: ca.pem, cert_file: %q, key_file: %q}, targets: [%s]}\n",
		c.ClientCert, c.ClientKey, server.Addr)})
	ca := filepath.Join(dir, "ca.pem")
	e := harness.StartExporter(t, nil, "--consul.server="+server.URL(), "--config.file="+filepath.Join(dir, "config.yml"),
		"--consul.ca-file="+ca, "--consul.cert-file="+c.ClientCert, "--consul.key-file="+c.ClientKey)
	module := func() harness.Samples { return probed(t, e, "tls", address) }
	rpc := harness.PortSeries("up", server)
	want := harness.Samples{
		"consul_up": 1, rpc: 1, harness.Port(8501, "https", "tcp").Series("consul_port_up", server): 1,
		harness.Port(8503, "grpc_tls", "tcp").Series("consul_port_up", server): 1,
	}

	e.Scrape(t).Expect(t, harness.Samples{"consul_up": 0})
	module().Expect(t, harness.Samples{"probe_success": 0})
	replace(t, ca, string(right))
	e.Scrape(t) // Makes the servers known.
	e.Scrape(t).Expect(t, want)
	module()
	module().Expect(t, want)
	replace(t, ca, string(wrong))
	e.Scrape(t).Expect(t, harness.Samples{"consul_up": 0, rpc: 0})
	module().Expect(t, harness.Samples{"probe_success": 0})
}
