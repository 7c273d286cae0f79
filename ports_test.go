// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
)

// gossipKey encrypts the gossip of the secure clusters.
const gossipKey = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="

// portID is a port in the labels of the section "Ports".
type portID struct {
	number              int
	protocol, transport string
}

// series names a series about the port of an agent.
func (p portID) series(family string, a *consultest.Agent, more ...string) string {
	labels := append([]string{
		fmt.Sprintf(`port="%d"`, p.number), fmt.Sprintf("protocol=%q", p.protocol),
		fmt.Sprintf("server=%q", a.Name), fmt.Sprintf("transport=%q", p.transport),
	}, more...)
	slices.Sort(labels)
	return family + "{" + strings.Join(labels, ",") + "}"
}

// The ports of a server: those that every one has, and those of a plain and of a secure cluster.
var (
	serverPorts = []portID{
		{8300, "rpc", "tcp"},
		{8301, "serf_lan", "tcp"},
		{8301, "serf_lan", "udp"},
		{8302, "serf_wan", "tcp"},
		{8302, "serf_wan", "udp"},
		{8503, "grpc_tls", "tcp"},
		{8600, "dns", "tcp"},
		{8600, "dns", "udp"},
	}
	plainPorts  = append(slices.Clone(serverPorts), portID{8500, "http", "tcp"}, portID{8502, "grpc", "tcp"})
	securePorts = append(slices.Clone(serverPorts), portID{8501, "https", "tcp"})
)

// expectPorts fails unless exactly these ports of the agents are there, up and verified.
func (s samples) expectPorts(t *testing.T, ports []portID, agents ...*consultest.Agent) {
	t.Helper()
	want := make(samples)
	for _, a := range agents {
		for _, p := range ports {
			want[p.series("consul_port_up", a)] = 1
			want[p.series("consul_port_protocol_verified", a)] = 1
		}
	}
	s.expect(t, want)
	for series := range s {
		if _, ok := want[series]; !ok && strings.HasPrefix(series, "consul_port_up{") {
			t.Errorf("%s is there; want no such port", series)
		}
	}
}

// scrapeUntilUp scrapes until all ports of the agents are up. Those of a young server are not: it has no certificate for gRPC
// before there is a leader and an authority.
func (e *exporterProcess) scrapeUntilUp(t *testing.T, ports []portID, agents ...*consultest.Agent) samples {
	t.Helper()
	return e.scrapeUntil(t, 30*time.Second, "all ports are up", func(s samples) bool {
		for _, a := range agents {
			if slices.ContainsFunc(ports, func(p portID) bool { return s[p.series("consul_port_up", a)] != 1 }) {
				return false
			}
		}
		return true
	})
}

// startSecure starts a cluster in which everything is encrypted and nothing is allowed without a token.
func startSecure(t *testing.T) *consultest.Cluster {
	t.Helper()
	return consultest.Start(t, consultest.Options{Servers: 3, TLS: true, GossipKey: gossipKey, ACL: true, Config: patient(keepDead())})
}

// secret writes a file that only its owner may read.
func secret(t *testing.T, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(path, []byte(content+"\n"), 0o600))
	return path
}

// tlsFlags are for the agent's API and, by default, for port 8300.
func tlsFlags(c *consultest.Cluster) []string {
	return []string{"--consul.ca-file=" + c.CACert, "--consul.cert-file=" + c.ClientCert, "--consul.key-file=" + c.ClientKey}
}

// certificateOf returns the certificate of a server of a cluster with TLS.
func certificateOf(t *testing.T, c *consultest.Cluster, a *consultest.Agent) *x509.Certificate {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(filepath.Dir(c.CACert), a.Name+".pem"))
	must(t, err)
	block, _ := pem.Decode(content)
	cert, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	return cert
}

