// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/responder"
)

const partitionTable = "inet consul_cluster_exporter_partition"

// drop drops all packets between one server and these addresses, until the next call, or the end of the test.
func drop(t *testing.T, server *consultest.Agent, addresses ...string) {
	t.Helper()
	nft(t, "table "+partitionTable+" {}; delete table "+partitionTable)
	if len(addresses) == 0 {
		return
	}
	set := strings.Join(addresses, ", ")
	nft(t, fmt.Sprintf(`
		table %s {
			chain incoming {
				type filter hook input priority filter; policy accept;
				ip saddr %[2]s ip daddr { %[3]s } drop
				ip saddr { %[3]s } ip daddr %[2]s drop
			}
		}`, partitionTable, server.Addr, set))
}

// A server that is only partitioned is never removed: not one that is cut off from the other servers, nor one that is cut off from the
// responder, nor from both.
func TestE2EResponderPartition(t *testing.T) {
	requireNamespace(t)
	c := startCalm(t, consultest.Options{Servers: 5})
	cut := others(c, leaderOf(t, c))[0]
	rest := others(c, cut)
	r := startResponder(t, rest[0].URL(), 5, removeRule+markerRule)
	before := voters(t, rest[0])
	var servers []string
	for _, a := range rest {
		servers = append(servers, a.Addr)
	}
	t.Cleanup(func() { drop(t, cut) })
	const us = "127.0.0.1"
	for _, tc := range []struct {
		name    string
		without []string
		failed  bool
		want    string
	}{
		{"from the responder", []string{us}, false, "is alive in Serf"},
		{"from the other servers", servers, true, "may be alive: its port 8300 answers"},
		{"from all", append([]string{us}, servers...), true, "its host says nothing on port 8300 (timeout), which is also how it looks from outside a partition"},
	} {
		drop(t, cut, tc.without...)
		if tc.failed {
			waitFailed(t, c, cut)
		}
		alert := firing("ConsulServerDown", time.Now(), "server", cut.Name, "partition", tc.name)
		// Longer than it takes for a dead one to be removed.
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
			r.deliver(t, alert)
			r.settle(t)
		}
		records := r.records(t, "server", cut.Name)
		if d := records[0]; d.Alert.Labels["partition"] != tc.name || d.Result != responder.ResultRefused || !strings.Contains(strings.Join(d.Reasons, " "), tc.want) {
			t.Errorf("cut off %s: %s, %q; want it to be refused: %s", tc.name, d.Result, d.Reasons, tc.want)
		}
	}
	if after := voters(t, rest[0]); !slices.Equal(before, after) {
		t.Errorf("the voters are %v; want %v still", after, before)
	}
	if done := r.records(t, "rule", "dead-peer", "result", "done"); len(done) > 0 {
		t.Errorf("it was removed: %+v", done)
	}
}
