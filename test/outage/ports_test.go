// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// gossipKey encrypts the gossip of the secure clusters.
const gossipKey = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="

// TestEveryPortSecure is about a cluster in which everything is encrypted and nothing is allowed without a token. It
// has Consul's defaults in everything else.
func TestEveryPortSecure(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{
		Servers: 3, TLS: true, GossipKey: gossipKey, ACL: true, Config: asShipped(nil),
	})
	policy, key := harness.ReadmePolicy(t), "--serf.encrypt-key-file="
	flags := func(more ...string) []string { return append(harness.TLSFlags(c), more...) }
	playAll(t, c, []scene{
		{name: "every port", policy: policy, flags: flags(key + harness.Secret(t, gossipKey)), first: expectSecurePorts},
		{name: "no gossip key", policy: policy, flags: flags(), first: expectGossipUnverified},
		{
			name: "another gossip key", policy: policy, first: expectOtherGossipKey,
			flags: flags("--probe.protocols=serf_lan", key+harness.Secret(t, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
		},
		{
			name: "another authority", policy: policy, first: expectOtherAuthority,
			flags: flags("--rpc.ca-file="+consultest.NewCertificates(t).CACert, "--probe.protocols=rpc"),
		},
		{name: "HTTPS", flags: flags(), then: expectHTTPS},
	}, (*play).look)
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

func expectSecurePorts(p *play, s harness.Samples) {
	if p.took > harness.ProbeTimeout {
		p.Errorf("scrape took %s; want nothing to be waited for", p.took)
	}
	s.ExpectPorts(p.T, harness.SecurePorts, p.c.Servers...)
	want := harness.Samples{"consul_cluster_failure_margin": 1, "consul_cluster_leaders": 1}
	for _, a := range p.c.Servers {
		cert := certificateOf(p.T, p.c, a)
		for _, port := range []harness.PortID{
			harness.Port(8300, "rpc", "tcp"), harness.Port(8501, "https", "tcp"), harness.Port(8503, "grpc_tls", "tcp"),
		} {
			want[port.Series("consul_port_tls_earliest_cert_expiry_timestamp_seconds", a)] = float64(cert.NotAfter.Unix())
			want[port.Series("consul_port_tls_earliest_cert_lifetime_seconds", a)] = cert.NotAfter.Sub(cert.NotBefore).Seconds()
		}
	}
	s.Expect(p.T, want)
	p.expectQuiet(p.c.Servers...)
}

// expectGossipUnverified: without the key, gossip is connected to and no more.
func expectGossipUnverified(p *play, s harness.Samples) {
	for _, a := range p.c.Servers {
		for _, tcp := range []harness.PortID{harness.Port(8301, "serf_lan", "tcp"), harness.Port(8302, "serf_wan", "tcp")} {
			udp := harness.Port(tcp.Number, tcp.Protocol, "udp")
			s.Expect(p.T, harness.Samples{
				tcp.Series("consul_port_up", a): 1, tcp.Series("consul_port_protocol_verified", a): 0,
				udp.Series("consul_port_protocol_verified", a): 0,
			})
			s.ExpectNone(p.T, udp.Series("consul_port_up", a))
		}
	}
}

// expectOtherGossipKey: another key is an error in the servers' logs, and so it is tried once and then not for some
// minutes.
func expectOtherGossipKey(p *play, s harness.Samples) {
	lan := harness.Port(8301, "serf_lan", "tcp")
	for _, a := range p.c.Servers {
		s.Expect(p.T, harness.Samples{
			lan.Series("consul_port_up", a): 0, lan.Series("consul_port_probe_failures_total", a, `reason="auth"`): 1,
		})
	}
	p.mark()
	s = p.e.Scrape(p.T)
	for _, a := range p.c.Servers {
		s.Expect(p.T, harness.Samples{lan.Series("consul_port_up", a): 1, lan.Series("consul_port_protocol_verified", a): 0})
	}
	p.expectQuiet(p.c.Servers...)
}

// expectOtherAuthority: the certificate of port 8300 does not verify, and its expiry is shown all the same.
func expectOtherAuthority(p *play, s harness.Samples) {
	rpc := harness.Port(8300, "rpc", "tcp")
	for _, a := range p.c.Servers {
		s.Expect(p.T, harness.Samples{
			rpc.Series("consul_port_up", a):                                   0,
			rpc.Series("consul_port_probe_failures_total", a, `reason="tls"`): 1,
			rpc.Series("consul_port_tls_earliest_cert_expiry_timestamp_seconds", a): float64(
				certificateOf(p.T, p.c, a).NotAfter.Unix()),
		})
	}
}

// expectHTTPS configures HTTPS by flags, by environment, and without the authority.
func expectHTTPS(p *play) {
	p.e.Scrape(p.T).Expect(p.T, harness.Samples{"consul_up": 1})
	environment := harness.StartExporter(p.T, []string{
		"CONSUL_HTTP_ADDR=" + strings.TrimPrefix(p.asked.URL(), "https://"), "CONSUL_HTTP_SSL=true",
		"CONSUL_CACERT=" + p.c.CACert, "CONSUL_CLIENT_CERT=" + p.c.ClientCert, "CONSUL_CLIENT_KEY=" + p.c.ClientKey,
	})
	environment.Scrape(p.T).Expect(p.T, harness.Samples{"consul_up": 1})
	noAuthority := p.export(p.asked)
	noAuthority.Scrape(p.T).Expect(p.T, harness.Samples{"consul_up": 0})
	if log := noAuthority.Log.String(); !strings.Contains(log, "certificate signed by unknown authority") {
		p.Errorf("the log does not say what is wrong with the certificate:\n%s", log)
	}
}
