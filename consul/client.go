// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

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
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/probe"
)

const (
	// maxConnsPerHost bounds the connections to one agent: Consul allows 200 for each source address
	// (limits.http_max_conns_per_client), which other programs on this host share.
	maxConnsPerHost = 8
	// DefaultMaxResponseBytes is three times what the catalog of 25,000 service instances has.
	DefaultMaxResponseBytes = 64 << 20
)

// ErrRefused means that the agent does not offer this to us: the token may not read it, or the version or edition
// does not have it. It is remembered for some minutes, because Consul logs each refusal as an error.
var ErrRefused = errors.New("refused")

// Options say how to reach an agent's HTTP API.
type Options struct {
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
	// RequestLimit bounds the requests under way to one agent that it asks the servers about; 0 means maxConnsPerHost,
	// which it cannot exceed.
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
	// ConsistencyDefault lets the leader answer, which may have just been replaced. Without a leader Consul lets the
	// request hang.
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
	opts Options
	// own connects for what an agent answers by itself, forwarded for what it asks the servers about. If the servers
	// hang, requests to them must not hold up what the agent can still answer.
	own, forwarded *http.Transport
	refusals       *Refusals
	unknownTokens  unknownTokens
	ownFaults      atomic.Uint64

	mu       sync.Mutex
	byHost   map[clientKey]*api.Client // Guarded by mu.
	requests map[RequestKey]uint64     // Guarded by mu.
}

// RequestKey is what a request was for and how it ended.
type RequestKey struct {
	// Endpoint is the path, without names of this cluster in it.
	Endpoint string
	// Code is the HTTP status, "error" where there was no complete answer, or "own_fault" where the request could not be
	// made.
	Code string
}

// Compare orders by endpoint and then by code.
func (k RequestKey) Compare(other RequestKey) int {
	return cmp.Or(cmp.Compare(k.Endpoint, other.Endpoint), cmp.Compare(k.Code, other.Code))
}

// NewClient returns a client. It does not connect.
func NewClient(opts Options) *Client {
	c := &Client{
		opts: opts, refusals: newRefusals(opts.now()),
		byHost: make(map[clientKey]*api.Client), requests: make(map[RequestKey]uint64),
	}
	c.own, c.forwarded = c.opts.newTransport(), c.opts.newTransport()
	c.forwarded.MaxConnsPerHost = c.opts.MaxConns()
	return c
}

// clientKey is an agent, and which of the two pools of connections to it is used.
type clientKey struct {
	host string
	own  bool
}

func (o *Options) now() func() time.Time {
	if o.Now == nil {
		return time.Now
	}
	return o.Now
}

func (o *Options) maxResponseBytes() int64 {
	return cmp.Or(o.MaxResponseBytes, DefaultMaxResponseBytes)
}

// MaxConns is how many requests that an agent asks the servers about may be under way.
func (o *Options) MaxConns() int {
	if o.RequestLimit > 0 {
		return min(o.RequestLimit, maxConnsPerHost)
	}
	return maxConnsPerHost
}

// Endpoint is one read-only part of the HTTP API.
type Endpoint struct {
	Path string
	// Label is the path without names of this cluster in it, where it has any; empty means the path.
	Label string
	// Params are further query parameters; nil for none.
	Params url.Values
	// HasMeta is whether answers carry X-Consul-KnownLeader and X-Consul-LastContact.
	HasMeta bool
	// Chosen is whether Options.Datacenter and Consistency hold for it.
	Chosen bool
	// Uncertain is whether the endpoint may be about something that is switched off, see isSwitchedOff.
	Uncertain bool
	// Settles is how long an endpoint is not read again after an answer with NaN.
	Settles time.Duration
	// Body, if there is one, is sent with POST. Such endpoints have Decode.
	Body []byte
	// Elsewhere is whether another datacenter than the agent's answers, as far as that is known.
	Elsewhere bool
	// Consistency is that of endpoints for which it is not chosen; empty means ConsistencyStale.
	Consistency Consistency
	// Timeout bounds the request; 0 means Options.Timeout.
	Timeout time.Duration
	// Long is whether the answer may take longer than that, as long as more and more of it arrives.
	Long bool
	// MaybeEmpty is whether status 404 means that there is nothing, which is then ErrNothing and no refusal.
	MaybeEmpty bool
	// Decode, if there is one, reads the answer while it arrives, in place of Get's decoding of JSON. Anything that
	// grows with the cluster has one: other answers are bounded by wholeAnswerBytes.
	Decode func(io.Reader) error
}

// Name is how the endpoint is called in metrics and errors.
func (ep *Endpoint) Name() string { return cmp.Or(ep.Label, ep.Path) }

// ErrNothing means that what was to be read does not exist.
var ErrNothing = errors.New("there is nothing")

// Get reads one endpoint of the agent at address and decodes the answer into out. The error names the endpoint, and
// is ErrRefused if it makes no sense to ask again for some minutes.
func (c *Client) Get(ctx context.Context, address Address, ep Endpoint, out any) (*api.QueryMeta, error) {
	meta, err := c.ask(ctx, address, ep, out)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ep.Name(), err)
	}
	return meta, nil
}

