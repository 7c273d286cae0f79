// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/hashicorp/consul/api"
)

const (
	// wholeAnswerBytes bounds the answers that are decoded as a whole, which takes many times their size. They are about
	// one agent, or about the servers; the largest known is the Raft configuration of a thousand servers, with 200 KB.
	wholeAnswerBytes = 1 << 20
	// errorAnswerBytes bounds what is read of an answer that is an error: a sentence.
	errorAnswerBytes = 1 << 10
	// headerBytes bounds the headers of an answer. Consul sends less than 1 KB.
	headerBytes = 64 << 10
)

// TooLargeError means that an answer is larger than the limit, or would be in memory.
type TooLargeError struct {
	limit int64
	// whole is whether the limit is wholeAnswerBytes.
	whole bool
}

func (e TooLargeError) Error() string {
	if e.whole {
		return fmt.Sprintf("the answer is larger than %d bytes, which is not what Consul answers here", e.limit)
	}
	return fmt.Sprintf("the answer is larger than %d bytes, "+
		"the limit set by --consul.max-response-bytes (max_response_bytes in a module)", e.limit)
}

// newTransport returns what connects to agents as the options say, and through no proxy.
func (o *Options) newTransport() *http.Transport {
	dialer := httpDialer{o.Address.Socket, o.TLS, o.Timeout}
	return &http.Transport{
		DialContext:    dialer.dial,
		DialTLSContext: dialer.dialTLS,
		// Consul takes longer to compress an answer than the network to carry it: agent and servers are near.
		DisableCompression: true,
		MaxConnsPerHost:    maxConnsPerHost,
		ForceAttemptHTTP2:  true,

		MaxResponseHeaderBytes: headerBytes,
	}
}

// newHTTPClient returns a client whose requests identify us as the options say, and in no other way.
func (o *Options) newHTTPClient(base http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: &identity{base, o},
		// Never send the token anywhere but to the agent that was asked.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// identity is the one place that tells Consul who asks: it sets what the options have and removes what they do not
// have. consul/api fills in the rest from CONSUL_HTTP_TOKEN, CONSUL_NAMESPACE and so on, which are meant for one
// cluster and must not reach the others.
type identity struct {
	base http.RoundTripper
	opts *Options
}

func (t *identity) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	req = req.Clone(ctx)
	req.Header.Del("X-Consul-Token")
	if token := t.opts.tokenOf(ctx); token != "" {
		req.Header.Set("X-Consul-Token", token)
	}
	req.Header.Del("Authorization")
	if auth := t.opts.BasicAuth; auth != nil {
		req.SetBasicAuth(auth.Username, auth.Password)
	}
	query := req.URL.Query()
	for param, value := range map[string]string{"ns": t.opts.Namespace, "partition": t.opts.Partition} {
		query.Del(param)
		if value != "" {
			query.Set(param, value)
		}
	}
	req.URL.RawQuery = query.Encode()
	return t.base.RoundTrip(req)
}

// tokenKey is the key of a token in a context.
type tokenKey struct{}

// WithToken makes requests use this token: an answer must be remembered for the token that was sent, even if the
// token's file changes in between.
func WithToken(ctx context.Context, token string) context.Context {
	return context.WithValue(ctx, tokenKey{}, token)
}

// tokenOf returns the token of a context, or the current one.
func (o *Options) tokenOf(ctx context.Context) string {
	if token, ok := ctx.Value(tokenKey{}).(string); ok {
		return token
	}
	return o.CurrentToken()
}

// CurrentToken returns the ACL token; empty means none.
func (o *Options) CurrentToken() string {
	if o.Token == nil {
		return ""
	}
	return o.Token()
}

// noToken keeps api.NewClient from looking for a token in the environment, where a CONSUL_HTTP_TOKEN_FILE that is
// missing would be an error. It is never sent: identity removes it.
const noToken = "none"

// newAPIClient returns consul/api's client of the agent at address.
func newAPIClient(address Address, client *http.Client) (*api.Client, error) {
	c, err := api.NewClient(&api.Config{
		Address:    address.Host,
		Scheme:     address.Scheme,
		PathPrefix: address.Path,
		Token:      noToken,
		HttpClient: client,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the Consul client: %w", err)
	}
	return c, nil
}

// NewAPIClient returns consul/api's client of the agent at opts.Address, for programs that write. It takes nothing
// from the environment, and leaves no connection open between two requests.
func NewAPIClient(opts Options) (*api.Client, error) {
	base := opts.newTransport()
	base.DisableKeepAlives = true
	return newAPIClient(opts.Address, opts.newHTTPClient(base))
}

// bounded is a transport for answers that are decoded as a whole.
type bounded struct {
	base     http.RoundTripper
	maxBytes int64
}

func (t *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		limit := TooLargeError{limit: t.maxBytes}
		if t.maxBytes > wholeAnswerBytes {
			limit = TooLargeError{wholeAnswerBytes, true}
		}
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: limit.limit, limit: limit}
		return resp, nil
	}
	resp.Body = beginning{io.LimitReader(resp.Body, errorAnswerBytes), resp.Body}
	return resp, nil
}

// beginning is the beginning of a body.
type beginning struct {
	io.Reader
	io.Closer
}

// boundedBody fails after a number of bytes.
type boundedBody struct {
	io.ReadCloser
	left  int64
	limit TooLargeError
	// progress is called after each read; nil if nobody wants to know.
	progress func()
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

// url returns where an endpoint of the agent at this address is.
func (a Address) url(path string, query url.Values) *url.URL {
	return &url.URL{Scheme: a.Scheme, Host: a.Host, Path: a.Path + path, RawQuery: query.Encode()}
}
