// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// Hosts have several addresses: here gossip of the WAN pool, DNS and gRPC are on another one than the rest. Each port is asked where it is; of the
// other servers only those that the cluster tells the address of.
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
		harness.Must(t, server.Kill()) // All at once, because the WAN pool does not accept another address for a member that it knows.
	}
	for _, server := range c.Servers {
		harness.Must(t, server.Restart(t.Context()))
	}
	_, err := c.WaitLeader(t.Context())
	harness.Must(t, err)
	harness.Must(t, c.WaitMembers(t.Context(), 3))
	asked := c.Servers[0]
	e := harness.StartExporter(t, nil, "--consul.server="+asked.URL())
	inWAN := harness.Port(8302, "serf_wan", "tcp")
	e.Scrape(t).Expect(t, harness.Samples{ // In the very first scrape, too.
		inWAN.Series("consul_port_connections", asked, `state="closing"`): 0,
	})
	onlyHere := func(p harness.PortID) bool { return p.Protocol == "dns" || p.Protocol == "grpc" }
	everywhere := slices.DeleteFunc(slices.Clone(harness.PlainPorts), onlyHere)
	e.ScrapeUntilUp(t, harness.PlainPorts, asked)
	s := e.ScrapeUntilUp(t, everywhere, c.Servers...)
	s.Expect(t, harness.Samples{"consul_cluster_leaders": 1, "consul_cluster_failure_margin": 1})
	for _, server := range c.Servers {
		for _, p := range harness.PlainPorts {
			if server == asked || !onlyHere(p) {
				s.Expect(t, harness.Samples{p.Series("consul_port_protocol_verified", server): 1})
			} else {
				s.ExpectNone(t, p.Series("consul_port_up", server))
			}
		}
	}

	harness.Must(t, c.Servers[2].Stop())
	s = e.Scrape(t)
	for _, p := range everywhere {
		s.Expect(t, harness.Samples{p.Series("consul_port_up", c.Servers[2]): 0, p.Series("consul_port_up", c.Servers[1]): 1})
	}
	harness.Must(t, asked.Kill()) // What was learned from it lasts.
	s = e.Scrape(t)
	s.Expect(t, harness.Samples{"consul_up": 0})
	for _, transport := range []string{"tcp", "udp"} {
		wan := harness.Port(8302, "serf_wan", transport)
		s.Expect(t, harness.Samples{
			wan.Series("consul_port_up", asked): 0, wan.Series("consul_port_up", c.Servers[1]): 1, wan.Series("consul_port_up", c.Servers[2]): 0,
		})
	}
}
