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

// silentRule and refusedRule each count one kind of silence on port 8300 as death, as the operator of a network may
// say.
const silentRule, refusedRule = `
  - name: silent
    cluster: any
    matchers: [alertname="Silent"]
    dry_run: false
    cooldown: 1s
    max_per_hour: 9
    action: {remove-dead-peer: {dead_for: 3s, silent_host_is_dead: true}}
`, `
  - name: refused
    cluster: any
    matchers: [alertname="Refused"]
    dry_run: false
    cooldown: 1s
    max_per_hour: 9
    action: {remove-dead-peer: {dead_for: 3s, refused_host_is_dead: true}}
`

// A server that is only partitioned is never removed, behind a firewall that drops, rejects or resets: not one that is
// cut off from the responder, nor one that is cut off from the others' gossip, nor in one direction, nor from all,
// unless the operator has said that what its port 8300 is like counts as death.
func TestE2EResponderPartition(t *testing.T) {
	harness.RequireNamespace(t)
	c := harness.StartCalm(t, consultest.Options{Servers: 5})
	cut := harness.Others(c, harness.LeaderOf(t, c))[0]
	rest := harness.Others(c, cut)
	r := harness.StartResponder(t, rest[0].URL(), 5, silentRule+refusedRule+harness.MarkerRule)
	before := harness.Voters(t, rest[0])
	// The agents' connections come from the address that the responder's come from, their datagrams from their own.
	const gossipTCP = "ip saddr 127.0.0.1 tcp dport 8301"
	to, from := "ip daddr "+cut.Addr, "ip saddr "+cut.Addr
	responders := []string{"ip saddr 127.0.0.1 " + to}
	// What says that a connection is rejected is no part of it: without that, the host is silent.
	all := []string{to, from + " meta l4proto { tcp, udp }", gossipTCP}
	const drop, reject, reset = "drop", "reject", "meta l4proto tcp reject with tcp reset"
	for _, tc := range []struct {
		name    string
		packets []string
		verdict string
		alert   string
		failed  bool
		want    string // Part of the reason; empty for any.
	}{
		{"from the responder", responders, drop, "Silent", false, "is alive in Serf"},
		{"from the responder", responders, reject, "Refused", false, "is alive in Serf"},
		{"from the responder", responders, reset, "Refused", false, "is alive in Serf"},
		{
			"from the gossip of the others",
			[]string{to + " udp dport 8301", from + " udp sport 8301", gossipTCP},
			drop, "Silent", true, "answers the leader's heartbeats",
		},
		{"in one direction", []string{to}, drop, "Refused", false, ""},
		{"in one direction", []string{to}, reject, "Silent", false, ""},
		{"from all", all, drop, "Refused", true, "its host says nothing on port 8300 (timeout), which is also how it"},
		{"from all", all, reject, "Silent", true, "its host says that nothing listens on port 8300, which is also how"},
		{"from all, TCP only", []string{to, gossipTCP}, reset, "Silent", false, ""},
	} {
		name := tc.name + ", " + tc.verdict
		var rules []string
		for _, packets := range tc.packets {
			rules = append(rules, packets+" "+tc.verdict)
		}
		filter := harness.FilterIncoming(t, rules...)
		if tc.failed {
			harness.WaitFailed(t, c, cut)
		}
		alert := harness.Firing(tc.alert, time.Now(), "server", cut.Name, "partition", name)
		reasons := func() string {
			r.Deliver(t, alert)
			r.Settle(t)
			d := r.Records(t, "server", cut.Name)[0]
			if d.Alert.Labels["partition"] != name || d.Result == responder.ResultDone {
				t.Fatalf("cut off %s: %+v; want it to be refused", name, d)
			}
			return strings.Join(d.Reasons, " ")
		}
		harness.WaitTrue(t, name+" to be refused: "+tc.want, func() bool { return strings.Contains(reasons(), tc.want) })
		// Longer than it takes for a dead one to be removed.
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
			reasons()
		}
		filter.Lift(t)
		harness.WaitCalm(t, c)
		alert["status"], alert["endsAt"] = "resolved", time.Now() // Or what it asks for is tried again in the next partition.
		r.Deliver(t, alert)
	}
	if after := harness.Voters(t, rest[0]); !slices.Equal(before, after) {
		t.Errorf("the voters are %v; want %v still", after, before)
	}
	for _, rule := range []string{"silent", "refused"} {
		if done := r.Records(t, "rule", rule, "result", "done"); len(done) > 0 {
			t.Errorf("it was removed: %+v", done)
		}
	}
}
