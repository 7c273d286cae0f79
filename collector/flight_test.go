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

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// holdNodes holds back the answer about the nodes of the catalog until release is closed, and says when there is a
// request for it.
func (f *fakeConsul) holdNodes() (asked <-chan struct{}, release chan struct{}) {
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	f.handle("/v1/catalog/nodes", func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-release:
			_, _ = w.Write([]byte(`[{}]`))
		case <-r.Context().Done():
		}
	})
	return arrived, release
}

// expectNodesRead expects so many requests for the nodes of the catalog.
func (f *fakeConsul) expectNodesRead(want int) {
	f.t.Helper()
	if n := f.counts()["/v1/catalog/nodes"]; n != want {
		f.t.Errorf("%d requests for the nodes; want %d", n, want)
	}
}

// begin begins a scrape, and returns how to wait for its end. Scrapes that are to share one have the same deadline: on
// a busy machine time passes between two.
func begin(t *testing.T, e *Exporter, deadline time.Time) (wait func() []*dto.MetricFamily) {
	t.Helper()
	result := make(chan []*dto.MetricFamily, 1)
	names := must.Get(e.Select(nil, nil))(t)
	go func() {
		ctx, cancel := context.WithDeadline(t.Context(), deadline)
		defer cancel()
		result <- gather(ctx, t, e, names)
	}()
	return func() []*dto.MetricFamily { return <-result }
}

// until waits for a condition.
func until(t *testing.T, holds func() bool) {
	t.Helper()
	for range 6000 {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond) //nolint:forbidigo // Between two looks.
	}
	t.Error("not within a minute")
}

// Two replicas of Prometheus that scrape at the same time cost Consul one scrape; one that cannot wait as long gets its
// own.
func TestSharedScrapes(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	e := f.exporter(nil, "members")
	asked, release := f.holdNodes()
	now := time.Now()
	first := begin(t, e, now.Add(40*time.Second))
	<-asked
	second, third := begin(t, e, now.Add(40*time.Second)), begin(t, e, now.Add(20*time.Second))
	<-asked // The third's own.
	until(t, func() bool { return e.scrapes.Load() >= 3 })
	close(release)
	for _, wait := range []func() []*dto.MetricFamily{first, second, third} {
		expectValue(t, wait(), 1, "consul_serf_lan_members")
	}
	f.expectNodesRead(2)
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
	deadline := time.Now().Add(time.Minute)
	ctx, cancel := context.WithDeadline(t.Context(), deadline)
	defer cancel()
	first := make(chan []*dto.MetricFamily, 1)
	go func() { first <- gather(ctx, t, e, []string{"members"}) }()
	<-asked
	second := begin(t, e, deadline)
	until(t, func() bool { return e.shared.Load() > 0 })
	cancel()
	expectSuccess(t, <-first, false, "members")
	close(release)
	expectSuccess(t, second(), true, "members")
	f.expectNodesRead(1)
}

// No scrape shares one that has less time than itself: it would be cut off with it.
func TestSharedScrapes_LessTime(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	e := f.exporter(nil, "members")
	asked, release := f.holdNodes()
	first := begin(t, e, time.Now().Add(time.Second))
	<-asked
	second := begin(t, e, time.Now().Add(time.Minute))
	<-asked                                                         // Its own.
	until(t, func() bool { return e.timeLeft(t) > 30*time.Second }) // Until the first one is over.
	close(release)
	expectSuccess(t, first(), false, "members")
	expectSuccess(t, second(), true, "members")
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
	asked, release := f.holdNodes()
	normal := begin(t, e, time.Now().Add(time.Minute))
	<-asked
	for range 50 {
		const haste = 20 * time.Millisecond
		start := time.Now()
		all := gatherWithin(t, e, haste)
		if took := time.Since(start); took < haste || took > 5*time.Second {
			t.Errorf("took %s; want %s, or a little more", took, haste)
		}
		expectSuccess(t, all, false, "members")
		expectValue(t, all, 0, "consul_exporter_scrape_timeouts_total")
	}
	close(release)
	expectSuccess(t, normal(), true, "members")
	f.expectNodesRead(1)
	if logged.Len() > 0 {
		t.Errorf("log is\n%s\nwant none", &logged)
	}
}

