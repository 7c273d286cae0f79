// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package netns_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

const (
	soakInterval = time.Second
	// soakTimeout is Prometheus's default scrape_timeout.
	soakTimeout = 10 * time.Second
)

// soakScrape is one scrape.
type soakScrape struct {
	start time.Time
	took  time.Duration
	// samples is nil, and err says why, if there was no complete answer in time.
	samples harness.Samples
	err     error
}

// A steadyScraper scrapes an exporter as Prometheus does: once an interval, and not before the last scrape has ended.
type steadyScraper struct {
	exporter *harness.Exporter
	cancel   context.CancelFunc
	done     chan struct{}

	mu      sync.Mutex
	scrapes []soakScrape
}

func startScraper(t *testing.T, e *harness.Exporter) *steadyScraper {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	s := &steadyScraper{exporter: e, cancel: cancel, done: make(chan struct{}), scrapes: []soakScrape{{}}}
	go s.run(ctx)
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *steadyScraper) run(ctx context.Context) {
	defer close(s.done)
	for tick := time.Tick(soakInterval); ; {
		scrape := s.scrape(context.WithoutCancel(ctx)) // What has begun is finished.
		s.mu.Lock()
		s.scrapes = append(s.scrapes, scrape)
		s.mu.Unlock()
		select {
		case <-tick:
		case <-ctx.Done():
			return
		}
	}
}

func (s *steadyScraper) scrape(ctx context.Context) soakScrape {
	scrape := soakScrape{start: time.Now()}
	status, body, err := s.exporter.Get(ctx, "/metrics", soakTimeout)
	scrape.took = time.Since(scrape.start)
	switch {
	case err != nil:
		scrape.err = err
	case status != http.StatusOK:
		scrape.err = fmt.Errorf("status %d: %s", status, strings.TrimSpace(body))
	case scrape.took > soakTimeout:
		scrape.err = fmt.Errorf("the answer took longer than %s", soakTimeout)
	default:
		scrape.samples, scrape.err = harness.ReadSamples(body)
	}
	return scrape
}

// latest returns the last scrape.
func (s *steadyScraper) latest() soakScrape {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scrapes[len(s.scrapes)-1]
}

// stop ends the scraping and returns all scrapes.
func (s *steadyScraper) stop() []soakScrape {
	s.cancel()
	<-s.done
	return s.scrapes[1:]
}
