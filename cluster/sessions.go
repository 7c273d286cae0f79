// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import "context"

// endpointSessions answers with all sessions that the token may read.
var endpointSessions = endpoint{path: "/v1/session/list", hasMeta: true, chosen: true}

// Sessions is the number of sessions.
func (s *Snapshot) Sessions() *Fact[int] {
	return s.sessions.start(s.ctx, func(ctx context.Context) (int, error) {
		return s.countList(ctx, endpointSessions)
	})
}
