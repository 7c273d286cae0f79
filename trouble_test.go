// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	sys "golang.org/x/sys/unix"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/status"
)

// exporterImpaired is the alert about all that the exporter could not do for reasons of its own.
const exporterImpaired = "ConsulExporterImpaired"

// underLimit writes a program that starts the exporter with no more than so many descriptors.
func underLimit(t *testing.T, descriptors int) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "limited")
	// The hard limit as well: Go raises the other one to it.
	script := fmt.Sprintf("#!/bin/sh\nulimit -n %d\nexec '%s' \"$@\"\n", descriptors, os.Args[0])
	must(t, os.WriteFile(binary, []byte(script), 0o700))
	return binary
}

// portsWhere counts the ports of which a family has this value.
func portsWhere(s samples, family string, value float64) int {
	n := 0
	for series, v := range s {
		if strings.HasPrefix(series, family+"{") && v == value {
			n++
		}
	}
	return n
}

// untilAllUp waits until all ports are up, and returns how many that is.
func (e *exporterProcess) untilAllUp(t *testing.T) (ports int) {
	t.Helper()
	e.scrapeUntil(t, 30*time.Second, "all ports are up", func(s samples) bool {
		ports = portsWhere(s, "consul_port_up", 1)
		return ports >= 3*8 && portsWhere(s, "consul_port_protocol_verified", 1) == ports && portsWhere(s, "consul_port_up", 0) == 0
	})
	return ports
}

// A healthy cluster stays one for an exporter with few descriptors, most of which idle clients want.
func TestTrouble_FewDescriptors(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3})
	must(t, c.WaitSynced(t.Context()))
	waitCertificates(t, c)
	plenty := startExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	planned := plenty.untilAllUp(t)

	e := startBinary(t, underLimit(t, 64), nil, "--consul.server="+c.Servers[0].URL())
	for range 60 {
		conn, err := net.Dial("tcp", e.hostPort())
		must(t, err)
		t.Cleanup(func() { conn.Close() })
	}
	for range 10 {
		s := e.scrape(t)
		s.expectNone(t, "consul_port_probe_skipped") // Which there would be room for: see below.
		verified, skipped := portsWhere(s, "consul_port_protocol_verified", 1), portsWhere(s, "consul_port_probe_skipped", 1)
		if down := portsWhere(s, "consul_port_up", 0); down != 0 || verified+skipped != planned {
			t.Fatalf("%d ports are down, %d verified and %d skipped, of %d:\n%s\n%s", down, verified, skipped, planned, s, e.page(t, "/?format=json", 200))
		}
		s.expect(t, samples{
			"process_max_fds": 64, "consul_up": 1, "consul_cluster_failure_margin": 1, "consul_cluster_leaders": 1,
			`consul_cluster_voters_state{state="answering"}`: 3, `consul_cluster_voters_state{state="unknown"}`: 0,
			`consul_exporter_own_faults_total{kind="probe"}`: 0, `consul_exporter_own_faults_total{kind="request"}`: 0,
		})
		s.expectSuccess(t)
	}
	if st := e.freshStatus(t); st.Level != status.LevelHealthy {
		t.Errorf("the page says %s: %s, %q", st.Level, st.Verdict, alertsOf(st))
	}
}

// expectSuccess fails for each collector that is not complete, and could be.
func (s samples) expectSuccess(t *testing.T) {
	t.Helper()
	for series, value := range s {
		supported := s[strings.Replace(series, "_success{", "_supported{", 1)]
		if strings.HasPrefix(series, "consul_exporter_collector_success{") && value == 0 && supported == 1 {
			t.Errorf("%s is 0", series)
		}
	}
}

