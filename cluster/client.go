// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	// maxConnsPerHost bounds the connections to one agent: Consul allows 200 per source address
	// (limits.http_max_conns_per_client), which other programs on this host share.
	maxConnsPerHost = 8
	// DefaultMaxResponseBytes is three times what the catalog of 25,000 service instances has.
	DefaultMaxResponseBytes = 64 << 20
	// wholeAnswerBytes bounds the answers that are decoded as a whole, which takes many times their size. They are about one agent, or
	// about the servers; the largest known is the Raft configuration of a thousand servers, with 200 KB.
	wholeAnswerBytes = 1 << 20
	// errorAnswerBytes bounds what is read of an answer that is an error: a sentence.
	errorAnswerBytes = 1 << 10
	// headerBytes bounds the headers of an answer. Consul sends less than 1 KB.
	headerBytes = 64 << 10
)

// ErrRefused means that the agent does not offer this to us: the token may not read it, or the version or edition does
// not have it. It is remembered for some minutes, so that Consul does not log an error at each scrape.
var ErrRefused = errors.New("refused")

// tooLargeError means that an answer is larger than the limit, or would be in memory.
type tooLargeError struct {
	limit int64
	// whole is whether the limit is wholeAnswerBytes.
	whole bool
}

func (e tooLargeError) Error() string {
	if e.whole {
		return fmt.Sprintf("the answer is larger than %d bytes, which is not what Consul answers here", e.limit)
	}
	return fmt.Sprintf("the answer is larger than %d bytes, the limit set by --consul.max-response-bytes (max_response_bytes in a module)", e.limit)
}

// ClientOptions say how to reach an agent's HTTP API.
type ClientOptions struct {
	Address Address
	// TLS is used for https; nil means the system's defaults.
	TLS *tls.Config
	// Token returns the ACL token to send; nil means none.
	Token func() string
	// BasicAuth is for a proxy in front of Consul; nil means none.
	BasicAuth *api.HttpBasicAuth
	// Namespace and Partition select those of Consul Enterprise; empty means the defaults.
	Namespace, Partition string
	// Datacenter is that whose catalog, sessions and KV are read; empty means the agent's own.
	Datacenter string
	// Consistency is how they are read; empty means ConsistencyStale. Everything else is always read stale.
	Consistency Consistency
	// RequestLimit bounds the requests under way to one agent that it asks the servers about; 0 means maxConnsPerHost, which it cannot exceed.
	RequestLimit int
	// Timeout bounds each request.
	Timeout time.Duration
	// MaxResponseBytes bounds each answer, and again what is kept of it in memory; 0 means DefaultMaxResponseBytes.
	MaxResponseBytes int64
}

// Consistency is how fresh an answer must be (Consul: "Consistency Modes" of the HTTP API).
type Consistency string

// The modes of consistency.
const (
	// ConsistencyStale lets any server answer, with or without a leader.
	ConsistencyStale Consistency = "stale"
	// ConsistencyDefault lets the leader answer, which may have just been replaced. Without a leader Consul lets the request hang.
	ConsistencyDefault Consistency = "default"
	// ConsistencyConsistent makes the leader verify first that it is the leader still.
	ConsistencyConsistent Consistency = "consistent"
)

// Consistencies returns all modes.
func Consistencies() []Consistency {
	return []Consistency{ConsistencyStale, ConsistencyDefault, ConsistencyConsistent}
}

// Client reads the HTTP APIs of one cluster's agents: that of the configured one, and with the same credentials those
// of the servers. It counts its requests and remembers refusals.
type Client struct {
	opts ClientOptions
	// own connects for what an agent answers by itself, forwarded for what it asks the servers about: when they hang, as many of those requests
	// as may be under way wait for them, and what the agent can tell all the same must not wait behind.
	own, forwarded *http.Transport
	refusals       refusals

	mu       sync.Mutex
	byHost   map[clientKey]*api.Client // Guarded by mu.
	requests map[RequestKey]uint64     // Guarded by mu.
}

