// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// Whether an endpoint may be asked of an agent now is decided here, for all endpoints. Consul logs an error for each question that it
// cannot or may not answer, so what is known beforehand to fail is not asked. It is known from the agent's configuration, from the
// token's rights, and from what the servers know about a leader; never from the text of an error.

// answerer is who answers an endpoint.
type answerer int

const (
	// byState: the server that the agent asks, or the agent if it is a server, from the state that it has. A server that has not heard
	// of a leader since it started has none: it holds the request until there is a leader, for seven seconds, and then logs an error
	// (Consul: Server.canServeReadRequest).
	byState answerer = iota
	// byAgent: the agent by itself, whatever the servers do.
	byAgent
	// byAnyServer: any server at once, with or without a leader.
	byAnyServer
	// byLeader: the leader. Without one, servers hold the request for seven seconds and then log an error.
	byLeader
)

// feature is a part of Consul that can be switched off.
type feature string

const (
	featureACLs    feature = "ACLs"
	featureMesh    feature = "the service mesh"
	featurePeering feature = "cluster peering"
)

// requirement is what it takes to have an endpoint answered.
type requirement struct {
	// path is that of the endpoint, or what it begins with if it ends with a slash.
	path    string
	by      answerer
	needs   right
	feature feature
}

// requirements of the endpoints; the first one that matches holds. Endpoints that are not here are answered byState, and filtered by the
// token's rights but never refused.
var requirements = []requirement{
	{path: "/v1/agent/self", by: byAgent, needs: agentRead("")},
	{path: "/v1/agent/metrics", by: byAgent, needs: agentRead("")},
	{path: "/v1/agent/", by: byAgent},
	{path: "/v1/internal/acl/authorize", by: byAgent},
	{path: "/v1/status/", by: byAnyServer},
	{path: "/v1/catalog/datacenters", by: byAnyServer},
	{path: "/v1/acl/replication", by: byLeader, feature: featureACLs},
	{path: "/v1/connect/ca/roots", feature: featureMesh},
	{path: "/v1/peerings", by: byLeader, needs: peeringRead, feature: featurePeering},
	{path: "/v1/operator/", needs: operatorRead},
	{path: "/v1/internal/ui/catalog-overview", needs: operatorRead},
}

// requirement returns that of the endpoint.
func (ep *endpoint) requirement() requirement {
	i := slices.IndexFunc(requirements, func(r requirement) bool {
		return r.path == ep.path || (strings.HasSuffix(r.path, "/") && strings.HasPrefix(ep.path, r.path))
	})
	if i < 0 {
		return requirement{}
	}
	return requirements[i]
}

// answeredBy returns who answers the endpoint, the consistency that is asked for included.
func (ep *endpoint) answeredBy() answerer {
	by := ep.requirement().by
	if by == byState && ep.consistency != "" && ep.consistency != ConsistencyStale {
		return byLeader
	}
	return by
}

// isSwitchedOff reports whether an error may mean that the feature is off, or the right missing, where that could not be read beforehand.
// Consul answers with status 500, and for peering only after eleven seconds, which nobody waits for.
func (ep *endpoint) isSwitchedOff(err error) bool {
	if !ep.uncertain || err == nil {
		return false
	}
	status, ok := errors.AsType[api.StatusError](err)
	return ok && status.Code == http.StatusInternalServerError &&
		!slices.ContainsFunc(unserved, func(text string) bool { return strings.Contains(status.Body, text) })
}

// unserved are parts of the errors with which an agent says that it reached no server, or that there is no leader: they
// say nothing about what is switched off (Consul: agent/pool/pool.go, agent/structs/errors.go; hashicorp/yamux; gRPC).
var unserved = []string{
	"rpc error getting client", "lead thread didn't get connection", "EOF", "i/o timeout", "connection reset",
	"broken pipe", "session shutdown", "stream closed", "keepalive timeout", "code = Unavailable",
	"No cluster leader", "No known Consul servers", "No path to datacenter", "leadership lost",
}

// mayBeSwitchedOff reports whether the time was over before such an answer could come.
func (ep *endpoint) mayBeSwitchedOff(err error) bool {
	return ep.uncertain && errors.Is(err, context.DeadlineExceeded)
}

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

