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

// JudgeDead returns a reason to believe that the named server is not dead, only out of reach; empty if there is none. A
// server is dead if all of these say so first-hand: Serf, in the view of each server whose own can be read, which must
// be the leader and a majority of the voters; the leader's autopilot, and that it does not answer the leader's
// heartbeats; and its port 8300, as far as the operator has said that this counts. It is the node ID that counts: a
// server that was rebuilt under the same name is another one.
func JudgeDead(server string, in inputs.Death) string {
	i := slices.IndexFunc(in.Reports, func(r cluster.Report) bool { return r.Server.Name == server })
	if i < 0 {
		return "there is no server " + server
	}
	report := in.Reports[i]
	if _, err := in.Topology.PeerOf(report.Server); err != nil {
		return err.Error()
	}
	switch status := report.Server.Status; {
	case !in.Topology.MembersKnown:
		return "the members of Serf are not known"
	case status != cluster.StatusFailed && status != cluster.StatusNone:
		return fmt.Sprintf("%s is %s in Serf", server, status)
	}
	id := report.Server.ID
	if why := seenAlive(server, id, &in); why != "" {
		return why
	}
	switch judged := in.Leader.Of(id); {
	case judged == nil:
		return "the leader's autopilot does not know " + server
	case judged.Alive || judged.Healthy:
		return fmt.Sprintf("the leader sees %s alive", server)
	case len(in.Contacts) == 0:
		return "the leader does not tell which servers answer its heartbeats"
	case in.Contacts[id]:
		return fmt.Sprintf("%s answers the leader's heartbeats", server)
	}
	if sign := portSign(&report.RPC.Result, &in); sign != "" {
		return fmt.Sprintf("%s may be alive: %s", server, sign)
	}
	return ""
}

// seenAlive says which server sees the one with this name and node ID alive, or that too few tell; empty if neither. A
// list of members in which others are missing, too, does not count: the token may not see them.
func seenAlive(server, id string, in *inputs.Death) string {
	leader, ok := inputs.OnlyLeader(in.Reports)
	if !ok {
		return "there is no telling who leads"
	}
	voters := slices.DeleteFunc(slices.Clone(in.Topology.Peers), func(p cluster.RaftPeer) bool { return !p.Voter })
	needed := len(voters)/2 + 1
	var tell []string
	for _, by := range slices.Sorted(maps.Keys(in.MembersSeen)) {
		sees, listed := "", 0
		for _, m := range in.MembersSeen[by] {
			if slices.ContainsFunc(voters, func(p cluster.RaftPeer) bool { return p.ID == m.ID }) {
				listed++
			}
			if m.ID == id && m.Status != cluster.StatusFailed && m.Status != cluster.StatusLeft {
				sees = m.Status.String()
			}
		}
		if sees != "" {
			return fmt.Sprintf("%s sees %s %s", cmp.Or(in.Topology.Called(by), by), server, sees)
		}
		if listed >= needed && slices.ContainsFunc(voters, func(p cluster.RaftPeer) bool { return p.ID == by }) {
			tell = append(tell, by)
		}
	}
	if len(tell) < needed || !slices.Contains(tell, leader.Server.ID) {
		return fmt.Sprintf("of %d voters %d let their own members be read, and it takes %d, and the leader among them "+
			"(client_addr, node_prefix)", len(voters), len(tell), needed)
	}
	return ""
}

// portSign returns what may be a sign of life on port 8300.
func portSign(r *probe.Result, in *inputs.Death) string {
	const partition = "which is also how it looks behind a firewall or from outside a partition"
	switch {
	case r.Skipped:
		return "its port 8300 could not be asked"
	case r.Up:
		return "its port 8300 answers"
	case r.Reason == probe.ReasonRefused && !in.RefusedHostIsDead:
		return "its host says that nothing listens on port 8300, " + partition
	case r.Reason == probe.ReasonRefused:
		return ""
	case (r.Reason != probe.ReasonTimeout || r.Connected()) && r.Reason != probe.ReasonUnreachable:
		return fmt.Sprintf("something is on its port 8300 (%s)", r.Reason)
	case !in.SilentHostIsDead:
		return fmt.Sprintf("its host says nothing on port 8300 (%s), %s", r.Reason, partition)
	default:
		return ""
	}
}