// RequestKey says what a request asked for and how it ended.
type RequestKey struct {
	// Endpoint is the path, without names of this cluster in it.
	Endpoint string
	// Code is the HTTP status, or "error" where there was no complete answer.
	Code string
}

// Compare orders by endpoint and then by code.
func (k RequestKey) Compare(other RequestKey) int {
	return cmp.Or(cmp.Compare(k.Endpoint, other.Endpoint), cmp.Compare(k.Code, other.Code))
}

// NewClient returns a client. It does not connect.
func NewClient(opts ClientOptions) *Client {
	dialer := &net.Dialer{}
	dial := dialer.DialContext
	if opts.Address.Socket != "" {
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", opts.Address.Socket)
		}
	}
	if opts.Token == nil {
		opts.Token = func() string { return "" }
	}
	config := opts.TLS.Clone()
	if config != nil {
		// Connections end with the scrape; resuming TLS on the next ones costs Consul and us a fraction of a new handshake.
		config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	forwarded := &http.Transport{
		DialContext: dial,
		// Consul needs more time to compress an answer than the network to carry it: agent and servers are near.
		DisableCompression: true,
		TLSClientConfig:    config,
		MaxConnsPerHost:    opts.maxConns(),
		ForceAttemptHTTP2:  true,

		MaxResponseHeaderBytes: headerBytes,
	}
	own := forwarded.Clone()
	own.MaxConnsPerHost = maxConnsPerHost
	return &Client{
		opts:      opts,
		forwarded: forwarded,
		own:       own,
		byHost:    make(map[clientKey]*api.Client),
		requests:  make(map[RequestKey]uint64),
	}
}

// clientKey is an agent, and which of the two pools of connections to it is used.
type clientKey struct {
	host string
	own  bool
}

func (o *ClientOptions) maxResponseBytes() int64 {
	return cmp.Or(o.MaxResponseBytes, DefaultMaxResponseBytes)
}

func (o *ClientOptions) maxConns() int {
	if o.RequestLimit > 0 {
		return min(o.RequestLimit, maxConnsPerHost)
	}
	return maxConnsPerHost
}

// own reports whether the agent answers by itself, whatever the servers do.
func (ep *endpoint) own() bool { return strings.HasPrefix(ep.path, "/v1/agent/") }

// endpoint is one read-only part of the HTTP API.
type endpoint struct {
	path string
	// label is the path without names of this cluster in it, where it has any; empty means the path.
	label string
	// params are further query parameters; nil for none.
	params url.Values
	// hasMeta is whether answers carry X-Consul-KnownLeader and X-Consul-LastContact.
	hasMeta bool
	// chosen is whether ClientOptions.Datacenter and Consistency hold for it.
	chosen bool
	// leaderOnly is whether only the leader answers it, see Snapshot.requireLeader.
	leaderOnly bool
	// consistency is that of endpoints for which it is not chosen; empty means ConsistencyStale.
	consistency Consistency
	// timeout bounds the request; 0 means ClientOptions.Timeout.
	timeout time.Duration
	// long is whether the answer may take longer than that, as long as more and more of it arrives.
	long bool
	// maybeEmpty is whether status 404 means that there is nothing, which is then errNothing and no refusal.
	maybeEmpty bool
	// decode, if there is one, gets the answer as it arrives, in place of the JSON being decoded into what get was given. Whatever
	// grows with the cluster has one: other answers are bounded by wholeAnswerBytes.
	decode func(io.Reader) error
}

// name is how the endpoint is called in metrics and errors.
func (ep *endpoint) name() string { return cmp.Or(ep.label, ep.path) }

// errNothing means that what was asked for does not exist, which the endpoint says with status 404.
var errNothing = errors.New("there is nothing")