func (c *Client) ask(ctx context.Context, address Address, ep Endpoint, out any) (*api.QueryMeta, error) {
	token := c.opts.tokenOf(ctx)
	ctx = WithToken(ctx, token)
	subject := refusalsOf(address) + ep.Path + "?" + ep.Params.Encode()
	if err := c.refusals.Check(subject, token); err != nil {
		return nil, err
	}
	if err := c.unknownTokens.check(address.Host, &ep, token, c.refusals.Now()); err != nil {
		return nil, err
	}
	datacenter := refusalsOf(address) + "?dc=" + c.opts.Datacenter
	if ep.Elsewhere {
		if err := c.refusals.Check(datacenter, token); err != nil {
			return nil, err
		}
	}
	read := c.readWhole
	if ep.Decode != nil {
		read = c.readStream
	}
	meta, err := read(ctx, address, &ep, out)
	c.count(RequestKey{ep.Name(), statusLabel(err)})
	if probe.IsOwnFault(err) {
		c.ownFaults.Add(1)
	}
	switch {
	case ep.MaybeEmpty && statusOf(err) == http.StatusNotFound:
		return nil, ErrNothing
	case isRefusal(err), ep.isSwitchedOff(err):
		refused := c.refusals.Add(subject, token, err)
		if IsUnknownToken(err) {
			c.unknownTokens.note(address.Host, &ep, token, refused, c.refusals.Now())
		}
		return nil, refused
	case isNoNumber(err):
		c.refusals.remember(subject, token, err, c.refusals.Now().Add(ep.Settles))
		return nil, err
	case IsEnterpriseOnly(err):
		c.refusals.postpone(subject, token, err, refusalWaits)
		return nil, err
	case ep.mayBeSwitchedOff(err):
		c.refusals.postpone(subject, token, err, doubtWaits)
		return nil, err
	case ep.Elsewhere && statusOf(err) == http.StatusInternalServerError:
		c.refusals.postpone(datacenter, token, err, unreachableWaits)
		return nil, err
	case err != nil:
		return nil, err
	}
	c.refusals.Forget(subject)
	c.unknownTokens.forget(address.Host, &ep)
	if ep.Elsewhere {
		c.refusals.Forget(datacenter)
	}
	return meta, nil
}

// readWhole reads an answer that is small, and decodes it into out. Such endpoints have no params.
func (c *Client) readWhole(ctx context.Context, address Address, ep *Endpoint, out any) (*api.QueryMeta, error) {
	client, err := c.at(address, ep.AnsweredBy() == ByAgent)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(ep.Timeout, c.opts.Timeout))
	defer cancel()
	datacenter, consistency := c.opts.mode(ep)
	q := &api.QueryOptions{
		Datacenter:        datacenter,
		AllowStale:        consistency == ConsistencyStale,
		RequireConsistent: consistency == ConsistencyConsistent,
	}
	return client.Raw().Query(ep.Path, out, q.WithContext(ctx))
}

// readStream reads an answer that may be large, and has it decoded while it arrives. consul/api would collect it
// first.
func (c *Client) readStream(ctx context.Context, address Address, ep *Endpoint, _ any) (*api.QueryMeta, error) {
	ctx, arrived, cancel := bound(ctx, cmp.Or(ep.Timeout, c.opts.Timeout), ep.Long)
	defer cancel()
	meta, err := c.stream(ctx, address, ep, arrived)
	if stalled, ok := errors.AsType[stalledError](context.Cause(ctx)); ok && err != nil {
		return nil, stalled
	}
	return meta, err
}

func (c *Client) stream(ctx context.Context, address Address, ep *Endpoint, arrived func()) (*api.QueryMeta, error) {
	method, question := http.MethodGet, io.Reader(http.NoBody)
	if ep.Body != nil {
		method, question = http.MethodPost, bytes.NewReader(ep.Body)
	}
	req, err := http.NewRequestWithContext(ctx, method, address.url(ep.Path, c.opts.query(ep)).String(), question)
	if err != nil {
		return nil, err
	}
	pool := c.pool(ep.AnsweredBy() == ByAgent)
	if one, ok := ctx.Value(oneConnectionKey{}).(*http.Transport); ok {
		pool = one
	}
	resp, err := c.opts.newHTTPClient(pool).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, errorAnswerBytes)) // What has arrived says enough.
		return nil, api.StatusError{Code: resp.StatusCode, Body: string(text)}
	}
	limit := c.opts.maxResponseBytes()
	body := &boundedBody{ReadCloser: resp.Body, left: limit, limit: TooLargeError{limit: limit}, progress: arrived}
	if err := ep.Decode(body); err != nil {
		return nil, err
	}
	return queryMeta(resp.Header), nil
}

