// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	dto "github.com/prometheus/client_model/go"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/panics"
	"github.com/zervigo/consul_cluster_exporter/memory"
)

// collector turns one area of a snapshot into families. What could not be found is missing in out and part of the
// error; the rest is in out nevertheless.
type collector interface {
	collect(ctx context.Context, snap *cluster.Snapshot, out *families) error
}

// reader is a collector that keeps nothing between scrapes. It begins to read facts, and returns what waits for them
// and adds the families.
type reader func(*cluster.Snapshot) adder

type adder func(context.Context, *families) error

func (r reader) collect(ctx context.Context, snap *cluster.Snapshot, out *families) error {
	return r(snap)(ctx, out)
}

// read reads one fact. With an error, use gets what was read before it.
func read[T any](fact func(*cluster.Snapshot) *cluster.Fact[T], use func(T, error, *families) error) reader {
	return func(snap *cluster.Snapshot) adder {
		begun := fact(snap)
		return func(ctx context.Context, out *families) error {
			value, err := begun.Get(ctx)
			return use(value, err, out)
		}
	}
}

// ofFact reads one fact, which add turns into families if it is there.
func ofFact[T any](fact func(*cluster.Snapshot) *cluster.Fact[T], add func(T, *families)) reader {
	return read(fact, func(value T, err error, out *families) error {
		if err == nil {
			add(value, out)
		}
		return err
	})
}

// ofFacts reads a fact and one that it is joined with, which is the zero value if it is not there: that is the failure
// of another reader.
func ofFacts[T, U any](
	fact func(*cluster.Snapshot) *cluster.Fact[T], with func(*cluster.Snapshot) *cluster.Fact[U],
	add func(T, U, *families),
) reader {
	return func(snap *cluster.Snapshot) adder {
		first, second := fact(snap), with(snap)
		return func(ctx context.Context, out *families) error {
			value, err := first.Get(ctx)
			if err != nil {
				return err
			}
			other, _ := second.Get(ctx)
			add(value, other, out)
			return nil
		}
	}
}

// ofList reads a fact that is a list. An error leaves what was read before it.
func ofList[T any](fact func(*cluster.Snapshot) *cluster.Fact[[]T], add func(T, *families)) reader {
	return read(fact, func(values []T, err error, out *families) error {
		for _, v := range values {
			add(v, out)
		}
		return err
	})
}

// together reads all facts at the same time, and then adds the families in the order of the readers.
func together(readers ...reader) reader {
	return func(snap *cluster.Snapshot) adder {
		var adders []adder
		for _, r := range readers {
			adders = append(adders, r(snap))
		}
		return func(ctx context.Context, out *families) error {
			var errs []error
			for _, add := range adders {
				errs = append(errs, add(ctx, out))
			}
			return errors.Join(errs...)
		}
	}
}

// namedCollector is a collector that is switched on.
type namedCollector struct {
	name string
	collector
}

// Options are what an Exporter is made from.
type Options struct {
	Cluster *cluster.Cluster
	// Memory is what is remembered of the cluster between scrapes; nil means a new one.
	Memory *memory.Memory
	// Enabled are the names of the collectors that run; nil means those enabled by default.
	Enabled []string
	// Settings say what is exported; nil means DefaultSettings.
	Settings *Settings
	// Success adds probe_success, for exporters of the clusters that /probe is asked for.
	Success bool
	// Logger gets a line when the state of the cluster changes, and when collectors begin to fail or recover; nil means no
	// log.
	Logger log.Logger
}

// Exporter gathers the families of one cluster. It is safe for concurrent use.
type Exporter struct {
	cluster    *cluster.Cluster
	collectors []namedCollector
	memory     *memory.Memory
	success    reader // Reads nothing without probe_success.
	journal    *journal
	own        ownFamilies

	scrapes, shared, timeouts atomic.Uint64

	mu      sync.Mutex
	flights []*flight         // Guarded by mu: the scrapes under way.
	waiters []*waiter         // Guarded by mu: the requests that wait for admission.
	dropped map[string]uint64 // Guarded by mu: by collector.
}

