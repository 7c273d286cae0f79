// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// right is something that a token may be allowed to do, in the words of Consul's ACL rules. The zero value is no right.
type right struct {
	Resource string
	// Segment is the name of the node or the prefix of the keys; empty for rights that are not about one.
	Segment string `json:",omitempty"`
	Access  string
}

var (
	operatorRead = right{Resource: "operator", Access: "read"}
	peeringRead  = right{Resource: "peering", Access: "read"}
)

// agentRead is the right to read what an agent says about itself; an empty name stands for any agent.
func agentRead(node string) right { return right{"agent", node, "read"} }

// keyList is the right to list keys, which Consul demands with acl.enable_key_list_policy only.
func keyList(prefix string) right { return right{"key", prefix, "list"} }

// String is "operator:read", or "agent:read on server-1".
func (r right) String() string {
	if r.Segment == "" {
		return r.Resource + ":" + r.Access
	}
	return r.Resource + ":" + r.Access + " on " + r.Segment
}

// deniedError means that the token lacks a right. It is an ErrRefused, and Consul was not asked.
type deniedError struct{ missing right }

func (e deniedError) Error() string {
	return ErrRefused.Error() + ": permission denied: the token lacks " + e.missing.String()
}

func (deniedError) Is(err error) bool { return err == ErrRefused }

// endpointAuthorize answers which of the rights in its body the token has, the anonymous token included. It writes nothing and logs
// nothing, except with ACLs switched off (Consul: HTTPHandlers.ACLAuthorize). It is there since Consul 1.8.
var endpointAuthorize = endpoint{path: "/v1/internal/acl/authorize"}

// rights are those that a token was asked for; nil if they are not known.
type rights map[right]bool

// lacks reports whether the token is known to be without a right.
func (r rights) lacks(wanted right) bool {
	allowed, known := r[wanted]
	return known && !allowed
}

// lacksAll reports whether the token is known to be without any of the rights.
func (r rights) lacksAll(wanted []right) bool {
	return len(wanted) > 0 && !slices.ContainsFunc(wanted, func(w right) bool { return !r.lacks(w) })
}

// rightsMemory is how long the answer about a token's rights holds, and maxRights is how many rights Consul tells at once.
const (
	rightsMemory = 5 * time.Minute
	maxRights    = 64
)

// knownRights is the last answer.
type knownRights struct {
	mu     sync.Mutex
	token  string    // Guarded by mu.
	rights rights    // Guarded by mu.
	until  time.Time // Guarded by mu.
}

// of returns the last answer about a token, and whether it still holds.
func (k *knownRights) of(token string, now time.Time) (r rights, fresh bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.token != token {
		return nil, false
	}
	return k.rights, now.Before(k.until)
}

func (k *knownRights) learn(token string, r rights, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.token, k.rights, k.until = token, r, now.Add(rightsMemory)
}

// tokenRights are the rights of the token, of those that endpoints need. They are asked for once in rightsMemory, and at once when the token
// changes. If they cannot be had, what was known about the token holds. It must be started only for an agent that has ACLs switched on.
func (s *Snapshot) tokenRights() *Fact[rights] {
	return s.rights.start(s.ctx, func(ctx context.Context) (rights, error) {
		c := s.cluster
		token := c.client.opts.token()
		members, err := s.Members().Get(ctx)
		if isUnknownToken(err) {
			return nil, err // As it would be here, whatever was known before.
		}
		known, fresh := c.rights.of(token, c.client.refusals.now())
		if fresh {
			return known, nil
		}
		answer, err := s.authorize(withToken(ctx, token), c.wantedRights(members))
		switch {
		case isUnknownToken(err):
			return nil, err
		case err != nil:
			return known, nil // Without the endpoint, as before Consul 1.8, refusals are remembered.
		}
		c.rights.learn(token, answer, c.client.refusals.now())
		return answer, nil
	})
}

