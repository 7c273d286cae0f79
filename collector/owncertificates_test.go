// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"crypto/tls"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// The exporter's own certificates are exported by what they are for. What is for port 8300 too is there once.
func TestOwnCertificates(t *testing.T) {
	t.Parallel()
	http, rpc := consultest.NewCertificates(t), consultest.NewCertificates(t)
	open := func(files consul.TLSFiles) *consul.TLS { return must.Get(files.Open(nil))(t) }
	all := func(c consultest.Certificates) consul.TLSFiles {
		return consul.TLSFiles{CAFile: c.CACert, CertFile: c.Cert, KeyFile: c.Key}
	}
	shared := all(http)
	shared.CertFile, shared.KeyFile = rpc.Cert, rpc.Key
	const expiry = "consul_exporter_certificate_expiry_timestamp_seconds"
	leaf := func(c consultest.Certificates) (expires, lifetime float64) {
		cert := must.Get(tls.LoadX509KeyPair(c.Cert, c.Key))(t).Leaf
		return unixSeconds(cert.NotAfter), cert.NotAfter.Sub(cert.NotBefore).Seconds()
	}
	expires, lifetime := leaf(http)
	for name, tc := range map[string]struct {
		rpc  consul.TLSFiles
		uses []string
	}{
		"the same for both":     {all(http), []string{"http_client", "http_ca"}},
		"a certificate for rpc": {shared, []string{"http_client", "http_ca", "rpc_client"}},
		"all for rpc":           {all(rpc), []string{"http_client", "http_ca", "rpc_client", "rpc_ca"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			families := gatherAll(t, startFake(t).exporterWith(func(opts *cluster.Options, _ *Options) {
				opts.Client.TLS, opts.Ports.RPCTLSConfig = open(all(http)), open(tc.rpc)
			}))
			client := []string{"use", "http_client", "file", "localhost.pem", "subject", "localhost"}
			expectValue(t, families, expires, expiry, client...)
			expectValue(t, families, lifetime, "consul_exporter_certificate_lifetime_seconds", client...)
			count := 0
			for _, f := range families {
				if f.GetName() == expiry {
					count = len(f.GetMetric())
				}
			}
			for _, use := range tc.uses {
				if _, ok := value(families, expiry, "use", use); !ok || count != len(tc.uses) {
					t.Errorf("no %s among %d series, or too many; want %v", use, count, tc.uses)
				}
			}
		})
	}
}
