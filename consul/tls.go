// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/zervigo/consul_cluster_exporter/internal/files"
)

// TLSFiles say how to verify an agent's HTTPS API and how to be verified by it. Empty fields mean the system's
// defaults.
type TLSFiles struct {
	// CAFile is a PEM file of authorities to trust instead of the system's; CAPath is a folder of such files.
	CAFile, CAPath string
	// CertFile and KeyFile are the client certificate.
	CertFile, KeyFile string
	// ServerName is expected in the server's certificate instead of the host asked.
	ServerName string
	// Insecure leaves the server's certificate unverified.
	Insecure bool
}

// TLS is the client's side of TLS, made from files that are read again when a connection is opened, so that renewed
// ones are used at once. See files.Watched. Connections that are open do not notice.
type TLS struct {
	// authorities and certificate are nil where no file is named.
	authorities *files.Watched[*authorities]
	certificate *files.Watched[*shown]

	mu sync.Mutex
	// config is the one made last. It is replaced, and never changed, when the authorities are others. Guarded by mu.
	config *tls.Config
}

// Open reads the files for the first time and returns what they make, or all that is wrong with them. When a later
// read of the authorities or of the certificate fails where the one before did not, onError is called; nil means that
// nobody wants to know.
func (f TLSFiles) Open(onError func(error)) (*TLS, error) {
	t := &TLS{config: &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         f.ServerName,
		InsecureSkipVerify: f.Insecure, // The user asks for it.
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}}
	var authoritiesErr, certificateErr error
	if path := cmp.Or(f.CAFile, f.CAPath); path != "" {
		source := files.Source{Path: path, Folder: f.CAFile == ""}
		if t.authorities, authoritiesErr = files.Watch(parseAuthorities, onError, source); authoritiesErr != nil {
			authoritiesErr = fmt.Errorf("authorities: %w", authoritiesErr)
		}
	}
	switch {
	case f.CertFile == "" && f.KeyFile == "":
	case f.CertFile == "" || f.KeyFile == "":
		certificateErr = errors.New("a client certificate needs both a certificate file and a key file")
	default:
		t.certificate, certificateErr = files.Watch(parseCertificate, onError,
			files.Source{Path: f.CertFile}, files.Source{Path: f.KeyFile})
		if certificateErr != nil {
			certificateErr = fmt.Errorf("client certificate: %w", certificateErr)
		}
	}
	if err := errors.Join(authoritiesErr, certificateErr); err != nil {
		return nil, err
	}
	if t.authorities != nil {
		t.config.RootCAs = t.authorities.Value().pool
	}
	if t.certificate != nil {
		t.config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &t.certificate.Value().pair, nil
		}
	}
	return t, nil
}

// Config returns the configuration for connections to be opened now, which is not to be changed. It is the same one
// as long as the authorities are the same. Without files, for which t is nil, there is none.
func (t *TLS) Config() *tls.Config {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.authorities == nil {
		return t.config
	}
	if pool := t.authorities.Value().pool; pool != t.config.RootCAs {
		t.config = t.config.Clone()
		t.config.RootCAs = pool
		t.config.ClientSessionCache = tls.NewLRUClientSessionCache(0) // The old authorities vouched for its sessions.
	}
	return t.config
}

// Failing returns why files could not be read again; nil if all could.
func (t *TLS) Failing() error {
	var errs []error
	if t.authorities != nil {
		errs = append(errs, t.authorities.Failing())
	}
	if t.certificate != nil {
		errs = append(errs, t.certificate.Failing())
	}
	return errors.Join(errs...)
}

// withName returns the configuration with a name to expect in the server's certificate, unless it has one.
func withName(base *tls.Config, name string) *tls.Config {
	config := base.Clone()
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if config.ServerName == "" {
		config.ServerName = name
	}
	return config
}

// WithServerName returns the configuration with the name to expect in the certificate of a server's port 8300, unless
// it has one: server.<datacenter>.<domain>, of any datacenter when that is not known.
func WithServerName(base *tls.Config, datacenter, domain string) *tls.Config {
	if datacenter != "" || (base != nil && base.ServerName != "") {
		return withName(base, "server."+datacenter+"."+domain)
	}
	return withNames(base, "server."+domain, func(leaf *x509.Certificate) error {
		for _, name := range leaf.DNSNames {
			if strings.HasPrefix(name, "server.") && strings.HasSuffix(name, "."+domain) {
				return nil
			}
		}
		return x509.HostnameError{Certificate: leaf, Host: "server.<datacenter>." + domain}
	})
}

// WithAnyName returns a configuration that accepts a certificate for any of the names, the first of which is sent to
// the server.
func WithAnyName(base *tls.Config, names ...string) *tls.Config {
	return withNames(base, names[0], func(leaf *x509.Certificate) error {
		var first error
		for _, name := range names {
			err := leaf.VerifyHostname(name)
			if err == nil {
				return nil
			}
			if first == nil {
				first = err
			}
		}
		return first
	})
}

// withNames returns a configuration that accepts a certificate whose names verify says are right. The server is asked
// for the name sent.
func withNames(base *tls.Config, sent string, verify func(*x509.Certificate) error) *tls.Config {
	config := withName(base, sent)
	if config.InsecureSkipVerify {
		return config
	}
	config.InsecureSkipVerify = true // VerifyConnection verifies.
	config.VerifyConnection = func(state tls.ConnectionState) error {
		opts := x509.VerifyOptions{Roots: config.RootCAs, Intermediates: x509.NewCertPool()}
		for _, cert := range state.PeerCertificates[1:] {
			opts.Intermediates.AddCert(cert)
		}
		leaf := state.PeerCertificates[0]
		_, err := leaf.Verify(opts)
		if err == nil {
			err = verify(leaf)
		}
		if err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		return nil
	}
	return config
}