// NewExporter returns an Exporter. It fails when a name in opts.Enabled is not one of a collector.
func NewExporter(opts Options) (*Exporter, error) {
	e := &Exporter{
		cluster: opts.Cluster,
		memory:  cmp.Or(opts.Memory, new(memory.Memory)),
		success: together(),
		own:     newOwnFamilies(&definitions{}),
		dropped: make(map[string]uint64),
	}
	if opts.Success {
		e.success = newSuccess(&definitions{})
	}
	for _, name := range opts.Enabled {
		if !slices.ContainsFunc(registry, func(r Info) bool { return r.Name == name }) {
			return nil, fmt.Errorf("there is no collector %q", name)
		}
	}
	settings := DefaultSettings()
	if opts.Settings != nil {
		settings = *opts.Settings
	}
	enabled := func(r Info) bool { return slices.Contains(opts.Enabled, r.Name) || (opts.Enabled == nil && r.Enabled) }
	d := definitions{settings: settings, memory: e.memory}
	d.reads = slices.ContainsFunc(registry, func(r Info) bool { return r.Name == consistentName && enabled(r) })
	for _, r := range registry {
		if enabled(r) {
			define := d
			e.collectors = append(e.collectors, namedCollector{r.Name, r.new(&define)})
		}
	}
	e.journal = newJournal(opts.Logger, e.memory, e.collectors)
	return e, nil
}

// Select returns the enabled collectors that a request wants: those in collect, or all but those in exclude, or all.
// Its error is for the client.
func (e *Exporter) Select(collect, exclude []string) ([]string, error) {
	if len(collect) > 0 && len(exclude) > 0 {
		return nil, errors.New("collect[] and exclude[] cannot be used together")
	}
	names := make([]string, 0, len(e.collectors))
	for _, c := range e.collectors {
		names = append(names, c.name)
	}
	for _, want := range slices.Concat(collect, exclude) {
		if !slices.Contains(names, want) {
			return nil, fmt.Errorf("there is no enabled collector %q; there are: %s", want, strings.Join(names, ", "))
		}
	}
	return slices.DeleteFunc(names, func(name string) bool {
		return slices.Contains(exclude, name) || (len(collect) > 0 && !slices.Contains(collect, name))
	}), nil
}

// outcome is how one collector fared in one scrape.
type outcome struct {
	name     string
	families []*dto.MetricFamily
	dropped  uint64
	duration time.Duration
	err      error
}

// refused reports whether all that is wrong are refusals by Consul.
func (o *outcome) refused() bool { return o.err != nil && onlyRefused(o.err) }

// unsupported reports whether all that is wrong is that this Consul does not have what the collector reads.
func (o *outcome) unsupported() bool {
	return o.refused() && !consul.IsDenied(o.err) && !consul.IsBlocked(o.err)
}

// run runs one collector. Of one that panics there is nothing but the error.
func run(ctx context.Context, c namedCollector, snap *cluster.Snapshot) outcome {
	o, start := outcome{name: c.name}, time.Now()
	o.err = panics.Try(func() error {
		out := newFamilies()
		err := c.collect(ctx, snap, out)
		o.families, o.dropped = out.proto(), out.dropped
		return err
	})
	o.duration = time.Since(start)
	return o
}

// alongside runs f in parallel with its caller, who must wait for it. A panic of f is the caller's.
func alongside(f func()) (wait func()) {
	ended := make(chan error, 1)
	go func() { ended <- panics.Try(func() error { f(); return nil }) }()
	return func() {
		if err := <-ended; err != nil {
			panic(err)
		}
	}
}

// onlyRefused reports whether err is nothing but refusals: then the collector works but lacks rights or features.
func onlyRefused(err error) bool {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return !slices.ContainsFunc(joined.Unwrap(), func(e error) bool { return !onlyRefused(e) })
	}
	return errors.Is(err, consul.ErrRefused)
}

// addOutcome turns an outcome into the exporter's own families.
func (e *Exporter) addOutcome(o outcome, out *families) {
	out.flag(e.own.success, o.err == nil || o.unsupported(), o.name)
	out.flag(e.own.supported, !o.refused(), o.name)
	out.add(e.own.duration, o.duration.Seconds(), o.name)
}
