// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package main

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
)

// A cluster that speaks IPv6 alone is watched like any other, also when its leader hangs.
func TestE2EIPv6(t *testing.T) {
	requireNamespace(t)
	const network = "fd00:c0de::"
	for _, host := range []string{"1", "2", "3", "fe"} { // The servers', and the one by which consultest takes the network.
		if out, err := exec.Command("ip", "-6", "addr", "add", network+host+"/128", "dev", "lo").CombinedOutput(); err != nil {
			t.Fatalf("ip: %v: %s", err, out)
		}
	}
	c := consultest.Start(t, consultest.Options{Servers: 3, Network: network})
	leader := leaderOf(t, c)
	config := filepath.Join(writeFiles(t, map[string]string{"c.yml": "modules: {v6: {targets: ['[" + network + "/64]']}}"}), "c.yml")
	e := startExporter(t, nil, "--consul.server="+others(c, leader)[0].URL(), "--config.file="+config)
	healthy := samples{
		"consul_up": 1, "consul_cluster_leaders": 1, "consul_cluster_reported_leaders": 1, "consul_cluster_failure_margin": 1,
		"consul_cluster_raft_configurations": 1,
	}
	s := e.scrapeUntilUp(t, plainPorts, c.Servers...)
	s.expectPorts(t, plainPorts, c.Servers...)
	s.expect(t, healthy)
	for _, server := range c.Servers {
		for _, transport := range []string{"tcp", "udp"} {
			s.expect(t, samples{portID{8600, "dns", transport}.series("consul_port_up", server): 1})
		}
		s.expect(t, samples{fmt.Sprintf("consul_server_raft_reported_leader_info{leader=%q,server=%q}",
			net.JoinHostPort(leader.Addr, "8300"), server.Name): 1})
	}
	status, body, err := e.get(t.Context(), "/probe?module=v6&target="+net.JoinHostPort(leader.Addr, "8500"), 10*time.Second)
	must(t, err)
	if status != 200 {
		t.Fatalf("/probe: status %d, body %s", status, body)
	}
	parseSamples(t, body).expect(t, healthy)

	must(t, leader.Stop())
	s = e.scrapeUntil(t, 60*time.Second, "another leader", func(s samples) bool { return s["consul_cluster_leaders"] == 1 })
	s.expect(t, samples{
		"consul_cluster_failure_margin":                             0,
		portID{8300, "rpc", "tcp"}.series("consul_port_up", leader): 0,
	})
	must(t, leader.Continue())
}
