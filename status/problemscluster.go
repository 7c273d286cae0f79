// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/internal/wording"
)

// servingOf finds what keeps the cluster from serving.
func (fs *findings) servingOf(st *View) {
	if st.Quorum == nil {
		return
	}
	q, l := st.Quorum, st.Leadership
	if len(l.Leaders) > 1 {
		fs.add(alertSplitBrain, "", "%s call themselves leader: they accept writes that contradict each other.", wording.List(l.Leaders, maxNamed))
	}
	if q.Margin != nil && *q.Margin < 0 {
		fs.add(alertQuorumLost, "", "%s on port 8300, and %d must agree: nothing can be written, and no service can register.", q.answering(), q.Needed)
	}
	if len(l.Leaders) == 0 && l.Unknown == 0 {
		fs.add(alertNoLeader, "", "No server calls itself leader: nothing can be written, and consistent reads fail.")
	}
	if len(l.Reported) > 1 {
		fs.add(alertServersDisagree, "", "The servers name %d different leaders: %s.", len(l.Reported), opinions(st.Servers))
	}
	if l.Configurations > 1 {
		fs.add(alertServersDisagree, "", "The servers have %d different sets of Raft peers.", l.Configurations)
	}
	if st.ConsistentRead != nil && !st.ConsistentRead.OK {
		fs.add(alertConsistentReadsFail, "", "The cluster does not answer a consistent read in time.")
	}
}

// undetermined reports whether there may be a quorum or not, because voters could not be asked.
func (q *QuorumStatus) undetermined() bool { return q.Reachable < q.Needed && q.Margin == nil }

// answering says how many voters answer.
func (q *QuorumStatus) answering() string {
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
func opinions(servers []ServerStatus) string {
	byLeader := make(map[string][]string)
	var leaders []string // In the order of the servers.
	for _, s := range servers {
		if s.Leader == "" {
			continue
		}
		if byLeader[s.Leader] == nil {
			leaders = append(leaders, s.Leader)
		}
		byLeader[s.Leader] = append(byLeader[s.Leader], s.Name)
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

// quorumOf finds what is wrong with the quorum while it is there, and with its figures.
func (fs *findings) quorumOf(st *View) {
	if st.Quorum == nil {
		return
	}
	q := st.Quorum
	if q.Margin != nil && *q.Margin == 0 && q.Voters > 1 {
		fs.add(alertQuorumAtRisk, "", "The quorum is lost if one more voter fails.")
	}
	if n := st.Leadership.UnknownPeers; n != nil && *n > 0 {
		fs.add(alertStaleRaftPeer, "", "%s in the Raft configuration: they count for the quorum and can never vote.",
			wording.Plural(*n, "peer that matches no member is", "peers that match no member are"))
	}
	if st.Autopilot != nil && !st.Autopilot.Healthy {
		var unhealthy []string
		for _, s := range st.Servers {
			if s.AutopilotHealthy != nil && !*s.AutopilotHealthy {
				unhealthy = append(unhealthy, s.Name)
			}
		}
		fs.add(alertAutopilotUnhealthy, "", "Autopilot calls the cluster unhealthy%s.", wording.Around(" because of ", wording.List(unhealthy, maxNamed), ""))
	}
	if q.Voters > 0 && q.Voters%2 == 0 {
		fs.add(alertEvenVoters, "", "The number of voters is even, %d: one fewer could lose as many and keep the quorum, and one more could lose one more.", q.Voters)
	}
}
