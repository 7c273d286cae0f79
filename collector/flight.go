// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

const (
	// minFlight is the least time for a scrape of Consul, however soon the client wants its answer: a probe that is cut
	// off in a handshake leaves a line in Consul's log.
	minFlight = 500 * time.Millisecond
	// maxLoss is how much of its time a request may lose by sharing a scrape, up to a tenth of it. A snapshot keeps as
	// much for its own end (see cluster.Cluster.Snapshot), and two replicas of Prometheus are less apart by chance.
	maxLoss = 250 * time.Millisecond
	// normalTime is how long a scrape must have before running out of time says something about Consul: more than the
	// default timeout of a probe (3 s), and less than what a scrape_timeout of 5 s leaves.
	normalTime = 4 * time.Second
)

// Request is what a client wants.
type Request struct {
	// Names are the collectors that run (see Select).
	Names []string
	// Admit is called before Consul is scraped for this request, unless it can share another one's scrape. It may wait
	// until ctx is done. The scrape calls release at its end. With an error the request is not served. Nil admits every
	// request.
	Admit func(ctx context.Context) (release func(), err error)
}

// Result is what a scrape collected, for all who share it.
type Result struct {
	// Families are sorted by name and must not be changed.
	Families []*dto.MetricFamily
	// Duration is how long the scrape took.
	Duration time.Duration

	made sync.Map // A func() any by key.
}

// Once returns what build makes of the result, only once for each key.
func (r *Result) Once(key string, build func() any) any {
	made, _ := r.made.LoadOrStore(key, sync.OnceValue(build))
	return made.(func() any)()
}

// flight is a scrape under way.
type flight struct {
	names []string
	start time.Time
	// ctx ends at the flight's deadline, and the snapshot a little earlier.
	ctx      context.Context
	deadline time.Time
	snap     *cluster.Snapshot
	// close ends the context and the snapshot.
	close func()
	// success adds whether the agent answers, and waits for that until its context is done.
	success adder
	// landed is closed when result is valid.
	landed chan struct{}
	result *Result

	mu    sync.Mutex
	ended map[string]outcome // Guarded by mu: the collectors that are done.

	looking sync.Mutex
	// partial is the latest result for those who did not wait for the end, made of partialOf collectors. Both are
	// guarded by looking.
	partial   *Result
	partialOf int
}

// Gather returns what the named collectors found, at the deadline of ctx at the latest, without what was not found by
// then. It fails only if req.Admit does.
//
// Requests for the same collectors share a scrape if that costs none of them anything. Each is answered at its own
// deadline, and none shares a scrape that has less time than itself, apart from maxLoss. A canceled request gets what
// is there and does not end the scrape for the others. A request with less than minFlight gets a scrape with
// minFlight, or shares any longer one, and takes what is there at its deadline; so does one that waits for admission
// until its deadline. However many of those there are, Consul is not scraped more often.
func (e *Exporter) Gather(ctx context.Context, req Request) (*Result, error) {
	e.scrapes.Add(1)
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Hour)
	}
	f, joined, err := e.board(ctx, req, deadline)
	if err != nil {
		return nil, err
	}
	if joined {
		e.shared.Add(1)
	}
	select {
	case <-f.landed:
		return f.result, nil
	case <-ctx.Done():
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && !f.deadline.After(deadline) {
		<-f.landed // At any moment.
		return f.result, nil
	}
	return e.soFar(f), nil //nolint:contextcheck // What has ended so far is had without waiting, whatever the context.
}

// waiter is a request that waits for its admission.
type waiter struct {
	names    []string
	deadline time.Time
	// wake ends the wait because there is a flight to share.
	wake context.CancelFunc
}

