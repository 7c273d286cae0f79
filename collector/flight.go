// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// flight is a scrape under way, with those who wait for it.
type flight struct {
	key      string
	deadline time.Time
	done     chan struct{}
	families []*dto.MetricFamily // Valid when done is closed; not to be changed.
}

// Gather returns the families of the named collectors (see Select), by name. It always succeeds, and returns at the
// deadline of ctx at the latest. Two that ask the same at the same time, such as two replicas of Prometheus, share one snapshot; ctx
// being cancelled by one of them does not end it for the other.
func (e *Exporter) Gather(ctx context.Context, names []string) []*dto.MetricFamily {
	e.scrapes.Add(1)
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Hour)
	}
	f, joined := e.join(strings.Join(names, ","), deadline)
	if joined {
		e.shared.Add(1)
	} else {
		go e.fly(context.WithoutCancel(ctx), f, names)
	}
	<-f.done // In time: its deadline is not after ours.
	return slices.Clone(f.families)
}

// join returns a flight that gathers the same and ends in time, or a new one.
func (e *Exporter) join(key string, deadline time.Time) (f *flight, joined bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.flights {
		if f.key == key && !f.deadline.After(deadline) {
			return f, true
		}
	}
	f = &flight{key: key, deadline: deadline, done: make(chan struct{})}
	e.flights = append(e.flights, f)
	return f, false
}

func (e *Exporter) fly(ctx context.Context, f *flight, names []string) {
	ctx, cancel := context.WithDeadline(ctx, f.deadline)
	defer cancel()
	f.families = e.gather(ctx, names)
	e.mu.Lock()
	e.flights = slices.DeleteFunc(e.flights, func(other *flight) bool { return other == f })
	e.mu.Unlock()
	close(f.done)
}
