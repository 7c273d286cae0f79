// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// endpointSessions answers with all sessions that the token may read.
var endpointSessions = consul.Endpoint{Path: "/v1/session/list", HasMeta: true, Chosen: true}

// Sessions is the number of sessions.
func (s *Snapshot) Sessions() *Fact[int] {
	return s.sessions.Start(s.ctx, func(ctx context.Context) (int, error) {
		return s.countList(ctx, endpointSessions)
	})
}
