// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// defaultCertLifetime is how long certificates are valid unless Options.CertLifetime says otherwise.
const defaultCertLifetime = 24 * time.Hour

// An authority issues the certificates of one cluster.
type authority struct {
	dir  string // where the files go
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	file string // of the certificate
}

// newAuthority makes an authority that is valid for the lifetime.
func newAuthority(dir string, lifetime time.Duration) (*authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the folder for certificates: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate the authority's key: %w", err)
	}
	template, err := template("consultest CA", lifetime)
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("sign the authority's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse the authority's certificate: %w", err)
	}
	file := filepath.Join(dir, "ca.pem")
	if err := writePEM(file, "CERTIFICATE", der); err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{dir: dir, cert: cert, key: key, pool: pool, file: file}, nil
}

// issue writes a certificate, for servers and clients of TLS alike as Consul's agents are both, and its key to
// dir/name.pem and dir/name-key.pem. The first of the DNS names is also the common name.
func (ca *authority) issue(name string, lifetime time.Duration, dnsNames []string, ips ...net.IP) (certFile, keyFile string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("generate the key of %s: %w", name, err)
	}
	template, err := template(dnsNames[0], lifetime)
	if err != nil {
		return "", "", err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.DNSNames = dnsNames
	template.IPAddresses = ips
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return "", "", fmt.Errorf("sign the certificate of %s: %w", name, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", fmt.Errorf("encode the key of %s: %w", name, err)
	}
	certFile = filepath.Join(ca.dir, name+".pem")
	keyFile = filepath.Join(ca.dir, name+"-key.pem")
	if err := writePEM(certFile, "CERTIFICATE", der); err != nil {
		return "", "", err
	}
	if err := writePEM(keyFile, "PRIVATE KEY", keyDER); err != nil {
		return "", "", err
	}
	return certFile, keyFile, nil
}

// clientConfig returns the TLS configuration of an API client that trusts the authority and shows this certificate.
func (ca *authority) clientConfig(certFile, keyFile string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("load the API client's certificate: %w", err)
	}
	return &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, nil
}

// template returns what all certificates have in common.
func template(commonName string, lifetime time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName, Organization: []string{"consultest"}},
		NotBefore:    now.AddDate(-1, 0, 0), // As one that was issued for a year and more, however soon it expires.
		NotAfter:     now.Add(lifetime),
	}, nil
}

// writePEM writes one PEM block to a new file that only the user can read.
func writePEM(file, kind string, der []byte) error {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return fmt.Errorf("write a %s: %w", kind, err)
	}
	return nil
}

// Certificates are an authority and what it has issued for a server on localhost
// that is none of Consul's, and for its clients.
type Certificates struct {
	CACert, Cert, Key string // Files.
}

// NewCertificates makes an authority and a certificate for a test.
func NewCertificates(tb testing.TB) Certificates {
	tb.Helper()
	ca, err := newAuthority(tb.TempDir(), defaultCertLifetime)
	if err != nil {
		tb.Fatal(err)
	}
	cert, key, err := ca.issue("localhost", defaultCertLifetime, []string{"localhost"}, net.IPv4(127, 0, 0, 1))
	if err != nil {
		tb.Fatal(err)
	}
	return Certificates{CACert: ca.file, Cert: cert, Key: key}
}
