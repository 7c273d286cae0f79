// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/probe"
)

// DeathInput is what JudgeDead decides from. All of it is of one snapshot: what is only remembered from an earlier one proves nothing.
type DeathInput struct {
	Topology Topology
	Reports  []Report
	// Leader is the view of the leader's autopilot.
	Leader AutopilotState
	// MembersSeen are the LAN members as the servers see them that tell, by the name of the server.
	MembersSeen map[string][]Member
	// SilentHostIsDead lets a server count as dead whose host does not even say that nothing listens on port 8300. Such a host may also be
	// only out of reach.
	SilentHostIsDead bool
}

// MembersSeen are the LAN members as the servers see them, by the name of the server: of the configured agent, if it is one, and of those
// whose HTTP API can be expected to answer and does.
func (s *Snapshot) MembersSeen() *Fact[map[string][]Member] {
	return s.membersSeen.start(s.ctx, func(ctx context.Context) (map[string][]Member, error) {
		agent, own, topology := s.Agent(), s.Members(), s.Topology()
		self, err := agent.Get(ctx)
		if err != nil {
			return nil, err
		}
		seen := make(map[string][]Member)
		if self.Server {
			if seen[self.Name], err = own.Get(ctx); err != nil {
				return nil, err
			}
		}
		if !s.cluster.reaches(self) {
			return seen, nil
		}
		servers, err := topology.Get(ctx)
		if err != nil {
			return nil, err
		}
		maps.Copy(seen, askServers(ctx, s, without(servers.Servers, self.Name), func(ctx context.Context, at Address) ([]Member, error) {
			return readListAt(ctx, s, at, endpointMembers, newMember)
		}))
		return seen, nil
	})
}

// DeathInput finds out what JudgeDead needs. An error means that there is no telling.
func (s *Snapshot) DeathInput(ctx context.Context) (DeathInput, error) {
	members, raft, topology, reports := s.Members(), s.RaftPeers(), s.Topology(), s.Reports()
	leader, seen := s.LeaderAutopilot(), s.MembersSeen()
	var in DeathInput
	if _, err := members.Get(ctx); err != nil {
		return in, err
	}
	if _, err := raft.Get(ctx); err != nil {
		return in, err
	}
	var err error
	if in.Topology, err = topology.Get(ctx); err != nil {
		return in, err
	}
	if in.Reports, err = reports.Get(ctx); err != nil {
		return in, err
	}
	if in.Leader, err = leader.Get(ctx); err != nil {
		return in, fmt.Errorf("find out how the leader sees the servers: %w", err)
	}
	in.MembersSeen, err = seen.Get(ctx)
	return in, err
}

// JudgeDead says what speaks against the named server being dead: gone, and not only out of somebody's reach. It is empty if nothing does. A
// server is dead if it is a peer in the Raft configuration, nothing listens on its own port 8300, and neither the agent that was asked, nor
// the leader, nor any other server that tells, sees it alive. It is a pure function.
func JudgeDead(server string, in DeathInput) string {
	i := slices.IndexFunc(in.Reports, func(r Report) bool { return r.Server.Name == server })
	if i < 0 {
		return "there is no server " + server
	}
	report := in.Reports[i]
	if !slices.ContainsFunc(in.Topology.Peers, report.Server.isPeer) {
		return server + " is not in the Raft configuration"
	}
	switch status := report.Server.Status; {
	case !in.Topology.MembersKnown:
		return "the members of Serf are not known"
	case status != StatusFailed && status != StatusNone:
		return fmt.Sprintf("%s is %s in Serf", server, status)
	}
	if sign := portSign(&report.RPC.Result, in.SilentHostIsDead); sign != "" {
		return fmt.Sprintf("%s may be alive: %s", server, sign)
	}
	j := slices.IndexFunc(in.Leader.Servers, func(s AutopilotServer) bool { return s.Name == server })
	switch {
	case j < 0:
		return "the leader's autopilot does not know " + server
	case in.Leader.Servers[j].Alive || in.Leader.Servers[j].Healthy:
		return fmt.Sprintf("the leader sees %s alive", server)
	}
	for _, by := range slices.Sorted(maps.Keys(in.MembersSeen)) {
		if slices.ContainsFunc(in.MembersSeen[by], func(m Member) bool {
			return m.Name == server && m.Status != StatusFailed && m.Status != StatusLeft
		}) {
			return fmt.Sprintf("%s does not see %s failed", by, server)
		}
	}
	return ""
}

// portSign says what sign of life there is on port 8300, or that there may be one.
func portSign(r *probe.Result, silentHostIsDead bool) string {
	switch {
	case r.Skipped:
		return "its port 8300 could not be asked"
	case r.Up:
		return "its port 8300 answers"
	case r.Reason == probe.ReasonRefused:
		return ""
	case (r.Reason == probe.ReasonTimeout && !connected(r)) || r.Reason == probe.ReasonUnreachable:
		if silentHostIsDead {
			return ""
		}
		return fmt.Sprintf("its host says nothing on port 8300 (%s), which is also how it looks from outside a partition", r.Reason)
	default:
		return fmt.Sprintf("something is on its port 8300 (%s)", r.Reason)
	}
}
