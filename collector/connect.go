// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"strconv"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// newConnectCollector exports when the root certificates of the service mesh expire.
//
// Requests: /v1/connect/ca/roots. ACL: none. One series per root; Consul keeps the roots that the active one has
// replaced for as long as their certificates may be in use.
func newConnectCollector(define *definitions) collector {
	expiry := define.gauge("consul_connect_ca_root_expiry_timestamp_seconds",
		"When a root certificate of the service mesh expires. Active is true for the one that signs.",
		"root", "active")
	return ofList((*cluster.Snapshot).MeshRoots, func(root cluster.MeshRoot, out *families) {
		out.add(expiry, unixSeconds(root.NotAfter), root.ID, strconv.FormatBool(root.Active))
	})
}
