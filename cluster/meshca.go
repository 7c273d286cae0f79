// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// meshCA is the authority of Consul's service mesh. Servers that are given no certificate for gRPC show one of it on
// their port 8503, which is there for cluster peering (Consul: tlsutil/config.go, IncomingGRPCConfig).
type meshCA struct {
	roots *x509.CertPool
	// trustDomain ends the names in its certificates.
	trustDomain string
}

var endpointMeshRoots = consul.Endpoint{Path: "/v1/connect/ca/roots"}

// meshCARoots is the list of the authority's roots; reading it needs no right.
func (s *Snapshot) meshCARoots() *Fact[api.CARootList] {
	return s.meshList.Start(s.ctx, answerOf[api.CARootList](s, endpointMeshRoots))
}

// meshAuthority is the authority of the service mesh.
func (s *Snapshot) meshAuthority() *Fact[*meshCA] {
	return s.mesh.Start(s.ctx, func(ctx context.Context) (*meshCA, error) {
		list, err := s.meshCARoots().Get(ctx)
		if err != nil {
			return nil, err
		}
		return newMeshCA(&list)
	})
}

func newMeshCA(list *api.CARootList) (*meshCA, error) {
	ca := &meshCA{roots: x509.NewCertPool(), trustDomain: list.TrustDomain}
	for _, root := range list.Roots {
		if root != nil && !ca.roots.AppendCertsFromPEM([]byte(root.RootCertPEM)) {
			return nil, fmt.Errorf("read %s: root %q is no certificate", endpointMeshRoots.Path, root.Name)
		}
	}
	return ca, nil
}

// MeshRoot is a root certificate of the service mesh.
type MeshRoot struct {
	ID string
	// Active is whether it is the one that signs.
	Active   bool
	NotAfter time.Time
}

// MeshRoots are the root certificates of the service mesh: the active one, and those that it has replaced lately.
func (s *Snapshot) MeshRoots() *Fact[[]MeshRoot] {
	return s.meshRoots.Start(s.ctx, func(ctx context.Context) ([]MeshRoot, error) {
		list, err := s.meshCARoots().Get(ctx)
		if err != nil {
			return nil, err // What was read before it may be half a root.
		}
		return newMeshRoots(&list), nil
	})
}

func newMeshRoots(list *api.CARootList) []MeshRoot {
	var roots []MeshRoot
	for _, root := range list.Roots {
		if root != nil && root.NotAfter != nil {
			roots = append(roots, MeshRoot{root.ID, root.ID == list.ActiveRootID, *root.NotAfter})
		}
	}
	return roots
}

// tlsFor returns the client's side of TLS for a server in the datacenter.
func (ca *meshCA) tlsFor(host, datacenter string) *tls.Config {
	return consul.WithAnyName(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ca.roots, ServerName: host},
		"server."+datacenter+".peering."+ca.trustDomain)
}
