// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"
)

// errNoClientCertificate: the server wants a certificate and there is none that it would accept.
var errNoClientCertificate = errors.New("the server asks for a client certificate that is not configured")

// tlsError is a failure of TLS for which crypto/tls has no type.
type tlsError struct{ error }

func (e *tlsError) Unwrap() error { return e.error }

// handshake puts TLS onto the connection, and writes into res which certificate expires first, verified or not.
//
// It is quiet where crypto/tls is not. The server's certificate is verified after the handshake, so that a bad one
// ends with an orderly close and not with an alert, which Consul logs as an error on port 8300 (agent/consul/rpc.go:
// handleConn). And if a client certificate is missing, it falls silent instead of sending an alert: the server reads
// the end of the connection, which is no error to it. A server that asks for a certificate requires it (Consul:
// tlsutil/config.go, commonTLSConfig).
//
// When ctx ends first, the handshake goes on in the background: see wire.closeWrite.
func handshake(ctx context.Context, x *exchange, w *wire, res *Result) error {
	if len(x.preamble) > 0 {
		if _, err := w.raw.Write(x.preamble); err != nil {
			return fmt.Errorf("send preamble: %w", err)
		}
	}
	lower := &mutableConn{Conn: w.raw}
	config := clientConfig(x, lower)
	var earliest atomic.Pointer[x509.Certificate]
	config.VerifyConnection = func(state tls.ConnectionState) error {
		earliest.Store(slices.MinFunc(state.PeerCertificates, func(a, b *x509.Certificate) int {
			return a.NotAfter.Compare(b.NotAfter)
		}))
		return nil
	}
	w.tls = tls.Client(lower, config)
	w.handshaken = make(chan struct{})
	result := make(chan error, 1)
	go func() {
		result <- w.tls.HandshakeContext(context.WithoutCancel(ctx))
		close(w.handshaken)
	}()

	var err error
	select {
	case err = <-result:
		if err == nil {
			err = verifyServer(x.TLS, config, w.tls.ConnectionState())
		}
		err = asTLSError(err)
	case <-ctx.Done():
		err = ctx.Err()
	}
	if cert := earliest.Load(); cert != nil {
		res.CertExpiry = cert.NotAfter
		res.CertLifetime = cert.NotAfter.Sub(cert.NotBefore)
	}
	return err
}

// clientConfig is the configuration for one handshake.
func clientConfig(x *exchange, lower *mutableConn) *tls.Config {
	config := x.TLS.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(x.Address)
	}
	if config.Time == nil {
		config.Time = time.Now
	}
	config.NextProtos = x.alpn
	// A resumed session shows no certificate.
	config.ClientSessionCache = nil
	// verifyServer does it, later.
	config.InsecureSkipVerify = true // The certificate is verified after the handshake.
	config.VerifyPeerCertificate = nil
	config.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		cert, err := clientCertificate(x.TLS, request)
		if err != nil {
			lower.mute()
		}
		return cert, err
	}
	return config
}

// clientCertificate picks a client certificate as crypto/tls does, except that having none is an error.
func clientCertificate(config *tls.Config, request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if config.GetClientCertificate != nil {
		cert, err := config.GetClientCertificate(request)
		switch {
		case err != nil:
			err = &ownFault{err}
		case cert == nil || len(cert.Certificate) == 0:
			err = errNoClientCertificate
		}
		return cert, err
	}
	for i := range config.Certificates {
		if request.SupportsCertificate(&config.Certificates[i]) == nil {
			return &config.Certificates[i], nil
		}
	}
	return nil, errNoClientCertificate
}

// verifyServer verifies the server's certificates as crypto/tls would have done in the handshake with the given
// configuration; used is the one derived from it.
func verifyServer(given, used *tls.Config, state tls.ConnectionState) error {
	var chains [][]*x509.Certificate
	if !given.InsecureSkipVerify {
		opts := x509.VerifyOptions{
			Roots:         given.RootCAs,
			CurrentTime:   used.Time(),
			DNSName:       used.ServerName,
			Intermediates: x509.NewCertPool(),
		}
		for _, cert := range state.PeerCertificates[1:] {
			opts.Intermediates.AddCert(cert)
		}
		var err error
		if chains, err = state.PeerCertificates[0].Verify(opts); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		state.VerifiedChains = chains
	}
	if given.VerifyPeerCertificate != nil {
		raw := make([][]byte, len(state.PeerCertificates))
		for i, cert := range state.PeerCertificates {
			raw[i] = cert.Raw
		}
		if err := given.VerifyPeerCertificate(raw, chains); err != nil {
			return &tlsError{err}
		}
	}
	if given.VerifyConnection != nil {
		if err := given.VerifyConnection(state); err != nil {
			return &tlsError{err}
		}
	}
	return nil
}

// alertOr returns the alert with which the server ended TLS, if any, instead of the error that followed from it. With
// TLS 1.3 a server that refuses the client's certificate says so after the client's side of the handshake, and closes
// the connection; a request sent then fails before the alert is read.
func (w *wire) alertOr(ctx context.Context, err error) error {
	if w.tls == nil || ReasonOf(err) != ReasonReset {
		return err
	}
	defer interruptible(ctx, w.raw)()
	if _, alert := w.tls.Read(make([]byte, 1)); isAlert(alert) {
		return fmt.Errorf("read answer: %w", alert)
	}
	return err
}

// asTLSError makes any complaint of crypto/tls about what the server sends a TLS error; a connection that breaks or
// times out in the handshake stays what it is.
func asTLSError(err error) error {
	if ReasonOf(err) == ReasonProtocol {
		return &tlsError{err}
	}
	return err
}

// mutableConn can be told to send nothing more while pretending to.
type mutableConn struct {
	net.Conn
	muted atomic.Bool
}

func (c *mutableConn) mute() { c.muted.Store(true) }

func (c *mutableConn) Write(b []byte) (int, error) {
	if c.muted.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}
