// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// One configured agent is used for a whole scrape. The one that was useful last is asked first; if it does not answer
// usefully in time, the next is asked as well. The agents configured before the one in use are asked in each scrape,
// and used again after a scrape in which they answered.

const (
	// hedgeMost bounds how long an agent may keep the next one waiting, which is otherwise this share of the scrape.
	hedgeMost  = time.Second
	hedgeShare = 4
	// choiceShare is the share of the scrape by whose end an agent is chosen.
	choiceShare = 2
)

// noAnswerYet means that an agent kept the scrape waiting for too long.
type noAnswerYet struct{}

func (noAnswerYet) Error() string { return "no answer in time" }
func (noAnswerYet) Unwrap() error { return context.DeadlineExceeded }

// usefulness is what an agent is good for in a scrape.
type usefulness int

const (
	// notAnswering: another program answers at its address, it turns requests away because of its limits, or it does not
	// answer.
	notAnswering usefulness = iota
	// answering: it answers, but neither about itself nor about the members.
	answering
	// useful: it answers about itself, or about the members if the token may not read what it reports about itself.
	useful
)

// AgentState is a configured agent in a scrape.
type AgentState struct {
	Address consul.Address
	// Used is whether it is the one that the scrape uses.
	Used bool
	// Err is why it is of no use; nil if it is.
	Err error
}

// knownAgent is what is remembered of a configured agent.
type knownAgent struct {
	agent      *Agent // What it last reported about itself; nil until then.
	agentGone  bool   // Whether nothing listened at its address when it was last asked.
	leaderless bool   // Whether it last reported that there is no leader.
	err        error  // Why it was of no use when it was last asked.
	balanced   bool   // Whether more than one agent has answered at its address.
}

// addresses are those of the configured agents, the first one first.
func (o *Options) addresses() []consul.Address {
	return append([]consul.Address{o.Client.Address}, o.OtherAgents...)
}

// newTrials returns a snapshot of each configured agent alone, in the order in which they are asked: the first one is
// that of the index, and all others follow as configured. They are nil if only one agent is configured.
func (s *Snapshot) newTrials() []*Snapshot {
	addresses := s.cluster.opts.addresses()
	if len(addresses) == 1 {
		return nil
	}
	first := addresses[min(s.before.first, len(addresses)-1)]
	order := append([]consul.Address{first},
		slices.DeleteFunc(addresses, func(a consul.Address) bool { return a == first })...)
	trials := make([]*Snapshot, 0, len(order))
	for _, address := range order {
		before := s.before
		before.knownAgent = before.agents[address]
		trials = append(trials, s.cluster.snapshotOf(s.ctx, s.cancel, address, before))
	}
	return trials
}

// used is the snapshot of the agent that is used in this scrape. It waits until that is known.
func (s *Snapshot) used() *Snapshot {
	if len(s.trials) == 0 {
		return s
	}
	if u, err := s.choice.Start(s.ctx, s.choose).Wait(); err == nil {
		return u
	}
	return s.trials[0]
}

// chosen is the snapshot of the agent that is used in this scrape, or nil if that is not known yet.
func (s *Snapshot) chosen() *Snapshot {
	if len(s.trials) == 0 {
		return s
	}
	u, _ := s.choice.Peek()
	return u
}

// choose asks one agent after the other, without waiting for one that hangs, and returns the first that is useful, or
// else the best. It never fails.
func (s *Snapshot) choose(ctx context.Context) (*Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, s.share(choiceShare))
	defer cancel()
	best, most := 0, notAnswering
	judged := make(chan int, len(s.trials))
	worth := make([]usefulness, len(s.trials))
	started := 0
	start := func() {
		i := started
		started++
		go func() {
			worth[i], _ = s.trials[i].usefulness(ctx)
			judged <- i
		}()
	}
	start()
	hedge := time.NewTicker(min(hedgeMost, max(s.share(hedgeShare), time.Millisecond)))
	defer hedge.Stop()
	for done := 0; done < len(s.trials) && most < useful && ctx.Err() == nil; {
		select {
		case i := <-judged:
			done++
			if worth[i] > most || (worth[i] == most && i < best) {
				best, most = i, worth[i]
			}
		case <-hedge.C:
		case <-ctx.Done():
			continue
		}
		if most < useful && started < len(s.trials) {
			start()
		}
	}
	s.passOver(s.trials[:started], s.trials[best])
	return s.trials[best], nil
}

