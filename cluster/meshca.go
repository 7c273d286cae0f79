// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/hashicorp/consul/api"
)

// meshCA is the authority of Consul's service mesh. Servers that are given no certificate for gRPC show one of it on their port
// 8503, which is there for cluster peering (Consul: tlsutil/config.go, IncomingGRPCConfig).
type meshCA struct {
	roots *x509.CertPool
	// trustDomain ends the names in its certificates.
	trustDomain string
}

var endpointMeshRoots = endpoint{path: "/v1/connect/ca/roots"}

// meshAuthority is the authority of the service mesh; reading it needs no right.
func (s *Snapshot) meshAuthority() *Fact[*meshCA] {
	return s.mesh.start(s.ctx, func(ctx context.Context) (*meshCA, error) {
		var list api.CARootList
		if err := s.readAgent(ctx, endpointMeshRoots, &list); err != nil {
			return nil, err
		}
		ca := &meshCA{roots: x509.NewCertPool(), trustDomain: list.TrustDomain}
		for _, root := range list.Roots {
			if root != nil && !ca.roots.AppendCertsFromPEM([]byte(root.RootCertPEM)) {
				return nil, fmt.Errorf("read %s: root %q is no certificate", endpointMeshRoots.path, root.Name)
			}
		}
		return ca, nil
	})
}

// tlsFor returns the client's side of TLS for a server in the datacenter.
func (ca *meshCA) tlsFor(host, datacenter string) *tls.Config {
	return withAnyName(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ca.roots, ServerName: host},
		"server."+datacenter+".peering."+ca.trustDomain)
}
