// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// licenseCollector tells when the licence of Consul Enterprise expires. Without Enterprise it is not supported.
//
// Requests: /v1/operator/license. ACL: operator:read. Two series.
type licenseCollector struct{ valid, expiry *desc }

func newLicenseCollector(define *definitions) collector {
	return &licenseCollector{
		valid:  define.gauge("consul_license_valid", "Whether the licence is valid (1) or not (0); Consul Enterprise only."),
		expiry: define.gauge("consul_license_expiry_timestamp_seconds", "When the licence expires; Consul Enterprise only."),
	}
}

func (c *licenseCollector) collect(ctx context.Context, snap *cluster.Snapshot, out *families) error {
	reply, err := snap.License().Get(ctx)
	if err != nil {
		return err
	}
	out.flag(c.valid, reply.Valid)
	if reply.License != nil && !reply.License.ExpirationTime.IsZero() {
		out.add(c.expiry, unixSeconds(reply.License.ExpirationTime))
	}
	return nil
}
