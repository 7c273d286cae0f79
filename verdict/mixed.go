// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
)

// judgeMixed names the servers of another cluster whose gossip pool was merged with this one's: their Raft configuration
// has no server in common with this one's. It also returns the other reports, the only ones that say anything about this
// cluster: votes of two clusters are never added, and a leader of each is no split brain.
func judgeMixed(t cluster.Topology, reports []cluster.Report) (mixed []string, own []cluster.Report) {
	own, other := t.Split(reports)
	return wording.Names(other, func(r cluster.Report) (string, bool) { return r.Server.Name, true }), own
}