// board returns the flight for a request, a new one if there is none to share. A request that had to wait for
// admission takes the first flight with enough time for it, and a new flight has enough time for all that wait. One
// that was not admitted before its deadline takes any flight for the same collectors.
func (e *Exporter) board(ctx context.Context, req Request, deadline time.Time) (f *flight, joined bool, err error) {
	admit := req.Admit
	if admit == nil {
		admit = func(context.Context) (func(), error) { return func() {}, nil }
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for waited := false; ; waited = true {
		if f := e.findLocked(req.Names, deadline, waited); f != nil {
			return f, true, nil
		}
		waiting, wake := context.WithCancel(ctx)
		w := &waiter{req.Names, deadline, wake}
		e.waiters = append(e.waiters, w)
		e.mu.Unlock()
		release, err := admit(waiting)
		e.mu.Lock()
		e.waiters = slices.DeleteFunc(e.waiters, func(other *waiter) bool { return other == w })
		woken := waiting.Err() != nil && ctx.Err() == nil
		wake()
		if err != nil && woken {
			continue
		}
		if err != nil && ctx.Err() != nil {
			if f := e.underWayLocked(req.Names); f != nil {
				return f, true, nil
			}
		}
		if err != nil {
			return nil, false, err
		}
		if f := e.findLocked(req.Names, deadline, waited || woken); f != nil { // It has started since.
			release()
			return f, true, nil
		}
		return e.startLocked(context.WithoutCancel(ctx), req.Names, deadline, release), false, nil
	}
}

// startLocked starts a flight for a request and for those that wait. mu must be held.
func (e *Exporter) startLocked(ctx context.Context, names []string, deadline time.Time, release func()) *flight {
	for _, w := range e.waiters {
		if slices.Equal(w.names, names) {
			if w.deadline.After(deadline) {
				deadline = w.deadline
			}
			w.wake()
		}
	}
	f := e.newFlight(ctx, names, deadline)
	e.flights = append(e.flights, f)
	go func() {
		defer release()
		e.fly(f)
	}()
	return f
}

// findLocked returns a flight that a request can share, or nil. One that ends later than the request is only for
// requests that are short of time or have waited, as it may report too late what is missing. mu must be held.
func (e *Exporter) findLocked(names []string, deadline time.Time, waited bool) *flight {
	left := time.Until(deadline)
	earliest, later := deadline.Add(-min(maxLoss, left/10)), waited || left < minFlight
	for _, f := range e.flights {
		if slices.Equal(f.names, names) && !f.deadline.Before(earliest) && (later || !f.deadline.After(deadline)) {
			return f
		}
	}
	return nil
}

// underWayLocked returns the oldest flight for the same collectors, or nil, for a request that cannot wait any
// longer. mu must be held.
func (e *Exporter) underWayLocked(names []string) *flight {
	i := slices.IndexFunc(e.flights, func(f *flight) bool { return slices.Equal(f.names, names) })
	if i < 0 {
		return nil
	}
	return e.flights[i]
}

func (e *Exporter) newFlight(ctx context.Context, names []string, deadline time.Time) *flight {
	f := &flight{names: names, start: time.Now(), landed: make(chan struct{}), ended: make(map[string]outcome)}
	f.deadline = deadline
	if least := f.start.Add(minFlight); deadline.Before(least) {
		f.deadline = least
	}
	ctx, cancel := context.WithDeadline(ctx, f.deadline)
	f.ctx = ctx
	f.snap = e.cluster.Snapshot(ctx)
	f.success = e.success(f.snap)
	f.close = func() {
		f.snap.Close()
		cancel()
	}
	return f
}

// fly runs the collectors, until the deadline at most.
func (e *Exporter) fly(f *flight) {
	e.collect(f)
	e.account(f)
	f.result = e.resultOf(f.ctx, f)
	f.close() // Before anybody can ask again: the next scrape knows what this one has learned.
	e.mu.Lock()
	e.flights = slices.DeleteFunc(e.flights, func(other *flight) bool { return other == f })
	e.mu.Unlock()
	close(f.landed)
}

// collect runs the collectors in parallel. Those that are not done at the deadline are abandoned.
func (e *Exporter) collect(f *flight) {
	outcomes := make(chan outcome, len(f.names))
	for _, c := range e.collectors {
		if slices.Contains(f.names, c.name) {
			go func() { outcomes <- run(f.ctx, c, f.snap) }()
		}
	}
	for range f.names {
		select {
		case o := <-outcomes:
			f.mu.Lock()
			f.ended[o.name] = o
			f.mu.Unlock()
		case <-f.ctx.Done():
			return
		}
	}
}

// outcomes are those of all collectors, by name. A collector that is not done has failed.
func (f *flight) outcomes() []outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]outcome, 0, len(f.names))
	for _, name := range f.names {
		o, ok := f.ended[name]
		if !ok {
			o = outcome{name: name, duration: time.Since(f.start), err: context.DeadlineExceeded}
		}
		all = append(all, o)
	}
	return all
}

// account counts timeouts and dropped series, and logs what has changed. That a hurried flight ran out of time says
// nothing.
func (e *Exporter) account(f *flight) {
	// The last collectors gave up what they waited for, or are left behind.
	timedOut := f.snap.TimedOut()
	hurried := timedOut && f.deadline.Sub(f.start) < normalTime
	if timedOut && !hurried {
		e.timeouts.Add(1)
	}
	ended := f.outcomes()
	e.mu.Lock()
	for _, o := range ended {
		e.dropped[o.name] += o.dropped
	}
	e.mu.Unlock()
	e.journal.write(f.ctx, f.snap, ended, hurried)
}

// soFar is what a flight has collected up to now. All who look before the next collector is done share it.
func (e *Exporter) soFar(f *flight) *Result {
	f.looking.Lock()
	defer f.looking.Unlock()
	f.mu.Lock()
	done := len(f.ended)
	f.mu.Unlock()
	if f.partial == nil || f.partialOf != done {
		over, cancel := context.WithCancel(f.ctx)
		cancel() // Nothing is waited for.
		f.partial, f.partialOf = e.resultOf(over, f), done
	}
	return f.partial
}

func (e *Exporter) resultOf(ctx context.Context, f *flight) *Result {
	out := newFamilies()
	var all []*dto.MetricFamily
	for _, o := range f.outcomes() {
		all = append(all, o.families...)
		e.addOutcome(o, out)
	}
	e.addOwn(f.snap, out)
	_ = f.success(ctx, out) // Why the agent does not answer is for the collectors to say.
	all = append(all, out.proto()...)
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return &Result{Families: all, Duration: time.Since(f.start)}
}