// circumstances are what is known about the agent that is to be asked, and about the servers behind it. The zero value is that nothing is
// known, and then everything is asked.
type circumstances struct {
	// agent is nil if the agent has never told about itself.
	agent *Agent
	// answers is whether the agent answered when it was asked about itself, be it with a refusal.
	answers bool
	// secretive is whether the token may not read what the agent says about itself.
	secretive bool
	// rights are those of the token.
	rights rights
	// agentRights are the rights one of which the token must have to ask the agent about itself.
	agentRights []right
	// keyPrefix begins the keys that are listed.
	keyPrefix string
	// leaderless is whether the agent says that there is no leader.
	leaderless bool
	// leaderLost is whether the leader has failed in Serf, or accepts connections and does not answer.
	leaderLost bool
	// serversGone is whether no server is alive that a client agent could ask.
	serversGone bool
	// neverHeard is whether the server that answers has not heard of a leader since it started, or for a client agent, one of those that
	// may answer.
	neverHeard bool
	// elsewhere is whether another datacenter answers, and datacenterLost whether none of its servers is alive.
	elsewhere, datacenterLost bool
}

// objection says why an endpoint is not to be asked; nil if it is.
func (c *circumstances) objection(ep *endpoint) error {
	r := ep.requirement()
	if err := c.forbids(ep, r); err != nil {
		return err
	}
	switch by := ep.answeredBy(); {
	case by == byAgent:
		return nil
	case c.serversGone:
		return errServerGone
	case by == byAnyServer:
		return nil
	case c.elsewhere && ep.chosen:
		if c.datacenterLost {
			return errDCLost
		}
		return nil
	case by == byLeader && c.leaderless:
		return errNoLeader
	case by == byLeader && c.leaderLost:
		return errLeaderLost
	case c.neverHeard:
		return errNeverHeard
	default:
		return nil
	}
}

// forbids says which right is missing, or which feature is off where the agent that is asked decides that.
func (c *circumstances) forbids(ep *endpoint, r requirement) error {
	if c.agent != nil && c.agent.lacks(r.feature) {
		return refusedError{fmt.Errorf("%s has %s switched off", c.agent.Name, r.feature)}
	}
	switch {
	case r.needs.Resource == "agent" && c.rights.lacksAll(c.agentRights):
		return deniedError{c.agentRights[0]}
	case r.needs.Resource != "agent" && c.rights.lacks(r.needs):
		return deniedError{r.needs}
	case ep.maybeEmpty && c.agent != nil && c.agent.KeyListPolicy && c.rights.lacks(keyList(c.keyPrefix)):
		return deniedError{keyList(c.keyPrefix)}
	default:
		return nil
	}
}

// lacks reports whether a feature is off for who asks this agent. Only a server decides about the mesh and peering: a client passes the
// question on.
func (a *Agent) lacks(f feature) bool {
	switch f {
	case featureACLs:
		return a.ACLsOff
	case featureMesh:
		return a.Server && a.MeshOff
	case featurePeering:
		return a.Server && a.PeeringOff
	default:
		return false
	}
}

// permit says why an endpoint is not to be asked of the agent at address now; nil if it is. It notes in ep whether another datacenter answers,
// and whether the endpoint may be about something that is switched off: the time is over also where an agent hangs, which answers nothing.
func (s *Snapshot) permit(ctx context.Context, address Address, ep *endpoint) error {
	if ep.answeredBy() == byAgent && ep.requirement().needs == (right{}) {
		return s.permitOwn(ctx, ep)
	}
	c, err := s.circumstances(ctx, address, ep)
	if err != nil {
		return err
	}
	ep.elsewhere = c.elsewhere
	ep.uncertain = ep.requirement().feature != "" && c.answers && (c.agent == nil || !c.agent.Server)
	return c.objection(ep)
}

// permitOwn is permit for what an agent tells to any token that it knows. The LAN pool shows whether it knows ours.
func (s *Snapshot) permitOwn(ctx context.Context, ep *endpoint) error {
	if ep.path != endpointMembers.path || ep.params == nil {
		return nil
	}
	hurry, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	_, err := s.Members().Get(hurry)
	return unknownToken(err)
}

// patience bounds the wait for what decides whether an endpoint is asked. An agent that hangs is asked then as if nothing was known, except
// what it last told.
func (s *Snapshot) patience() time.Duration { return s.cluster.client.opts.Timeout / 2 }