// share is one of so many parts of the time that is left for fetching.
func (s *Snapshot) share(parts int64) time.Duration {
	left := 2 * s.cluster.opts.Client.Timeout
	if deadline, ok := s.ctx.Deadline(); ok {
		left = time.Until(deadline)
	}
	return time.Duration(int64(left) / parts)
}

// passOver notes which agents kept the scrape waiting, and asks those that are configured before the one in use.
func (s *Snapshot) passOver(asked []*Snapshot, used *Snapshot) {
	for _, t := range asked {
		if t != used {
			t.mu.Lock()
			t.passedOver = true
			t.mu.Unlock()
		}
	}
	for _, address := range s.cluster.opts.addresses() {
		if address == used.address {
			return
		}
		for _, t := range s.trials {
			if t.address == address {
				t.Agent()
			}
		}
	}
}

// usefulness judges the agent of a trial; the error is why it is not useful.
func (s *Snapshot) usefulness(ctx context.Context) (usefulness, error) {
	self, members := s.Agent(), s.Members()
	_, err := self.Get(ctx)
	if err == nil {
		return useful, nil
	}
	_, membersErr := members.Get(ctx)
	switch {
	case membersErr == nil && errors.Is(err, consul.ErrRefused):
		return useful, nil
	case consul.IsDealtWith(err) || consul.IsDealtWith(membersErr):
		return answering, err
	default:
		return notAnswering, err
	}
}

// state returns why the agent of a trial is of no use, as far as the scrape knows by now; ok is whether it was asked.
func (s *Snapshot) state(ctx context.Context) (err error, ok bool) {
	if !s.self.Asked() {
		return nil, false
	}
	ended, cancel := context.WithCancel(ctx)
	cancel() // Nothing is waited for.
	switch worth, err := s.usefulness(ended); {
	case worth == useful:
		return nil, true
	case !errors.Is(err, context.Canceled):
		return err, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.passedOver {
		return noAnswerYet{}, true
	}
	return s.before.err, true
}

// AgentErr is why the agent that is used in this scrape does not tell about itself, as far as is known by now; nil if
// it does, or was not asked.
func (s *Snapshot) AgentErr() error {
	u := s.chosen()
	if u == nil || !u.self.Asked() {
		return nil
	}
	ended, cancel := context.WithCancel(s.ctx)
	cancel() // Nothing is waited for.
	if _, err := u.Agent().Get(ended); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Agents are the configured agents that this scrape has asked, in the order in which they are configured; nil if there
// is only one.
func (s *Snapshot) Agents() []AgentState {
	if len(s.trials) == 0 {
		return nil
	}
	used := s.used()
	var states []AgentState
	for _, address := range s.cluster.opts.addresses() {
		for _, t := range s.trials {
			if t.address != address {
				continue
			}
			if err, ok := t.state(s.ctx); ok {
				states = append(states, AgentState{address, t == used, err})
			}
		}
	}
	return states
}

// learnAgents returns k with what the scrape has found out about the configured agents.
func (s *Snapshot) learnAgents(k known) known {
	agents := make(map[consul.Address]knownAgent, len(k.agents)+1)
	maps.Copy(agents, k.agents)
	addresses := s.cluster.opts.addresses()
	first := len(addresses)
	for _, t := range s.agentsAsked() {
		agents[t.address] = t.learnedAgent(agents[t.address], s)
		if i := slices.Index(addresses, t.address); agents[t.address].err == nil {
			first = min(first, i)
		}
	}
	if k.agents = agents; first < len(addresses) {
		k.first = first
	}
	k.knownAgent = agents[addresses[k.first]]
	return k
}

// agentsAsked are the snapshots of the agents that were asked.
func (s *Snapshot) agentsAsked() []*Snapshot {
	if len(s.trials) == 0 {
		return []*Snapshot{s}
	}
	return slices.DeleteFunc(slices.Clone(s.trials), func(t *Snapshot) bool { return !t.self.Asked() })
}

// learnedAgent returns k with what the scrape has found out about the agent of this snapshot, which may be all of it.
func (s *Snapshot) learnedAgent(k knownAgent, all *Snapshot) knownAgent {
	if agent, ok := s.self.Peek(); ok {
		k.balanced = k.balanced || (k.agent != nil && k.agent.key() != agent.key())
		k.agent = &agent
	}
	if leader, ok := all.statusLeader.Peek(); ok && all.chosen() == s {
		k.leaderless = leader == ""
	}
	if err, ok := s.state(s.ctx); ok {
		k.err = err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k.agentGone = s.agentGone
	return k
}
