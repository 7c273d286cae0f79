// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// The certificates in use are told with what the files hold now. What cannot be read changes nothing.
func TestOwnCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Now().Truncate(time.Second)
	ca, caFile, _ := newCertUntil(t, dir, "ca", nil, now.Add(300*time.Hour))
	_, certFile, keyFile := newCertUntil(t, dir, "client", &ca, now.Add(20*time.Hour))
	own := func(file, subject string, authority bool, left time.Duration) OwnCertificate {
		return OwnCertificate{filepath.Join(dir, file), subject, authority, now.Add(left), testLifetime}
	}
	opened := must.Get(TLSFiles{CAFile: caFile, CertFile: certFile, KeyFile: keyFile}.Open(nil))(t)
	expect := func(client, authority OwnCertificate) {
		t.Helper()
		for i, got := range opened.Certificates(now) {
			got.Expiry = got.Expiry.Local()
			if diff := cmp.Diff([]OwnCertificate{client, authority}[i], got); diff != "" {
				t.Errorf("certificates differ (-want +got):\n%s", diff)
			}
		}
	}
	authority := own("ca.pem", "ca", true, 300*time.Hour)
	expect(own("client.pem", "client", false, 20*time.Hour), authority)

	// Renewed, then broken.
	newCertUntil(t, dir, "client", &ca, now.Add(40*time.Hour))
	renewed := own("client.pem", "client", false, 40*time.Hour)
	expect(renewed, authority)
	must.Do(t, os.WriteFile(certFile, []byte("nothing"), 0o600))
	expect(renewed, authority)
	if opened.Failing() == nil {
		t.Error("the broken file is not noticed")
	}

	// Expired: it is told all the same. So it is with a chain, of which the first to expire counts.
	newCertUntil(t, dir, "client", &ca, now.Add(-30*time.Minute))
	expect(own("client.pem", "client", false, -30*time.Minute), authority)
	newCertUntil(t, dir, "client", &ca, now.Add(400*time.Hour))
	must.Do(t, os.WriteFile(certFile,
		append(must.Get(os.ReadFile(certFile))(t), must.Get(os.ReadFile(caFile))(t)...), 0o600))
	expect(own("client.pem", "ca", false, 300*time.Hour), authority)

	var none *TLS
	if got := none.Certificates(now); got != nil {
		t.Errorf("without files there is %v", got)
	}
}

// Of several authorities the next one to expire is told, and one that is expired only when all are.
func TestOwnCertificates_Authorities(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	for _, tc := range []struct {
		name string
		left []time.Duration // Of the authorities in the bundle.
		want time.Duration
	}{
		{"one", []time.Duration{time.Hour}, time.Hour},
		{"old and new", []time.Duration{time.Hour, 9 * time.Hour}, time.Hour},
		{"expired and new", []time.Duration{-time.Minute, 9 * time.Hour}, 9 * time.Hour},
		{"expired at this moment, and new", []time.Duration{0, 9 * time.Hour}, 9 * time.Hour},
		{"all expired", []time.Duration{-time.Minute, -2 * time.Minute}, -time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for i, left := range tc.left {
				_, _, key := newCertUntil(t, dir, string(rune('a'+i)), nil, now.Add(left))
				must.Do(t, os.Remove(key))
			}
			opened := must.Get(TLSFiles{CAPath: dir}.Open(nil))(t)
			if got := opened.Certificates(now)[0].Expiry.Sub(now); got != tc.want {
				t.Errorf("%s are left; want %s", got, tc.want)
			}
		})
	}
}

// An authority that was issued anew for its key stands beside the old one until that is removed.
func TestOwnCertificates_Reissued(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Now().Truncate(time.Second)
	ca, file, _ := newCertUntil(t, dir, "ca", nil, now.Add(time.Hour))
	old := must.Get(os.ReadFile(file))(t)
	anew := *ca.Leaf
	anew.NotAfter = now.Add(100 * time.Hour)
	der := must.Get(x509.CreateCertificate(rand.Reader, &anew, &anew, ca.Leaf.PublicKey, ca.PrivateKey))(t)
	renewed := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	must.Do(t, os.WriteFile(file, bytes.Join([][]byte{old, renewed, old}, nil), 0o600))
	opened := must.Get(TLSFiles{CAFile: file}.Open(nil))(t)
	if got := opened.Certificates(now)[0].Expiry.Sub(now); got != 100*time.Hour {
		t.Errorf("%s are left; want 100 hours", got)
	}
}
