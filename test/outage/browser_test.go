// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build browser

package outage_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/browsertest"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// The page of real clusters in trouble says at the top what is wrong.
func TestStatusPage_InTrouble(t *testing.T) {
	browser := browsertest.Start(t)
	for _, stage := range []struct {
		name   string
		start  func(*testing.T) *consultest.Cluster
		scenes []scene
	}{
		{"healthy", startHealthy, healthyScenes},
		{"outages", startServers, outageScenes},
		{"split", startSplit, []scene{clustersMixed}},
		{"denied", startDenied, []scene{noToken}},
	} {
		t.Run(stage.name, func(t *testing.T) {
			shown := slices.DeleteFunc(slices.Clone(stage.scenes), func(sc scene) bool { return sc.page == nil })
			playAll(t, stage.start(t), shown, func(p *play) { p.browse(browser) })
		})
	}
}

// browse plays the scene and looks at the page in a browser when all views show what they should.
func (p *play) browse(browser *browsertest.Browser) {
	p.Helper()
	p.e.Scrape(p.T)
	if p.breaks != nil {
		p.breaks(p)
	}
	p.see()
	page := browser.Open(p.T, p.e.URL+"/", browsertest.Desk)
	page.Picture("page-" + strings.ReplaceAll(p.name, " ", "-"))
	page.ExpectAccessible()
	if got := page.Complaints(); len(got) > 0 {
		p.Errorf("the browser complains: %v", got)
	}
	if got := page.Title(); got != p.window {
		p.Errorf("title %q; want %q", got, p.window)
	}
	rest := page.Text()
	for _, want := range p.page {
		_, after, found := strings.Cut(rest, want)
		if !found {
			p.Fatalf("the page does not say %q after what comes before it; it says:\n%s", want, page.Text())
		}
		rest = after
	}
}

// The page refreshes itself, and says what has changed since.
func TestStatusPage_Live(t *testing.T) {
	browser := browsertest.Start(t)
	leaderDies := scene{name: "the leader dies", breaks: func(p *play) { p.kill(p.leader) }}
	playAll(t, startServers(t), []scene{leaderDies}, func(p *play) {
		p.e.ScrapeUntilUp(p.T, harness.PlainPorts, p.c.Servers...)
		page := browser.Open(p.T, p.e.URL+"/", browsertest.Desk)
		if title := page.Title(); title != "healthy: Consul dc1" {
			p.Errorf("title %q; want a healthy cluster", title)
		}
		p.breaks(p)
		deadline := time.Now().Add(45 * time.Second)
		for !strings.Contains(page.Text(), p.leader.Name+" is down") {
			if time.Now().After(deadline) {
				p.Fatalf("the page has not noticed that %s is down; it says:\n%s", p.leader, page.Text())
			}
			time.Sleep(time.Second) //nolint:forbidigo // The page's own interval is what is waited for.
		}
	})
}
