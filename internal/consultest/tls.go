// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// defaultCertLifetime is how long certificates are valid unless Options.CertLifetime says otherwise.
const defaultCertLifetime = 24 * time.Hour

// An authority issues the certificates of one cluster.
type authority struct {
	dir  string // where the files go
	file string // of the certificate
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes an authority that is valid for the lifetime.
func newAuthority(dir string, lifetime time.Duration) (ca *authority, err error) {
	ca = &authority{dir: dir}
	ca.file, _, err = ca.sign("ca", lifetime, &x509.Certificate{
		Subject:               pkix.Name{CommonName: "consultest CA"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	})
	return ca, err
}

// issue makes a certificate for servers and clients of TLS alike, because Consul's agents are both. The first of the
// DNS names is also the common name.
func (ca *authority) issue(
	name string, lifetime time.Duration, dnsNames []string, ips ...net.IP,
) (certFile, keyFile string, err error) {
	return ca.sign(name, lifetime, &x509.Certificate{
		Subject:     pkix.Name{CommonName: dnsNames[0]},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    dnsNames,
		IPAddresses: ips,
	})
}

// sign writes a certificate like this one and its key to dir/name.pem and dir/name-key.pem. The first certificate
// signs itself and all that follow.
func (ca *authority) sign(
	name string, lifetime time.Duration, template *x509.Certificate,
) (certFile, keyFile string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make the certificate of %s: %w", name, err)
		}
	}()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	now := time.Now()
	template.NotBefore = now.AddDate(-1, 0, 0) // It was issued for more than a year, however soon it expires.
	template.NotAfter = now.Add(lifetime)
	if ca.cert == nil {
		ca.cert, ca.key = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return "", "", err
	}
	if ca.cert == template {
		if ca.cert, err = x509.ParseCertificate(der); err != nil {
			return "", "", err
		}
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(ca.dir, name+".pem"), filepath.Join(ca.dir, name+"-key.pem")
	return certFile, keyFile, errors.Join(
		writePEM(certFile, "CERTIFICATE", der),
		writePEM(keyFile, "PRIVATE KEY", keyDER),
	)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// Certificates are an authority and what it has issued for a server on localhost that is none of Consul's, and for its
// clients.
type Certificates struct {
	CACert, Cert, Key string // Files.
}

// NewCertificates makes an authority and a certificate for a test.
func NewCertificates(tb testing.TB) Certificates {
	tb.Helper()
	ca := must.Get(newAuthority(tb.TempDir(), defaultCertLifetime))(tb)
	cert, key, err := ca.issue("localhost", defaultCertLifetime, []string{"localhost"}, net.IPv4(127, 0, 0, 1))
	must.Do(tb, err)
	return Certificates{CACert: ca.file, Cert: cert, Key: key}
}
