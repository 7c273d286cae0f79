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

// requireLeader reports an error unless there is a leader, for an endpoint that only the leader answers. Without
// one it is not asked: servers would hold the request for seven seconds and then log an error.
func (s *Snapshot) requireLeader(ctx context.Context, ep endpoint) error {
	leader, err := s.StatusLeader().Get(ctx)
	if err == nil && leader == "" {
		err = errNoLeader
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", ep.name(), err)
	}
	return nil
}
