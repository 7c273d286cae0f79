// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// statusInterval is the least time between two snapshots for the status page, however many look at it.
	statusInterval = 5 * time.Second
	// statusTimeout bounds one of them.
	statusTimeout = 10 * time.Second
)

// statusCache shares what was found out among all who look at the status page.
type statusCache struct {
	// take takes a snapshot until ctx is done.
	take func(ctx context.Context) pageFacts
	// ctx ends the snapshot that is under way when the handler is closed.
	ctx   context.Context
	close context.CancelFunc
	// now is time.Now but in tests.
	now func() time.Time

	mu      sync.Mutex
	latest  *statusFlight // Guarded by mu: the last one that was started; nil until then.
	started time.Time     // Guarded by mu: when it was.
}

// statusFlight is a snapshot, perhaps still under way.
type statusFlight struct {
	// done is closed when facts is there, or err, which is that of a panic.
	done  chan struct{}
	facts pageFacts
	err   error
}

func newStatusCache(take func(ctx context.Context) pageFacts) *statusCache {
	ctx, cancel := context.WithCancel(context.Background())
	return &statusCache{take: take, ctx: ctx, close: cancel, now: time.Now}
}

// get returns a status that is no older than statusInterval, or was asked for no longer ago than that. It waits for
// it until ctx is done.
func (c *statusCache) get(ctx context.Context) (pageFacts, error) {
	flight := c.flight() //nolint:contextcheck // The snapshot is for all who wait for it; it outlives the one who asked first.
	select {
	case <-flight.done:
		return flight.facts, flight.err
	case <-ctx.Done():
		return pageFacts{}, ctx.Err()
	}
}

// flight returns the snapshot to wait for, and starts one if the last one is too old.
func (c *statusCache) flight() *statusFlight {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.latest != nil {
		if !c.latest.landed() || c.now().Sub(c.started) < statusInterval {
			return c.latest
		}
	}
	flight := &statusFlight{done: make(chan struct{})}
	c.latest, c.started = flight, c.now()
	go func() {
		defer close(flight.done)
		defer func() { // A goroutine of our own has nobody else to survive its panic.
			if p := recover(); p != nil {
				flight.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		ctx, cancel := context.WithTimeout(c.ctx, statusTimeout)
		defer cancel()
		flight.facts = c.take(ctx)
	}()
	return flight
}

func (f *statusFlight) landed() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}
