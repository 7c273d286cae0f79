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

// What requests may cost together, and those of one client, so that no client spoils another client's scrape. Clients
// are told apart by their address.
//
// Requests that share a scrape share its page, too, so that waiting for either costs next to nothing. What is bounded
// is the work: scrapes of Consul that are under way, and pages that are made for one request only. And memory: a page
// that is being sent is kept until its client has read it.
//
// Pipelining gains nothing. The server of net/http reads the next request of a connection only after the answer to
// the last one has been written, so however many were sent at once, one of each connection counts. One that is
// refused closes its connection, and what was sent behind it is dropped.
const (
	// requestBytes is about what a request takes while it is being served: its goroutine, its buffers, and a
	// decompressor.
	requestBytes = 64 << 10
	// maxClientBytes bounds what the requests of one client take: 512 of them, if all want the same page.
	maxClientBytes = 32 << 20
	// maxServedBytes bounds what all requests take, but for one request and one page of each client: those are served
	// whatever the others take, so that no few clients can keep another one out.
	maxServedBytes = 2 * maxClientBytes
	// maxClientScrapes is how many scrapes of the same Consul one client may have under way, each for other
	// collectors: those of a Prometheus with two jobs. More of them wait for their turn, as does a second one for the
	// same collectors. Each scrape of a large catalog takes 100 MB.
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
	// slots holds a token for each scrape that is under way; nil means that there is no limit.
	slots chan struct{}
	// equal are the turns of clients that scrape the same Consul for the same collectors, scrapes of those that
	// scrape the same Consul, and pages of those that want a page of their own.
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

// admit is for collector.Request: it waits for the client's turn to scrape a Consul, and takes one of the slots of
// --web.max-requests.
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

// clientOf is the address of the one at the other end of a connection, without the port. Whoever has one address in an
// IPv6 network has all of them.
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

// turns lets each client do only so much at one time. What is more waits, and keeps nobody else waiting.
type turns struct {
	most int

	mu    sync.Mutex
	lines map[turnKey]*line // Guarded by mu: of those who have a turn or wait for one.
}

type turnKey struct {
	client string
	// of is what is scraped, and names by which collectors; they are left out where that does not matter.
	of    *collector.Exporter
	names string
}

type line struct {
	turns chan struct{}
	users int // Guarded by turns.mu.
}

// take waits for a turn, which ends with a call of end. It is not ok if ctx was done before.
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

// ledger knows how much memory the requests take that are being served.
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

// open notes a request. It must be closed when it has been served. The only request of a client is always served.
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

// roomLocked says why there is no room for so many more bytes of a client, of which all clients together take only so
// many more. It assumes that mu is held.
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

// hold notes that the request's page is being sent. The only page of a client may be of any size: there is no catalog
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
