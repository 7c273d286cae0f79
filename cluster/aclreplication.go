// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// endpointACLReplication is answered by the leader alone and needs no right (Consul: ACL.ReplicationStatus).
var endpointACLReplication = consul.Endpoint{Path: "/v1/acl/replication"}

// ACLReplication is how the datacenter copies tokens and policies from the primary one. Times are zero for never.
type ACLReplication = api.ACLReplicationStatus

// ACLReplication is the leader's account. On a cluster without ACLs it is an ErrRefused.
func (s *Snapshot) ACLReplication() *Fact[ACLReplication] {
	return s.aclReplication.Start(s.ctx, answerOf[ACLReplication](s, endpointACLReplication))
}
