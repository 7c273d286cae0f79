// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// JudgeDead returns a reason to believe that the named server is not dead, only out of reach; empty if there is none.
// A server is dead if it is a peer in the Raft configuration, nothing listens on its own port 8300, and it is not
// alive in the view of the configured agent, of the leader, or of any other server that reports its view. It is the
// node ID that counts: a server that was rebuilt under the same name is another one.
func JudgeDead(server string, in inputs.Death) string {
	i := slices.IndexFunc(in.Reports, func(r cluster.Report) bool { return r.Server.Name == server })
	if i < 0 {
		return "there is no server " + server
	}
	report := in.Reports[i]
	if !slices.ContainsFunc(in.Topology.Peers, report.Server.IsPeer) {
		return server + " is not in the Raft configuration"
	}
	switch status := report.Server.Status; {
	case !in.Topology.MembersKnown:
		return "the members of Serf are not known"
	case status != cluster.StatusFailed && status != cluster.StatusNone:
		return fmt.Sprintf("%s is %s in Serf", server, status)
	}
	if sign := portSign(&report.RPC.Result, in.SilentHostIsDead); sign != "" {
		return fmt.Sprintf("%s may be alive: %s", server, sign)
	}
	id := report.Server.ID
	switch judged := in.Leader.Of(id); {
	case judged == nil:
		return "the leader's autopilot does not know " + server
	case judged.Alive || judged.Healthy:
		return fmt.Sprintf("the leader sees %s alive", server)
	}
	for _, by := range slices.Sorted(maps.Keys(in.MembersSeen)) {
		if slices.ContainsFunc(in.MembersSeen[by], func(m cluster.Member) bool {
			return m.ID == id && m.Status != cluster.StatusFailed && m.Status != cluster.StatusLeft
		}) {
			return fmt.Sprintf("%s does not see %s failed", cmp.Or(in.Topology.Called(by), by), server)
		}
	}
	return ""
}

// portSign returns what may be a sign of life on port 8300.
func portSign(r *probe.Result, silentHostIsDead bool) string {
	switch {
	case r.Skipped:
		return "its port 8300 could not be asked"
	case r.Up:
		return "its port 8300 answers"
	case r.Reason == probe.ReasonRefused:
		return ""
	case (r.Reason == probe.ReasonTimeout && !r.Connected()) || r.Reason == probe.ReasonUnreachable:
		if silentHostIsDead {
			return ""
		}
		return fmt.Sprintf(
			"its host says nothing on port 8300 (%s), which is also how it looks from outside a partition", r.Reason,
		)
	default:
		return fmt.Sprintf("something is on its port 8300 (%s)", r.Reason)
	}
}