// circumstances finds out what matters to an endpoint. The error is a refusal of the token, or, where only the leader answers, that nothing
// could be learned about the leader.
func (s *Snapshot) circumstances(ctx context.Context, address Address, ep *endpoint) (c circumstances, err error) {
	hurry, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	c.keyPrefix = s.cluster.keyPrefix()
	members, membersErr := s.Members().Get(hurry)
	if ep.path == endpointSelf.path {
		c.agentRights = s.cluster.agentRights(address, members)
		if s.aclsOn(members, membersErr) {
			c.rights, err = s.rightsInTime(hurry)
		}
		return c, err
	}
	if ep.answeredBy() == byAnyServer {
		if _, c.agent = s.cluster.known(); c.agent != nil {
			c.serversGone = !c.agent.Server && noneAlive(members)
		}
		return c, nil
	}
	agent, agentErr := s.Agent().Get(hurry)
	c.answers = isAgentsAnswer(agentErr)
	if agentErr == nil {
		c.agent = &agent
	} else {
		_, c.agent = s.cluster.known()
		c.secretive = c.agent == nil && errors.Is(agentErr, ErrRefused)
	}
	if ep.requirement().needs != (right{}) || ep.maybeEmpty || unknownToken(agentErr) != nil {
		c.agentRights = s.cluster.agentRights(address, members)
		if (agentErr == nil && agent.ACLsOn) || errors.Is(agentErr, ErrRefused) {
			if c.rights, err = s.rightsInTime(hurry); err != nil {
				return c, err
			}
		}
	}
	if ep.answeredBy() == byAgent {
		return c, nil
	}
	return c, s.circumstancesOfServers(ctx, hurry, &c, members, ep)
}

// rightsInTime returns the rights of the token, or none if they cannot be had in time. The error is that the agent does not know the token.
func (s *Snapshot) rightsInTime(ctx context.Context) (rights, error) {
	r, err := s.tokenRights().Get(ctx)
	return r, unknownToken(err)
}

// circumstancesOfServers adds what is about the servers behind the agent.
func (s *Snapshot) circumstancesOfServers(ctx, hurry context.Context, c *circumstances, members []Member, ep *endpoint) error {
	client := c.agent != nil && !c.agent.Server
	c.serversGone = client && noneAlive(members)
	if wanted := s.cluster.client.opts.Datacenter; ep.chosen && wanted != "" && c.agent != nil && wanted != c.agent.Datacenter {
		c.elsewhere = true
		if c.agent.Server {
			wan, err := s.WANMembers().Get(hurry)
			c.datacenterLost = err == nil && noneAlive(slices.DeleteFunc(slices.Clone(wan), func(m Member) bool { return m.Datacenter != wanted }))
		}
		return nil
	}
	if c.agent != nil && c.agent.Raft != nil {
		c.neverHeard = c.agent.Raft.NeverHeard
	}
	unsure := client || c.secretive // Whether the server that answers has ever heard of a leader.
	if ep.answeredBy() != byLeader && !unsure {
		return nil
	}
	leader, err := s.StatusLeader().Get(ctx)
	switch {
	case err == nil:
	case ep.requirement().by == byLeader, ep.answeredBy() == byLeader && !errors.Is(err, ErrRefused):
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
	return hasServer(members) && !slices.ContainsFunc(members, func(m Member) bool { return m.Server() && m.Status == StatusAlive })
}

// failedAt reports whether a server has this Raft address, and is not alive.
func failedAt(members []Member, address string) bool {
	return slices.ContainsFunc(members, func(m Member) bool {
		return m.Server() && m.Status != StatusAlive && newServer(m).RPCAddress == address
	})
}

// someNeverHeard reports whether one of the servers that are alive says on its port 8300 that it has not heard of a leader since it started.
func (s *Snapshot) someNeverHeard(members []Member) bool {
	alive := slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.Status != StatusAlive })
	_, agent := s.cluster.known()
	return slices.ContainsFunc(s.probes.wait(s.cluster.planner(newTopology(alive, nil), agent).rpcs()), func(r PortReport) bool {
		return r.raft.StatsKnown && !r.raft.LastContactKnown && r.raft.Leader == ""
	})
}
