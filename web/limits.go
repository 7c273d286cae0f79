// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/zervigo/consul_cluster_exporter/collector"
)

// Limits on what requests may cost, in all and for each client (told apart by address), so that no client spoils
// another one's scrape.
//
// Requests that share a scrape share its page too, so waiting for either is cheap. What is bounded is the work
// (scrapes of Consul under way, and pages made for one request only) and the memory: a page is kept until its client
// has read it.
//
// Pipelining gains nothing: net/http reads the next request of a connection only after the last answer was written,
// and a refused request closes its connection.
const (
	// requestBytes is about what a request takes while it is served: its goroutine, buffers and a decompressor.
	requestBytes = 64 << 10
	// maxClientBytes bounds what the requests of one client take: 512 of them, if all want the same page.
	maxClientBytes = 32 << 20
	// maxServedBytes bounds what all requests take, except one request and one page of each client: those are always
	// served, so that a few clients cannot keep another one out.
	maxServedBytes = 2 * maxClientBytes
	// maxClientScrapes is how many scrapes of the same Consul one client may have under way, each for other collectors,
	// as a Prometheus with two jobs has. More of them wait, as does a second one for the same collectors. Each scrape of
	// a large catalog takes 100 MB.
	maxClientScrapes = 2
)

var (
	errClientBytes = fmt.Errorf(
		"requests from this address take %d MiB of memory, the limit for one client; read answers faster or send fewer "+
			"requests",
		maxClientBytes>>20)
	errServedBytes = fmt.Errorf("all requests together take %d MiB of memory, the limit; try again later",
		maxServedBytes>>20)
	errNoTurn = errors.New("other scrapes of this Consul from this address did not end in time; " +
		"send fewer at one time")
)

// limits bounds what requests cost.
type limits struct {
	// slots holds a token for each scrape under way; nil means no limit.
	slots chan struct{}
	// equal are the turns of clients that scrape the same Consul for the same collectors, scrapes for any collectors,
	// and pages those of clients that want a page of their own.
	equal, scrapes, pages turns
	memory                ledger
	logger                log.Logger
}

func newLimits(maxScrapes int, logger log.Logger) *limits {
	l := &limits{
		equal:   turns{most: 1},
		scrapes: turns{most: maxClientScrapes},
		pages:   turns{most: runtime.GOMAXPROCS(0)},
		memory:  ledger{clients: make(map[string]*account), pages: make(map[*page]int)},
		logger:  logger,
	}
	if maxScrapes > 0 {
		l.slots = make(chan struct{}, maxScrapes)
	}
	return l
}

type entryKey struct{}

// on returns the handler of a page that costs something. A request beyond the client's memory gets status 503.
func (l *limits) on(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := l.memory.open(clientOf(r.RemoteAddr))
		if err != nil {
			refuse(w, err)
			return
		}
		defer e.close()
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), entryKey{}, e)))
	})
}

// refuse says that a request is not served now.
func refuse(w http.ResponseWriter, err error) {
	w.Header().Set("Connection", "close")
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}

// send sends a page, if the client does not have too many under way.
func (l *limits) send(w http.ResponseWriter, r *http.Request, p *page) {
	if e, ok := r.Context().Value(entryKey{}).(*entry); ok {
		if err := e.hold(p); err != nil {
			refuse(w, err)
			return
		}
	}
	if err := p.send(w, r); err != nil {
		level.Debug(l.logger).Log("msg", "a client did not read its answer", "err", err)
	}
}

// admit is for collector.Request: it waits for the client's turn to scrape a Consul, and takes a slot
// (--web.max-requests).
func (l *limits) admit(client string, of *collector.Exporter, names []string) func(context.Context) (func(), error) {
	return func(ctx context.Context) (func(), error) {
		endEqual, ok := l.equal.take(ctx, turnKey{client, of, strings.Join(names, ",")})
		if !ok {
			return nil, errNoTurn
		}
		endScrape, ok := l.scrapes.take(ctx, turnKey{client: client, of: of})
		if !ok {
			endEqual()
			return nil, errNoTurn
		}
		release, err := l.takeSlot()
		if err != nil {
			endScrape()
			endEqual()
			return nil, err
		}
		return func() {
			release()
			endScrape()
			endEqual()
		}, nil
	}
}

