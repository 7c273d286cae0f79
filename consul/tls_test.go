// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newCert makes a certificate for the names, signed by parent or by itself, and writes it and its key into dir.
func newCert(
	t *testing.T, dir, name string, parent *tls.Certificate, names ...string,
) (cert tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	signer, signerKey := template, any(key)
	if parent != nil {
		signer, signerKey = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, &key.PublicKey, signerKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem")
	for path, content := range map[string][]byte{certFile: certPEM, keyFile: keyPEM} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if cert, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	return cert, certFile, keyFile
}

// handshake connects the two sides over loopback and returns the client's error.
func handshake(t *testing.T, client, server *tls.Config) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = tls.Server(conn, server).HandshakeContext(ctx)
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	err = tls.Client(conn, client).HandshakeContext(ctx)
	conn.Close()
	<-done
	return err
}

func TestTLSFiles(t *testing.T) {
	t.Parallel()
	dir, folder := t.TempDir(), t.TempDir()
	ca, caFile, _ := newCert(t, dir, "ca", nil)
	_, otherFile, otherKey := newCert(t, dir, "other", nil)
	server, certFile, keyFile := newCert(t, dir, "server", &ca, "consul.example")
	newCert(t, folder, "also", nil)
	if err := os.Remove(filepath.Join(folder, "also-key.pem")); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	serverConfig := &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAnyClientCert}
	for _, tc := range []struct {
		name    string
		files   TLSFiles
		want    string // Of the error of Open.
		connect string // Of the error of a handshake; only if want is empty.
	}{
		{"trusted", TLSFiles{CAFile: caFile, CertFile: certFile, KeyFile: keyFile, ServerName: "consul.example"}, "", ""},
		{
			"another name",
			TLSFiles{CAFile: caFile, CertFile: certFile, KeyFile: keyFile, ServerName: "x.example"},
			"",
			"not x.example",
		},
		{
			"another authority",
			TLSFiles{CAFile: otherFile, CertFile: certFile, KeyFile: keyFile, ServerName: "consul.example"},
			"",
			"unknown authority",
		},
		{
			"folder of other authorities",
			TLSFiles{CAPath: folder, CertFile: certFile, KeyFile: keyFile, ServerName: "consul.example"},
			"",
			"unknown authority",
		},
		{"unverified", TLSFiles{Insecure: true, CertFile: certFile, KeyFile: keyFile}, "", ""},
		{"key of another", TLSFiles{CertFile: certFile, KeyFile: otherKey}, "private key does not match public key", ""},
		{"no key", TLSFiles{CertFile: certFile}, "needs both a certificate file and a key file", ""},
		{"no such folder", TLSFiles{CAPath: filepath.Join(dir, "none")}, "no such file or directory", ""},
		{"empty folder", TLSFiles{CAPath: empty}, "has no file", ""},
		{"a key is no authority", TLSFiles{CAFile: keyFile}, "has no PEM certificate", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			opened, err := tc.files.Open(nil)
			expectError(t, err, tc.want)
			if err == nil {
				expectError(t, handshake(t, opened.Config(), serverConfig), tc.connect)
			}
		})
	}
}

func expectError(t *testing.T, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
		t.Errorf("error %v; want %q", err, want)
	}
}

func TestWithAnyName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, _, _ := newCert(t, dir, "ca", nil)
	other, _, _ := newCert(t, dir, "other", nil)
	server, _, _ := newCert(t, dir, "server", &ca, "server.dc1.consul")
	roots := func(c tls.Certificate) *tls.Config {
		pool := x509.NewCertPool()
		pool.AddCert(c.Leaf)
		return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	serverConfig := &tls.Config{Certificates: []tls.Certificate{server}}
	for _, tc := range []struct {
		name  string
		base  *tls.Config
		names []string
		want  string
	}{
		{"the second name", roots(ca), []string{"10.0.0.1", "server.dc1.consul"}, ""},
		{"none of the names", roots(ca), []string{"10.0.0.1", "server.dc2.consul"}, "10.0.0.1"},
		{"another authority", roots(other), []string{"server.dc1.consul"}, "unknown authority"},
		{"the system's authorities", nil, []string{"server.dc1.consul"}, "unknown authority"},
		{"unverified", &tls.Config{InsecureSkipVerify: true}, []string{"x"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			expectError(t, handshake(t, WithAnyName(tc.base, tc.names...), serverConfig), tc.want)
		})
	}
}

func TestWithServerName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, _, _ := newCert(t, dir, "ca", nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	base := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	server, _, _ := newCert(t, dir, "server", &ca, "a.server.dc1.corp", "server.dc1.corp")
	client, _, _ := newCert(t, dir, "client", &ca, "client.dc1.corp")
	named := base.Clone()
	named.ServerName = "client.dc1.corp"
	for _, tc := range []struct {
		name               string
		base               *tls.Config
		datacenter, domain string
		cert               tls.Certificate
		want               string
	}{
		{"its datacenter", base, "dc1", "corp", server, ""},
		{"another datacenter", base, "dc2", "corp", server, "not server.dc2.corp"},
		{"a client's certificate", base, "dc1", "corp", client, "not server.dc1.corp"},
		{"datacenter unknown", base, "", "corp", server, ""},
		{"datacenter unknown, another domain", base, "", "consul", server, "server.<datacenter>.consul"},
		{"datacenter unknown, a client's certificate", base, "", "corp", client, "server.<datacenter>.corp"},
		{"the name the user wants", named, "", "corp", client, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			config := WithServerName(tc.base, tc.datacenter, tc.domain)
			expectError(t, handshake(t, config, &tls.Config{Certificates: []tls.Certificate{tc.cert}}), tc.want)
		})
	}
}