func TestEveryPort(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1})
	e := startExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	s := e.scrapeUntilUp(t, plainPorts, c.Servers...)
	s.expectPorts(t, plainPorts, c.Servers...)
	for _, a := range c.Servers {
		for _, transport := range []string{"tcp", "udp"} {
			dns := portID{8600, "dns", transport}
			s.expect(t, samples{dns.series("consul_dns_answers", a): 3, dns.series("consul_dns_response_code", a): 0})
		}
		// By default port 8503 shows a certificate of Consul's own authority, issued for 72 hours.
		s.expect(t, samples{portID{8503, "grpc_tls", "tcp"}.series("consul_port_tls_earliest_cert_lifetime_seconds", a): (72 * time.Hour).Seconds()})
	}
	http := portID{8500, "http", "tcp"}
	if n := s[http.series("consul_port_connections", c.Servers[0], `state="established"`)]; n < 1 {
		t.Errorf("%v established connections to port 8500; want at least the exporter's own", n)
	}
	// For a moment Consul has yet to close what the exporter has closed, but not for long.
	e.scrapeUntil(t, 10*time.Second, "no connection that Consul has yet to close", func(s samples) bool {
		n, ok := s[http.series("consul_port_connections", c.Servers[0], `state="close_wait"`)]
		return ok && n == 0
	})
}

// A client's configuration says nothing of the servers' ports for clients: only its own are probed.
func TestPortsOfAClient(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 1, Clients: 1})
	s := startExporter(t, nil, "--consul.server="+c.Clients[0].URL(), "--probe.protocols=http,grpc,dns").scrape(t)
	s.expectPorts(t, []portID{{8500, "http", "tcp"}, {8502, "grpc", "tcp"}, {8600, "dns", "tcp"}, {8600, "dns", "udp"}}, c.Clients[0])
	s.expect(t, samples{"consul_cluster_leaders": 1}) // Port 8300 is asked for it, shown or not.

	off := startExporter(t, nil, "--consul.server="+c.Servers[0].URL(), "--probe.client-ports=off", "--probe.protocols=dns", "--probe.protocols=rpc").scrape(t)
	off.expectPorts(t, []portID{{8300, "rpc", "tcp"}}, c.Servers[0])
}

