// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// connections keeps the number of open connections down: with one too many, the one that has waited longest for a request, or for the rest of it,
// is closed. So neither connections that are opened and left alone nor requests that arrive byte by byte can keep a scrape out, as they
// would if no more were accepted. While requests are being served on all of them, a new one is closed.
type connections struct {
	max int

	mu   sync.Mutex
	open map[net.Conn]*openConn // Guarded by mu.
	// turns counts how often any connection began to wait. Guarded by mu.
	turns uint64
}

type openConn struct {
	// serving is the number of requests that are being served on it; with HTTP/2 there can be several.
	serving int
	// turn is the connections' turns when it began to wait.
	turn uint64
}

func newConnections(limit int) *connections {
	return &connections{max: limit, open: make(map[net.Conn]*openConn)}
}

// changed is for http.Server.ConnState.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if surplus := c.add(conn); surplus != nil {
			_ = surplus.Close()
		}
	case http.StateClosed, http.StateHijacked:
		c.mu.Lock()
		delete(c.open, conn)
		c.mu.Unlock()
	}
}

// add returns the connection to close, if there are too many.
func (c *connections) add(conn net.Conn) (surplus net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.max {
		surplus = c.longestWaitingLocked()
		if surplus == nil {
			return conn
		}
		delete(c.open, surplus)
	}
	c.turns++
	c.open[conn] = &openConn{turn: c.turns}
	return surplus
}

// longestWaitingLocked returns nil if requests are being served on all of them. It assumes that mu is held.
func (c *connections) longestWaitingLocked() (oldest net.Conn) {
	var turn uint64
	for conn, o := range c.open {
		if o.serving == 0 && (oldest == nil || o.turn < turn) {
			oldest, turn = conn, o.turn
		}
	}
	return oldest
}

type connKey struct{}

// inContext is for http.Server.ConnContext.
func (c *connections) inContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// watch notes on which connections requests are being served.
func (c *connections) watch(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _ := r.Context().Value(connKey{}).(net.Conn)
		c.serve(conn, 1)
		defer c.serve(conn, -1)
		h.ServeHTTP(w, r)
	})
}

func (c *connections) serve(conn net.Conn, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.open[conn]; o != nil { // It may just have been closed.
		o.serving += n
		c.turns++
		o.turn = c.turns
	}
}
