// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"

	"github.com/hashicorp/consul/api"
)

// endpointACLReplication is answered by the leader alone and needs no right (Consul: ACL.ReplicationStatus).
var endpointACLReplication = endpoint{path: "/v1/acl/replication", leaderOnly: true}

// ACLReplication is how the datacenter copies tokens and policies from the primary one; in the primary it is not enabled. Times are zero
// for never.
type ACLReplication = api.ACLReplicationStatus

// ACLReplication is the leader's account. On a cluster without ACLs it is an ErrRefused, which is found out from the agent's
// configuration where it tells, because Consul would log an error.
func (s *Snapshot) ACLReplication() *Fact[ACLReplication] {
	return s.aclReplication.start(s.ctx, func(ctx context.Context) (status ACLReplication, err error) {
		if agent, err := s.Agent().Get(ctx); err == nil && agent.ACLsOff {
			return status, refusedError{errACLsOff}
		}
		err = s.readAgent(ctx, endpointACLReplication, &status)
		return status, err
	})
}

var errACLsOff = errors.New("the agent has ACLs switched off")
