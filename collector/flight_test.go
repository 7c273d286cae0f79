// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	dto "github.com/prometheus/client_model/go"
)

// holdNodes holds back the answer about the nodes of the catalog until release is closed, and says when it is asked
// for.
func (f *fakeConsul) holdNodes() (asked <-chan struct{}, release chan struct{}) {
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.override["/v1/catalog/nodes"] = func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-release:
			_, _ = w.Write([]byte(`[{}]`))
		case <-r.Context().Done():
		}
	}
	return arrived, release
}

// Two replicas of Prometheus that scrape at the same time cost Consul one scrape; one that cannot wait as long gets
// its own.
func TestSharedScrapes(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	e := f.exporter(nil, "members")
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	f.mu.Lock()
	f.override["/v1/catalog/nodes"] = func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		_, _ = w.Write([]byte(`[{}]`))
	}
	f.mu.Unlock()

	deadline := time.Now().Add(20 * time.Second)
	scrape := func(deadline time.Time) []*dto.MetricFamily {
		ctx, cancel := context.WithDeadline(t.Context(), deadline)
		defer cancel()
		return gather(ctx, t, e, []string{"members"})
	}
	results := make([][]*dto.MetricFamily, 3)
	var wg sync.WaitGroup
	wg.Go(func() { results[0] = scrape(deadline) })
	<-arrived
	wg.Go(func() { results[1] = scrape(deadline) })
	wg.Go(func() { results[2] = scrape(deadline.Add(-10 * time.Second)) })
	<-arrived // The third's own.
	for e.scrapes.Load() < 3 {
	}
	close(release)
	wg.Wait()
	for i, all := range results {
		if got, ok := value(all, "consul_serf_lan_members"); !ok || got != 1 {
			t.Errorf("scrape %d has consul_serf_lan_members %v; want 1", i, got)
		}
	}
	if n := f.counts()["/v1/catalog/nodes"]; n != 2 {
		t.Errorf("%d requests for three scrapes; want 2", n)
	}
	if n := e.shared.Load(); n != 1 {
		t.Errorf("%d shared scrapes; want 1", n)
	}
}

// A scrape that its client gives up goes on for the one who shares it, and the request that was given up ends at once.
func TestSharedScrape_Cancelled(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	e := f.exporter(nil, "members")
	asked, release := f.holdNodes()
	within, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	givenUp, giveUp := context.WithCancel(within)
	first, second := make(chan []*dto.MetricFamily, 1), make(chan []*dto.MetricFamily, 1)
	go func() { first <- gather(givenUp, t, e, []string{"members"}) }()
	<-asked
	go func() { second <- gather(within, t, e, []string{"members"}) }()
	for e.shared.Load() == 0 {
	}
	giveUp()
	expectValue(t, <-first, 0, "consul_exporter_collector_success", "collector", "members")
	close(release)
	expectValue(t, <-second, 1, "consul_exporter_collector_success", "collector", "members")
	if n := f.counts()["/v1/catalog/nodes"]; n != 1 {
		t.Errorf("%d requests for two scrapes; want 1", n)
	}
}

// No scrape shares one that has less time than itself: it would be cut off with it.
func TestSharedScrapes_LessTime(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	e := f.exporter(nil, "members")
	asked, release := f.holdNodes()
	var wg sync.WaitGroup
	scrape := func(timeout time.Duration) (all []*dto.MetricFamily) {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		return gather(ctx, t, e, []string{"members"})
	}
	wg.Go(func() {
		expectValue(t, scrape(time.Second), 0, "consul_exporter_collector_success", "collector", "members")
	})
	<-asked
	wg.Go(func() {
		expectValue(t, scrape(time.Minute), 1, "consul_exporter_collector_success", "collector", "members")
	})
	<-asked                              // Its own.
	for e.timeLeft(t) < 30*time.Second { // Until the first one is over.
	}
	close(release)
	wg.Wait()
}

// timeLeft is that of the flight that ends first.
func (e *Exporter) timeLeft(t *testing.T) time.Duration {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	least := time.Hour
	for _, f := range e.flights {
		least = min(least, time.Until(f.deadline))
	}
	return least
}

// Many requests that give a scrape no time at all cost Consul one scrape, which they do not cut off. Each gets what
// there is in its own time; nothing is logged or counted because of that, and a scrape with a normal time that comes
// meanwhile is complete.
func TestSharedScrapes_Hasty(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	var logged strings.Builder
	e := f.exporter(log.NewLogfmtLogger(&logged), "members", "license")
	names, err := e.Select(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	asked, release := f.holdNodes()
	normal := make(chan []*dto.MetricFamily)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		normal <- gather(ctx, t, e, names)
	}()
	<-asked
	for range 50 {
		const haste = 20 * time.Millisecond
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), haste)
		all := gather(ctx, t, e, names)
		cancel()
		if took := time.Since(start); took < haste || took > 5*time.Second {
			t.Errorf("took %s; want %s, or a little more", took, haste)
		}
		expectValue(t, all, 0, "consul_exporter_collector_success", "collector", "members")
		expectValue(t, all, 0, "consul_exporter_scrape_timeouts_total")
	}
	close(release)
	expectValue(t, <-normal, 1, "consul_exporter_collector_success", "collector", "members")
	if n := f.counts()["/v1/catalog/nodes"]; n != 1 {
		t.Errorf("%d requests; want the one of the normal scrape", n)
	}
	if logged.Len() > 0 {
		t.Errorf("log is\n%s\nwant none", &logged)
	}
}