// get reads one endpoint of the agent at address and decodes the answer into out. The error, if any, says which endpoint
// it was, and is ErrRefused where asking again makes no sense for some minutes.
func (c *Client) get(ctx context.Context, address Address, ep endpoint, out any) (*api.QueryMeta, error) {
	meta, err := c.ask(ctx, address, ep, out)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ep.name(), err)
	}
	return meta, nil
}

func (c *Client) ask(ctx context.Context, address Address, ep endpoint, out any) (*api.QueryMeta, error) {
	token := c.opts.Token()
	subject := address.Host + ep.path + "?" + ep.params.Encode()
	if err := c.refusals.check(subject, token, time.Now()); err != nil {
		return nil, err
	}
	client, err := c.at(address, ep.own())
	if err != nil {
		return nil, err
	}
	x := &exchange{params: ep.params, decode: ep.decode}
	ctx, cancel := x.bound(ctx, cmp.Or(ep.timeout, c.opts.Timeout), ep.long)
	defer cancel()
	ctx = context.WithValue(ctx, exchangeKey{}, x)
	if ep.decode != nil {
		out = &struct{}{}
	}
	meta, err := client.Raw().Query(ep.path, out, c.queryOptions(ep, token).WithContext(ctx))
	if x.decodeErr != nil {
		err = x.decodeErr
	}
	if stalled, ok := errors.AsType[stalledError](context.Cause(ctx)); ok && err != nil {
		err = stalled
	}
	c.count(RequestKey{ep.name(), statusLabel(err)})
	switch {
	case ep.maybeEmpty && statusLabel(err) == "404":
		return nil, errNothing
	case isRefusal(err):
		return nil, c.refusals.add(subject, token, err, time.Now())
	case isNoNumber(err):
		c.refusals.remember(subject, token, err, time.Now().Add(telemetryWait))
		return nil, err
	case err != nil:
		return nil, err
	}
	c.refusals.forget(subject, token)
	meta.ResultsFilteredByACLs = x.filtered
	return meta, nil
}

func (c *Client) queryOptions(ep endpoint, token string) *api.QueryOptions {
	q := &api.QueryOptions{Token: token}
	consistency := ep.consistency
	if ep.chosen {
		consistency, q.Datacenter = c.opts.Consistency, c.opts.Datacenter
	}
	switch consistency {
	case ConsistencyDefault:
	case ConsistencyConsistent:
		q.RequireConsistent = true
	default:
		q.AllowStale = true
	}
	return q
}

