// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
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
		{name: "unknown authority", flags: flags(), then: expectUnknownAuthority},
	}, (*play).look)
}

// certificateOf returns the certificate of a server of a cluster with TLS.
func certificateOf(t *testing.T, c *consultest.Cluster, a *consultest.Agent) *x509.Certificate {
	t.Helper()
	content := must.Get(os.ReadFile(filepath.Join(filepath.Dir(c.CACert), a.Name+".pem")))(t)
	block, _ := pem.Decode(content)
	cert := must.Get(x509.ParseCertificate(block.Bytes))(t)
	return cert
}

func expectSecurePorts(p *play, _ harness.Samples) {
	p.e.ScrapeUntilUp(p.T, harness.SecurePorts, p.c.Servers...)
	s := p.scrape()
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
// minutes. The port is not down for that.
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
		for _, port := range []harness.PortID{lan, harness.Port(8301, "serf_lan", "udp")} {
			s.Expect(p.T, harness.Samples{
				port.Series("consul_port_turned_away", a, `reason="auth"`):        1,
				port.Series("consul_port_probe_skipped", a, `reason="held_back"`): 1,
			})
			s.ExpectNone(p.T, port.Series("consul_port_up", a))
		}
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

// expectUnknownAuthority connects without the authority that issued the certificates.
func expectUnknownAuthority(p *play) {
	e := p.export(p.agent)
	e.Scrape(p.T).Expect(p.T, harness.Samples{"consul_up": 0})
	if log := e.Log.String(); !strings.Contains(log, "certificate signed by unknown authority") {
		p.Errorf("the log does not say what is wrong with the certificate:\n%s", log)
	}
}

// Hosts have several addresses: here gossip of the WAN pool, DNS and gRPC are on another one than the rest. Each port
// is probed where its server says it is.
func TestSeveralAddresses(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, Config: withGRPC(nil)})
	network := strings.TrimSuffix(c.Servers[0].Addr, "1")
	for i, server := range c.Servers {
		second := network + fmt.Sprint(201+i)
		must.Do(t, server.Configure(map[string]any{
			"serf_wan": second, "advertise_addr_wan": second, "retry_join_wan": []string{network + "201"},
			"addresses": map[string]any{"dns": second, "grpc": second},
		}))
		// All at once, because the WAN pool does not accept another address for a member that it knows.
		must.Do(t, server.Kill())
	}
	for _, server := range c.Servers {
		must.Do(t, server.Restart(t.Context()))
	}
	must.Get(c.WaitLeader(t.Context()))(t)
	must.Do(t, c.WaitMembers(t.Context(), 3))
	agent := c.Servers[0]
	e := harness.StartExporter(t, nil, serverFlag(agent))
	e.Scrape(t).Expect(t, harness.Samples{ // In the very first scrape, too.
		harness.Port(8302, "serf_wan", "tcp").Series("consul_port_connections", agent, `state="closing"`): 0,
	})
	onLoopback := []harness.PortID{
		harness.Port(8502, "grpc", "tcp"), harness.Port(8600, "dns", "tcp"), harness.Port(8600, "dns", "udp"),
	}
	everywhere, others := without(harness.PlainPorts, "grpc", "dns"), c.Servers[1:]
	e.ScrapeUntilUp(t, harness.PlainPorts, agent)
	s := e.ScrapeUntilUp(t, everywhere, c.Servers...)
	s.Expect(t, harness.Samples{"consul_cluster_leaders": 1, "consul_cluster_failure_margin": 1})
	s.Expect(t, harness.PortSamples("consul_port_protocol_verified", 1, harness.PlainPorts, agent))
	s.Expect(t, harness.PortSamples("consul_port_protocol_verified", 1, everywhere, others...))
	for _, other := range others { // They may be on another host, where theirs are out of reach.
		s.Expect(t, skippedSeries("loopback_only", other, onLoopback...))
	}

	must.Do(t, c.Servers[2].Stop())
	s = e.Scrape(t)
	s.Expect(t, harness.PortSamples("consul_port_up", 0, everywhere, c.Servers[2]))
	s.Expect(t, harness.PortSamples("consul_port_up", 1, everywhere, c.Servers[1]))

	must.Do(t, agent.Kill()) // What was learned from it lasts.
	s = e.Scrape(t)
	wan := []harness.PortID{harness.Port(8302, "serf_wan", "tcp"), harness.Port(8302, "serf_wan", "udp")}
	s.Expect(t, harness.Samples{"consul_up": 0})
	s.Expect(t, harness.PortSamples("consul_port_up", 0, wan, agent, c.Servers[2]))
	s.Expect(t, harness.PortSamples("consul_port_up", 1, wan, c.Servers[1]))
}
