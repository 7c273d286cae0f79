// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/go-kit/log"

	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// Beyond --web.max-requests a scrape gets 503 and a reason, on /metrics and /probe together. What costs Consul
// nothing answers: the status page, which shares its snapshots, and the pages by which a supervisor finds out whether
// the exporter lives.
func TestMaxRequests(t *testing.T) {
	t.Parallel()
	const modules = "modules: {m: {collectors: [raft], targets: [127.0.0.1]}}"
	h, _ := newModulesHandler(t, modules, Options{MaxRequests: 2})
	slots := h.limits.slots
	for range cap(slots) { // As two scrapes that are under way.
		slots <- struct{}{}
	}
	const reason = "2 scrapes are under way, the limit set by --web.max-requests; try again later\n"
	for _, tc := range []struct {
		path   string
		status int
		body   string
	}{
		{"/metrics", 503, reason},
		{"/probe?module=m&target=127.0.0.1:1", 503, reason},
		{"/", 200, "<!doctype html>"},
		{"/-/healthy", 200, "consul_cluster_exporter is healthy.\n"},
		{"/-/ready", 200, "consul_cluster_exporter is ready.\n"},
	} {
		if w := get(t, h, tc.path); w.Code != tc.status ||
			!strings.HasPrefix(strings.ToLower(w.Body.String()), strings.ToLower(tc.body)) {
			t.Errorf("%s: status %d, body %.300s; want %d and %q", tc.path, w.Code, w.Body, tc.status, tc.body)
		}
	}
	<-slots
	for range 2 { // The first one gives its place back.
		const refused = `promhttp_metric_handler_requests_total{code="503"} 1`
		w := get(t, h, "/metrics")
		if w.Code != 200 || !strings.Contains(w.Body.String(), refused) {
			t.Errorf("status %d; want the metrics, and the refused request among them", w.Code)
		}
	}
}

// A client has one scrape of a Consul for the same collectors under way, and two in all. What is more waits, and
// neither another client nor a scrape of another Consul does.
func TestLimits_Turns(t *testing.T) {
	t.Parallel()
	l := newLimits(0, log.NewNopLogger())
	here, there := new(collector.Exporter), new(collector.Exporter)
	admit := func(client string, of *collector.Exporter, name string) (release func()) {
		t.Helper()
		return must.Get(l.admit(client, of, []string{name})(t.Context()))(t)
	}
	late, cancel := context.WithCancel(t.Context())
	cancel()
	refused := func(name string) {
		t.Helper()
		if _, err := l.admit("a", here, []string{name})(late); !errors.Is(err, errNoTurn) {
			t.Errorf("one more scrape for %s got %v; want %v", name, err, errNoTurn)
		}
	}
	releases := []func(){admit("a", here, "raft")}
	refused("raft")
	releases = append(releases, admit("a", here, "ports"))
	refused("catalog")
	releases = append(releases, admit("b", here, "raft"), admit("a", there, "raft"))
	waiting := make(chan func())
	go func() {
		release, _ := l.admit("a", here, []string{"raft"})(t.Context())
		waiting <- release
	}()
	releases[0]()
	(<-waiting)()
	for _, release := range releases[1:] {
		release()
	}
	if n := len(l.scrapes.lines) + len(l.equal.lines); n != 0 {
		t.Errorf("%d clients are remembered that want nothing any more", n)
	}
}

// What the requests of a client take is bounded, and so is what all of them take, but no client's only request and only
// page are refused. A page counts once for all who read it.
func TestLedger(t *testing.T) {
	t.Parallel()
	l := &newLimits(0, log.NewNopLogger()).memory
	open := func(client string, want error) *entry {
		t.Helper()
		e, err := l.open(client)
		if !errors.Is(err, want) {
			t.Fatalf("a request of %s got %v; want %v", client, err, want)
		}
		return e
	}
	var entries []*entry
	closeFrom := func(n int) {
		for _, e := range entries[n:] {
			e.close()
		}
		entries = entries[:n]
	}
	hold := func(client string, p *page, want error) {
		t.Helper()
		e := open(client, nil)
		entries = append(entries, e)
		if err := e.hold(p); !errors.Is(err, want) {
			t.Fatalf("a page for %s got %v; want %v", client, err, want)
		}
	}
	size := func(n int) *page { return &page{gzipped: make([]byte, n)} }
	huge, half := size(maxServedBytes+1), size(maxClientBytes/2)
	hold("a", huge, nil) // However large: it is the only one.
	open("a", errClientBytes)
	// Whatever the others take, the only request and the only page of a client are served.
	hold("b", size(maxClientBytes), nil)
	open("b", errClientBytes)
	hold("c", half, nil)
	open("c", errServedBytes)
	closeFrom(0)
	for range 10 {
		hold("a", half, nil)
	}
	hold("b", half, nil)
	hold("a", size(maxClientBytes/2), errClientBytes)
	hold("b", size(maxClientBytes/4), nil)
	hold("c", half, nil)
	hold("c", size(maxServedBytes), errClientBytes)
	before := len(entries)
	hold("d", size(maxClientBytes), nil)
	hold("e", half, nil) // It takes no more, as others read it.
	hold("e", size(maxClientBytes/4), errServedBytes)
	closeFrom(before)
	for range maxClientBytes/requestBytes - maxClientBytes/2/requestBytes - 11 {
		entries = append(entries, open("a", nil))
	}
	open("a", errClientBytes)
	entries = append(entries, open("b", nil))
	closeFrom(0)
	if l.total != 0 || len(l.clients) != 0 || len(l.pages) != 0 {
		t.Errorf("%d bytes, %d clients and %d pages are left at the end", l.total, len(l.clients), len(l.pages))
	}
}

func TestClientOf(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.1:1234": "192.0.2.1", "[::ffff:192.0.2.1]:1": "192.0.2.1", "[2001:db8:1:2:3::4]:1": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1": "fe80::/64",
		"@":                "@", "": "", "vm(3):1234": "vm(3)",
	} {
		if got := clientOf(address); got != want {
			t.Errorf("the client at %q is %q; want %q", address, got, want)
		}
	}
}