// at returns the API client for one agent. Making one costs more than a request, so they are kept.
func (c *Client) at(address Address, own bool) (*api.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key, pool := clientKey{address.Host, own}, c.forwarded
	if own {
		pool = c.own
	}
	if client, ok := c.byHost[key]; ok {
		return client, nil
	}
	client, err := api.NewClient(&api.Config{
		Address:    address.Host,
		Scheme:     address.Scheme,
		PathPrefix: address.Path,
		HttpClient: &http.Client{
			Transport: &transport{pool, c.opts.maxResponseBytes()},
			// Never send the token anywhere but to the agent that was asked.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		HttpAuth:  c.opts.BasicAuth,
		Namespace: c.opts.Namespace,
		Partition: c.opts.Partition,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the Consul client: %w", err)
	}
	c.byHost[key] = client
	return client, nil
}

// retain forgets the clients of agents that are not asked any more.
func (c *Client) retain(asked func(host string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.byHost {
		if key.host != c.opts.Address.Host && !asked(key.host) {
			delete(c.byHost, key)
		}
	}
}

func (c *Client) count(key RequestKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests[key]++
}

// Requests returns how many requests were made since the start. Requests held back because of an earlier refusal are not
// among them.
func (c *Client) Requests() map[RequestKey]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.requests)
}

func (c *Client) closeIdle() {
	c.forwarded.CloseIdleConnections()
	c.own.CloseIdleConnections()
}

// statusLabel says how a request ended.
func statusLabel(err error) string {
	if err == nil {
		return strconv.Itoa(http.StatusOK)
	}
	if status, ok := errors.AsType[api.StatusError](err); ok {
		return strconv.Itoa(status.Code)
	}
	return "error"
}

// isAgentsAnswer tells an agent's answer, be it an error, from that of a proxy in front of a dead agent or of another
// program. A client agent that has lost all servers answers 500, one that is asked too much 429.
func isAgentsAnswer(err error) bool {
	switch statusLabel(err) {
	case "200", "403", "429", "500":
		return true
	default:
		return false
	}
}

// exchange is one request, for what consul/api has no options and results for.
type exchange struct {
	// params are added to the query.
	params url.Values
	// decode is that of the endpoint: consul/api would collect the whole answer before it is decoded.
	decode    func(io.Reader) error
	decodeErr error
	// filtered is whether the answer's header says that the token's rights left something out of it. consul/api does not
	// look at that header where there is none about the leader, as on /v1/agent/members.
	filtered bool
	// progress is called when some of the answer has arrived; nil if nobody wants to know.
	progress func()
}

// stalledError means that nothing more of an answer arrived for as long as --consul.timeout.
type stalledError struct{ timeout time.Duration }

func (e stalledError) Error() string { return "nothing more arrived within " + e.timeout.String() }
func (stalledError) Unwrap() error   { return context.DeadlineExceeded }

// bound returns a context that ends after the timeout; if the answer may be long, each part of it that arrives starts that anew.
func (x *exchange) bound(ctx context.Context, timeout time.Duration, long bool) (context.Context, context.CancelFunc) {
	if !long {
		return context.WithTimeout(ctx, timeout)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stall := time.AfterFunc(timeout, func() { cancel(stalledError{timeout}) })
	x.progress = func() { stall.Reset(timeout) }
	return ctx, func() {
		stall.Stop()
		cancel(nil)
	}
}

type exchangeKey struct{}

// transport adds an exchange's part to its request and answer, and bounds the answer.
type transport struct {
	base     http.RoundTripper
	maxBytes int64
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	x, ok := req.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		x = &exchange{}
	}
	if x.params != nil {
		req = req.Clone(req.Context())
		req.URL.RawQuery += "&" + x.params.Encode()
	}
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	x.filtered = resp.Header.Get("X-Consul-Results-Filtered-By-ACLs") == "true"
	if resp.StatusCode != http.StatusOK {
		resp.Body = shortened{io.LimitReader(resp.Body, errorAnswerBytes), resp.Body}
		return resp, nil
	}
	resp.Body = newBoundedBody(resp.Body, t.maxBytes, x)
	if x.decode == nil {
		return resp, nil
	}
	defer resp.Body.Close()
	if x.decodeErr = x.decode(resp.Body); x.decodeErr != nil {
		return nil, x.decodeErr
	}
	resp.Body = io.NopCloser(strings.NewReader("null")) // What is left to decode.
	return resp, nil
}

// shortened is the beginning of a body.
type shortened struct {
	io.Reader
	io.Closer
}

// boundedBody fails after a number of bytes.
type boundedBody struct {
	io.ReadCloser
	left  int64
	limit tooLargeError
	// progress is called after each read; nil if nobody wants to know.
	progress func()
}

// newBoundedBody bounds an answer by maxBytes, and if it is decoded as a whole, also by wholeAnswerBytes.
func newBoundedBody(body io.ReadCloser, maxBytes int64, x *exchange) *boundedBody {
	limit := tooLargeError{limit: maxBytes}
	if x.decode == nil && maxBytes > wholeAnswerBytes {
		limit = tooLargeError{wholeAnswerBytes, true}
	}
	return &boundedBody{body, limit.limit, limit, x.progress}
}

// Read reads one byte more than the limit, to tell an answer that ends there from a longer one.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		return 0, b.limit
	}
	if n > 0 && b.progress != nil {
		b.progress()
	}
	return n, err
}
