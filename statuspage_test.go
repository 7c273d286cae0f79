// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
)

// statusInterval is how old the snapshot of the status page may be.
const statusInterval = 5 * time.Second

// status reads the status page as JSON.
func (e *exporterProcess) status(t *testing.T) cluster.Status {
	t.Helper()
	_, body, err := e.get(t.Context(), "/?format=json", 10*time.Second)
	must(t, err)
	var st cluster.Status
	must(t, json.Unmarshal([]byte(body), &st))
	return st
}

// freshStatus waits for a status whose snapshot was taken after now.
func (e *exporterProcess) freshStatus(t *testing.T) cluster.Status {
	t.Helper()
	asked := time.Now()
	for {
		if st := e.status(t); st.Time.After(asked) {
			return st
		}
		if time.Since(asked) > 3*statusInterval {
			t.Fatal("the status page does not get any newer")
		}
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // The page's own interval is what is waited for.
	}
}

// expectAgreement compares the page with the metrics of a scrape after it.
func expectAgreement(t *testing.T, st *cluster.Status, s samples) {
	t.Helper()
	want := samples{
		"consul_cluster_voters":           float64(st.Quorum.Voters),
		"consul_cluster_quorum":           float64(st.Quorum.Needed),
		"consul_cluster_reachable_voters": float64(st.Quorum.Reachable),
		"consul_cluster_failure_margin":   float64(st.Quorum.Margin),
		"consul_cluster_leaders":          float64(len(st.Leadership.Leaders)),
		"consul_cluster_reported_leaders": float64(len(st.Leadership.Reported)),
	}
	for _, server := range st.Servers {
		for _, p := range server.Ports {
			up := 0.0
			if p.Up != nil && *p.Up {
				up = 1
			}
			want[fmt.Sprintf("consul_port_up{port=\"%d\",protocol=%q,server=%q,transport=%q}", p.Port, p.Protocol, server.Name, p.Transport)] = up
		}
	}
	if len(want) < 6+3*10 {
		t.Errorf("only %d figures to compare", len(want))
	}
	s.expect(t, want)
}

// The page says what the metrics say, of a cluster that is well, has a server that hangs, and has lost its quorum.
func TestStatusPage_Agrees(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3, Config: keepDead()})
	leader := leaderOf(t, c)
	followers := others(c, leader)
	e := startExporter(t, nil, "--consul.server="+leader.URL())
	e.scrapeUntilUp(t, plainPorts, c.Servers...)

	st := e.freshStatus(t)
	if st.Level != cluster.LevelHealthy || len(st.Problems) > 0 || !strings.Contains(st.Verdict, leader.Name+" leads") {
		t.Errorf("%s: %s %v; want a healthy cluster led by %s", st.Level, st.Verdict, st.Problems, leader)
	}
	expectAgreement(t, &st, e.scrape(t))

	must(t, followers[0].Stop())
	e.scrape(t) // After this one the probes know that it hangs.
	st = e.freshStatus(t)
	if st.Level != cluster.LevelDegraded || len(st.Problems) == 0 || st.Problems[0].Alert != "ConsulServerHung" || st.Problems[0].Server != followers[0].Name {
		t.Errorf("%s: %s %v; want that %s hangs", st.Level, st.Verdict, st.Problems, followers[0])
	}
	expectAgreement(t, &st, e.scrape(t))

	must(t, followers[1].Kill())
	e.scrapeUntil(t, 30*time.Second, "no leader", func(s samples) bool { return s["consul_cluster_leaders"] == 0 })
	st = e.freshStatus(t)
	if st.Level != cluster.LevelCritical || len(st.Problems) == 0 || st.Problems[0].Alert != "ConsulQuorumLost" {
		t.Errorf("%s: %s %v; want that the quorum is lost", st.Level, st.Verdict, st.Problems)
	}
	expectAgreement(t, &st, e.scrape(t))
}

// Two hundred viewers cost Consul no more than one.
func TestStatusPage_Viewers(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 1})
	e := startExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	requests := func() (n float64) {
		for series, value := range e.scrape(t) {
			if strings.HasPrefix(series, "consul_exporter_consul_requests_total{") {
				n += value
			}
		}
		return n
	}
	before := requests()
	perScrape := requests() - before
	before = requests()
	var viewers sync.WaitGroup
	for range 200 {
		viewers.Go(func() {
			if status, body, err := e.get(t.Context(), "/", 10*time.Second); err != nil || status != 200 || !strings.Contains(body, "1 of 1 voter answers") {
				t.Errorf("status %d, error %v: %.200s", status, err, body)
			}
		})
	}
	viewers.Wait()
	// The scrape that counts them is one more. Two snapshots only if the viewers took longer than the interval.
	if n := requests() - before - perScrape; n > 2*perScrape {
		t.Errorf("200 viewers made %v requests to Consul; a scrape makes %v", n, perScrape)
	}
}