// queryMeta reads the headers of an answer. Some answers, as that of /v1/agent/members, only have those about rights.
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
func (o *Options) mode(ep *Endpoint) (datacenter string, consistency Consistency) {
	if ep.Chosen {
		return o.Datacenter, cmp.Or(o.Consistency, ConsistencyStale)
	}
	return "", cmp.Or(ep.Consistency, ConsistencyStale)
}

// query returns the parameters of an endpoint's URL.
func (o *Options) query(ep *Endpoint) url.Values {
	query := maps.Clone(ep.Params)
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

// oneConnectionKey is the key, in a context, of a pool with one connection.
type oneConnectionKey struct{}

// OnOneConnection returns a context whose requests for endpoints with Decode share one connection, as long as the other
// end keeps it open, and what closes it.
func (c *Client) OnOneConnection(ctx context.Context) (context.Context, func()) {
	pool := c.opts.newTransport()
	pool.MaxConnsPerHost = 1
	return context.WithValue(ctx, oneConnectionKey{}, pool), pool.CloseIdleConnections
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

// Retain forgets the clients of agents that are not asked any more.
func (c *Client) Retain(asked func(host string) bool) {
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

// Requests returns how many requests were made since the start, without those held back because of a refusal.
func (c *Client) Requests() map[RequestKey]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.requests)
}

// Options returns what the client was made from.
func (c *Client) Options() *Options { return &c.opts }

// Refusals are what agents refused, on their HTTP API, and what is added.
func (c *Client) Refusals() *Refusals { return c.refusals }

// OwnFaults is how many requests could not be made since the start, for reasons of this process's own.
func (c *Client) OwnFaults() uint64 { return c.ownFaults.Load() }

// AskAgain lets the agent at address be asked again for what it refused.
func (c *Client) AskAgain(address Address) {
	c.unknownTokens.clear()
	c.refusals.ForgetAll(refusalsOf(address) + "/")
}

// AskAgainWithToken lets agents be asked again that did not know the token.
func (c *Client) AskAgainWithToken() {
	c.unknownTokens.clear()
	c.refusals.forgetUnknownTokens()
}

// CloseIdle closes the connections that no request uses.
func (c *Client) CloseIdle() {
	c.forwarded.CloseIdleConnections()
	c.own.CloseIdleConnections()
}

// statusOf returns the status of an answer that is an error, or 0.
func statusOf(err error) int {
	status, _ := errors.AsType[api.StatusError](err)
	return status.Code
}

// statusLabel says how a request ended.
func statusLabel(err error) string {
	if err == nil {
		return strconv.Itoa(http.StatusOK)
	}
	if status := statusOf(err); status != 0 {
		return strconv.Itoa(status)
	}
	if probe.IsOwnFault(err) {
		return string(probe.ReasonOwnFault)
	}
	return "error"
}

// refusalsOf begins the subjects of what an agent refused.
func refusalsOf(address Address) string { return address.Scheme + "://" + address.Host }

// IsAgentsAnswer reports whether an agent answered, even with an error, rather than a proxy in front of a dead agent
// or another program. A client agent that has lost all servers answers 500, one that is overloaded 429.
func IsAgentsAnswer(err error) bool {
	switch statusLabel(err) {
	case "200", "403", "429", "500":
		return true
	default:
		return false
	}
}

// IsDealtWith reports whether an agent answered, even with an error, and did not turn the request away because of its
// limits (429). A page of HTML is the answer of something in front of it.
func IsDealtWith(err error) bool {
	status, _ := errors.AsType[api.StatusError](err)
	return IsAgentsAnswer(err) && status.Code != http.StatusTooManyRequests &&
		!strings.HasPrefix(strings.TrimSpace(status.Body), "<")
}

// IsServerError reports whether a server, or an agent for its servers, answered that it failed (status 500).
func IsServerError(err error) bool { return statusOf(err) == http.StatusInternalServerError }

// stalledError means that nothing more of an answer arrived for as long as --consul.timeout.
type stalledError struct{ timeout time.Duration }

func (e stalledError) Error() string { return "nothing more arrived within " + e.timeout.String() }
func (stalledError) Unwrap() error   { return context.DeadlineExceeded }

// bound returns a context that ends after the timeout. If the answer may be long, each part of it restarts the
// timeout: call arrived for it.
func bound(
	ctx context.Context, timeout time.Duration, long bool,
) (_ context.Context, arrived func(), cancel context.CancelFunc) {
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

// isSwitchedOff reports whether an error may mean that the feature is off, or the right missing, if that could not be
// read before. Consul answers with status 500, for peering only after eleven seconds.
func (ep *Endpoint) isSwitchedOff(err error) bool {
	if !ep.Uncertain || statusOf(err) != http.StatusInternalServerError {
		return false
	}
	return !probe.IsUnserved(err.Error())
}

// mayBeSwitchedOff reports whether the time was over before such an answer could come.
func (ep *Endpoint) mayBeSwitchedOff(err error) bool {
	return ep.Uncertain && errors.Is(err, context.DeadlineExceeded)
}
