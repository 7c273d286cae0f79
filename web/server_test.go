// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"google.golang.org/grpc/test/bufconn"

	"github.com/zervigo/consul_cluster_exporter/internal/descriptors"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// serveTest runs a server and returns its address.
func serveTest(t *testing.T, server *http.Server) string {
	t.Helper()
	l := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	return l.Addr().String()
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	return dialFrom(t, "127.0.0.1", address)
}

// dialFrom opens a connection that ends with the test, and on which nothing is waited for longer than patience.
func dialFrom(t *testing.T, from, to string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn := must.Get(dialer.DialContext(t.Context(), "tcp", to))(t)
	t.Cleanup(func() { conn.Close() })
	must.Do(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// exchange sends a request on a connection and returns the status and the body.
func exchange(t *testing.T, conn net.Conn, request string) (status int, body string) {
	t.Helper()
	go func() { _, _ = io.WriteString(conn, request) }() // The server may answer before it has read all of it.
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must.Do(t, err)
	defer resp.Body.Close()
	b := must.Get(io.ReadAll(resp.Body))(t)
	return resp.StatusCode, string(b)
}

func TestServer_RequestsTooLarge(t *testing.T) {
	t.Parallel()
	address := serveTest(t, NewServer(newTestHandler(t, deadAgent, Options{}), log.NewNopLogger()))
	for _, tc := range []struct {
		name, request string
		status        int
	}{
		{"long URL", "GET /metrics?" + strings.Repeat("a", 15<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		{"gigantic URL", "GET /metrics?" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431},
		{"gigantic header", "GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", 431},
		{"many headers", "GET /metrics HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 100_000) + "\r\n", 431},
		{"many collectors", "GET /metrics?" + strings.Repeat("collect[]=x&", 1000) + " HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"body", "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", 413},
		{"body that does not come", "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", 413},
		{
			"body without an end",
			"POST /-/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\nx\r\n", 1<<16),
			413,
		},
		{"no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if status, body := exchange(t, dial(t, address), tc.request); status != tc.status {
				t.Errorf("status %d, body %.300s; want status %d", status, body, tc.status)
			}
		})
	}
}

// More connections than may be open, each left alone or with half a request: a scrape gets through all the same, one
// that is being served goes on, and the rest are closed.
func TestServer_ManyConnections(t *testing.T) { // Not parallel: it may take all descriptors that there are.
	release, entered := make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	mux.Handle("/", newTestHandler(t, deadAgent, Options{}))
	mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "served")
	})
	address := serveTest(t, NewServer(mux, log.NewNopLogger()))
	slow := make(chan string, 1)
	first := dial(t, address)
	go func() {
		_, body := exchange(t, first, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
		slow <- body
	}()
	<-entered

	conns := dialMany(t, address)
	if status, body := exchange(t, dial(t, address), "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"); status != 200 ||
		!strings.Contains(body, "consul_up 0") {
		t.Errorf("status %d, body %.300s; want the metrics", status, body)
	}
	close(release)
	if body := <-slow; body != "served" {
		t.Errorf("the request that was being served got %q", body)
	}
	for i, conn := range conns[:len(conns)-descriptors.Clients()] { // All but the last ones: their turn came.
		if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
			t.Fatalf("connection %d of %d is still open", i, len(conns))
		}
	}
}

// dialMany opens 10,000 connections, or as many as there are descriptors for, and sends half a request on every other
// one.
func dialMany(t *testing.T, address string) (conns []net.Conn) {
	t.Helper()
	const spare = 100
	for i := range 10_000 {
		conn, err := net.Dial("tcp", address)
		if errors.Is(err, syscall.EMFILE) && i > 2*descriptors.Clients()+spare {
			for _, conn := range conns[i-spare:] {
				conn.Close()
			}
			t.Logf("there are descriptors for %d connections", i-spare)
			return conns[:i-spare]
		}
		if err != nil {
			t.Fatalf("after %d connections: %v", i, err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		if i%2 == 0 {
			_, _ = io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		}
		conns = append(conns, conn)
	}
	return conns
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// A request that arrives byte by byte ends after readHeaderTimeout, a connection that nobody uses after idleTimeout,
// and an answer that nobody reads after deliveryTimeout. The handler may take longer than all of them.
func TestServer_SlowClients(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, request string
		// drip is whether one more byte follows each second; read whether the answer is read.
		drip, read bool
		lasts      time.Duration
	}{
		{"slow request", "GET / HTTP/1.1\r\nX: ", true, true, readHeaderTimeout},
		{"no request", "", false, true, readHeaderTimeout},
		{"idle", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", false, true, idleTimeout},
		{"answer not read", "GET /large HTTP/1.1\r\nHost: x\r\n\r\n", false, false, deliveryTimeout},
		{"slow answer", "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n", false, true, time.Hour + idleTimeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := bufconn.Listen(1 << 10) // In memory, which a clock that is not real can time.
				var wrote error
				mux := http.NewServeMux()
				mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") })
				mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
					for wrote == nil {
						_, wrote = w.Write(make([]byte, 64<<10))
					}
				})
				mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
					<-time.After(time.Hour)
					_, wrote = io.WriteString(w, "x")
				})
				server := NewServer(mux, log.NewNopLogger())
				go func() { _ = server.Serve(l) }()
				start := time.Now()
				conn := must.Get(l.DialContext(t.Context()))(t)
				var client sync.WaitGroup
				client.Go(func() {
					_, _ = io.WriteString(conn, tc.request)
					for tc.drip {
						<-time.After(time.Second)
						if _, err := io.WriteString(conn, "y"); err != nil {
							return
						}
					}
				})
				if tc.read {
					_, _ = io.Copy(io.Discard, conn)
				} else {
					<-time.After(tc.lasts)
					synctest.Wait()
				}
				if lasted := time.Since(start); lasted < tc.lasts || lasted > tc.lasts+time.Second {
					t.Errorf("the connection lasted %s; want %s", lasted, tc.lasts)
				}
				if (wrote != nil) != (tc.name == "answer not read") {
					t.Errorf("writing the answer: %v", wrote)
				}
				conn.Close()
				server.Close()
				client.Wait()
			})
		})
	}
}

// What clients do wrong is not in the log, so that nobody can fill it; what the exporter does wrong is.
func TestServer_Log(t *testing.T) {
	t.Parallel()
	var logged lockedBuilder
	logger := level.NewFilter(log.NewLogfmtLogger(&logged), level.AllowInfo())
	mux := http.NewServeMux()
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic("at the disco") })
	address := serveTest(t, NewServer(mux, logger))
	exchange(t, dial(t, address), "GET / HTTP/1.1\r\n\r\n")
	exchange(t, dial(t, address), "nonsense\r\n\r\n")
	if got := logged.String(); got != "" {
		t.Errorf("log is %s; want none", got)
	}
	conn := dial(t, address)
	fmt.Fprint(conn, "GET /panic HTTP/1.1\r\nHost: x\r\n\r\n")
	_, _ = io.Copy(io.Discard, conn)
	if got := logged.String(); !strings.Contains(got, "level=error") || !strings.Contains(got, "at the disco") {
		t.Errorf("log is %s; want the panic", got)
	}
}
