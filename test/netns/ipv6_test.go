// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package netns_test

import (
	"fmt"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// A cluster that speaks IPv6 alone is watched like any other, also when its leader hangs.
func TestE2EIPv6(t *testing.T) {
	harness.RequireNamespace(t)
	const network = "fd00:c0de::"
	for _, host := range []string{"1", "2", "3", "fe"} { // For the servers, and for consultest to claim the network.
		// Until the kernel has looked for duplicates, nothing can listen on an address.
		add := exec.Command("ip", "-6", "addr", "add", network+host+"/128", "dev", "lo", "nodad")
		if out, err := add.CombinedOutput(); err != nil {
			t.Fatalf("ip: %v: %s", err, out)
		}
	}
	c := consultest.Start(t, consultest.Options{Servers: 3, Network: network})
	leader := harness.LeaderOf(t, c)
	config := harness.WriteFile(t, "c.yml", "modules: {v6: {targets: ['["+network+"/64]']}}")
	e := harness.StartExporter(t, nil, "--consul.server="+harness.Others(c, leader)[0].URL(), "--config.file="+config)
	healthy := harness.Samples{
		"consul_up": 1, "consul_cluster_leaders": 1, "consul_cluster_reported_leaders": 1, "consul_cluster_failure_margin": 1,
		"consul_cluster_raft_configurations": 1,
	}
	s := e.ScrapeUntilUp(t, harness.PlainPorts, c.Servers...)
	s.ExpectPorts(t, harness.PlainPorts, c.Servers...)
	s.Expect(t, healthy)
	for _, server := range c.Servers {
		for _, transport := range []string{"tcp", "udp"} {
			s.Expect(t, harness.Samples{harness.Port(8600, "dns", transport).Series("consul_port_up", server): 1})
		}
		s.Expect(t, harness.Samples{fmt.Sprintf("consul_server_raft_reported_leader_info{leader=%q,server=%q}",
			net.JoinHostPort(leader.Addr, "8300"), server.Name): 1})
	}
	probe := e.Page(t, "/probe?module=v6&target="+net.JoinHostPort(leader.Addr, "8500"), 200)
	harness.ParseSamples(t, probe).Expect(t, healthy)

	must.Do(t, leader.Stop())
	s = e.ScrapeUntil(t, 60*time.Second, "another leader", func(s harness.Samples) bool {
		return s["consul_cluster_leaders"] == 1
	})
	s.Expect(t, harness.Samples{
		"consul_cluster_failure_margin":                                   0,
		harness.Port(8300, "rpc", "tcp").Series("consul_port_up", leader): 0,
	})
	must.Do(t, leader.Continue())
}
