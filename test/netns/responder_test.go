// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package netns_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/responder"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// A server that is only partitioned is never removed: not one that is cut off from the responder, nor one that is cut
// off from the others' gossip, nor from all.
func TestE2EResponderPartition(t *testing.T) {
	harness.RequireNamespace(t)
	c := harness.StartCalm(t, consultest.Options{Servers: 5})
	cut := harness.Others(c, harness.LeaderOf(t, c))[0]
	rest := harness.Others(c, cut)
	r := harness.StartResponder(t, rest[0].URL(), 5, harness.RemoveRule+harness.MarkerRule)
	before := harness.Voters(t, rest[0])
	// The agents' connections come from the address that the responder's come from, their datagrams from their own.
	const gossipTCP = "ip saddr 127.0.0.1 tcp dport 8301"
	to, from := "ip daddr "+cut.Addr, "ip saddr "+cut.Addr
	for _, tc := range []struct {
		name   string
		drops  []string
		failed bool
		want   string
	}{
		{"from the responder", []string{"ip saddr 127.0.0.1 " + to}, false, "is alive in Serf"},
		{
			"from the gossip of the others",
			[]string{to + " udp dport 8301", from + " udp sport 8301", gossipTCP},
			true,
			"may be alive: its port 8300 answers",
		},
		{
			"from all",
			[]string{to, from, gossipTCP},
			true,
			"its host says nothing on port 8300 (timeout), which is also how it looks from outside a partition",
		},
	} {
		filter := harness.FilterIncoming(t, strings.Join(tc.drops, " drop\n")+" drop")
		if tc.failed {
			harness.WaitFailed(t, c, cut)
		}
		alert := harness.Firing("ConsulServerDown", time.Now(), "server", cut.Name, "partition", tc.name)
		// Longer than it takes for a dead one to be removed.
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
			r.Deliver(t, alert)
			r.Settle(t)
		}
		records := r.Records(t, "server", cut.Name)
		filter.Lift(t)
		d := records[0]
		refused := d.Alert.Labels["partition"] == tc.name && d.Result == responder.ResultRefused
		if !refused || !strings.Contains(strings.Join(d.Reasons, " "), tc.want) {
			t.Errorf("cut off %s: %s, %q; want it to be refused: %s", tc.name, d.Result, d.Reasons, tc.want)
		}
	}
	if after := harness.Voters(t, rest[0]); !slices.Equal(before, after) {
		t.Errorf("the voters are %v; want %v still", after, before)
	}
	if done := r.Records(t, "rule", "dead-peer", "result", "done"); len(done) > 0 {
		t.Errorf("it was removed: %+v", done)
	}
}