// An exporter without any descriptor blames nothing on Consul, and recovers by itself.
func TestTrouble_NoDescriptors(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3})
	must(t, c.WaitSynced(t.Context()))
	waitCertificates(t, c)
	e := startExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	// One connection for each page, which are kept: no new one could be accepted.
	planned := e.untilAllUp(t)
	e.expectLevel(t, status.LevelHealthy)

	restore := takeDescriptors(t, e.cmd.Process.Pid)
	for range 3 {
		s := e.scrape(t)
		if skipped := portsWhere(s, "consul_port_probe_skipped", 1); skipped != planned {
			t.Errorf("%d ports are skipped; want all %d:\n%s", skipped, planned, s)
		}
		s.expect(t, samples{
			"consul_cluster_voters": 3, "consul_cluster_reachable_voters": 0,
			`consul_cluster_voters_state{state="answering"}`: 0, `consul_cluster_voters_state{state="lost"}`: 0,
			`consul_cluster_voters_state{state="unknown"}`:                                        3,
			tcpPort(c.Servers[0], 8300, "rpc", "consul_port_probe_skipped", `reason="own_fault"`): 1,
		})
		s.expectNone(t, "consul_up", "consul_port_up", "consul_port_probe_failures_total", "consul_port_protocol_verified",
			"consul_cluster_failure_margin", "consul_cluster_leaders", "consul_cluster_consistent_read_success", "consul_raft_leader")
		if s[`consul_exporter_own_faults_total{kind="probe"}`] < float64(planned) || s[`consul_exporter_own_faults_total{kind="request"}`] == 0 {
			t.Errorf("the own faults are not counted:\n%s", s)
		}
	}
	st := e.expectLevel(t, status.LevelUnknown)
	if got := alertsOf(st); !slices.Equal(got, []string{exporterImpaired}) || !strings.Contains(st.Verdict, "the exporter itself has a problem") {
		t.Errorf("the page says %q and %q; want only that the exporter has a problem", st.Verdict, got)
	}

	restore()
	e.scrape(t).expect(t, samples{"consul_up": 1, "consul_cluster_failure_margin": 1, "consul_cluster_leaders": 1})
	e.expectLevel(t, status.LevelHealthy)
}

// tcpPort writes a series of a port over TCP, with one more label.
func tcpPort(a *consultest.Agent, number int, protocol, family, more string) string {
	return portID{number, protocol, cluster.TransportTCP}.series(family, a, more)
}

// expectLevel waits until the page has this level.
func (e *exporterProcess) expectLevel(t *testing.T, level status.Level) (st status.View) {
	t.Helper()
	waitFor(t, 30*time.Second, "the level "+string(level), func() string {
		if st = e.freshStatus(t); st.Level == level {
			return ""
		}
		return fmt.Sprintf("%s: %s %q", st.Level, st.Verdict, st.Problems)
	})
	return st
}

// takeDescriptors keeps a process from opening anything more, until the returned function is called.
func takeDescriptors(t *testing.T, pid int) (restore func()) {
	t.Helper()
	var before sys.Rlimit
	must(t, sys.Prlimit(pid, sys.RLIMIT_NOFILE, &sys.Rlimit{Cur: 0, Max: maxDescriptors(t, pid)}, &before))
	return func() { must(t, sys.Prlimit(pid, sys.RLIMIT_NOFILE, &before, nil)) }
}

func maxDescriptors(t *testing.T, pid int) uint64 {
	t.Helper()
	var now sys.Rlimit
	must(t, sys.Prlimit(pid, sys.RLIMIT_NOFILE, nil, &now))
	return now.Max
}

