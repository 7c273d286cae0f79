// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
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
	// Leader is the address of the leader that served it, by the account of the agent through which it was made; empty
	// unless OK and known.
	Leader string
}

// unproven are the errors of reads that were not served through agents that cannot speak for the cluster: they turned
// the read away, or did not get an answer in time.
type unproven []error

func (e unproven) Error() string {
	return fmt.Sprintf("whether the cluster serves it is not known: %v", errors.Join(e...))
}
func (e unproven) Unwrap() []error { return e }

// otherReads is through how many other agents a read is tried.
const otherReads = 2

// ConsistentRead is a linearizable read, within Options.ConsistentTimeout or the rest of the scrape. One that is not
// served through the agent in use is tried through agents of other servers, in that time again. That the cluster cannot
// serve it is a result, with a witness: an agent that knows of no leader, servers that answer with an error, a leader
// that does not answer in time, neither to its own agent nor on port 8300, or the agents of two servers that get no
// answer. An error means that there is no
// witness, and says what each agent answered: one that turns requests away because of its limits or our token, or that
// hangs, says nothing about the cluster.
//
// An agent that knows of no leader is not asked: servers would hold the read for seven seconds
// (performance.rpc_hold_timeout), and a client agent would log it. Nor is a client agent that gets no answer about
// the leader, as from a frozen server. Such an agent, unlike one that hangs itself, still answers questions about
// itself.
func (s *Snapshot) ConsistentRead() *Fact[ConsistentRead] {
	return s.consistentRead.Start(s.ctx, func(ctx context.Context) (ConsistentRead, error) {
		own := s.readThroughUsed(ctx)
		if own.err == nil {
			return judgeReads([]attempt{own})
		}
		others := s.otherAgents(ctx)
		attempts := make([]attempt, len(others))
		var group sync.WaitGroup
		for i, agent := range others {
			group.Go(func() { attempts[i] = s.readThrough(ctx, agent) })
		}
		group.Wait()
		return judgeReads(append([]attempt{own}, attempts...))
	})
}

// attempt is a read through one agent.
type attempt struct {
	err  error // Nil if it was served.
	took time.Duration
	// leader is the address of the leader by the agent's account; empty if unknown.
	leader string
	// waited is whether the agent answers, but not to what it had to ask the leader about. leaderHangs is whether it is
	// the leader itself, or port 8300 of the leader that it names accepts connections and does not answer.
	waited, leaderHangs bool
}

// judgeReads judges by all attempts.
func judgeReads(attempts []attempt) (ConsistentRead, error) {
	var failed unproven
	witnessed, waited := false, 0
	for _, a := range attempts {
		switch {
		case a.err == nil:
			return ConsistentRead{OK: true, Duration: a.took, Leader: a.leader}, nil
		case errors.As(a.err, new(unaskedError)), consul.IsServerError(a.err), a.waited && a.leaderHangs:
			witnessed = true
		case a.waited:
			waited++
		}
		failed = append(failed, a.err)
	}
	switch {
	case witnessed || waited > 1:
		return ConsistentRead{}, nil
	case len(failed) == 1:
		return ConsistentRead{}, failed[0]
	default:
		return ConsistentRead{}, failed
	}
}

// consistentTimeout bounds a read and the question about the leader together.
func (s *Snapshot) consistentTimeout() time.Duration {
	return cmp.Or(s.cluster.opts.ConsistentTimeout, s.cluster.opts.Client.Timeout)
}

// readThroughUsed reads through the agent in use.
func (s *Snapshot) readThroughUsed(ctx context.Context) (a attempt) {
	ep := endpointConsistent
	ep.Timeout = s.consistentTimeout()
	ctx, cancel := context.WithTimeout(ctx, ep.Timeout)
	defer cancel()
	leaderFact, agentFact := s.StatusLeader(), s.Agent()
	leader, err := leaderFact.Get(ctx)
	switch {
	case err == nil && leader == "":
		return attempt{err: errNoLeader}
	case errors.Is(err, errServerGone):
		return attempt{err: err}
	case errors.Is(err, context.DeadlineExceeded):
		// Fetched under the snapshot's context, so this ends with it at the latest.
		_, agentErr := agentFact.Get(context.WithoutCancel(ctx))
		return attempt{err: err, waited: consul.IsDealtWith(agentErr)}
	case err != nil && !consul.IsAgentsAnswer(err) && !errors.Is(err, consul.ErrRefused):
		return attempt{err: err}
	}
	start := time.Now()
	var checks []struct{}
	a.err = s.readAgent(ctx, ep, &checks)
	a.took, a.waited, a.leader = time.Since(start), errors.Is(a.err, context.DeadlineExceeded), leader
	agent, ok := agentFact.Peek()
	leads := ok && agent.Leads()
	a.leaderHangs = leads || s.cluster.prober.Silent(leader)
	return a
}

// readThrough reads through another agent, which is asked first who leads: what is known about the agent in use may not
// hold for this one.
func (s *Snapshot) readThrough(ctx context.Context, address consul.Address) (a attempt) {
	ctx, cancel := context.WithTimeout(ctx, s.consistentTimeout())
	defer cancel()
	var leader string
	client := s.cluster.client
	if _, err := client.Get(ctx, address, endpointStatusLeader, &leader); err != nil {
		return attempt{err: fmt.Errorf("%s: %w", address, err)}
	}
	switch {
	case leader == "":
		return attempt{err: errNoLeader}
	case s.cluster.prober.Silent(leader), s.lostAt(ctx, address, leader):
		return attempt{err: errLeaderLost}
	}
	ep := endpointConsistent
	ep.Timeout = s.consistentTimeout()
	start := time.Now()
	var checks []struct{}
	if _, err := client.Get(ctx, address, ep, &checks); err != nil {
		a.err, a.waited = fmt.Errorf("%s: %w", address, err), errors.Is(err, context.DeadlineExceeded)
		host, _, _ := net.SplitHostPort(leader)
		a.leaderHangs = host == address.Hostname() || s.cluster.prober.Silent(leader)
	}
	a.took, a.leader = time.Since(start), leader
	return a
}

// lostAt reports whether the leader that an agent names is not alive in its LAN pool: it would log an error for each
// question that it cannot pass on.
func (s *Snapshot) lostAt(ctx context.Context, address consul.Address, leader string) bool {
	members, err := readList(ctx, s, address, endpointMembers, newMember)
	return err == nil && failedAt(members, leader)
}

// otherAgents are agents of other servers than the one in use that can be expected to answer: those that are configured
// first.
func (s *Snapshot) otherAgents(ctx context.Context) []consul.Address {
	var others []consul.Address
	used := s.Address()
	add := func(address consul.Address) {
		if len(others) < otherReads && address != used && !slices.Contains(others, address) {
			others = append(others, address)
		}
	}
	for _, t := range s.trials {
		if err, asked := t.state(ctx); !asked || err == nil {
			add(t.address)
		}
	}
	agent := s.KnownAgent()
	if agent == nil || !s.reaches(*agent) {
		return others
	}
	hurry, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	topology, err := s.Topology().Get(hurry)
	if err != nil {
		topology = s.before.topology()
	}
	for _, server := range topology.Servers {
		if server.Host != agent.AdvertiseAddr && s.mayAnswer(server) {
			add(used.On(server.Host))
		}
	}
	return others
}
