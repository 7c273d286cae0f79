// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// endpointConsistent is read linearizably: the checks of a node that does not exist, which is an empty list.
//
// Consul only answers after the leader has asked a quorum whether it still leads. A key or a session would do the
// same, but without key:read Consul refuses the key, and logs an error each time. This list is filtered by the
// token's rights and never refused (Consul: Health.NodeChecks).
var endpointConsistent = consul.Endpoint{
	Path:        "/v1/health/node/consul_cluster_exporter",
	Label:       "/v1/health/node/:node",
	HasMeta:     true,
	Consistency: consul.ConsistencyConsistent,
}

// ConsistentRead is how a linearizable read went.
type ConsistentRead struct {
	// OK is whether it was answered in time.
	OK bool
	// Duration is how long it took; 0 unless OK.
	Duration time.Duration
}

// ConsistentRead is a linearizable read through the configured agent, within Options.ConsistentTimeout or the rest of
// the scrape. That the cluster cannot serve it is a result; an error means that the agent could not be asked, or
// refused.
//
// An agent that knows of no leader is not asked: servers would hold the read for seven seconds
// (performance.rpc_hold_timeout), and a client agent would log it. Nor is a client agent that gets no answer about
// the leader, as from a frozen server. Such an agent, unlike one that hangs itself, still answers questions about
// itself.
func (s *Snapshot) ConsistentRead() *Fact[ConsistentRead] {
	return s.consistentRead.Start(s.ctx, func(ctx context.Context) (ConsistentRead, error) {
		ep := endpointConsistent
		ep.Timeout = cmp.Or(s.cluster.opts.ConsistentTimeout, s.cluster.opts.Client.Timeout)
		ctx, cancel := context.WithTimeout(ctx, ep.Timeout) // For the question about the leader, too.
		defer cancel()
		leader, err := s.leaderInTime(ctx)
		switch {
		case err == nil && leader == "", errors.Is(err, errSilent), errors.Is(err, errServerGone):
			return ConsistentRead{}, nil
		case err != nil && !consul.IsAgentsAnswer(err) && !errors.Is(err, consul.ErrRefused):
			return ConsistentRead{}, err
		}
		start := time.Now()
		var checks []struct{}
		return newConsistentRead(s.readAgent(ctx, ep, &checks), time.Since(start))
	})
}

// errSilent means that the agent answers and the servers do not.
var errSilent = errors.New("the agent has no answer from the servers")

// leaderInTime is StatusLeader if that is known before ctx ends, or errSilent if it is not but the agent answers.
func (s *Snapshot) leaderInTime(ctx context.Context) (string, error) {
	leaderFact, agentFact := s.StatusLeader(), s.Agent()
	leader, err := leaderFact.Get(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		return leader, err
	}
	// Fetched under the snapshot's context, so this ends with it at the latest.
	if _, agentErr := agentFact.Get(context.WithoutCancel(ctx)); consul.IsAgentsAnswer(agentErr) {
		return "", errSilent
	}
	return "", err
}

// newConsistentRead judges by the read's error and duration.
func newConsistentRead(err error, took time.Duration) (ConsistentRead, error) {
	switch {
	case err == nil:
		return ConsistentRead{OK: true, Duration: took}, nil
	case errors.Is(err, consul.ErrRefused):
		return ConsistentRead{}, err
	case consul.IsAgentsAnswer(err), errors.Is(err, context.DeadlineExceeded), errors.As(err, new(unaskedError)):
		return ConsistentRead{}, nil
	default:
		return ConsistentRead{}, err
	}
}
