// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// Hosts have several addresses: here gossip of the WAN pool, DNS and gRPC are on another one than the rest. Each port
// is probed where it is; of the other servers only those whose address the cluster gives.
func TestSeveralAddresses(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3})
	network := strings.TrimSuffix(c.Servers[0].Addr, "1")
	for i, server := range c.Servers {
		second := network + fmt.Sprint(201+i)
		harness.Must(t, server.Configure(map[string]any{
			"serf_wan": second, "advertise_addr_wan": second, "retry_join_wan": []string{network + "201"},
			"addresses": map[string]any{"dns": second, "grpc": second},
		}))
		// All at once, because the WAN pool does not accept another address for a member that it knows.
		harness.Must(t, server.Kill())
	}
	for _, server := range c.Servers {
		harness.Must(t, server.Restart(t.Context()))
	}
	_, err := c.WaitLeader(t.Context())
	harness.Must(t, err)
	harness.Must(t, c.WaitMembers(t.Context(), 3))
	asked := c.Servers[0]
	e := harness.StartExporter(t, nil, serverFlag(asked))
	e.Scrape(t).Expect(t, harness.Samples{ // In the very first scrape, too.
		harness.Port(8302, "serf_wan", "tcp").Series("consul_port_connections", asked, `state="closing"`): 0,
	})
	onAsked := []harness.PortID{
		harness.Port(8502, "grpc", "tcp"), harness.Port(8600, "dns", "tcp"), harness.Port(8600, "dns", "udp"),
	}
	everywhere, others := without(harness.PlainPorts, "grpc", "dns"), c.Servers[1:]
	e.ScrapeUntilUp(t, harness.PlainPorts, asked)
	s := e.ScrapeUntilUp(t, everywhere, c.Servers...)
	s.Expect(t, harness.Samples{"consul_cluster_leaders": 1, "consul_cluster_failure_margin": 1})
	s.Expect(t, harness.PortSamples("consul_port_protocol_verified", 1, harness.PlainPorts, asked))
	s.Expect(t, harness.PortSamples("consul_port_protocol_verified", 1, everywhere, others...))
	for series := range harness.PortSamples("consul_port_up", 0, onAsked, others...) {
		s.ExpectNone(t, series)
	}

	harness.Must(t, c.Servers[2].Stop())
	s = e.Scrape(t)
	s.Expect(t, harness.PortSamples("consul_port_up", 0, everywhere, c.Servers[2]))
	s.Expect(t, harness.PortSamples("consul_port_up", 1, everywhere, c.Servers[1]))

	harness.Must(t, asked.Kill()) // What was learned from it lasts.
	s = e.Scrape(t)
	wan := []harness.PortID{harness.Port(8302, "serf_wan", "tcp"), harness.Port(8302, "serf_wan", "udp")}
	s.Expect(t, harness.Samples{"consul_up": 0})
	s.Expect(t, harness.PortSamples("consul_port_up", 0, wan, asked, c.Servers[2]))
	s.Expect(t, harness.PortSamples("consul_port_up", 1, wan, c.Servers[1]))
}
