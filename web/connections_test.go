// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// A client whose requests are being served on as many connections as may be open loses the oldest of them, whose
// request ends, to another client's first one, and loses its own with each more that it opens: the other client keeps
// the one that it has, whether a request is being served on it or not.
func TestConnections_GreedyClient(t *testing.T) {
	t.Parallel()
	const limit = 4
	entered, ended, release := make(chan struct{}), make(chan string, 100), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		select {
		case <-r.Context().Done():
			ended <- r.URL.RawQuery
		case <-release:
			_, _ = io.WriteString(w, "served slowly")
		}
	})
	address := serveTest(t, newServer(mux, log.NewNopLogger(), newConnections(limit)))
	await := func(c <-chan struct{}, what string) {
		t.Helper()
		select {
		case <-c:
		case <-time.After(patience):
			t.Fatal(what)
		}
	}
	greedy := func(name string) {
		t.Helper()
		conn := dialFrom(t, "127.0.0.5", address)
		must.Get(io.WriteString(conn, "GET /slow?"+name+" HTTP/1.1\r\nHost: x\r\n\r\n"))(t)
		await(entered, "a request of the greedy client is not served: "+name)
	}
	expectEnd := func(want string) {
		t.Helper()
		select {
		case got := <-ended:
			if got != want {
				t.Errorf("request %s ended; want %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("no request ended; want %s", want)
		}
	}

	for _, name := range []string{"a", "b", "c", "d"} {
		greedy(name)
	}
	other := dialFrom(t, "127.0.0.1", address)
	expectServed := func() {
		t.Helper()
		if _, body := exchange(t, other, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); body != "served" {
			t.Fatalf("the other client got %q", body)
		}
	}
	expectServed()
	expectEnd("a")
	greedy("e")
	expectEnd("b")
	expectServed()
	slow := make(chan string, 1)
	go func() {
		_, body := exchange(t, other, "GET /slow?other HTTP/1.1\r\nHost: x\r\n\r\n")
		slow <- body
	}()
	await(entered, "the other client's request is not served")
	greedy("f")
	expectEnd("c")
	// One that waits goes before those that are served.
	waits := dialFrom(t, "127.0.0.5", address)
	expectEnd("d")
	greedy("g")
	if _, err := waits.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("reading from the connection that waits: %v; want that it is closed", err)
	}
	close(release)
	if body := <-slow; body != "served slowly" {
		t.Errorf("the other client got %q", body)
	}
}
