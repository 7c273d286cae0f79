// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// sessionsCollector counts the sessions, which hold locks. It is off by default, as the answer grows with them.
//
// Requests: /v1/session/list. ACL: session:read; sessions of nodes that the token may not read are left out of the
// answer. One series.
type sessionsCollector struct{ sessions *desc }

func newSessionsCollector(define *definitions) collector {
	return &sessionsCollector{define.gauge("consul_sessions", "Sessions, as far as the token may read them.")}
}

func (c *sessionsCollector) collect(ctx context.Context, snap *cluster.Snapshot, out *families) error {
	sessions, err := snap.Sessions().Get(ctx)
	if err != nil {
		return err
	}
	out.add(c.sessions, float64(sessions))
	return nil
}