func (l *limits) takeSlot() (release func(), err error) {
	if l.slots == nil {
		return func() {}, nil
	}
	select {
	case l.slots <- struct{}{}:
		return func() { <-l.slots }, nil
	default:
		return nil, fmt.Errorf("%d scrapes are under way, the limit set by --web.max-requests; try again later",
			cap(l.slots))
	}
}

// clientOf is the address of a connection's other end, without the port. All addresses in an IPv6 /64 are one client.
func clientOf(remote string) string {
	address, err := netip.ParseAddrPort(remote)
	if err != nil { // No IP, such as a unix socket.
		host, _, err := net.SplitHostPort(remote)
		if err != nil {
			return remote
		}
		return host
	}
	ip := address.Addr().Unmap()
	if ip.Is4() {
		return ip.String()
	}
	return netip.PrefixFrom(ip.WithZone(""), 64).Masked().String()
}

// turns lets each client do only so much at a time. The rest waits, and keeps nobody else waiting.
type turns struct {
	most int

	mu    sync.Mutex
	lines map[turnKey]*line // Guarded by mu: of those who have a turn or wait for one.
}

type turnKey struct {
	client string
	// of is what is scraped, and names by which collectors; both are empty where they do not matter.
	of    *collector.Exporter
	names string
}

type line struct {
	turns chan struct{}
	users int // Guarded by turns.mu.
}

// take waits for a turn, which end ends. It is not ok if ctx was done first.
func (t *turns) take(ctx context.Context, key turnKey) (end func(), ok bool) {
	t.mu.Lock()
	l := t.lines[key]
	if l == nil {
		if t.lines == nil {
			t.lines = make(map[turnKey]*line)
		}
		l = &line{turns: make(chan struct{}, t.most)}
		t.lines[key] = l
	}
	l.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(t.lines, key)
		}
	}
	select {
	case l.turns <- struct{}{}:
		return func() {
			<-l.turns
			leave()
		}, true
	case <-ctx.Done():
		leave()
		return nil, false
	}
}

// ledger knows how much memory the requests under way take.
type ledger struct {
	mu      sync.Mutex
	total   int64               // Guarded by mu.
	pages   map[*page]int       // Guarded by mu: how many clients each is being sent to.
	clients map[string]*account // Guarded by mu: those who are being served.
}

// account is what the requests of one client take. A page counts once, however many of them it is sent to.
type account struct {
	requests int
	bytes    int64
	pages    map[*page]int
}

// entry is what one request takes.
type entry struct {
	ledger *ledger
	client string
	page   *page // nil while there is none.
}

// open records a request, which must be closed when it was served. A client's only request is always served.
func (l *ledger) open(client string) (*entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.clients[client]
	if a == nil {
		a = &account{pages: make(map[*page]int)}
		l.clients[client] = a
	} else if err := l.roomLocked(a, requestBytes, requestBytes); err != nil {
		return nil, err
	}
	a.requests++
	a.bytes += requestBytes
	l.total += requestBytes
	return &entry{ledger: l, client: client}, nil
}

// roomLocked says why there is no room for this many bytes of a client, of which total are new for all clients
// together. mu must be held.
func (l *ledger) roomLocked(a *account, client, total int64) error {
	switch {
	case a.bytes+client > maxClientBytes:
		return errClientBytes
	case total > 0 && l.total+total > maxServedBytes:
		return errServedBytes
	default:
		return nil
	}
}

// hold records that the request's page is being sent. A client's only page may have any size: there is no catalog
// that cannot be scraped.
func (e *entry) hold(p *page) error {
	l := e.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	a, size := l.clients[e.client], int64(len(p.gzipped))
	if a.pages[p] == 0 {
		more := size
		if l.pages[p] > 0 { // It is there already, for another client.
			more = 0
		}
		if len(a.pages) > 0 {
			if err := l.roomLocked(a, size, more); err != nil {
				return err
			}
		}
		l.total += more
		l.pages[p]++
		a.bytes += size
	}
	a.pages[p]++
	e.page = p
	return nil
}

// close ends the request.
func (e *entry) close() {
	l := e.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.clients[e.client]
	if p := e.page; p != nil {
		if a.pages[p]--; a.pages[p] == 0 {
			delete(a.pages, p)
			a.bytes -= int64(len(p.gzipped))
			if l.pages[p]--; l.pages[p] == 0 {
				delete(l.pages, p)
				l.total -= int64(len(p.gzipped))
			}
		}
	}
	a.bytes -= requestBytes
	l.total -= requestBytes
	if a.requests--; a.requests == 0 {
		delete(l.clients, e.client)
	}
}