// A token file that blocks costs no scrape, no goroutine but one, and no metric; what is written there in the end is used.
func TestTrouble_TokenFileBlocks(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3, ACL: true})
	leaderOf(t, c)
	token, err := c.NewToken(t.Context(), readmePolicy(t))
	must(t, err)
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	must(t, os.WriteFile(file, []byte(token), 0o600))
	e := startExporter(t, nil, "--consul.server="+c.Servers[0].URL(), "--consul.token-file="+file)
	complete := samples{"consul_up": 1, "consul_cluster_failure_margin": 1, "consul_exporter_unreadable_files": 0}
	s := e.scrape(t)
	s.expect(t, complete)
	s.expectSuccess(t)
	goroutines := s["go_goroutines"]

	for _, writer := range []bool{false, true} {
		fifo := filepath.Join(dir, "fifo")
		must(t, syscall.Mkfifo(fifo, 0o600))
		if writer { // Who holds it open, and writes nothing.
			held, err := os.OpenFile(fifo, os.O_RDWR, 0)
			must(t, err)
			defer held.Close()
		}
		must(t, os.Rename(fifo, file))
		for range 10 {
			start := time.Now()
			s := e.scrape(t)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("a scrape took %s", took)
			}
			s.expect(t, samples{"consul_up": 1, "consul_cluster_failure_margin": 1})
			s.expectSuccess(t)
			if n := s["go_goroutines"]; n > goroutines+20 {
				t.Errorf("there are %v goroutines, %v before", n, goroutines)
			}
		}
		e.scrapeUntil(t, 30*time.Second, "the file is reported", func(s samples) bool { return s["consul_exporter_unreadable_files"] == 1 })
		if st := e.freshStatus(t); !slices.Contains(alertsOf(st), exporterImpaired) {
			t.Errorf("the page says %q; want %s", alertsOf(st), exporterImpaired)
		}

		// What comes instead is used: this token may read next to nothing.
		weak, err := c.NewToken(t.Context(), `key_prefix "x" { policy = "read" }`)
		must(t, err)
		replace(t, file, weak)
		e.scrapeUntil(t, 30*time.Second, "the new token is used", func(s samples) bool {
			return s[`consul_exporter_collector_supported{collector="agent"}`] == 0 && s["consul_exporter_unreadable_files"] == 0
		})
		replace(t, file, token)
		e.scrapeUntil(t, 30*time.Second, "the first token is used again", func(s samples) bool {
			return s[`consul_exporter_collector_supported{collector="agent"}`] == 1
		}).expect(t, complete)
	}
	if log := e.log.String(); strings.Count(log, "file cannot be read again") != 2 || !strings.Contains(log, file) || strings.Contains(log, token) {
		t.Errorf("the log does not say twice which file cannot be read:\n%s", log)
	}
}

// replace puts a file in the place of another one, as those do who rotate secrets.
func replace(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.WriteFile(path+".new", []byte(content), 0o600))
	must(t, os.Rename(path+".new", path))
}

// Each file that blocks when the exporter starts is an error that names the flag or key, and the file.
func TestTrouble_FileBlocksAtStart(t *testing.T) {
	clearEnv(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	must(t, syscall.Mkfifo(fifo, 0o600))
	certificates := consultest.NewCertificates(t)
	webConfig := func(tls string) (flag string) {
		folder := writeFiles(t, map[string]string{"web.yml": "tls_server_config: {" + tls + "}"})
		must(t, os.Symlink(fifo, filepath.Join(folder, "fifo")))
		return "--web.config.file=" + filepath.Join(folder, "web.yml")
	}
	cert := webConfig("cert_file: fifo, key_file: " + certificates.Key)
	key := webConfig("cert_file: " + certificates.Cert + ", key_file: " + fifo)
	clientCA := webConfig("cert_file: " + certificates.Cert + ", key_file: " + certificates.Key +
		", client_auth_type: RequireAndVerifyClientCert, client_ca_file: fifo")
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"--consul.token-file=" + fifo}, "--consul.token-file: "},
		{[]string{"--serf.encrypt-key-file=" + fifo}, "--serf.encrypt-key-file: "},
		{[]string{"--consul.ca-file=" + fifo}, "--consul.ca-file, --consul.cert-file, --consul.key-file: "},
		{[]string{"--consul.cert-file=" + certificates.Cert, "--consul.key-file=" + fifo}, "--consul.ca-file, --consul.cert-file, --consul.key-file: "},
		{[]string{"--rpc.ca-file=" + fifo}, "--rpc.ca-file: "},
		{[]string{"--responder.secret-file=" + fifo}, "--responder.secret-file: "},
		{[]string{"--config.file=" + fifo}, ""},
		{[]string{"--web.config.file=" + fifo}, "--web.config.file: "},
		{[]string{cert}, "--web.config.file: tls_server_config.cert_file: "},
		{[]string{key}, "--web.config.file: tls_server_config.key_file: "},
		{[]string{clientCA}, "--web.config.file: tls_server_config.client_ca_file: "},
		{[]string{"--config.check", key}, "--web.config.file: tls_server_config.key_file: "},
		{[]string{"responder", cert}, "--web.config.file: tls_server_config.cert_file: "},
		{[]string{"check", "--consul.token-file=" + fifo}, "--consul.token-file: "},
		{[]string{"responder", "--config.file=" + fifo}, ""},
	} {
		t.Run(strings.SplitN(tc.args[0], "=", 2)[0], func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], append(tc.args, "--web.listen-address=127.0.0.1:0")...)
			if tc.args[0] == "check" {
				cmd.Args = append(cmd.Args[:1], tc.args...)
			}
			cmd.Env = append(cleanEnv(), asExporter+"=1")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			err := cmd.Run()
			if took := time.Since(start); err == nil || took > 30*time.Second || !strings.Contains(stderr.String(), "error: "+tc.want) ||
				!strings.Contains(stderr.String(), "fifo") {
				t.Errorf("it ended after %s with %v and %q; want an error with %q and %s", took, err, &stderr, tc.want, fifo)
			}
		})
	}
}

