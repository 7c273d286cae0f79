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

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// testLifetime is that of all certificates of tests.
const testLifetime = 1000 * time.Hour

// newCert makes a certificate for the names, signed by parent or by itself, and writes it and its key into dir.
func newCert(
	t *testing.T, dir, name string, parent *tls.Certificate, names ...string,
) (cert tls.Certificate, certFile, keyFile string) {
	t.Helper()
	return newCertUntil(t, dir, name, parent, time.Now().Add(time.Hour), names...)
}

// newCertUntil makes one that expires at this time.
func newCertUntil(
	t *testing.T, dir, name string, parent *tls.Certificate, expiry time.Time, names ...string,
) (cert tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key := must.Get(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: names,
		NotBefore: expiry.Add(-testLifetime), NotAfter: expiry,
		IsCA: parent == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	signer, signerKey := template, any(key)
	if parent != nil {
		signer, signerKey = parent.Leaf, parent.PrivateKey
	}
	der := must.Get(x509.CreateCertificate(rand.Reader, template, signer, &key.PublicKey, signerKey))(t)
	write := func(file, kind string, der []byte) (path string) {
		path = filepath.Join(dir, file)
		must.Do(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	certFile = write(name+".pem", "CERTIFICATE", der)
	keyFile = write(name+"-key.pem", "PRIVATE KEY", must.Get(x509.MarshalPKCS8PrivateKey(key))(t))
	return must.Get(tls.LoadX509KeyPair(certFile, keyFile))(t), certFile, keyFile
}

// handshake connects the two sides over loopback and returns the client's error.
func handshake(t *testing.T, client, server *tls.Config) error {
	t.Helper()
	l := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
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
	conn := must.Get(net.Dial("tcp", l.Addr().String()))(t)
	err := tls.Client(conn, client).HandshakeContext(ctx)
	conn.Close()
	<-done
	return err
}

func TestTLSFiles(t *testing.T) {
	t.Parallel()
	dir, folder, empty := t.TempDir(), t.TempDir(), t.TempDir()
	ca, caFile, _ := newCert(t, dir, "ca", nil)
	_, otherFile, otherKey := newCert(t, dir, "other", nil)
	server, certFile, keyFile := newCert(t, dir, "server", &ca, "consul.example")
	_, _, alsoKey := newCert(t, folder, "also", nil)
	must.Do(t, os.Remove(alsoKey))
	serverConfig := &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAnyClientCert}
	certified := func(f TLSFiles) TLSFiles {
		f.CertFile, f.KeyFile = certFile, keyFile
		return f
	}
	for _, tc := range []struct {
		name    string
		files   TLSFiles
		want    string // Of the error of Open.
		connect string // Of the error of a handshake; only if want is empty.
	}{
		{"trusted", certified(TLSFiles{CAFile: caFile, ServerName: "consul.example"}), "", ""},
		{"another name", certified(TLSFiles{CAFile: caFile, ServerName: "x.example"}), "", "not x.example"},
		{"another authority", certified(TLSFiles{CAFile: otherFile, ServerName: "consul.example"}), "", "unknown authority"},
		{
			"folder of other authorities", certified(TLSFiles{CAPath: folder, ServerName: "consul.example"}), "",
			"unknown authority",
		},
		{"unverified", certified(TLSFiles{Insecure: true}), "", ""},
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

// expectError fails unless there is an error with this text, or none if the text is empty.
func expectError(t *testing.T, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
		t.Errorf("error %v; want %q", err, want)
	}
}

// Which certificates are accepted, by the names in them.
func TestServerNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, _, _ := newCert(t, dir, "ca", nil)
	other, _, _ := newCert(t, dir, "other", nil)
	server, _, _ := newCert(t, dir, "server", &ca, "a.server.dc1.corp", "server.dc1.corp")
	client, _, _ := newCert(t, dir, "client", &ca, "client.dc1.corp")
	roots := func(c tls.Certificate) *tls.Config {
		pool := x509.NewCertPool()
		pool.AddCert(c.Leaf)
		return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	base, unverified, named := roots(ca), &tls.Config{InsecureSkipVerify: true}, roots(ca)
	named.ServerName = "client.dc1.corp"
	for _, tc := range []struct {
		name   string
		config *tls.Config
		cert   tls.Certificate
		want   string
	}{
		{"the second of any", WithAnyName(base, "10.0.0.1", "server.dc1.corp"), server, ""},
		{"none of any", WithAnyName(base, "10.0.0.1", "server.dc2.corp"), server, "10.0.0.1"},
		{"another authority", WithAnyName(roots(other), "server.dc1.corp"), server, "unknown authority"},
		{"the system's authorities", WithAnyName(nil, "server.dc1.corp"), server, "unknown authority"},
		{"unverified", WithAnyName(unverified, "x"), server, ""},

		{"its datacenter", WithServerName(base, "dc1", "corp"), server, ""},
		{"another datacenter", WithServerName(base, "dc2", "corp"), server, "not server.dc2.corp"},
		{"a client's certificate", WithServerName(base, "dc1", "corp"), client, "not server.dc1.corp"},
		{"datacenter unknown", WithServerName(base, "", "corp"), server, ""},
		{"datacenter unknown, another domain", WithServerName(base, "", "consul"), server, "server.<datacenter>.consul"},
		{"datacenter unknown, a client's certificate", WithServerName(base, "", "corp"), client, "server.<datacenter>.corp"},
		{"the name the user wants", WithServerName(named, "", "corp"), client, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			expectError(t, handshake(t, tc.config, &tls.Config{Certificates: []tls.Certificate{tc.cert}}), tc.want)
		})
	}
}
