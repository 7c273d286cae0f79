// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package verdict has pure functions that say what the servers' reports mean: who votes, who leads, whether the
// quorum is safe, and what may be stopped.
package verdict

import "github.com/zervigo/consul_cluster_exporter/inputs"

// Verdict is what the servers' reports mean for the cluster.
type Verdict struct {
	Quorum     Quorum
	Leadership Leadership
	Writes     Writes
	// Voters has the state of each voter by the name of the server.
	Voters map[string]VoterState
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

// Judge draws all verdicts from the evidence of one scrape, which has a report for each server of the topology. It is a
// pure function.
func Judge(e *inputs.Evidence) Verdict {
	e, mixed := ofOneCluster(e)
	voters := judgeVoters(e)
	quorum, leadership := judgeQuorum(e, voters), judgeLeadership(e.Reports, voters)
	leadership.known = len(leadership.Leaders) > 0 ||
		(leadership.Unknown == 0 && quorum.State != QuorumHeld && saysNoLeader(e))
	return Verdict{
		Quorum:         quorum,
		Leadership:     leadership,
		Writes:         judgeWrites(e, quorum),
		Voters:         voters,
		Configurations: judgeConfigurations(e.Reports),
		UnknownPeers:   judgeUnknownPeers(e.Topology, e.Reports),
		LogLag:         judgeLogLag(e.Reports),
		Mixed:          mixed,
	}
}
