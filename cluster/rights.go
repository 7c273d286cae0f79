// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// endpointAuthorize answers which rights the token, or the anonymous one, has. It writes nothing and logs nothing,
// except with ACLs switched off (Consul: HTTPHandlers.ACLAuthorize). It exists since Consul 1.8.
var endpointAuthorize = consul.Endpoint{Path: "/v1/internal/acl/authorize"}

// rightsMemory is how long an answer about rights holds, and maxRights how many Consul answers at once.
const (
	rightsMemory = 5 * time.Minute
	maxRights    = 64
)

// tokenRights are the last answer about the rights of a token.
type tokenRights struct {
	token   string
	allowed consul.Rights
	until   time.Time
}

// tokenRights are the rights of the token that endpoints need. They are read once in rightsMemory, and again when the
// token changes. If they cannot be read, the last answer holds. It must only be started for an agent with ACLs
// switched on.
func (s *Snapshot) tokenRights() *Fact[tokenRights] {
	return s.rights.Start(s.ctx, func(ctx context.Context) (tokenRights, error) {
		if u := s.used(); u != s {
			return u.tokenRights().Get(ctx)
		}
		client := s.cluster.client
		last := s.before.rights
		if token := client.Options().CurrentToken(); last.token != token {
			last = tokenRights{token: token}
		}
		members, err := s.Members().Get(ctx)
		if consul.IsUnknownToken(err) {
			return last, err // As it would be here, whatever was known before.
		}
		now := client.Refusals().Now
		if now().Before(last.until) {
			return last, nil
		}
		answer, err := s.authorize(consul.WithToken(ctx, last.token), s.wantedRights(members))
		switch {
		case consul.IsUnknownToken(err):
			return last, err
		case err != nil:
			return last, nil // Without the endpoint, as before Consul 1.8, refusals are remembered.
		}
		return tokenRights{last.token, answer, now().Add(rightsMemory)}, nil
	})
}

// authorize asks for rights.
func (s *Snapshot) authorize(ctx context.Context, wanted []consul.Right) (consul.Rights, error) {
	body, err := json.Marshal(wanted)
	if err != nil {
		return nil, fmt.Errorf("encode the rights: %w", err)
	}
	ep := endpointAuthorize
	ep.Body = body
	answer, err := readList(ctx, s, s.Address(), ep, func(a *struct{ Allow bool }) bool { return a.Allow })
	if err != nil {
		return nil, err
	}
	if len(answer) != len(wanted) {
		return nil, fmt.Errorf("read %s: the answer is about %d rights, not %d", ep.Path, len(answer), len(wanted))
	}
	r := make(consul.Rights, len(wanted))
	for i := range wanted {
		r[wanted[i]] = answer[i]
	}
	return r, nil
}

// wantedRights are those that any endpoint needs. An older Consul must not be asked about a resource it does not
// know.
func (s *Snapshot) wantedRights(members []Member) []consul.Right {
	wanted := []consul.Right{consul.OperatorRead, consul.AgentRead("")}
	if !slices.ContainsFunc(members, func(m Member) bool {
		earlier, _ := consul.VersionBefore(m.Version, [3]int{1, 13, 0})
		return m.Server() && earlier
	}) {
		wanted = append(wanted, consul.PeeringRead)
	}
	if prefix := s.cluster.keyPrefix(); prefix != "" {
		wanted = append(wanted, consul.KeyList(prefix))
	}
	for _, name := range s.agentNames(members) {
		if len(wanted) < maxRights {
			wanted = append(wanted, consul.AgentRead(name))
		}
	}
	return wanted
}

// agentNames are the names of the agents that may be asked about themselves: the configured one and servers first.
func (s *Snapshot) agentNames(members []Member) []string {
	configured := s.Address().Hostname()
	members = withFirst(withFirst(members, Member.Server), func(m Member) bool { return m.Addr == configured })
	var names []string
	if agent := s.KnownAgent(); agent != nil {
		names = append(names, agent.Name)
	}
	for _, m := range members {
		if !slices.Contains(names, m.Name) {
			names = append(names, m.Name)
		}
	}
	return names
}

// agentRights are the rights one of which is needed to ask the agent at an address about itself: one for each member
// that is there, or for each one if none is.
func (s *Snapshot) agentRights(address consul.Address, members []Member) []consul.Right {
	if agent := s.KnownAgent(); agent != nil && address == s.Address() {
		return []consul.Right{consul.AgentRead(agent.Name)}
	}
	var at []consul.Right
	for _, m := range members {
		if m.Addr == address.Hostname() {
			at = append(at, consul.AgentRead(m.Name))
		}
	}
	if len(at) > 0 {
		return at
	}
	oneOf := []consul.Right{consul.AgentRead("")}
	for _, name := range s.agentNames(members) {
		oneOf = append(oneOf, consul.AgentRead(name))
	}
	return oneOf
}

// aclsOn reports whether the configured agent is known to have ACLs switched on, before it has answered in this
// scrape. The servers' tags are not enough: a client agent may have them off, and then logs the question as an error.
func (s *Snapshot) aclsOn(members []Member, membersErr error) bool {
	if agent := s.KnownAgent(); agent != nil {
		return agent.ACLsOn
	}
	switch {
	case consul.IsUnknownToken(membersErr):
		return true
	case membersErr != nil:
		return false
	case len(members) == 0: // An agent is at least a member itself: the token may not see it.
		return true
	}
	switched := slices.ContainsFunc(members, func(m Member) bool { return m.Server() && m.ACLs }) &&
		!slices.ContainsFunc(members, func(m Member) bool { return m.Server() && !m.ACLs })
	return switched && s.Queries()[endpointMembers.Name()].DefaultACLPolicy != "allow"
}

// unknownToken returns the refusal of a token that the agent does not know, or nil.
func unknownToken(err error) error {
	if consul.IsUnknownToken(err) && errors.Is(err, consul.ErrRefused) {
		return err
	}
	return nil
}
