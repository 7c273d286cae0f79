// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// Whether an endpoint may be asked of an agent now is decided here, for all endpoints. Consul logs an error for each
// question that it cannot or may not answer, so what is known beforehand to fail is not asked. It is known from the
// agent's configuration, from the token's rights, and from what the servers know about a leader; never from the text
// of an error.

// unaskedError says why an endpoint was not asked: it could not have been answered.
type unaskedError string

func (e unaskedError) Error() string { return string(e) }

// The reasons, see circumstances.
const (
	errNoLeader   unaskedError = "there is no leader, and only the leader can answer"
	errLeaderLost unaskedError = "the leader is not reachable, and only the leader can answer"
	errNeverHeard unaskedError = "there is no leader, and the server has not heard of one since it started"
	errServerGone unaskedError = "the agent knows of no server that is alive"
	errDCLost     unaskedError = "no server of the datacenter is alive in the WAN pool"
)

// IsUnserved reports whether something could not be read because no server answered, or no leader: it was not asked, no
// answer came, or the agent said so.
func IsUnserved(err error) bool {
	if consul.IsServerError(err) {
		return probe.IsUnserved(err.Error())
	}
	_, unasked := errors.AsType[unaskedError](err)
	_, network := errors.AsType[*net.OpError](err)
	return unasked || network || errors.Is(err, errNoServers) || errors.Is(err, errNoAutopilot) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// circumstances are what is known about the agent that is to be asked, and about the servers behind it. The zero
// value is that nothing is known, and then everything is asked.
type circumstances struct {
	agent     *Agent        // Nil if it has never said anything about itself.
	answers   bool          // Whether the agent answered when asked about itself, even with a refusal.
	secretive bool          // Whether the token may not read what the agent says about itself.
	rights    consul.Rights // Those of the token.
	// agentRights are the rights one of which is needed to ask the agent at an address about itself: one if the agent's
	// name is known, otherwise one for each member.
	agentRights []consul.Right
	keyPrefix   string // Begins the keys that are listed.
	leaderless  bool   // Whether the agent says that there is no leader.
	// leaderLost is whether the leader has failed in Serf, or accepts connections and does not answer.
	leaderLost  bool
	serversGone bool // Whether no server is alive that a client agent could ask.
	// neverHeard is whether the server that answers has not heard of a leader since it started, or for a client agent,
	// one of those that may answer.
	neverHeard bool
	// elsewhere is whether another datacenter answers, and datacenterLost whether none of its servers is alive.
	elsewhere, datacenterLost bool
}

// objection says why an endpoint is not to be asked; nil if it is.
func (c *circumstances) objection(ep *consul.Endpoint) error {
	r := ep.Requirement()
	if err := c.forbids(ep, r); err != nil {
		return err
	}
	switch by := ep.AnsweredBy(); {
	case by == consul.ByAgent:
		return nil
	case c.serversGone:
		return errServerGone
	case by == consul.ByAnyServer:
		return nil
	case c.elsewhere && ep.Chosen && c.datacenterLost:
		return errDCLost
	case c.elsewhere && ep.Chosen:
		return nil
	case by == consul.ByLeader && c.leaderless:
		return errNoLeader
	case by == consul.ByLeader && c.leaderLost:
		return errLeaderLost
	case c.neverHeard:
		return errNeverHeard
	default:
		return nil
	}
}

// forbids says which right is missing, or which feature is off where the agent that is asked decides that.
func (c *circumstances) forbids(ep *consul.Endpoint, r consul.Requirement) error {
	if c.agent != nil && c.agent.lacks(r.Feature) {
		return consul.RefusedError{Cause: fmt.Errorf("%s has %s switched off", c.agent.Name, r.Feature)}
	}
	switch {
	case r.Needs.Resource == "agent" && c.rights.LacksAll(c.agentRights):
		return consul.DeniedError{Missing: c.agentRights[0]}
	case r.Needs.Resource != "agent" && c.rights.Lacks(r.Needs):
		return consul.DeniedError{Missing: r.Needs}
	case ep.MaybeEmpty && c.agent != nil && c.agent.KeyListPolicy && c.rights.Lacks(consul.KeyList(c.keyPrefix)):
		return consul.DeniedError{Missing: consul.KeyList(c.keyPrefix)}
	default:
		return nil
	}
}

// lacks reports whether a feature is off for who asks this agent. Only a server decides about the mesh and peering: a
// client passes the question on.
func (a *Agent) lacks(f consul.Feature) bool {
	return f == consul.FeatureACLs && a.ACLsOff ||
		a.Server && (f == consul.FeatureMesh && a.MeshOff || f == consul.FeaturePeering && a.PeeringOff)
}

// permit says why an endpoint is not to be asked of the agent at address now; nil if it is. It notes in ep whether
// another datacenter answers, and whether the endpoint may be about something that is switched off: the time is over
// also where an agent hangs, which answers nothing.
func (s *Snapshot) permit(ctx context.Context, address consul.Address, ep *consul.Endpoint) error {
	if ep.AnsweredBy() == consul.ByAgent && ep.Requirement().Needs == (consul.Right{}) {
		return s.permitOwn(ctx, ep)
	}
	c, err := s.circumstances(ctx, address, ep)
	if err != nil {
		return err
	}
	ep.Elsewhere = c.elsewhere
	ep.Uncertain = ep.Requirement().Feature != "" && c.answers && (c.agent == nil || !c.agent.Server)
	return c.objection(ep)
}

// permitOwn is permit for what an agent tells to any token that it knows. The LAN pool shows whether it knows ours.
func (s *Snapshot) permitOwn(ctx context.Context, ep *consul.Endpoint) error {
	if ep.Path != endpointMembers.Path || ep.Params == nil {
		return nil
	}
	hurry, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	_, err := s.Members().Get(hurry)
	return unknownToken(err)
}

// patience bounds the wait for what decides whether an endpoint is asked. An agent that hangs is asked then as if
// nothing was known, except what it last told.
func (s *Snapshot) patience() time.Duration { return s.cluster.opts.Client.Timeout / 2 }

// circumstances finds out what matters to an endpoint. The error is a refusal of the token, or, where only the leader
// answers, that nothing could be learned about the leader.
func (s *Snapshot) circumstances(
	ctx context.Context, address consul.Address, ep *consul.Endpoint,
) (c circumstances, err error) {
	hurry, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	c.keyPrefix = s.cluster.keyPrefix()
	members, membersErr := s.Members().Get(hurry)
	if ep.Path == endpointSelf.Path {
		c.agentRights = s.agentRights(address, members)
		if s.aclsOn(members, membersErr) {
			c.rights, err = s.rightsInTime(hurry)
		}
		return c, err
	}
	if ep.AnsweredBy() == consul.ByAnyServer {
		if c.agent = s.KnownAgent(); c.agent != nil {
			c.serversGone = !c.agent.Server && noneAlive(members)
		}
		return c, nil
	}
	agent, agentErr := s.Agent().Get(hurry)
	c.answers = consul.IsAgentsAnswer(agentErr)
	if agentErr == nil {
		c.agent = &agent
	} else {
		c.agent = s.KnownAgent()
		c.secretive = c.agent == nil && errors.Is(agentErr, consul.ErrRefused)
	}
	if ep.Requirement().Needs != (consul.Right{}) || ep.MaybeEmpty || unknownToken(agentErr) != nil {
		c.agentRights = s.agentRights(address, members)
		if (agentErr == nil && agent.ACLsOn) || errors.Is(agentErr, consul.ErrRefused) {
			if c.rights, err = s.rightsInTime(hurry); err != nil {
				return c, err
			}
		}
	}
	if ep.AnsweredBy() == consul.ByAgent {
		return c, nil
	}
	return c, s.circumstancesOfServers(ctx, hurry, &c, members, ep)
}

// rightsInTime returns the rights of the token, or none if they cannot be had in time. The error is that the agent
// does not know the token.
func (s *Snapshot) rightsInTime(ctx context.Context) (consul.Rights, error) {
	r, err := s.tokenRights().Get(ctx)
	return r.allowed, unknownToken(err)
}

// circumstancesOfServers adds what is about the servers behind the agent.
func (s *Snapshot) circumstancesOfServers(
	ctx, hurry context.Context, c *circumstances, members []Member, ep *consul.Endpoint,
) error {
	client := c.agent != nil && !c.agent.Server
	c.serversGone = client && noneAlive(members)
	wanted := s.cluster.opts.Client.Datacenter
	if ep.Chosen && wanted != "" && c.agent != nil && wanted != c.agent.Datacenter {
		c.elsewhere = true
		if c.agent.Server {
			wan, err := s.WANMembers().Get(hurry)
			there := membersWhere(wan, func(m Member) bool { return m.Datacenter == wanted })
			c.datacenterLost = err == nil && noneAlive(there)
		}
		return nil
	}
	if c.agent != nil && c.agent.Raft != nil {
		c.neverHeard = c.agent.Raft.NeverHeard
	}
	unsure := client || c.secretive // Whether the server that answers has ever heard of a leader.
	if ep.AnsweredBy() != consul.ByLeader && !unsure {
		return nil
	}
	leader, err := s.StatusLeader().Get(ctx)
	switch {
	case err == nil:
	case ep.Requirement().By == consul.ByLeader, ep.AnsweredBy() == consul.ByLeader && !errors.Is(err, consul.ErrRefused):
		return err
	default:
		return nil
	}
	c.leaderless = leader == ""
	c.leaderLost = s.cluster.prober.Silent(leader) || failedAt(members, leader)
	if unsure && c.leaderless {
		c.neverHeard = s.someNeverHeard(members)
	}
	return nil
}

// noneAlive reports whether there are servers among the members, and none of them is alive.
func noneAlive(members []Member) bool {
	return hasServer(members) && !hasServer(membersWhere(members, Member.alive))
}

// failedAt reports whether a server has this Raft address, and is not alive.
func failedAt(members []Member, address string) bool {
	return slices.ContainsFunc(members, func(m Member) bool {
		return m.Server() && !m.alive() && newServer(m).RPCAddress == address
	})
}

// someNeverHeard reports whether one of the servers that are alive says on its port 8300 that it has not heard of a
// leader since it started.
func (s *Snapshot) someNeverHeard(members []Member) bool {
	pl := s.cluster.planner(&s.before, newTopology(membersWhere(members, Member.alive), nil), s.KnownAgent())
	return slices.ContainsFunc(s.probes.wait(pl.rpcs()), func(r PortReport) bool {
		return r.raft.StatsKnown && !r.raft.LastContactKnown && r.raft.Leader == ""
	})
}
