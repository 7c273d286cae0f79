// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package netns_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// soakTime is how long the soak breaks things. What is broken then is repaired and judged, too.
var soakTime = flag.Duration("soak", 2*time.Minute, "how long TestSoak breaks and mends its cluster")

const (
	// showsWithin is how long the exporter may take to show a fault, and wellWithin to show a healthy cluster
	// afterwards. Most of it is Consul's: it takes a server its time to notice that a peer is gone, to be elected and to
	// start.
	showsWithin, wellWithin = 90 * time.Second, 3 * time.Minute
	// faultLasts is how long a fault goes on after the exporter has shown it, and wellLasts for how long nothing is
	// broken afterwards.
	faultLasts, wellLasts = 3 * time.Second, 6 * time.Second
)

// A soak is a cluster that is broken and repaired again and again while an exporter of it is scraped each second.
type soak struct {
	cluster  *consultest.Cluster
	exporter *harness.Exporter
	scraper  *steadyScraper
	// tokenFile is where the exporter reads its token, token the content, and configFile its configuration.
	tokenFile, token, configFile string
	// marks are where each server's log was when the soak began.
	marks []int
}

// TestSoak breaks a cluster with Consul's default settings in every way of soakFaults, in turn, until the time is over.
// Each time the exporter shows the fault, and shows a healthy cluster afterwards. Throughout, it answers each scrape in
// time, no verdict in it contradicts a proof in it, it does not need more resources than at first, and causes no line at
// WARN or above in the log of a healthy server. With -update it writes docs/reliability.md.
func TestSoak(t *testing.T) {
	harness.RequireNamespace(t)
	s := startSoak(t)
	s.waitWell(t)
	var trials []soakTrial
	for start, i := time.Now(), 0; time.Since(start) < *soakTime; i++ {
		trial := s.try(t, soakFaults[i%len(soakFaults)])
		trials = append(trials, trial)
		t.Logf("%s: shown after %s, healthy %s after the repair", trial.fault, trial.shown, trial.well)
	}
	seen := s.scraper.stop()
	expectPunctual(t, seen)
	expectFlat(t, seen)
	expectTruth(t, seen)
	report := soakReport(trials, seen) + truthOf(seen).text() + complaintsText(s.complaints(t, trials))
	t.Logf("what goes into %s:\n%s", reliability, report)
	if *harness.Update && !t.Failed() {
		writeReliability(t, report)
	}
}

func startSoak(t *testing.T) *soak {
	t.Helper()
	c := consultest.Start(t, consultest.Options{Servers: 3, ACL: true})
	token := must.Get(c.NewToken(t.Context(), harness.ReadmePolicy(t)))(t)
	s := &soak{
		cluster:    c,
		token:      token,
		tokenFile:  harness.Secret(t, token),
		configFile: harness.WriteFile(t, "config.yml", soakConfig),
	}
	flags := []string{"--consul.token-file=" + s.tokenFile, "--config.file=" + s.configFile}
	for _, a := range c.Servers {
		s.marks = append(s.marks, a.LogMark())
		flags = append(flags, "--consul.server="+a.URL())
	}
	s.exporter = harness.StartBinary(t, harness.BuildExporter(t), nil, flags...)
	s.scraper = startScraper(t, s.exporter)
	return s
}

// soakConfig is a configuration without mistakes.
const soakConfig = "modules: {soak: {targets: [127.0.0.0/8]}}\n"

// soakTrial is one time that a fault was tried.
type soakTrial struct {
	fault string
	// shown is how long it took until the exporter showed it, and well how long it took after the repair until it showed
	// a healthy cluster.
	shown, well  time.Duration
	began, ended time.Time
}

