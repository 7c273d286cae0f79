// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
)

// ofOneCluster returns the evidence without the reports of another cluster whose gossip pool was merged with this
// one's, and the names of its servers: their Raft configuration has no server in common with this one's. Votes of two
// clusters are never added, and a leader of each is no split brain.
func ofOneCluster(e *inputs.Evidence) (own *inputs.Evidence, mixed []string) {
	one := *e
	var other []cluster.Report
	one.Reports, other = e.Topology.Split(e.Reports)
	return &one, wording.Names(other, func(r cluster.Report) (string, bool) { return r.Server.Name, true })
}
