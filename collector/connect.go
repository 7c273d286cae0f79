// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"strconv"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// connectCollector tells when the root certificates of the service mesh expire.
//
// Requests: /v1/connect/ca/roots. ACL: none. One series per root; Consul keeps the roots that the active one has
// replaced for as long as their certificates may be in use.
type connectCollector struct{ expiry *desc }

func newConnectCollector(define *definitions) collector {
	return &connectCollector{define.gauge("consul_connect_ca_root_expiry_timestamp_seconds",
		"When a root certificate of the service mesh expires, by its ID; active is true for the one that signs.", "root", "active")}
}

func (c *connectCollector) collect(ctx context.Context, snap *cluster.Snapshot, out *families) error {
	roots, err := snap.MeshRoots().Get(ctx)
	for _, r := range roots {
		out.add(c.expiry, unixSeconds(r.NotAfter), r.ID, strconv.FormatBool(r.Active))
	}
	return err
}
