// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
)

// connections limits the number of open connections. If there is one too many, the client with the most loses one:
// the one that has waited longest for a request, or for the rest of it, or else the oldest that is being served. So
// neither idle connections nor slow requests nor unread answers can keep another client's scrape out, as they could
// if new connections were not accepted.
type connections struct {
	max int

	mu   sync.Mutex
	open map[net.Conn]*openConn // Guarded by mu.
	// turns counts how often any connection began to wait or to be served. Guarded by mu.
	turns uint64
}

type openConn struct {
	// client is its owner (see clientOf).
	client string
	// serving is the number of requests being served on it; with HTTP/2 there can be several.
	serving int
	// turn is the value of turns when it began to wait, or when serving last changed.
	turn uint64
}

// before says whether o is closed before other.
func (o *openConn) before(other *openConn) bool {
	if waits := o.serving == 0; waits != (other.serving == 0) {
		return waits
	}
	return o.turn < other.turn
}

func newConnections(limit int) *connections {
	return &connections{max: limit, open: make(map[net.Conn]*openConn)}
}

// changed is for http.Server.ConnState.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if surplus := c.add(conn); surplus != nil {
			cut(surplus)
		}
	case http.StateClosed, http.StateHijacked:
		c.mu.Lock()
		delete(c.open, conn)
		c.mu.Unlock()
	}
}

// add returns the connection to close, if there are too many.
func (c *connections) add(conn net.Conn) (surplus net.Conn) {
	var client string
	if address := conn.RemoteAddr(); address != nil { // It may be nil on a connection that is closed already.
		client = clientOf(address.String())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.max {
		surplus = c.surplusLocked(client)
		delete(c.open, surplus)
	}
	c.turns++
	c.open[conn] = &openConn{client: client, turn: c.turns}
	return surplus
}

// surplusLocked returns the connection to close for a new one of a client. mu must be held.
func (c *connections) surplusLocked(client string) (surplus net.Conn) {
	count := map[string]int{client: 1}
	for _, o := range c.open {
		count[o.client]++
	}
	most := slices.Max(slices.Collect(maps.Values(count)))
	var first *openConn
	for conn, o := range c.open {
		if count[o.client] == most && (first == nil || o.before(first)) {
			surplus, first = conn, o
		}
	}
	return surplus
}

// cut closes a connection at once. What its client has not read is dropped instead of kept by the kernel, and with
// TLS no close_notify is sent, which a client that reads nothing would hold up.
func cut(conn net.Conn) {
	conn = underTLS(conn)
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // Fails only on a connection that is closed.
	}
	_ = conn.Close()
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
