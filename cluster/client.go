// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/probe"
)

const (
	// maxConnsPerHost bounds the connections to one agent: Consul allows 200 per source address
	// (limits.http_max_conns_per_client), which other programs on this host share.
	maxConnsPerHost = 8
	// DefaultMaxResponseBytes is three times what the catalog of 25,000 service instances has.
	DefaultMaxResponseBytes = 64 << 20
)

// ErrRefused means that the agent does not offer this to us: the token may not read it, or the version or edition does
// not have it. It is remembered for some minutes, so that Consul does not log an error at each scrape.
var ErrRefused = errors.New("refused")

// ClientOptions say how to reach an agent's HTTP API.
type ClientOptions struct {
	Address Address
	// TLS is used for https; nil means the system's defaults.
	TLS *TLS
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
	// Now is the clock for how long refusals hold; nil means time.Now.
	Now func() time.Time
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
	refusals       *refusals
	unknownTokens  unknownTokens
	ownFaults      ownFaults

	mu       sync.Mutex
	byHost   map[clientKey]*api.Client // Guarded by mu.
	requests map[RequestKey]uint64     // Guarded by mu.
}

// RequestKey says what a request asked for and how it ended.
type RequestKey struct {
	// Endpoint is the path, without names of this cluster in it.
	Endpoint string
	// Code is the HTTP status, "error" where there was no complete answer, or "own_fault" where the request could not be made.
	Code string
}

// Compare orders by endpoint and then by code.
func (k RequestKey) Compare(other RequestKey) int {
	return cmp.Or(cmp.Compare(k.Endpoint, other.Endpoint), cmp.Compare(k.Code, other.Code))
}

// NewClient returns a client. It does not connect.
func NewClient(opts ClientOptions) *Client {
	c := &Client{
		opts: opts, refusals: newRefusals(opts.now()), byHost: make(map[clientKey]*api.Client), requests: make(map[RequestKey]uint64),
	}
	c.own, c.forwarded = c.opts.newTransport(), c.opts.newTransport()
	c.forwarded.MaxConnsPerHost = c.opts.maxConns()
	return c
}

// clientKey is an agent, and which of the two pools of connections to it is used.
type clientKey struct {
	host string
	own  bool
}

func (o *ClientOptions) now() func() time.Time {
	if o.Now == nil {
		return time.Now
	}
	return o.Now
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
func (ep *endpoint) own() bool { return ep.answeredBy() == byAgent }

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
	// uncertain is whether the endpoint may be about something that is switched off, see isSwitchedOff.
	uncertain bool
	// body, if there is one, is sent with POST. Such endpoints have decode.
	body []byte
	// elsewhere is whether another datacenter than the agent's answers, as far as that is known.
	elsewhere bool
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
	token := c.opts.tokenOf(ctx)
	ctx = withToken(ctx, token)
	subject := refusalsOf(address) + ep.path + "?" + ep.params.Encode()
	if err := c.refusals.check(subject, token); err != nil {
		return nil, err
	}
	if err := c.unknownTokens.check(address.Host, &ep, token, c.refusals.now()); err != nil {
		return nil, err
	}
	datacenter := refusalsOf(address) + "?dc=" + c.opts.Datacenter
	if ep.elsewhere {
		if err := c.refusals.check(datacenter, token); err != nil {
			return nil, err
		}
	}
	read := c.readWhole
	if ep.decode != nil {
		read = c.readStream
	}
	meta, err := read(ctx, address, &ep, out)
	c.count(RequestKey{ep.name(), statusLabel(err)})
	if probe.IsOwnFault(err) {
		c.ownFaults.requests.Add(1)
	}
	switch {
	case ep.maybeEmpty && statusLabel(err) == "404":
		return nil, errNothing
	case isRefusal(err), ep.isSwitchedOff(err):
		refused := c.refusals.add(subject, token, err)
		if isUnknownToken(err) {
			c.unknownTokens.note(address.Host, &ep, token, refused, c.refusals.now())
		}
		return nil, refused
	case isNoNumber(err):
		c.refusals.remember(subject, token, err, c.refusals.now().Add(telemetryWait))
		return nil, err
	case ep.mayBeSwitchedOff(err):
		c.refusals.postpone(subject, token, err, doubtWaits)
		return nil, err
	case ep.elsewhere && statusLabel(err) == "500":
		c.refusals.postpone(datacenter, token, err, unreachableWaits)
		return nil, err
	case err != nil:
		return nil, err
	}
	c.refusals.forget(subject)
	c.unknownTokens.forget(address.Host, &ep)
	if ep.elsewhere {
		c.refusals.forget(datacenter)
	}
	return meta, nil
}

// readWhole reads an answer that is small, and decodes it into out. Such endpoints have no params.
func (c *Client) readWhole(ctx context.Context, address Address, ep *endpoint, out any) (*api.QueryMeta, error) {
	client, err := c.at(address, ep.own())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(ep.timeout, c.opts.Timeout))
	defer cancel()
	datacenter, consistency := c.opts.mode(ep)
	q := &api.QueryOptions{
		Datacenter:        datacenter,
		AllowStale:        consistency == ConsistencyStale,
		RequireConsistent: consistency == ConsistencyConsistent,
	}
	return client.Raw().Query(ep.path, out, q.WithContext(ctx))
}

