// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package verdict has pure functions that say what the servers' reports mean: who votes, who leads, whether the
// quorum is safe, and what may be stopped.
package verdict

import "github.com/zervigo/consul_cluster_exporter/cluster"

// Verdict is what the servers' reports mean for the cluster.
type Verdict struct {
	Quorum     Quorum
	Leadership Leadership
	// Configurations is the number of distinct Raft configurations that servers report.
	Configurations int
	// UnknownPeers is the number of Raft peers that no Serf member matches; it means nothing unless the topology's
	// MembersKnown.
	UnknownPeers int
	// LogLag has, by server name, how many entries its log is behind the longest one.
	LogLag map[string]uint64
	// Mixed are the names of the servers of another cluster whose gossip pool was merged with this one's; see judgeMixed.
	Mixed []string
}

// Judge draws all verdicts from one scrape's reports, one for each server of the topology. It is a pure function.
func Judge(t cluster.Topology, reports []cluster.Report) Verdict {
	mixed, reports := judgeMixed(t, reports)
	return Verdict{
		Quorum:         judgeQuorum(reports),
		Leadership:     judgeLeadership(reports),
		Configurations: judgeConfigurations(reports),
		UnknownPeers:   judgeUnknownPeers(t, reports),
		LogLag:         judgeLogLag(reports),
		Mixed:          mixed,
	}
}
