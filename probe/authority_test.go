// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe_test

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// testCA is a certificate authority for one test.
type testCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

// leaf describes a certificate; the zero value is good for 127.0.0.1 for an hour.
type leaf struct {
	// expires is when it ends, from now on; default an hour.
	expires time.Duration
	// withCA has the server send the authority's certificate too.
	withCA bool
}

// authority makes a new authority. All have the same name, which is what a server names in its request for a
// certificate, unless distinct names are given.
func authority(t *testing.T, name ...string) *testCA {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: append(name, "probe test")[0]},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	ca := &testCA{cert: template, pool: x509.NewCertPool()}
	ca.cert, ca.key = ca.sign(t, template)
	ca.pool.AddCert(ca.cert)
	return ca
}

// sign makes a certificate with a key of its own. An authority without a key signs itself.
func (ca *testCA) sign(t *testing.T, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key := must.Get(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	der := must.Get(x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, cmp.Or(ca.key, key)))(t)
	return must.Get(x509.ParseCertificate(der))(t), key
}

// issue makes a certificate for servers and clients.
func (ca *testCA) issue(t *testing.T, l leaf) tls.Certificate {
	t.Helper()
	signed, key := ca.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(cmp.Or(l.expires, time.Hour)),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	cert := tls.Certificate{Certificate: [][]byte{signed.Raw}, PrivateKey: key, Leaf: signed}
	if l.withCA {
		cert.Certificate = append(cert.Certificate, ca.cert.Raw)
	}
	return cert
}

func refuse([][]byte, [][]*x509.Certificate) error { return errors.New("no") }