// A scrape for a request in haste alone has minFlight; that it was too short for a collector is not in the log, but
// what Consul answers is.
func TestHastyScrape(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	var logged strings.Builder
	e := f.exporter(log.NewLogfmtLogger(&logged), "members")
	haste := func() []*dto.MetricFamily {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		return gather(ctx, t, e, []string{"members"})
	}
	landed := func() {
		for e.timeLeft(t) < time.Hour {
		}
	}
	f.hang("/v1/catalog/nodes")
	start := time.Now()
	expectValue(t, haste(), 0, "consul_exporter_collector_success", "collector", "members")
	landed()
	if took := time.Since(start); took < minFlight/2 {
		t.Errorf("the scrape was cut off after %s; want %s", took, minFlight)
	}
	if logged.Len() > 0 {
		t.Errorf("log is\n%s\nwant none", &logged)
	}
	f.answer("/v1/catalog/nodes", 500)
	haste()
	landed()
	if got := logged.String(); !strings.Contains(got, "collector failed") {
		t.Errorf("log is %q; want that Consul answers with an error", got)
	}
}

// A request that waits for its admission until its deadline gets what the scrape for the same collectors that is under
// way has found out by then. If there is none it is not served.
func TestGather_AdmitTooLate(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	e := f.exporter(nil, "members", "license")
	names, err := e.Select(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	asked, release := f.holdNodes()
	long, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	complete := make(chan []*dto.MetricFamily, 1)
	go func() { complete <- gather(long, t, e, names) }()
	<-asked
	noTurn := errors.New("no turn")
	late := func(names ...string) ([]*dto.MetricFamily, error) {
		const budget = minFlight + 100*time.Millisecond // It is not in haste, and has no share in a longer scrape.
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), budget)
		defer cancel()
		result, err := e.Gather(ctx, Request{Names: names, Admit: func(ctx context.Context) (func(), error) {
			<-ctx.Done()
			return nil, noTurn
		}})
		if took := time.Since(start); took < budget || took > 10*budget {
			t.Errorf("took %s; want %s, or a little more", took, budget)
		}
		if err != nil {
			return nil, err
		}
		return result.Families, nil
	}
	all, err := late(names...)
	if err != nil {
		t.Fatalf("error is %v; want what is there", err)
	}
	expectValue(t, all, 0, "consul_exporter_collector_success", "collector", "members")
	expectValue(t, all, 1, "consul_exporter_collector_success", "collector", "license")
	if _, err := late("members"); !errors.Is(err, noTurn) {
		t.Errorf("error is %v; want %v, as nothing is under way for this collector alone", err, noTurn)
	}
	close(release)
	expectValue(t, <-complete, 1, "consul_exporter_collector_success", "collector", "members")
	if n := f.counts()["/v1/catalog/nodes"]; n != 1 {
		t.Errorf("%d requests; want the one of the scrape that was under way", n)
	}
}

// A request that is not admitted is not served, and one that shares a scrape needs no admission.
func TestGather_Admit(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	e := f.exporter(nil, "members")
	asked, release := f.holdNodes()
	full := errors.New("full")
	scrape := func(admit func(context.Context) (func(), error)) (*Result, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		return e.Gather(ctx, Request{Names: []string{"members"}, Admit: admit})
	}
	refuse := func(context.Context) (func(), error) { return nil, full }
	if _, err := scrape(refuse); !errors.Is(err, full) {
		t.Errorf("error is %v; want %v", err, full)
	}
	released := make(chan struct{})
	first := make(chan *Result)
	go func() {
		result, err := scrape(func(context.Context) (func(), error) { return func() { close(released) }, nil })
		if err != nil {
			t.Error(err)
		}
		first <- result
	}()
	<-asked
	go func() {
		for e.shared.Load() == 0 {
		}
		close(release)
	}()
	second, err := scrape(refuse)
	if err != nil {
		t.Fatal(err)
	}
	<-released
	if second != <-first {
		t.Error("two requests that share a scrape have different results")
	}
	made := 0
	for range 3 {
		if second.Once("key", func() any { made++; return made }) != 1 {
			t.Error("what is made of a result is made again")
		}
	}
}