func TestEveryPortSecure(t *testing.T) {
	c := startSecure(t)
	token, err := c.NewToken(t.Context(), readmePolicy(t))
	must(t, err)
	var marks []int
	for _, a := range c.Servers {
		marks = append(marks, a.LogMark())
	}
	base := append(tlsFlags(c), "--consul.server="+c.Servers[0].URL(), "--consul.token-file="+secret(t, token))

	all := startExporter(t, nil, append(base, "--serf.encrypt-key-file="+secret(t, gossipKey))...)
	all.scrapeUntilUp(t, securePorts, c.Servers...)
	start := time.Now()
	s := all.scrape(t)
	if took := time.Since(start); took > probeTimeout {
		t.Errorf("scrape took %s; want nothing to be waited for", took)
	}
	s.expectPorts(t, securePorts, c.Servers...)
	for _, a := range c.Servers {
		cert := certificateOf(t, c, a)
		for _, p := range []portID{{8300, "rpc", "tcp"}, {8501, "https", "tcp"}, {8503, "grpc_tls", "tcp"}} {
			s.expect(t, samples{
				p.series("consul_port_tls_earliest_cert_expiry_timestamp_seconds", a): float64(cert.NotAfter.Unix()),
				p.series("consul_port_tls_earliest_cert_lifetime_seconds", a):         cert.NotAfter.Sub(cert.NotBefore).Seconds(),
			})
		}
	}
	s.expect(t, samples{"consul_cluster_failure_margin": 1, "consul_cluster_leaders": 1})

	for i, a := range c.Servers {
		expectQuiet(t, a, marks[i])
	}

	// Without the key, gossip is connected to and no more.
	noKey := startExporter(t, nil, base...).scrape(t)
	for _, a := range c.Servers {
		for _, p := range []portID{{8301, "serf_lan", "tcp"}, {8302, "serf_wan", "tcp"}} {
			noKey.expect(t, samples{p.series("consul_port_up", a): 1, p.series("consul_port_protocol_verified", a): 0})
			udp := portID{p.number, p.protocol, "udp"}
			noKey.expect(t, samples{udp.series("consul_port_protocol_verified", a): 0})
			noKey.expectNone(t, udp.series("consul_port_up", a))
		}
	}

	// Another key is an error in the servers' logs, and so it is tried once and then not for some minutes.
	var wrongKeyMarks []int
	otherKey := startExporter(t, nil, append(base, "--probe.protocols=serf_lan", "--serf.encrypt-key-file="+
		secret(t, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="))...)
	lan := portID{8301, "serf_lan", "tcp"}
	first := otherKey.scrape(t)
	for _, a := range c.Servers {
		first.expect(t, samples{lan.series("consul_port_up", a): 0, lan.series("consul_port_probe_failures_total", a, `reason="auth"`): 1})
		wrongKeyMarks = append(wrongKeyMarks, a.LogMark())
	}
	second := otherKey.scrape(t)
	for i, a := range c.Servers {
		second.expect(t, samples{lan.series("consul_port_up", a): 1, lan.series("consul_port_protocol_verified", a): 0})
		expectQuiet(t, a, wrongKeyMarks[i])
		marks[i] = a.LogMark()
	}

	// No token: what needs none still works.
	noToken := startExporter(t, nil, append(tlsFlags(c), "--consul.server="+c.Servers[0].URL())...).scrape(t)
	noToken.expect(t, samples{
		"consul_up": 1, "consul_cluster_voters": 3, "consul_cluster_failure_margin": 1, "consul_cluster_leaders": 1,
		`consul_exporter_collector_supported{collector="agent"}`: 0,
		`consul_exporter_collector_supported{collector="raft"}`:  0,
	})

	for i, a := range c.Servers {
		for _, line := range consultest.AtLeast(a.LogsSince(marks[i]), "WARN") {
			if byExporter(line) && !strings.Contains(line.Message, "Request error") {
				t.Errorf("%s logged because of the exporter: %s", a, line.Raw)
			}
		}
	}

	// Another authority for port 8300: the certificate does not verify, and its expiry is shown all the same.
	other := consultest.Start(t, consultest.Options{Servers: 1, TLS: true})
	wrong := startExporter(t, nil, append(base, "--rpc.ca-file="+other.CACert, "--probe.protocols=rpc")...).scrape(t)
	rpc := portID{8300, "rpc", "tcp"}
	for _, a := range c.Servers {
		wrong.expect(t, samples{
			rpc.series("consul_port_up", a):                                         0,
			rpc.series("consul_port_probe_failures_total", a, `reason="tls"`):       1,
			rpc.series("consul_port_tls_earliest_cert_expiry_timestamp_seconds", a): float64(certificateOf(t, c, a).NotAfter.Unix()),
		})
	}
}

func TestEveryPortHangs(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3, Config: keepDead()})
	leader := leaderOf(t, c)
	hung := others(c, leader)[0]
	e := startExporter(t, nil, "--consul.server="+leader.URL())
	e.scrapeUntilUp(t, plainPorts, c.Servers...)
	mark := hung.LogMark()
	must(t, hung.Stop())
	start := time.Now()
	s := e.scrape(t)
	if took := time.Since(start); took > 2*probeTimeout {
		t.Errorf("scrape took %s; want less than two of the probe's timeouts: nothing waits twice", took)
	}
	for _, p := range plainPorts {
		s.expect(t, samples{
			p.series("consul_port_up", hung):                                       0,
			p.series("consul_port_probe_failures_total", hung, `reason="timeout"`): 1,
			p.series("consul_port_up", leader):                                     1,
		})
	}
	must(t, hung.Continue())
	e.scrapeUntilUp(t, plainPorts, hung)
	expectQuiet(t, hung, mark)
}

// A hundred scrapes at once are one to Consul, or few.
func TestManyScrapesAtOnce(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3})
	e := startExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	e.scrape(t)
	const n = 100
	bodies := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			status, body, err := e.get(t.Context(), "/metrics", 10*time.Second)
			if err != nil || status != http.StatusOK {
				t.Errorf("scrape %d: status %d, %v", i, status, err)
			}
			bodies[i] = body
		})
	}
	wg.Wait()
	for _, body := range bodies {
		s := parseSamples(t, body)
		s.expect(t, samples{"consul_up": 1, "consul_cluster_failure_margin": 1, "consul_cluster_leaders": 1})
		for series, v := range s {
			if strings.Contains(series, `reason="limit"`) && v != 0 {
				t.Errorf("%s = %v; want no limit of Consul to be hit", series, v)
			}
		}
		if t.Failed() {
			return
		}
	}
	if shared := e.scrape(t)["consul_exporter_scrapes_shared_total"]; shared < n/2 {
		t.Errorf("%v of %d scrapes at once were shared; want most", shared, n)
	}
}

// waitCertificates waits until all servers have certificates for gRPC. The longer a server was without a leader, the
// later it asks for one again, up to a minute.
func waitCertificates(t *testing.T, c *consultest.Cluster) {
	t.Helper()
	for _, a := range c.Servers {
		waitFor(t, 2*time.Minute, a.Name+" has a certificate for gRPC", func() string { return withoutCertificate(t, a) })
	}
}
