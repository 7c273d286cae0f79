// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// When outages begin, how long they last, and how long Prometheus is watched.
const (
	outageBegin, outageEnd, outageOver = 20 * time.Minute, 30 * time.Minute, 50 * time.Minute
	// soon is within how much time of its begin an outage is a page.
	soon = 3 * time.Minute
	// groupWait is Alertmanager's in the example.
	groupWait = 30 * time.Second
)

type outage struct {
	name string
	// server is to be named in the page, if there is one that it is about.
	server string
	// within is how soon it is a page, if not soon.
	within time.Duration
	events []event
}

// outages are what wakes people.
func outages(noLeader page) []outage {
	const scrape = 15 * time.Second
	// lasting is what exporters see from the first scrape in the outage, or a later one, until it is over.
	lasting := func(exporter string, later time.Duration, change func(page)) event {
		return event{outageBegin + scrape + later, outageEnd, exporter, change}
	}
	killed := func(server string) []event {
		events := []event{
			lasting("", 0, func(p page) { p.serverDown(server) }),
			lasting("", 30*time.Second, func(p page) { p.serverFailed(server) }),
		}
		for exporter, agent := range agents {
			if agent == server {
				events = append(events, lasting(exporter, 0, page.agentDown))
			}
		}
		return events
	}
	var flaps []event
	for begin := outageBegin + scrape; begin < outageEnd; begin += 2 * time.Minute {
		flaps = append(flaps, event{from: begin, to: begin + 45*time.Second, change: func(p page) {
			p.leaderless(noLeader)
			p.quorum("unknown", 3, 0, 1)
		}})
	}
	return []outage{
		{
			name: "two of three servers are killed",
			events: slices.Concat(killed(leader), killed("server-2"), []event{
				{outageBegin + scrape, outageBegin + 2*scrape, "", func(p page) { p.quorum("unknown", 1, 2); p.leaderless(nil) }},
				lasting("", scrape, func(p page) { p.quorum("lost", 1, 2, -1); p.leaderless(noLeader) }),
			}),
		},
		{
			name: "the leader hangs, and nobody is elected", server: leader,
			events: []event{
				lasting("", 0, func(p page) {
					p.portDown(fmt.Sprintf(`server=%q,transport="tcp"`, leader), true)
					p.serverSilent(leader)
					p.quorum("unknown", 2, 1, 0)
					p.set("consul_cluster_leaders", "", 0)
					p.set("consul_cluster_consistent_read_success", "", 0)
					p.only("consul_cluster_writes_state", "state", "unknown")
				}),
				lasting("a", 0, page.agentDown),
			},
		},
		{
			name: "everything is down",
			events: slices.Concat(killed(leader), killed("server-2"), killed("server-3"), []event{
				lasting("", 0, func(p page) {
					p.quorum("unknown", 0, 3)
					p.leaderless(nil)
					p.set("consul_cluster_servers_without_leader", "", 0)
				}),
				lasting("", 0, page.agentDown),
			}),
		},
		{
			// Whether the cluster is in trouble is not known: one who restarts its exporters is not to be woken.
			name: "all exporters are gone", within: 12 * time.Minute,
			events: []event{away("a", outageBegin+scrape, time.Hour), away("b", outageBegin+scrape, time.Hour)},
		},
		{
			name: "a split brain",
			events: []event{lasting("", 0, func(p page) {
				p.quorum("unknown", 2, 1, 0)
				p.set("consul_cluster_leaders", "", 2)
				p.set("consul_cluster_reported_leaders", "", 2)
				p.set("consul_server_raft_is_leader", `server="server-2"`, 1)
			})},
		},
		{
			name: "writes do not commit",
			events: []event{lasting("", scrape, func(p page) {
				p.only("consul_cluster_writes_state", "state", "stalled")
				p.add("consul_server_raft_last_log_index", fmt.Sprintf("server=%q", leader), 2)
			})},
		},
		{
			name: "a certificate has expired", server: "server-2",
			events: []event{lasting("", 0, func(p page) {
				labels := `protocol="https",server="server-2"`
				for _, port := range p.with("consul_port_up", labels) {
					p.put("consul_port_turned_away", port+`,reason="tls"`, 1)
				}
				p.set("consul_port_up", labels, 0)
				p.set("consul_port_tls_earliest_cert_expiry_timestamp_seconds", labels, outageBegin.Seconds())
			})},
		},
		{
			name:   "consistent reads fail",
			events: []event{lasting("", 0, func(p page) { p.set("consul_cluster_consistent_read_success", "", 0) })},
		},
		{
			name: "the leader is there for 75 of each 120 seconds", within: 10 * time.Minute, events: flaps,
		},
	}
}

