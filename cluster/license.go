// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// endpointLicense is there only in Consul Enterprise; elsewhere it is answered with 404.
var endpointLicense = consul.Endpoint{Path: "/v1/operator/license"}

// License is that of Consul Enterprise.
func (s *Snapshot) License() *Fact[api.LicenseReply] {
	return s.license.Start(s.ctx, answerOf[api.LicenseReply](s, endpointLicense))
}
