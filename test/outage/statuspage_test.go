// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// Two hundred viewers cost Consul no more than one.
func TestStatusPage_Viewers(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 1})
	e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	requests := func() (n float64) {
		for series, value := range e.Scrape(t) {
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
			if status, body, err := e.Get(t.Context(), "/", 10*time.Second); err != nil || status != 200 || !strings.Contains(body, "1 of 1 voter answers") {
				t.Errorf("status %d, error %v: %.200s", status, err, body)
			}
		})
	}
	viewers.Wait()
	snapshots := float64(1 + time.Since(start)/harness.StatusInterval)
	// The scrape that counts them is one more.
	if n := requests() - before - perScrape; n > snapshots*perScrape || n == 0 {
		t.Errorf("200 viewers made %v requests to Consul; a scrape makes %v, and there was time for %v snapshots", n, perScrape, snapshots)
	}
}
