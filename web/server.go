// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"context"
	"crypto/tls"
	stdlog "log" //nolint:depguard // What http.Server logs to.
	"net"
	"net/http"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/zervigo/consul_cluster_exporter/internal/descriptors"
)

// What one client, slow, greedy or hostile, can take from all others is bounded by these.
const (
	// readHeaderTimeout is how long a client may take to send its request.
	readHeaderTimeout = 10 * time.Second
	// idleTimeout is how long a connection is kept for the next request: Prometheus scrapes every minute by default.
	idleTimeout = 3 * time.Minute
	// deliveryTimeout is how long a client may take to read its answer, from the first byte on. Making the answer does
	// not count.
	deliveryTimeout = time.Minute
	// maxHeaderBytes bounds a request's line and header. A longer one gets status 431.
	maxHeaderBytes = 32 << 10
	// sendBufferBytes bounds what the kernel keeps of an unread answer: by default 4 MB for each connection, which
	// counts as the exporter's memory where that is limited. With a round trip of 100 ms it allows 2.5 MB/s.
	sendBufferBytes = 256 << 10
)

// NewServer returns the server of a handler, which is to be shut down with it. It refuses requests with a body.
func NewServer(h http.Handler, logger log.Logger) *http.Server {
	return NewServerWithBodies(withoutBody(h), logger)
}

// NewServerWithBodies is the same for a handler that bounds bodies itself.
func NewServerWithBodies(h http.Handler, logger log.Logger) *http.Server {
	return newServer(h, logger, newConnections(descriptors.Clients()))
}

func newServer(h http.Handler, logger log.Logger, conns *connections) *http.Server {
	return &http.Server{
		Handler:           conns.watch(timedDelivery(h)),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         conns.changed,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			boundSendBuffer(conn)
			return conns.inContext(ctx, conn)
		},
		ErrorLog: stdlog.New(serverLog{logger}, "", 0),
	}
}

func boundSendBuffer(conn net.Conn) {
	if tcp, ok := underTLS(conn).(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBufferBytes) // Fails only on a connection that is closed.
	}
}

// underTLS returns the connection that TLS runs on, or conn itself if it has none.
func underTLS(conn net.Conn) net.Conn {
	if wrapped, ok := conn.(*tls.Conn); ok {
		return wrapped.NetConn()
	}
	return conn
}

// withoutBody refuses requests with a body. No page needs one, and the answer would wait for the rest of it.
func withoutBody(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close")
			http.Error(w, "a request to this exporter has no body", http.StatusRequestEntityTooLarge)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// timedDelivery gives each answer deliveryTimeout. All pages need it: the deadline stays with the connection.
func timedDelivery(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&deliveryWriter{ResponseWriter: w}, r)
	})
}

// deliveryWriter starts deliveryTimeout with the first byte of an answer.
type deliveryWriter struct {
	http.ResponseWriter

	started bool
}

func (w *deliveryWriter) Write(p []byte) (int, error) {
	if !w.started {
		w.started = true
		// Fails only on a connection that is closed, which writing then says.
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(deliveryTimeout))
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *deliveryWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// serverLog gets the lines that net/http logs. Most are about clients, which must not be able to fill the log.
type serverLog struct{ logger log.Logger }

func (l serverLog) Write(line []byte) (int, error) {
	err := string(bytes.TrimSpace(line))
	if bytes.Contains(line, []byte("panic")) {
		level.Error(l.logger).Log("msg", "a page could not be served", "err", err)
	} else {
		level.Debug(l.logger).Log("msg", "a client did something wrong", "err", err)
	}
	return len(line), nil
}
