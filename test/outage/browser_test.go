// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build browser

package outage_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/browsertest"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// The page of real clusters in trouble says at the top what is wrong.
func TestStatusPage_InTrouble(t *testing.T) {
	browser := browsertest.Start(t)
	for _, tc := range []struct {
		name    string
		options consultest.Options
		// trouble brings the cluster, which e has scraped once, into the state.
		trouble func(t *testing.T, c *consultest.Cluster, e *harness.Exporter)
		// want are on the page, in this order; title is that of its window.
		title string
		want  []string
	}{
		{
			"healthy",
			consultest.Options{Servers: 3, Clients: 1},
			evilService,
			"healthy: Consul dc1",
			[]string{"3 of 3 voters answer, quorum is 2, server-", "one more may fail.", "Problems", "None.", "4 in the lan pool: 4 alive", "Services: 5. Nodes: 4."},
		},
		{
			"hung",
			consultest.Options{Servers: 3, Config: harness.KeepDead()},
			func(t *testing.T, c *consultest.Cluster, e *harness.Exporter) { //nolint:thelper // A step of the test.
				harness.Must(t, c.Servers[2].Stop())
				e.ScrapeUntil(t, 30*time.Second, "a leader", func(s harness.Samples) bool {
					return s["consul_cluster_leaders"] == 1 && s["consul_cluster_reachable_voters"] == 2
				})
			},
			"degraded: Consul dc1",
			[]string{"2 of 3 voters answer", "server-3 hangs", "no more may fail", "critical", "ConsulServerHung", "hangs", "timeout"},
		},
		{
			"no-leader",
			consultest.Options{Servers: 3, Config: harness.KeepDead()},
			func(t *testing.T, c *consultest.Cluster, e *harness.Exporter) { //nolint:thelper // A step of the test.
				harness.Must(t, c.Servers[1].Kill())
				harness.Must(t, c.Servers[2].Kill())
				e.ScrapeUntil(t, 30*time.Second, "no leader, as the survivor knows too", func(s harness.Samples) bool {
					return s["consul_cluster_leaders"] == 0 && s["consul_cluster_servers_without_leader"] == 1
				})
			},
			"critical: Consul dc1",
			[]string{"The quorum is lost", "1 of 3 voters answers, quorum is 2", "ConsulQuorumLost", "down", "refused", "nobody"},
		},
		{
			"split-brain",
			consultest.Options{Servers: 2, Bootstrap: consultest.BootstrapAlone},
			func(t *testing.T, c *consultest.Cluster, e *harness.Exporter) { //nolint:thelper // A step of the test.
				harness.Must(t, c.Join(t.Context(), c.Servers[0], c.Servers[1]))
				e.ScrapeUntil(t, 30*time.Second, "two leaders", func(s harness.Samples) bool { return s["consul_cluster_leaders"] == 2 })
			},
			"critical: Consul dc1",
			[]string{"Split brain: server-1 and server-2 call themselves leader; ", "ConsulSplitBrain"},
		},
		{
			"denied",
			consultest.Options{Servers: 3, ACL: true},
			func(*testing.T, *consultest.Cluster, *harness.Exporter) {},
			"degraded: Consul",
			[]string{"3 of 3 voters answer", "ConsulCollectorRefused", "Not found out:", "8300/tcp"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := consultest.Start(t, tc.options)
			e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL())
			e.Scrape(t)
			tc.trouble(t, c, e)
			e.FreshStatus(t)
			page := browser.Open(t, e.URL+"/?refresh=off", browsertest.Desk)
			page.Picture("page-" + tc.name)
			if got := page.Complaints(); len(got) > 0 {
				t.Errorf("the browser complains: %v", got)
			}
			if got := page.Title(); got != tc.title {
				t.Errorf("title %q; want %q", got, tc.title)
			}
			rest := page.Text()
			for _, want := range tc.want {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("the page does not say %q after what comes before it; it says:\n%s", want, page.Text())
				}
				rest = after
			}
		})
	}
}

// evilService registers services whose names are made to do harm, in all ways that Consul lets through.
func evilService(t *testing.T, c *consultest.Cluster, e *harness.Exporter) {
	t.Helper()
	for _, name := range []string{"<script>alert(1)</script>", `"><img src=x onerror=alert(2)>`, "größe-服务", "\u202egnp.exe"} {
		harness.Must(t, c.Clients[0].Client().Agent().ServiceRegister(&api.AgentServiceRegistration{Name: name}))
	}
	harness.Must(t, c.WaitSynced(t.Context()))
	e.ScrapeUntilUp(t, harness.PlainPorts, c.Servers...)
}

// The page loads itself anew, and says what has changed since.
func TestStatusPage_Live(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3, Config: harness.KeepDead()})
	leader := harness.LeaderOf(t, c)
	e := harness.StartExporter(t, nil, "--consul.server="+harness.Others(c, leader)[0].URL())
	e.ScrapeUntilUp(t, harness.PlainPorts, c.Servers...)
	page := browsertest.Start(t).Open(t, e.URL+"/", browsertest.Desk)
	if title := page.Title(); title != "healthy: Consul dc1" {
		t.Errorf("title %q; want a healthy cluster", title)
	}
	harness.Must(t, leader.Kill())
	deadline := time.Now().Add(45 * time.Second)
	for !strings.Contains(page.Text(), leader.Name+" is down") {
		if time.Now().After(deadline) {
			t.Fatalf("the page has not noticed that %s is down; it says:\n%s", leader, page.Text())
		}
		time.Sleep(time.Second) //nolint:forbidigo // The page's own interval is what is waited for.
	}
}
