// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/descriptors"
)

// httpDialer opens connections for HTTP. net/http lets it go on when the request that it was for has ended, so it has
// a time limit of its own.
type httpDialer struct {
	// socket is the path of a unix socket to connect to, wherever the request goes; empty for none.
	socket  string
	tls     *TLS
	timeout time.Duration
}

// dial implements http.Transport.DialContext.
func (d *httpDialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if d.socket != "" {
		network, address = "unix", d.socket
	}
	dialer := &net.Dialer{Timeout: d.timeout}
	// It waits for less long than the request does, so that the request ends with what is to blame.
	return descriptors.Dial(ctx, dialer, network, address, d.timeout/2)
}

// dialTLS implements http.Transport.DialTLSContext: it uses the authorities and the client certificate as they are
// now.
func (d *httpDialer) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	raw, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	config := d.tls.Config().Clone()
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	host, _, _ := net.SplitHostPort(address)
	config.ServerName = cmp.Or(config.ServerName, host)
	config.NextProtos = []string{"h2", "http/1.1"}
	conn := tls.Client(raw, config)
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}