// authorize asks for rights.
func (s *Snapshot) authorize(ctx context.Context, wanted []right) (rights, error) {
	body, err := json.Marshal(wanted)
	if err != nil {
		return nil, fmt.Errorf("encode the rights: %w", err)
	}
	ep := endpointAuthorize
	ep.body = body
	answer, err := readList(ctx, s, ep, func(a *struct{ Allow bool }) bool { return a.Allow })
	if err != nil {
		return nil, err
	}
	if len(answer) != len(wanted) {
		return nil, fmt.Errorf("read %s: the answer is about %d rights, not %d", ep.path, len(answer), len(wanted))
	}
	r := make(rights, len(wanted))
	for i := range wanted {
		r[wanted[i]] = answer[i]
	}
	return r, nil
}

// wantedRights are those that any endpoint needs. A request of an older Consul must not name a resource that it does not know.
func (c *Cluster) wantedRights(members []Member) []right {
	wanted := []right{operatorRead, agentRead("")}
	if !slices.ContainsFunc(members, func(m Member) bool { return m.Server() && olderThan(m.Version, 1, 13) }) {
		wanted = append(wanted, peeringRead)
	}
	if prefix := c.keyPrefix(); prefix != "" {
		wanted = append(wanted, keyList(prefix))
	}
	for _, name := range c.agentNames(members) {
		if len(wanted) < maxRights {
			wanted = append(wanted, agentRead(name))
		}
	}
	return wanted
}

// agentNames are the names of the agents that are asked about themselves, or may be: those of the configured agent and of the servers
// first.
func (c *Cluster) agentNames(members []Member) []string {
	members = slices.Clone(members)
	slices.SortStableFunc(members, func(a, b Member) int {
		return cmp.Or(compareBool(b.Addr == c.client.opts.Address.hostname(), a.Addr == c.client.opts.Address.hostname()),
			compareBool(b.Server(), a.Server()))
	})
	var names []string
	if _, agent := c.known(); agent != nil {
		names = append(names, agent.Name)
	}
	for _, m := range members {
		if !slices.Contains(names, m.Name) {
			names = append(names, m.Name)
		}
	}
	return names
}

// agentRights are the rights one of which is needed to ask the agent at an address about itself. It is one if the name of the agent is
// known; otherwise, the agent is one of the members.
func (c *Cluster) agentRights(address Address, members []Member) []right {
	_, agent := c.known()
	if agent != nil && address == c.client.opts.Address {
		return []right{agentRead(agent.Name)}
	}
	for _, m := range members {
		if m.Addr == address.hostname() {
			return []right{agentRead(m.Name)}
		}
	}
	any := []right{agentRead("")}
	for _, name := range c.agentNames(members) {
		any = append(any, agentRead(name))
	}
	return any
}

// aclsOn reports whether the configured agent is known to have ACLs switched on, before it has told about itself in this scrape. By the tags
// of the servers alone it is not: a client agent may have them switched off all the same, and then the question for rights is an error in
// its log.
func (s *Snapshot) aclsOn(members []Member, membersErr error) bool {
	if _, agent := s.cluster.known(); agent != nil {
		return agent.ACLsOn
	}
	switch {
	case isUnknownToken(membersErr):
		return true
	case membersErr != nil:
		return false
	case len(members) == 0: // An agent is at least a member itself: the token may not see it.
		return true
	}
	switched := slices.ContainsFunc(members, func(m Member) bool { return m.Server() && m.ACLs }) &&
		!slices.ContainsFunc(members, func(m Member) bool { return m.Server() && !m.ACLs })
	return switched && s.Queries()[endpointMembers.name()].DefaultACLPolicy != "allow"
}

// olderThan reports whether a version is known to be older than major.minor.
func olderThan(version string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(version, "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a < major || (a == major && b < minor)
}

// unknownToken returns the refusal of a token that the agent does not know, or nil.
func unknownToken(err error) error {
	if isUnknownToken(err) && errors.Is(err, ErrRefused) {
		return err
	}
	return nil
}
