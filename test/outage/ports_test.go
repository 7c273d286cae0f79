// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// gossipKey encrypts the gossip of the secure clusters.
const gossipKey = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="

// startSecure starts a cluster in which everything is encrypted and nothing is allowed without a token.
func startSecure(t *testing.T) *consultest.Cluster {
	t.Helper()
	return consultest.Start(t, consultest.Options{Servers: 3, TLS: true, GossipKey: gossipKey, ACL: true, Config: harness.Patient(harness.KeepDead())})
}

// certificateOf returns the certificate of a server of a cluster with TLS.
func certificateOf(t *testing.T, c *consultest.Cluster, a *consultest.Agent) *x509.Certificate {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(filepath.Dir(c.CACert), a.Name+".pem"))
	harness.Must(t, err)
	block, _ := pem.Decode(content)
	cert, err := x509.ParseCertificate(block.Bytes)
	harness.Must(t, err)
	return cert
}

func TestEveryPort(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1})
	e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	s := e.ScrapeUntilUp(t, harness.PlainPorts, c.Servers...)
	s.ExpectPorts(t, harness.PlainPorts, c.Servers...)
	for _, a := range c.Servers {
		for _, transport := range []string{"tcp", "udp"} {
			dns := harness.Port(8600, "dns", transport)
			s.Expect(t, harness.Samples{dns.Series("consul_dns_answers", a): 3, dns.Series("consul_dns_response_code", a): 0})
		}
		// By default port 8503 shows a certificate of Consul's own authority, issued for 72 hours.
		s.Expect(t, harness.Samples{harness.Port(8503, "grpc_tls", "tcp").Series("consul_port_tls_earliest_cert_lifetime_seconds", a): (72 * time.Hour).Seconds()})
	}
	http := harness.Port(8500, "http", "tcp")
	if n := s[http.Series("consul_port_connections", c.Servers[0], `state="established"`)]; n < 1 {
		t.Errorf("%v established connections to port 8500; want at least the exporter's own", n)
	}
	// For a moment Consul has yet to close what the exporter has closed, but not for long.
	e.ScrapeUntil(t, 10*time.Second, "no connection that Consul has yet to close", func(s harness.Samples) bool {
		n, ok := s[http.Series("consul_port_connections", c.Servers[0], `state="close_wait"`)]
		return ok && n == 0
	})
}

// A client's configuration says nothing of the servers' ports for clients: only its own are probed.
func TestPortsOfAClient(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 1, Clients: 1})
	s := harness.StartExporter(t, nil, "--consul.server="+c.Clients[0].URL(), "--probe.protocols=http,grpc,dns").Scrape(t)
	s.ExpectPorts(t, []harness.PortID{harness.Port(8500, "http", "tcp"), harness.Port(8502, "grpc", "tcp"), harness.Port(8600, "dns", "tcp"), harness.Port(8600, "dns", "udp")}, c.Clients[0])
	s.Expect(t, harness.Samples{"consul_cluster_leaders": 1}) // Port 8300 is asked for it, shown or not.

	off := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL(), "--probe.client-ports=off", "--probe.protocols=dns", "--probe.protocols=rpc").Scrape(t)
	off.ExpectPorts(t, []harness.PortID{harness.Port(8300, "rpc", "tcp")}, c.Servers[0])
}

