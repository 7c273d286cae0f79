// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

var (
	// poolPorts are those that servers have for each other.
	poolPorts = without(harness.PlainPorts, "http", "grpc", "grpc_tls", "dns")
	wanPorts  = without(poolPorts, "rpc", "serf_lan")
)

// skippedSeries are those of ports that are not probed, for this reason.
func skippedSeries(reason string, agent *consultest.Agent, ports ...harness.PortID) harness.Samples {
	s := make(harness.Samples)
	for _, p := range ports {
		series := p.Series("consul_port_probe_skipped", agent, fmt.Sprintf("reason=%q", reason))
		s[strings.Replace(series, `port="0"`, `port=""`, 1)] = 1
	}
	return s
}

// unknownPorts are the ports for clients of a server that says nothing about itself. Its tags have two of the numbers.
var unknownPorts = []harness.PortID{
	harness.Port(0, "http", "tcp"), harness.Port(0, "dns", "tcp"), harness.Port(0, "dns", "udp"),
	harness.Port(8502, "grpc", "tcp"), harness.Port(8503, "grpc_tls", "tcp"),
}

// countOf returns the number of series of a family.
func countOf(s harness.Samples, family string) (n int) {
	for series := range s {
		if strings.HasPrefix(series, family+"{") {
			n++
		}
	}
	return n
}

// apart returns options for a cluster whose agents have second addresses, with what config makes of those.
func apart(
	options consultest.Options, config func(second func(i int) string, i int) map[string]any,
) consultest.Options {
	network := fmt.Sprintf("127.%d.%d.", 1+rand.IntN(254), rand.IntN(256))
	options.Network = network + "0"
	options.AgentConfig = func(role string, i int) map[string]any {
		if role == "client" {
			return nil
		}
		return config(func(i int) string { return network + fmt.Sprint(200+i) }, i)
	}
	return options
}

// As by default, each server has its ports for clients where only its own host reaches them. The ports that servers
// have for each other are verified on all servers from any one of them, with encrypted gossip, too. The rest is listed.
func TestSettings_Defaults(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"plain": "", "encrypted": gossipKey} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := consultest.Options{Servers: 3, GossipKey: key}
			c := consultest.Start(t, apart(options, func(second func(int) string, i int) map[string]any {
				return map[string]any{"client_addr": second(i)}
			}))
			flags := []string{serverFlag(c.Servers[0])}
			if key != "" {
				flags = append(flags, "--serf.encrypt-key-file="+harness.Secret(t, key))
			}
			e := harness.StartExporter(t, nil, flags...)
			e.ScrapeUntilUp(t, harness.PlainPorts, c.Servers[0])
			e.ScrapeUntilUp(t, poolPorts, c.Servers...)
			var marks []int
			for _, server := range c.Servers {
				marks = append(marks, server.LogMark())
			}
			s := e.Scrape(t)
			s.Expect(t, harness.PortSamples("consul_port_up", 1, poolPorts, c.Servers...))
			s.Expect(t, harness.PortSamples("consul_port_protocol_verified", 1, poolPorts, c.Servers...))
			s.Expect(t, harness.Samples{"consul_cluster_leaders": 1, "consul_cluster_failure_margin": 1})
			for _, other := range c.Servers[1:] {
				s.Expect(t, skippedSeries("unknown_address", other, unknownPorts...))
			}
			verified, skipped := len(harness.PlainPorts)+2*len(poolPorts), 2*len(unknownPorts)
			if up := countOf(s, "consul_port_up"); up != verified || countOf(s, "consul_port_probe_skipped") != skipped {
				t.Errorf("%d ports are up and %d are not probed; want %d and %d", up, countOf(s, "consul_port_probe_skipped"),
					verified, skipped)
			}
			_, stdout, _ := harness.RunProgram(t, append([]string{"check"}, flags...)...)
			if want := "http, 8502, 8503, dns, dns/udp: the server's own configuration cannot be read"; !strings.Contains(
				harness.Unwrapped(stdout), want) {
				t.Errorf("check does not say %q:\n%s", want, stdout)
			}
			for _, server := range e.FreshStatus(t).Servers[1:] {
				for _, p := range server.Ports {
					if notAsked := p.State == "not asked"; notAsked != (p.Reason == "unknown_address" && p.Note != "") {
						t.Errorf("%s of %s is %s, reason %q, note %q", p.Name(), server.Name, p.State, p.Reason, p.Note)
					}
				}
			}
			for i, server := range c.Servers {
				harness.ExpectQuiet(t, server, marks[i])
			}
		})
	}
}