// What exporter-toolkit reads for each connection cannot be a pipe, even if somebody writes to it: it would have its
// content only once.
func TestTrouble_WebFilePiped(t *testing.T) {
	folder := writeFiles(t, map[string]string{"web.yml": "tls_server_config: {cert_file: cert, key_file: key}"})
	fifo := filepath.Join(folder, "cert")
	must(t, syscall.Mkfifo(fifo, 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	writer := exec.CommandContext(ctx, "sh", "-c", `echo certificate >"$0"`, fifo)
	must(t, writer.Start())
	defer func() { _ = writer.Wait() }()
	cmd := exec.CommandContext(ctx, os.Args[0], "--config.check", "--web.config.file="+filepath.Join(folder, "web.yml"))
	cmd.Env = append(cleanEnv(), asExporter+"=1")
	out, err := cmd.CombinedOutput()
	want := "--web.config.file: tls_server_config.cert_file: " + fifo + " is a pipe, which can be read only once"
	if err == nil || !strings.Contains(string(out), want) {
		t.Errorf("it ended with %v and %q; want an error with %q", err, out, want)
	}
}

// Authorities are read again when they change, for the HTTP API, for the servers' ports and for modules.
func TestTrouble_AuthoritiesChange(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 1, TLS: true})
	right, err := os.ReadFile(c.CACert)
	must(t, err)
	wrong, err := os.ReadFile(consultest.NewCertificates(t).CACert)
	must(t, err)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	must(t, os.WriteFile(ca, wrong, 0o600))
	config := filepath.Join(dir, "config.yml")
	must(t, os.WriteFile(config, fmt.Appendf(nil, "modules:\n  tls: {scheme: https, tls: {ca_file: ca.pem, cert_file: %q, key_file: %q}, targets: [%s]}\n",
		c.ClientCert, c.ClientKey, c.Servers[0].Addr), 0o600))
	e := startExporter(t, nil, "--consul.server="+c.Servers[0].URL(), "--consul.ca-file="+ca, "--consul.cert-file="+c.ClientCert,
		"--consul.key-file="+c.ClientKey, "--config.file="+config)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(c.Servers[0].URL(), "https://"))
	must(t, err)
	module := func() samples {
		return parseSamples(t, e.page(t, probePage("tls", c.Servers[0].Addr+":"+port), http.StatusOK))
	}
	want := samples{"consul_up": 1}
	for _, p := range []portID{{8300, "rpc", "tcp"}, {8501, "https", "tcp"}, {8503, "grpc_tls", "tcp"}} {
		want[p.series("consul_port_up", c.Servers[0])] = 1
	}

	e.scrape(t).expect(t, samples{"consul_up": 0})
	module().expect(t, samples{"probe_success": 0})
	replace(t, ca, string(right))
	e.scrape(t) // Makes the servers known.
	e.scrape(t).expect(t, want)
	module()
	module().expect(t, want)
	replace(t, ca, string(wrong))
	s := e.scrape(t)
	s.expect(t, samples{"consul_up": 0, portID{8300, "rpc", "tcp"}.series("consul_port_up", c.Servers[0]): 0})
	module().expect(t, samples{"probe_success": 0})
}
