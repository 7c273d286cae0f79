// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
)

// errNoLeader means that only the leader could have answered.
var errNoLeader = errors.New("there is no leader, and only the leader tells")

// readLeader reads an endpoint of the configured agent whose answer always comes from the leader, whatever the request says. Without one
// it is not asked: servers would hold the request for seven seconds and then log an error. Both questions together have the time of one.
func (s *Snapshot) readLeader(ctx context.Context, ep endpoint, out any) error {
	ctx, cancel := context.WithTimeout(ctx, s.cluster.client.opts.Timeout)
	defer cancel()
	leader, err := s.StatusLeader().Get(ctx)
	if err == nil && leader == "" {
		err = errNoLeader
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", ep.name(), err)
	}
	return s.readAgent(ctx, ep, out)
}