// A scrape for a hasty request alone has minFlight; that it was too short for a collector is not in the log, but an
// error of Consul is.
func TestHastyScrape(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	var logged strings.Builder
	e := f.exporter(log.NewLogfmtLogger(&logged), "members")
	landed := func() {
		until(t, func() bool { return e.timeLeft(t) == time.Hour })
	}
	f.hang("/v1/catalog/nodes")
	start := time.Now()
	expectSuccess(t, gatherWithin(t, e, time.Millisecond), false, "members")
	landed()
	if took := time.Since(start); took < minFlight/2 {
		t.Errorf("the scrape was cut off after %s; want %s", took, minFlight)
	}
	if logged.Len() > 0 {
		t.Errorf("log is\n%s\nwant none", &logged)
	}
	f.answer("/v1/catalog/nodes", 500)
	gatherWithin(t, e, time.Millisecond)
	landed()
	if got := logged.String(); !strings.Contains(got, "collectors failed") {
		t.Errorf("log is %q; want that Consul answers with an error", got)
	}
}

// A request that waits for its admission until its deadline gets what the scrape for the same collectors that is under
// way has found by then. If there is none it is not served.
func TestGather_AdmitTooLate(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	e := f.exporter(nil, "members", "license")
	asked, release := f.holdNodes()
	complete := begin(t, e, time.Now().Add(time.Minute))
	<-asked
	noTurn := errors.New("no turn")
	late := func(names ...string) (*Result, error) {
		const budget = minFlight + 100*time.Millisecond // It is not hasty, and may not share a longer scrape.
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
		return result, err
	}
	result, err := late("license", "members")
	if err != nil {
		t.Fatalf("error is %v; want what is there", err)
	}
	expectSuccess(t, result.Families, false, "members")
	expectSuccess(t, result.Families, true, "license")
	if _, err := late("members"); !errors.Is(err, noTurn) {
		t.Errorf("error is %v; want %v, as nothing is under way for this collector alone", err, noTurn)
	}
	close(release)
	expectSuccess(t, complete(), true, "members")
	f.expectNodesRead(1)
}

// A request that is not admitted is not served, and one that shares a scrape needs no admission.
func TestGather_Admit(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	e := f.exporter(nil, "members")
	asked, release := f.holdNodes()
	full := errors.New("full")
	deadline := time.Now().Add(time.Minute)
	scrape := func(admit func(context.Context) (func(), error)) (*Result, error) {
		ctx, cancel := context.WithDeadline(t.Context(), deadline)
		defer cancel()
		return e.Gather(ctx, Request{Names: []string{"members"}, Admit: admit})
	}
	refuse := func(context.Context) (func(), error) { return nil, full }
	if _, err := scrape(refuse); !errors.Is(err, full) {
		t.Errorf("error is %v; want %v", err, full)
	}
	released := make(chan struct{})
	var first *Result
	var scraping sync.WaitGroup
	scraping.Go(func() {
		var err error
		first, err = scrape(func(context.Context) (func(), error) { return func() { close(released) }, nil })
		if err != nil {
			t.Error(err)
		}
	})
	<-asked
	go func() {
		until(t, func() bool { return e.shared.Load() > 0 })
		close(release)
	}()
	second := must.Get(scrape(refuse))(t)
	<-released
	if scraping.Wait(); second != first {
		t.Error("two requests that share a scrape have different results")
	}
	made := 0
	for range 3 {
		if second.Once("key", func() any { made++; return made }) != 1 {
			t.Error("what is made of a result is made again")
		}
	}
}
