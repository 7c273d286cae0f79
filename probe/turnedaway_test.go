// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/probe"
)

// A server that turns us away for our certificate is told from one that has no certificate of its own yet.
func TestTurnedAway_TLS(t *testing.T) {
	t.Parallel()
	ca := authority(t)
	client := ca.issue(t, leaf{})
	for _, tc := range []struct {
		name   string
		server *tls.Config
		want   bool
	}{
		{"it does not accept the client's certificate", &tls.Config{
			Certificates: []tls.Certificate{ca.issue(t, leaf{})}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool(),
		}, true},
		{"it has no certificate", &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return &tls.Config{}, nil }}, false},
		{"it fails", &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("not ready") }}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			listener, err := tls.Listen("tcp", "127.0.0.1:0", tc.server)
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					go func() {
						defer conn.Close()
						_ = conn.(*tls.Conn).HandshakeContext(t.Context()) // The alert is what it is for.
					}()
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			p := probe.New(probe.Options{})
			defer p.Close()
			res := p.HTTP(ctx, probe.HTTPTarget{Address: listener.Addr().String(), TLS: &tls.Config{
				InsecureSkipVerify:   true,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &client, nil },
			}})
			if res.Up || res.Reason != probe.ReasonTLS || res.TurnedAway() != tc.want {
				t.Errorf("up %v, reason %q, turned away %v, error %v; want turned away %v", res.Up, res.Reason, res.TurnedAway(), res.Err, tc.want)
			}
		})
	}
}
