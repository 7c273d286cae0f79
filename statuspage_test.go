// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/status"
)

// statusInterval is how old the snapshot of the status page may be.
const statusInterval = 5 * time.Second

// status reads the status page as JSON.
func (e *exporterProcess) status(t *testing.T) status.View {
	t.Helper()
	_, body, err := e.get(t.Context(), "/?format=json", 10*time.Second)
	must(t, err)
	var st status.View
	must(t, json.Unmarshal([]byte(body), &st))
	return st
}

// freshStatus waits for a status whose snapshot was taken after now.
func (e *exporterProcess) freshStatus(t *testing.T) status.View {
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
	start := time.Now()
	var viewers sync.WaitGroup
	for range 200 {
		viewers.Go(func() {
			if status, body, err := e.get(t.Context(), "/", 10*time.Second); err != nil || status != 200 || !strings.Contains(body, "1 of 1 voter answers") {
				t.Errorf("status %d, error %v: %.200s", status, err, body)
			}
		})
	}
	viewers.Wait()
	snapshots := float64(1 + time.Since(start)/statusInterval)
	// The scrape that counts them is one more.
	if n := requests() - before - perScrape; n > snapshots*perScrape || n == 0 {
		t.Errorf("200 viewers made %v requests to Consul; a scrape makes %v, and there was time for %v snapshots", n, perScrape, snapshots)
	}
}