// readStream reads an answer that may be large, and has it decoded while it arrives. consul/api would collect it first.
func (c *Client) readStream(ctx context.Context, address Address, ep *endpoint, _ any) (*api.QueryMeta, error) {
	ctx, arrived, cancel := bound(ctx, cmp.Or(ep.timeout, c.opts.Timeout), ep.long)
	defer cancel()
	meta, err := c.stream(ctx, address, ep, arrived)
	if stalled, ok := errors.AsType[stalledError](context.Cause(ctx)); ok && err != nil {
		return nil, stalled
	}
	return meta, err
}

func (c *Client) stream(ctx context.Context, address Address, ep *endpoint, arrived func()) (*api.QueryMeta, error) {
	method, question := http.MethodGet, io.Reader(http.NoBody)
	if ep.body != nil {
		method, question = http.MethodPost, bytes.NewReader(ep.body)
	}
	req, err := http.NewRequestWithContext(ctx, method, address.url(ep.path, c.opts.query(ep)).String(), question)
	if err != nil {
		return nil, err
	}
	resp, err := c.opts.newHTTPClient(c.pool(ep.own())).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, errorAnswerBytes)) // What has arrived says enough.
		return nil, api.StatusError{Code: resp.StatusCode, Body: string(text)}
	}
	limit := c.opts.maxResponseBytes()
	body := &boundedBody{ReadCloser: resp.Body, left: limit, limit: tooLargeError{limit: limit}, progress: arrived}
	if err := ep.decode(body); err != nil {
		return nil, err
	}
	return queryMeta(resp.Header), nil
}

// queryMeta reads what an answer's headers say about its worth. That about the token's rights is there also where there is nothing about
// the leader, as on /v1/agent/members.
func queryMeta(h http.Header) *api.QueryMeta {
	ms, err := strconv.ParseUint(h.Get("X-Consul-LastContact"), 10, 63)
	if err != nil {
		ms = 0
	}
	return &api.QueryMeta{
		KnownLeader:           h.Get("X-Consul-KnownLeader") == "true",
		LastContact:           time.Duration(min(ms, math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond,
		ResultsFilteredByACLs: h.Get("X-Consul-Results-Filtered-By-ACLs") == "true",
		DefaultACLPolicy:      h.Get("X-Consul-Default-ACL-Policy"),
	}
}

// mode returns the datacenter that an endpoint is read from, empty for the agent's own, and how.
func (o *ClientOptions) mode(ep *endpoint) (datacenter string, consistency Consistency) {
	if ep.chosen {
		return o.Datacenter, cmp.Or(o.Consistency, ConsistencyStale)
	}
	return "", cmp.Or(ep.consistency, ConsistencyStale)
}

// query returns the parameters of an endpoint's URL.
func (o *ClientOptions) query(ep *endpoint) url.Values {
	query := maps.Clone(ep.params)
	if query == nil {
		query = make(url.Values)
	}
	datacenter, consistency := o.mode(ep)
	if datacenter != "" {
		query.Set("dc", datacenter)
	}
	if consistency != ConsistencyDefault {
		query.Set(string(consistency), "")
	}
	return query
}

// pool returns the connections for what agents answer by themselves, or else for what they ask the servers about.
func (c *Client) pool(own bool) *http.Transport {
	if own {
		return c.own
	}
	return c.forwarded
}

// at returns the API client for one agent. Making one costs more than a request, so they are kept.
func (c *Client) at(address Address, own bool) (*api.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := clientKey{address.Host, own}
	if client, ok := c.byHost[key]; ok {
		return client, nil
	}
	client, err := newAPIClient(address, c.opts.newHTTPClient(&bounded{c.pool(own), c.opts.maxResponseBytes()}))
	if err != nil {
		return nil, err
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
	if probe.IsOwnFault(err) {
		return string(probe.ReasonOwnFault)
	}
	return "error"
}

// refusalsOf begins the subjects of what an agent refused.
func refusalsOf(address Address) string { return address.Scheme + "://" + address.Host }

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

// stalledError means that nothing more of an answer arrived for as long as --consul.timeout.
type stalledError struct{ timeout time.Duration }

func (e stalledError) Error() string { return "nothing more arrived within " + e.timeout.String() }
func (stalledError) Unwrap() error   { return context.DeadlineExceeded }

// bound returns a context that ends after the timeout; if the answer may be long, each part of it that arrives starts that anew, which
// arrived has to be called for.
func bound(ctx context.Context, timeout time.Duration, long bool) (_ context.Context, arrived func(), cancel context.CancelFunc) {
	if !long {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		return ctx, nil, cancel
	}
	ctx, stop := context.WithCancelCause(ctx)
	stall := time.AfterFunc(timeout, func() { stop(stalledError{timeout}) })
	return ctx, func() { stall.Reset(timeout) }, func() {
		stall.Stop()
		stop(nil)
	}
}
