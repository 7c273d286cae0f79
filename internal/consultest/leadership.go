// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"context"
	"fmt"

	"github.com/hashicorp/consul/api"
)

// TransferLeadership makes a server the leader, and waits until all others
// follow it. It does nothing if it is the leader already.
func (c *Cluster) TransferLeadership(ctx context.Context, to *Agent) error {
	return poll(ctx, to.Name+" to lead", func(ctx context.Context) error {
		leader, err := c.Leader(ctx)
		if err != nil || leader == to {
			return err
		}
		id, err := raftID(ctx, leader, to)
		if err != nil {
			return err
		}
		if _, err := leader.client.Operator().RaftLeaderTransfer(id, new(api.QueryOptions).WithContext(ctx)); err != nil {
			return fmt.Errorf("transfer the leadership from %s to %s: %w", leader.Name, to.Name, err)
		}
		return fmt.Errorf("%s led until now", leader.Name)
	})
}

// raftID returns the server's ID in the Raft configuration.
func raftID(ctx context.Context, leader, server *Agent) (string, error) {
	config, err := leader.client.Operator().RaftGetConfiguration(new(api.QueryOptions).WithContext(ctx))
	if err != nil {
		return "", fmt.Errorf("ask %s for the Raft configuration: %w", leader.Name, err)
	}
	for _, s := range config.Servers {
		if s.Node == server.Name {
			return s.ID, nil
		}
	}
	return "", fmt.Errorf("%s is not in the Raft configuration", server.Name)
}