// Each outage pages soon, once, and says what it is about. All happen at the same time, each in a cluster of its own.
func TestWeek_Outages(t *testing.T) {
	t.Parallel()
	for _, tool := range promtools {
		t.Run(tool, func(t *testing.T) {
			t.Parallel()
			var histories []history
			all := outages(golden(t, "no_leader.prom"))
			q := question{expr: `ALERTS{alertstate="firing"}`}
			q.annotated = []time.Duration{outageBegin + soon, outageEnd, outageEnd + soon}
			for _, o := range all {
				events := append(deadVM(15*time.Minute), o.events...)
				histories = append(histories, history{outageOver, 15 * time.Second, small, clusterOf(o), events})
			}
			for now := outageBegin; now < outageOver; now += 15 * time.Second {
				q.at = append(q.at, now)
			}
			for _, r := range harness.AlertRules(t, joined(t, nil)) {
				if r.Labels["severity"] == "critical" && !slices.Contains(q.alerts, r.Alert) {
					q.alerts = append(q.alerts, r.Alert)
				}
			}
			got := runHistories(t, tool, histories, q)
			for _, o := range all {
				t.Run(o.name, func(t *testing.T) { o.check(t, got, q.at) })
			}
		})
	}
}

func clusterOf(o outage) string {
	return strings.ReplaceAll(strings.ReplaceAll(o.name, ",", ""), " ", "-")
}

func (o outage) check(t *testing.T, got answer, times []time.Duration) {
	t.Helper()
	firing := make(map[time.Duration][]alerts.Alert)
	for now, all := range got.firing {
		for _, a := range all {
			if a.Labels["cluster"] == clusterOf(o) {
				firing[now] = append(firing[now], a)
			}
		}
	}
	pages, since := pagesOf(firing, times)
	if len(pages) != 1 {
		t.Fatalf("%d pages: %v; want one\nat its end: %v", len(pages), pages, firing[outageEnd])
	}
	if after := since - outageBegin; after > max(o.within, soon) {
		t.Errorf("%s is a page after %s; want it within %s", pages[0].Name, after, max(o.within, soon))
	}
	text := got.texts[alertKey(pages[0])]
	for _, want := range []string{clusterOf(o), "dc1", o.server} {
		if !strings.Contains(text, want) {
			t.Errorf("the page %s says %q; want %q in it", alertKey(pages[0]), text, want)
		}
	}
}

// pagesOf are the critical alerts that Alertmanager sends: those that nothing holds back when it has waited for others
// of the group, or at a later time. It sends an alert again only if it was resolved in between. The time is when the
// first one began to fire.
func pagesOf(firing map[time.Duration][]alerts.Alert, times []time.Duration) ([]alerts.Alert, time.Duration) {
	var pages []alerts.Alert
	var first time.Duration
	since, sent := make(map[string]time.Duration), make(map[string]bool)
	for _, now := range times {
		there := make(map[string]bool)
		for _, a := range firing[now] {
			key := alertKey(a)
			there[key] = true
			if _, ok := since[key]; !ok {
				since[key] = now
			}
			waits := now < since[key]+groupWait
			if a.Labels["severity"] != "critical" || sent[key] || waits || alerts.HeldBack(firing[now])(a) {
				continue
			}
			sent[key] = true
			if len(pages) == 0 {
				first = since[key]
			}
			pages = append(pages, a)
		}
		for key := range since {
			if !there[key] {
				delete(since, key)
				delete(sent, key)
			}
		}
	}
	return pages, first
}
