// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package netns_test

import (
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// A server that listens on all addresses, as Consul does by default, answers gossip over UDP from the address that its
// routes prefer, and not from the one that it advertises. Nothing is blocked then.
func TestE2EOtherAddress(t *testing.T) {
	harness.RequireNamespace(t)
	bound := func(string, int) map[string]any {
		return map[string]any{"serf_lan": "0.0.0.0", "serf_wan": "0.0.0.0"} // Not all ports: consultest has one at .254.
	}
	c := consultest.Start(t, consultest.Options{Servers: 1, Network: "127.200.7.0", AgentConfig: bound})
	e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	s := e.ScrapeUntilUp(t, harness.PlainPorts, c.Servers...)
	s.ExpectPorts(t, harness.PlainPorts, c.Servers...)
	for port, protocol := range map[int]string{8301: "serf_lan", 8302: "serf_wan"} {
		s.Expect(t, harness.Samples{harness.Port(port, protocol, "udp").Series("consul_port_up", c.Servers[0]): 1})
	}
}
