// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

// Config reads the files and returns the configuration they make, or all that is wrong with them. The client certificate is
// read anew for each connection, so that a renewed one is used at once.
func (f TLSFiles) Config() (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         f.ServerName,
		InsecureSkipVerify: f.Insecure, // The user asks for it.
	}
	var errs []error
	authorities, err := f.authorities()
	if err != nil {
		errs = append(errs, err)
	}
	config.RootCAs = authorities
	switch {
	case f.CertFile == "" && f.KeyFile == "":
	case f.CertFile == "" || f.KeyFile == "":
		errs = append(errs, errors.New("a client certificate needs both a certificate file and a key file"))
	default:
		if _, err := f.clientCertificate(nil); err != nil {
			errs = append(errs, err)
		}
		config.GetClientCertificate = f.clientCertificate
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return config, nil
}

func (f TLSFiles) clientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("client certificate %s with key %s: %w", f.CertFile, f.KeyFile, err)
	}
	return &cert, nil
}

// authorities returns nil for the system's.
func (f TLSFiles) authorities() (*x509.CertPool, error) {
	var files []string
	switch {
	case f.CAFile != "":
		files = []string{f.CAFile}
	case f.CAPath != "":
		entries, err := os.ReadDir(f.CAPath)
		if err != nil {
			return nil, fmt.Errorf("authorities: %w", err)
		}
		for _, e := range entries {
			if !e.IsDir() {
				files = append(files, filepath.Join(f.CAPath, e.Name()))
			}
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("authorities: folder %s has no file", f.CAPath)
		}
	default:
		return nil, nil // No pool is how crypto/tls spells the system's.
	}
	pool := x509.NewCertPool()
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("authorities: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("authorities: file %s has no PEM certificate", file)
		}
	}
	return pool, nil
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

// withServerName returns the configuration with the name to expect in the certificate of a server's port 8300, unless it has
// one: server.<datacenter>.<domain>, of any datacenter when that is not known.
func withServerName(base *tls.Config, datacenter, domain string) *tls.Config {
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

// withAnyName returns a configuration that accepts a certificate for any of the names, the first of which is sent to the
// server.
func withAnyName(base *tls.Config, names ...string) *tls.Config {
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

// withNames returns a configuration that accepts a certificate whose names verify says are right. The server is asked for
// the name sent.
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
