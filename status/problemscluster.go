// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

func splitBrain(e *evidence, report report) {
	if leaders := e.Leadership.Leaders; len(leaders) > 1 {
		report(wholeCluster, "%s call themselves leader: they accept writes that contradict each other.", wording.List(leaders, maxNamed))
	}
}

func quorumLost(e *evidence, report report) {
	if e.known() && e.quorumLost() {
		report(wholeCluster, "%s on port 8300, and %d must agree: nothing can be written, and no service can register.",
			answering(e.Quorum), e.Quorum.Needed)
	}
}

func noLeader(e *evidence, report report) {
	if e.known() && len(e.Leadership.Leaders) == 0 && e.Leadership.Known() {
		report(wholeCluster, "No server calls itself leader: nothing can be written, and consistent reads fail.")
	}
}

func serversDisagree(e *evidence, report report) {
	if n := len(e.Leadership.Reported); n > 1 {
		report(wholeCluster, "The servers name %d different leaders: %s.", n, e.opinions())
	}
	if e.Configurations > 1 {
		report(wholeCluster, "The servers have %d different sets of Raft peers.", e.Configurations)
	}
}

// disagreement is the clause about it.
func disagreement(e *evidence, _ []string) string {
	if len(e.Leadership.Reported) > 1 {
		return "the servers disagree about who leads: " + e.opinions()
	}
	return fmt.Sprintf("the servers have %d different Raft configurations", e.Configurations)
}

func consistentReadsFail(e *evidence, report report) {
	if e.known() && e.Consistent != nil && !e.Consistent.OK {
		report(wholeCluster, "The cluster does not answer a consistent read in time.")
	}
}

func quorumAtRisk(e *evidence, report report) {
	if margin, known := e.Quorum.Margin(); known && margin == 0 && e.Quorum.Voters > 1 {
		report(wholeCluster, "The quorum is lost if one more voter fails.")
	}
}

func staleRaftPeer(e *evidence, report report) {
	if n := e.UnknownPeers; e.known() && e.Topology.MembersKnown && n > 0 {
		report(wholeCluster, "%s in the Raft configuration: they count for the quorum and can never vote.",
			wording.Plural(n, "peer that matches no member is", "peers that match no member are"))
	}
}

func autopilotUnhealthy(e *evidence, report report) {
	if !e.known() || e.Autopilot == nil || e.Autopilot.Healthy {
		return
	}
	var unhealthy []string
	for _, s := range e.servers {
		if s.autopilotHealthy != nil && !*s.autopilotHealthy {
			unhealthy = append(unhealthy, s.Server.Name)
		}
	}
	report(wholeCluster, "Autopilot calls the cluster unhealthy%s.", wording.Around(" because of ", wording.List(unhealthy, maxNamed), ""))
}

func evenVoters(e *evidence, report report) {
	if n := e.Quorum.Voters; n > 0 && n%2 == 0 {
		report(wholeCluster, "The number of voters is even, %d: one fewer could lose as many and keep the quorum, and one more could lose one more.", n)
	}
}

// answering says how many voters answer.
func answering(q verdict.Quorum) string {
	noun, verb := "voters", "answer"
	if q.Voters == 1 {
		noun = "voter"
	}
	if q.Voters == 1 || q.Reachable == 1 {
		verb = "answers"
	}
	return fmt.Sprintf("%d of %d %s %s", q.Reachable, q.Voters, noun, verb)
}

// opinions says who calls whom leader.
func (e *evidence) opinions() string {
	byLeader := make(map[string][]string)
	var leaders []string // In the order of the servers.
	for _, r := range e.Reports {
		address := r.RPC.Raft.Leader
		if !r.RPC.Raft.LeaderKnown || address == "" {
			continue
		}
		leader := e.nameAt(address)
		if byLeader[leader] == nil {
			leaders = append(leaders, leader)
		}
		byLeader[leader] = append(byLeader[leader], r.Server.Name)
	}
	var parts []string
	for _, leader := range leaders {
		verb := "say"
		if len(byLeader[leader]) == 1 {
			verb = "says"
		}
		parts = append(parts, fmt.Sprintf("%s %s %s", wording.List(byLeader[leader], maxNamed), verb, leader))
	}
	return strings.Join(parts, ", ")
}
