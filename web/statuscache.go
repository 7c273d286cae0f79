// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/zervigo/consul_cluster_exporter/internal/panics"
)

const (
	// statusInterval is the least time between two snapshots for the status page, however many look at it.
	statusInterval = 5 * time.Second
	// statusTimeout bounds one of them.
	statusTimeout = 10 * time.Second
)

// statusCache shares a snapshot among all who look at the status page.
type statusCache struct {
	// take takes a snapshot until ctx is done.
	take func(ctx context.Context) statusDocument
	// ctx ends the snapshot that is under way when the handler is closed.
	ctx   context.Context
	close context.CancelFunc

	flights singleflight.Group
	// latest is nil until there is one. Only the one flight that is under way uses it.
	latest *statusSnapshot
}

// statusSnapshot is a snapshot that has ended. Its error is that of a panic.
type statusSnapshot struct {
	started  time.Time
	document statusDocument
	err      error
}

func newStatusCache(take func(ctx context.Context) statusDocument) *statusCache {
	ctx, cancel := context.WithCancel(context.Background())
	return &statusCache{take: take, ctx: ctx, close: cancel}
}

// get returns a status that is not older than statusInterval, or else waits for a new one until ctx is done.
func (c *statusCache) get(ctx context.Context) (statusDocument, error) {
	//nolint:contextcheck // The snapshot is for all who wait for it; it outlives the one who asked first.
	flight := c.flights.DoChan("", func() (any, error) { return c.fresh(), nil })
	select {
	case result := <-flight:
		s := result.Val.(*statusSnapshot)
		return s.document, s.err
	case <-ctx.Done():
		return statusDocument{}, ctx.Err()
	}
}

// fresh returns the latest snapshot, or takes one if that is too old.
func (c *statusCache) fresh() *statusSnapshot {
	if c.latest == nil || time.Since(c.latest.started) >= statusInterval {
		c.latest = c.snapshot()
	}
	return c.latest
}

func (c *statusCache) snapshot() *statusSnapshot {
	s := &statusSnapshot{started: time.Now()}
	ctx, cancel := context.WithTimeout(c.ctx, statusTimeout)
	defer cancel()
	s.err = panics.Try(func() error {
		s.document = c.take(ctx)
		return nil
	})
	return s
}
