// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import "github.com/zervigo/consul_cluster_exporter/cluster"

// judgeLogLag returns by server name how many entries its log is behind the longest log among the servers that
// answered. Servers whose log position is unknown are not in it. The answers are some milliseconds apart, so on a
// busy cluster a few entries of lag mean nothing.
func judgeLogLag(reports []cluster.Report) map[string]uint64 {
	var longest uint64
	for _, r := range reports {
		longest = max(longest, r.RPC.Raft.LastLogIndex)
	}
	lag := make(map[string]uint64)
	for _, r := range reports {
		if r.RPC.Raft.StatsKnown {
			lag[r.Server.Name] = longest - r.RPC.Raft.LastLogIndex
		}
	}
	return lag
}
