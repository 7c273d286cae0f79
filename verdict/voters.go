// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// VoterState is what is known of a server that has a vote.
type VoterState string

// The states of voters.
const (
	// VoterAnswering means that the server answers on its own port 8300.
	VoterAnswering VoterState = "answering"
	// VoterLost means that it is silent, or the network says that it is not there.
	VoterLost VoterState = "lost"
	// VoterUnknown means that this exporter could not ask or was turned away, or that others have contact with the server
	// although there is no connection from here.
	VoterUnknown VoterState = "unknown"
)

// VoterStates returns all states.
func VoterStates() []VoterState { return []VoterState{VoterAnswering, VoterLost, VoterUnknown} }

// judgeVoters returns the states of the voters by the names of the servers.
func judgeVoters(e *inputs.Evidence) map[string]VoterState {
	voters := make(map[string]VoterState)
	lost := 0
	for _, r := range e.Reports {
		if !r.Server.Voter {
			continue
		}
		state := judgeVoter(r)
		if state == VoterLost && !hangs(r) && leaderHasContact(r.Server, e) {
			state = VoterUnknown
		}
		voters[r.Server.Name] = state
		if state == VoterLost {
			lost++
		}
	}
	if lost > 0 && len(voters)-lost < needed(len(voters)) && readProves(e) {
		for name, state := range voters { // A proof says that some of them are there, and nothing says which.
			if state == VoterLost {
				voters[name] = VoterUnknown
			}
		}
	}
	return voters
}

// judgeVoter says what the probe of port 8300 proves.
func judgeVoter(r cluster.Report) VoterState {
	switch outcome := r.RPC.Outcome(); {
	case r.RPC.Up:
		return VoterAnswering
	case outcome.Unknown():
		return VoterUnknown
	default:
		return VoterLost
	}
}

// hangs reports whether the server accepts connections and answers nothing. No firewall does that: whatever others
// heard of it a while ago, it has no part in the next election, which takes new connections.
func hangs(r cluster.Report) bool { return r.RPC.Outcome() == probe.OutcomeSilent && r.RPC.Connected() }

// leaderHasContact reports whether the one leader, which answers, has autopilot call the server healthy: then it is cut
// off from this exporter and not from Raft. Autopilot notices within ten seconds that a server has gone.
func leaderHasContact(s cluster.Server, e *inputs.Evidence) bool {
	if e.Autopilot == nil || leaderAddress(e.Reports) == "" {
		return false
	}
	return slices.ContainsFunc(e.Autopilot.Servers, func(a cluster.AutopilotServer) bool {
		return a.ID != "" && a.ID == s.ID && a.Alive && a.Healthy && a.LastContact != nil
	})
}

// readProves reports whether a linearizable read of this scrape proves that the judged voters have a leader and a
// quorum. The read proves it of the cluster that answered: the leader has to be one of the voters.
func readProves(e *inputs.Evidence) bool {
	if e.Read == nil || !e.Read.OK {
		return false
	}
	leader := e.Read.Leader
	if leader == "" && e.AgentLeader != nil {
		leader = *e.AgentLeader
	}
	if leader != "" {
		return slices.ContainsFunc(e.Reports, func(r cluster.Report) bool {
			return r.Server.Voter && r.Server.RPCAddress == leader
		})
	}
	return len(judgeLeadership(e.Reports, nil).Reported) == 1
}

// needed is how many of so many voters must agree: more than half.
func needed(voters int) int { return voters/2 + 1 }
