// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// newLicenseCollector exports when the license of Consul Enterprise expires. Without Enterprise it is not supported.
//
// Requests: /v1/operator/license. ACL: operator:read. Two series.
func newLicenseCollector(define *definitions) collector {
	valid := define.gauge("consul_license_valid",
		"1 if the license is valid, otherwise 0; Enterprise only.")
	expiry := define.gauge("consul_license_expiry_timestamp_seconds",
		"When the license expires; Enterprise only.")
	return ofFact((*cluster.Snapshot).License, func(reply api.LicenseReply, out *families) {
		out.flag(valid, reply.Valid)
		if reply.License != nil {
			out.instant(expiry, reply.License.ExpirationTime)
		}
	})
}