func TestEveryPortSecure(t *testing.T) {
	t.Parallel()
	c := startSecure(t)
	token, err := c.NewToken(t.Context(), harness.ReadmePolicy(t))
	harness.Must(t, err)
	var marks []int
	for _, a := range c.Servers {
		marks = append(marks, a.LogMark())
	}
	base := append(harness.TLSFlags(c), "--consul.server="+c.Servers[0].URL(), "--consul.token-file="+harness.Secret(t, token))

	all := harness.StartExporter(t, nil, append(base, "--serf.encrypt-key-file="+harness.Secret(t, gossipKey))...)
	all.ScrapeUntilUp(t, harness.SecurePorts, c.Servers...)
	start := time.Now()
	s := all.Scrape(t)
	if took := time.Since(start); took > harness.ProbeTimeout {
		t.Errorf("scrape took %s; want nothing to be waited for", took)
	}
	s.ExpectPorts(t, harness.SecurePorts, c.Servers...)
	for _, a := range c.Servers {
		cert := certificateOf(t, c, a)
		for _, p := range []harness.PortID{harness.Port(8300, "rpc", "tcp"), harness.Port(8501, "https", "tcp"), harness.Port(8503, "grpc_tls", "tcp")} {
			s.Expect(t, harness.Samples{
				p.Series("consul_port_tls_earliest_cert_expiry_timestamp_seconds", a): float64(cert.NotAfter.Unix()),
				p.Series("consul_port_tls_earliest_cert_lifetime_seconds", a):         cert.NotAfter.Sub(cert.NotBefore).Seconds(),
			})
		}
	}
	s.Expect(t, harness.Samples{"consul_cluster_failure_margin": 1, "consul_cluster_leaders": 1})

	for i, a := range c.Servers {
		harness.ExpectQuiet(t, a, marks[i])
	}

	// Without the key, gossip is connected to and no more.
	noKey := harness.StartExporter(t, nil, base...).Scrape(t)
	for _, a := range c.Servers {
		for _, p := range []harness.PortID{harness.Port(8301, "serf_lan", "tcp"), harness.Port(8302, "serf_wan", "tcp")} {
			noKey.Expect(t, harness.Samples{p.Series("consul_port_up", a): 1, p.Series("consul_port_protocol_verified", a): 0})
			udp := harness.Port(p.Number, p.Protocol, "udp")
			noKey.Expect(t, harness.Samples{udp.Series("consul_port_protocol_verified", a): 0})
			noKey.ExpectNone(t, udp.Series("consul_port_up", a))
		}
	}

	// Another key is an error in the servers' logs, and so it is tried once and then not for some minutes.
	var wrongKeyMarks []int
	otherKey := harness.StartExporter(t, nil, append(base, "--probe.protocols=serf_lan", "--serf.encrypt-key-file="+
		harness.Secret(t, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="))...)
	lan := harness.Port(8301, "serf_lan", "tcp")
	first := otherKey.Scrape(t)
	for _, a := range c.Servers {
		first.Expect(t, harness.Samples{lan.Series("consul_port_up", a): 0, lan.Series("consul_port_probe_failures_total", a, `reason="auth"`): 1})
		wrongKeyMarks = append(wrongKeyMarks, a.LogMark())
	}
	second := otherKey.Scrape(t)
	for i, a := range c.Servers {
		second.Expect(t, harness.Samples{lan.Series("consul_port_up", a): 1, lan.Series("consul_port_protocol_verified", a): 0})
		harness.ExpectQuiet(t, a, wrongKeyMarks[i])
		marks[i] = a.LogMark()
	}

	// No token: what needs none still works.
	noToken := harness.StartExporter(t, nil, append(harness.TLSFlags(c), "--consul.server="+c.Servers[0].URL())...).Scrape(t)
	noToken.Expect(t, harness.Samples{
		"consul_up": 1, "consul_cluster_voters": 3, "consul_cluster_failure_margin": 1, "consul_cluster_leaders": 1,
		`consul_exporter_collector_supported{collector="agent"}`: 0,
		`consul_exporter_collector_supported{collector="raft"}`:  0,
	})

	for i, a := range c.Servers {
		for _, line := range consultest.AtLeast(a.LogsSince(marks[i]), "WARN") {
			if harness.ByExporter(line) && !strings.Contains(line.Message, "Request error") {
				t.Errorf("%s logged because of the exporter: %s", a, line.Raw)
			}
		}
	}

	// Another authority for port 8300: the certificate does not verify, and its expiry is shown all the same.
	other := consultest.Start(t, consultest.Options{Servers: 1, TLS: true})
	wrong := harness.StartExporter(t, nil, append(base, "--rpc.ca-file="+other.CACert, "--probe.protocols=rpc")...).Scrape(t)
	rpc := harness.Port(8300, "rpc", "tcp")
	for _, a := range c.Servers {
		wrong.Expect(t, harness.Samples{
			rpc.Series("consul_port_up", a):                                         0,
			rpc.Series("consul_port_probe_failures_total", a, `reason="tls"`):       1,
			rpc.Series("consul_port_tls_earliest_cert_expiry_timestamp_seconds", a): float64(certificateOf(t, c, a).NotAfter.Unix()),
		})
	}
}

func TestEveryPortHangs(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, Config: harness.KeepDead()})
	leader := harness.LeaderOf(t, c)
	hung := harness.Others(c, leader)[0]
	e := harness.StartExporter(t, nil, "--consul.server="+leader.URL())
	e.ScrapeUntilUp(t, harness.PlainPorts, c.Servers...)
	mark := hung.LogMark()
	harness.Must(t, hung.Stop())
	start := time.Now()
	s := e.Scrape(t)
	if took := time.Since(start); took > 2*harness.ProbeTimeout {
		t.Errorf("scrape took %s; want less than two of the probe's timeouts: nothing waits twice", took)
	}
	for _, p := range harness.PlainPorts {
		s.Expect(t, harness.Samples{
			p.Series("consul_port_up", hung):                                       0,
			p.Series("consul_port_probe_failures_total", hung, `reason="timeout"`): 1,
			p.Series("consul_port_up", leader):                                     1,
		})
	}
	harness.Must(t, hung.Continue())
	e.ScrapeUntilUp(t, harness.PlainPorts, hung)
	harness.ExpectQuiet(t, hung, mark)
}

// A hundred scrapes at once are one to Consul, or few.
func TestManyScrapesAtOnce(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3})
	e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	e.Scrape(t)
	const n = 100
	bodies := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			status, body, err := e.Get(t.Context(), "/metrics", 10*time.Second)
			if err != nil || status != http.StatusOK {
				t.Errorf("scrape %d: status %d, %v", i, status, err)
			}
			bodies[i] = body
		})
	}
	wg.Wait()
	for _, body := range bodies {
		s := harness.ParseSamples(t, body)
		s.Expect(t, harness.Samples{"consul_up": 1, "consul_cluster_failure_margin": 1, "consul_cluster_leaders": 1})
		for series, v := range s {
			if strings.Contains(series, `reason="limit"`) && v != 0 {
				t.Errorf("%s = %v; want no limit of Consul to be hit", series, v)
			}
		}
		if t.Failed() {
			return
		}
	}
	if shared := e.Scrape(t)["consul_exporter_scrapes_shared_total"]; shared < n/2 {
		t.Errorf("%v of %d scrapes at once were shared; want most", shared, n)
	}
}
