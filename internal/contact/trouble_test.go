// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package contact

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// The test of the first contact, in test/process, has what real listeners do. These are the others.
func TestOfAgent(t *testing.T) {
	t.Parallel()
	const plain = "http://a:1"
	dial := func(err error) error { return &url.Error{Op: "Get", Err: &net.OpError{Op: "dial", Err: err}} }
	request := func(err error) error { return &url.Error{Op: "Get", Err: err} }
	for _, tc := range []struct {
		name, address string
		err           error
		what          string // After the address.
		do            string // Is in it.
	}{
		{"unknown", plain, nil, "does not answer", ""},
		{"no route", plain, dial(syscall.EHOSTUNREACH), "cannot be reached: the network has no route to it", "firewalls"},
		{"packets are lost", plain, dial(os.ErrDeadlineExceeded), "does not answer: no connection in time", "firewalls"},
		{
			"a port of the cluster behind a firewall", "http://a:8300", dial(os.ErrDeadlineExceeded),
			"does not answer: no connection in time", "firewalls",
		},
		{
			"a hung agent on the port of DNS", "http://a:8600", request(context.DeadlineExceeded),
			"does not speak HTTP: port 8600 is Consul's port for DNS", "--consul.server=http://a:8500.",
		},
		{
			"the API on the port of DNS", "https://a:8600",
			api.StatusError{Code: 429},
			"answers with status 429 (Too Many Requests): a limit is reached", "limits.request_limits",
		},
		{"closes", plain, request(io.EOF), "closes connections without an answer", "log of that agent"},
		{
			"nothing in the answer", plain, fmt.Errorf("read: %w", io.EOF), "answers, but not as Consul does", "--consul.server",
		},
		{"no agent", plain, cluster.ErrNotAgent, "answers, but not as Consul does", "--consul.server"},
		{
			"DNS is down", plain, dial(&net.DNSError{Name: "a", Err: "server misbehaving", IsTemporary: true}),
			"cannot be found: looking up a fails (server misbehaving)", "DNS",
		},
		{
			"no socket", "unix:///run/consul.sock", dial(syscall.ENOENT),
			"refuses connections: nothing listens on the socket", "addresses.http",
		},
		{
			"an alert of TLS", plain, request(errors.New(`malformed HTTP response "\x15\x03\x01"`)),
			"speaks HTTPS, not HTTP", "Set --consul.server=https://a:1.",
		},
		{
			"another protocol", plain, request(errors.New(`malformed HTTP response "220 smtp"`)), "does not speak HTTP",
			"--consul",
		},
		{
			"a certificate without names", "https://a:1",
			x509.HostnameError{},
			"shows a certificate for another name",
			"--consul.server-name=server.dc1.consul.",
		},
		{
			"expired", "https://a:1",
			&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}},
			"shows a certificate that has expired or is not valid yet",
			"Renew it on the server, or set the clocks.",
		},
		{
			"ours has expired", "https://a:1", &net.OpError{Op: "remote error", Err: tls.AlertError(45)},
			"rejects the exporter's client certificate, which has expired", "--consul.cert-file",
		},
		{
			"an alert", "https://a:1", &net.OpError{Op: "remote error", Err: errors.New("tls: handshake failure")},
			"cannot agree with the exporter on TLS (tls: handshake failure)", "--consul.ca-file",
		},
		{
			"rights", plain,
			consul.DeniedError{Missing: consul.OperatorRead},
			"denies requests: the token lacks rights",
			"--consul.token-file",
		},
		{
			"blocked", plain,
			api.StatusError{Code: 403, Body: "Endpoint is blocked by agent configuration"},
			"answers with status 403 (Forbidden): the endpoint is blocked", "http_config.block_endpoints",
		},
		{
			"no leader", plain,
			api.StatusError{Code: 500, Body: "No cluster\nleader"},
			"answers with status 500 (Internal Server Error): No cluster leader", "log of that agent",
		},
		{"404", plain, api.StatusError{Code: 404}, "answers with status 404 (Not Found)", "--consul.server"},
		{"405", plain, api.StatusError{Code: 405}, "answers with status 405 (Method Not Allowed)", "--consul.server"},
		{
			"nginx with TLS", plain,
			api.StatusError{Code: 400, Body: "<html>The plain HTTP request was sent to HTTPS port"},
			"speaks HTTPS, not HTTP", "Set --consul.server=https://a:1.",
		},
		{"anything else", plain, probe.ErrNoTurn, "does not answer (" + probe.ErrNoTurn.Error() + ")", "--consul.server"},
	} {
		got := OfAgent(must.Get(consul.ParseAddress(tc.address))(t), tc.err)
		if want := "the agent at " + tc.address + " " + tc.what; got.What != want || !strings.Contains(got.Do, tc.do) {
			t.Errorf("%s: %q, %q; want %q, and %q in it", tc.name, got.What, got.Do, want, tc.do)
		}
	}
}