// Servers differ in their ports: each says for itself where they are. Where that cannot be read, a port is looked for
// where the agent has its own, and is unknown if it is not there.
func TestSettings_OwnPorts(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, AgentConfig: func(_ string, i int) map[string]any {
		return map[int]map[string]any{
			2: {"ports": map[string]any{"dns": 9600, "serf_wan": 9302, "server": 9300, "grpc": -1}},
			3: {"ports": map[string]any{"http": 9500}},
		}[i]
	}})
	e := harness.StartExporter(t, nil, serverFlag(c.Servers[0]))
	e.ScrapeUntilUp(t, harness.PlainPorts, c.Servers[0])
	own := []harness.PortID{
		harness.Port(9300, "rpc", "tcp"), harness.Port(9302, "serf_wan", "tcp"), harness.Port(9302, "serf_wan", "udp"),
		harness.Port(9600, "dns", "tcp"), harness.Port(9600, "dns", "udp"),
	}
	own = append(own, without(harness.PlainPorts, "rpc", "serf_wan", "dns", "grpc")...)
	e.ScrapeUntilUp(t, own, c.Servers[1])
	guessed := without(harness.PlainPorts, "http")
	s := e.ScrapeUntilUp(t, guessed, c.Servers[2])
	s.Expect(t, skippedSeries("unknown_address", c.Servers[2], harness.Port(8500, "http", "tcp")))
	if got, want := countOf(s, "consul_port_up"), len(harness.PlainPorts)+len(own)+len(guessed); got != want {
		t.Errorf("%d ports are asked; want %d:\n%s", got, want, s)
	}
	s.Expect(t, harness.Samples{"consul_cluster_leaders": 1, "consul_cluster_failure_margin": 1})
}

// The host in the agent's URL is that of something else: of a proxy that has the API under a path, or that publishes
// the port under another number. Nothing else is looked for there.
func TestSettings_Proxies(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, apart(consultest.Options{Servers: 3, Clients: 1},
		func(second func(int) string, i int) map[string]any {
			return map[string]any{
				"serf_wan": second(i), "advertise_addr_wan": second(i), "retry_join_wan": []string{second(i%3 + 1)},
			}
		}))
	client, server := c.Clients[0], c.Servers[0]
	published := func(a *consultest.Agent, prefix string) string {
		proxy := httputil.NewSingleHostReverseProxy(must.Get(url.Parse(a.URL()))(t))
		s := httptest.NewServer(http.StripPrefix(prefix, proxy))
		t.Cleanup(s.Close)
		return s.URL + prefix
	}
	ofClient := []harness.PortID{
		harness.Port(8500, "http", "tcp"), harness.Port(8502, "grpc", "tcp"),
		harness.Port(8600, "dns", "tcp"), harness.Port(8600, "dns", "udp"),
	}
	other := without(poolPorts, "serf_wan")
	for name, at := range map[string]string{"path": published(client, "/consul"), "port": published(client, "")} {
		t.Run(name, func(t *testing.T) {
			e := harness.StartExporter(t, nil, "--consul.server="+at)
			s := e.ScrapeUntilUp(t, other, c.Servers...)
			s.Expect(t, skippedSeries("behind_proxy", client, ofClient...))
			if got, want := countOf(s, "consul_port_up"), 3*len(other); got != want {
				t.Errorf("%d ports are asked; want %d:\n%s", got, want, s)
			}
		})
	}
	t.Run("server", func(t *testing.T) {
		e := harness.StartExporter(t, nil, "--consul.server="+published(server, "/consul"))
		s := e.ScrapeUntilUp(t, poolPorts, c.Servers...)
		http, grpc := harness.Port(8500, "http", "tcp"), harness.Port(8503, "grpc_tls", "tcp")
		s.Expect(t, skippedSeries("behind_proxy", server, http, grpc))
	})
	// A client agent does not know that the servers' WAN pool has another interface. The servers do.
	t.Run("WAN", func(t *testing.T) {
		s := harness.StartExporter(t, nil, serverFlag(client)).ScrapeUntilUp(t, other, c.Servers...)
		for _, a := range c.Servers {
			s.Expect(t, skippedSeries("unknown_address", a, wanPorts...))
			s.ExpectNone(t, wanPorts[0].Series("consul_port_up", a))
		}
		s.Expect(t, harness.PortSamples("consul_port_up", 1, ofClient, client))
		s = harness.StartExporter(t, nil, serverFlag(server)).ScrapeUntilUp(t, harness.PlainPorts, c.Servers...)
		s.Expect(t, harness.PortSamples("consul_port_protocol_verified", 1, wanPorts, c.Servers...))
	})
}