// try makes a fault and repairs it.
func (s *soak) try(t *testing.T, f soakFault) soakTrial {
	t.Helper()
	start := time.Now()
	shown, repair := f.breaks(t, s)
	s.wait(t, showsWithin, start, f.name+": "+f.shows, func(m harness.Samples) bool {
		return len(m.Differences(shown)) == 0
	})
	trial := soakTrial{fault: f.name, began: start, shown: time.Since(start)}
	time.Sleep(faultLasts) //nolint:forbidigo // The fault goes on for a while.
	repaired := time.Now()
	repair()
	s.waitWell(t)
	trial.ended = time.Now()
	trial.well = trial.ended.Sub(repaired)
	time.Sleep(wellLasts) //nolint:forbidigo // In which no server has a reason to complain.
	return trial
}

// wait waits for a scrape that began after a moment and shows something.
func (s *soak) wait(
	t *testing.T, within time.Duration, after time.Time, what string, shows func(harness.Samples) bool,
) {
	t.Helper()
	harness.WaitFor(t, within, what, func() string {
		last := s.scraper.latest()
		return harness.Unless(last.start.After(after) && shows(last.samples), "the last scrape:\n%s", last.samples)
	})
}

// waitWell waits for a scrape that shows nothing wrong.
func (s *soak) waitWell(t *testing.T) {
	t.Helper()
	s.wait(t, wellWithin, time.Now(), "a healthy cluster", func(m harness.Samples) bool {
		for series, value := range m {
			supported := m[strings.Replace(series, "success", "supported", 1)] == 1
			failed := strings.HasPrefix(series, "consul_port_up{") ||
				strings.HasPrefix(series, "consul_exporter_collector_success{") && supported
			if failed && value == 0 {
				return false
			}
		}
		return len(m.Differences(harness.Samples{
			"consul_up": 1, "consul_cluster_leaders": 1, "consul_cluster_reported_leaders": 1,
			"consul_cluster_servers_without_leader": 0, "consul_cluster_voters": 3, "consul_cluster_failure_margin": 1,
			"consul_cluster_raft_configurations": 1, "consul_cluster_consistent_read_success": 1,
			"consul_autopilot_cluster_healthy": 1, `consul_cluster_servers{state="alive"}`: 3,
			"consul_exporter_config_last_reload_successful": 1, `consul_exporter_collector_supported{collector="catalog"}`: 1,
		})) == 0
	})
}

// expectPunctual fails for each scrape without a complete answer in time.
func expectPunctual(t *testing.T, seen []soakScrape) {
	t.Helper()
	for _, scrape := range seen {
		if scrape.err != nil {
			t.Errorf("a scrape failed after %s: %v", scrape.took, scrape.err)
		}
	}
	if len(seen) < int(soakTime.Seconds())/5 {
		t.Errorf("%d scrapes in %s; want about one in a second", len(seen), *soakTime)
	}
}

// A soakResource must not grow. The median in the last third of the soak may exceed that of the first third by slack,
// because how many requests a scrape has under way depends on what is broken.
type soakResource struct {
	name, series string
	unit         float64 // In which it is reported; for memory 1 MB.
	slack        float64
}

var soakResources = []soakResource{
	{"goroutines", "go_goroutines", 1, 15},
	{"open descriptors", "process_open_fds", 1, 10},
	{"memory, resident, in MB", "process_resident_memory_bytes", 1e6, 20},
}

// thirds returns the median of the resource in the first and in the last third of the scrapes, and its maximum.
func (r soakResource) thirds(seen []soakScrape) (first, last, most float64) {
	var values []float64
	for _, scrape := range seen {
		if v, ok := scrape.samples[r.series]; ok {
			values = append(values, v/r.unit)
		}
	}
	third := len(values) / 3
	return median(values[:third]), median(values[len(values)-third:]), slices.Max(values)
}

// expectFlat fails for each resource that the exporter needs more and more of.
func expectFlat(t *testing.T, seen []soakScrape) {
	t.Helper()
	for _, r := range soakResources {
		if first, last, _ := r.thirds(seen); last > first+r.slack {
			t.Errorf("%s: %.0f in the first third of the time, %.0f in the last; want no growth", r.name, first, last)
		}
	}
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

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
