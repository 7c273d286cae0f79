// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// Options are what a Responder is made from.
type Options struct {
	Config *Config
	// Consul is the cluster to look at. Its client's options are also those for writing, with the same token.
	Consul *cluster.Cluster
	// Secret returns what deliveries must know; nil means that anybody may deliver.
	Secret func() string
	// Logger gets what happens; it must be set.
	Logger log.Logger
}

// Responder takes deliveries of alerts, and acts on them one after the other.
type Responder struct {
	rules      []*rule
	maxPerHour int
	secret     func() string
	history    *history
	metrics    *metrics
	logger     log.Logger
	// now is time.Now, except in tests.
	now func() time.Time
	// look takes a fresh snapshot, except in tests.
	look func(context.Context) *view

	// wake has an element when there may be something in the queue.
	wake chan struct{}

	mu     sync.Mutex
	queue  []job   // Guarded by mu.
	ledger *ledger // Guarded by mu.
	// idleSince is when the last action ended: what arrived before was delivered while it was under way. Guarded by mu.
	idleSince time.Time
}

// job is an alert that waits to be decided on.
type job struct {
	alert       Alert
	fingerprint string
	received    time.Time
}

// New opens the history. Close must be called at the end, after Run has returned.
func New(opts Options) (*Responder, error) {
	r := &Responder{maxPerHour: opts.Config.MaxPerHour, secret: opts.Secret, logger: opts.Logger, now: time.Now}
	if err := r.makeRules(opts.Config, opts.Consul); err != nil {
		return nil, err
	}
	removes := slices.ContainsFunc(r.rules, func(rule *rule) bool { return rule.Action.Remove != nil })
	r.look = func(ctx context.Context) *view { return look(ctx, opts.Consul, removes) }
	if err := r.open(opts.Config.History); err != nil {
		return nil, err
	}
	return r, nil
}

// open opens the history, and learns from it what was done.
func (r *Responder) open(c HistoryConfig) error {
	r.ledger, r.wake, r.metrics = newLedger(), make(chan struct{}, 1), newMetrics(r.rules)
	var torn bool
	var err error
	if r.history, torn, err = openHistory(c, r.ledger.note); err != nil {
		return err
	}
	if torn {
		level.Warn(r.logger).Log("msg", "the history ended in the middle of a line, which was cut off", "file", c.File)
	}
	if err := r.closeInterrupted(); err != nil {
		_ = r.history.close()
		return err
	}
	r.metrics.lastAction(r.ledger.lastAction)
	return nil
}

// makeRules makes the rules from a configuration that Load has checked.
func (r *Responder) makeRules(c *Config, consul *cluster.Cluster) error {
	operator, err := newOperator(consul)
	if err != nil {
		return err
	}
	for _, rc := range c.Rules {
		made := &rule{RuleConfig: rc}
		for _, text := range rc.Matchers {
			m, err := parseMatcher(text)
			if err != nil {
				return err
			}
			made.matchers = append(made.matchers, m)
		}
		g := guards{expected: c.ExpectedServers, require: rc.Require}
		switch a := rc.Action; {
		case a.Transfer != nil:
			made.action = &transferLeadership{guards: g, TransferConfig: *a.Transfer, operator: operator}
		case a.Remove != nil:
			made.action = &removeDeadPeer{guards: g, RemoveConfig: *a.Remove, operator: operator}
		case a.Exec != nil:
			made.action = &execCommand{guards: g, ExecConfig: *a.Exec, rule: rc.Name}
		default:
			made.action = &notify{NotifyConfig: *a.Notify, rule: rc.Name}
		}
		r.rules = append(r.rules, made)
	}
	return nil
}

// closeInterrupted gives the actions a result during which the responder was killed. They are not made again.
func (r *Responder) closeInterrupted() error {
	for _, record := range r.ledger.open {
		record.Result = ResultUnknown
		record.Error = "the responder was killed before it knew how the action ended; it is not made again"
		record.Ended = new(r.now())
		if err := r.conclude(record); err != nil {
			return err
		}
		if record.Deadline != nil && record.Deadline.After(r.ledger.busyUntil) {
			r.ledger.busyUntil = *record.Deadline
		}
	}
	return nil
}

// Close ends what New has begun.
func (r *Responder) Close() error { return r.history.close() }

// Run decides on what is in the queue until ctx is done. An action that has begun by then is still finished.
func (r *Responder) Run(ctx context.Context) {
	var watches sync.WaitGroup
	defer watches.Wait()
	for _, rule := range r.rules {
		if remove, ok := rule.action.(*removeDeadPeer); ok {
			watches.Go(func() { remove.watch(ctx) })
		}
	}
	for {
		next, ok := r.take()
		if ok && ctx.Err() == nil {
			r.decide(ctx, next)
			continue
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return
		}
	}
}

const maxQueue = 1000

// errQueueFull means that a delivery has to come again later.
var errQueueFull = fmt.Errorf("%d alerts wait already", maxQueue)

// receive puts those alerts of a delivery into the queue that fire and that a rule matches. It returns how many.
func (r *Responder) receive(alerts []Alert) (queued int, err error) {
	now := r.now()
	r.metrics.alertsReceived.Add(float64(len(alerts)))
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range alerts {
		a := &alerts[i]
		fingerprint := a.fingerprint()
		same := func(j job) bool { return j.fingerprint == fingerprint }
		if !a.Firing {
			r.ledger.resolve(a, now)
			r.queue = slices.DeleteFunc(r.queue, same)
			continue
		}
		if len(r.matching(a)) == 0 || slices.ContainsFunc(r.queue, same) || r.ledger.outdated(a, now) {
			continue
		}
		if len(r.queue) >= maxQueue {
			return queued, errQueueFull
		}
		r.queue = append(r.queue, job{*a, fingerprint, now})
		queued++
	}
	select {
	case r.wake <- struct{}{}:
	default: // It is awake.
	}
	return queued, nil
}

func (r *Responder) take() (job, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		return job{}, false
	}
	next := r.queue[0]
	r.queue = slices.Delete(r.queue, 0, 1)
	return next, true
}

// matching returns the rules for an alert, in their order.
func (r *Responder) matching(a *Alert) []*rule {
	return slices.DeleteFunc(slices.Clone(r.rules), func(rule *rule) bool {
		return slices.ContainsFunc(rule.matchers, func(m matcher) bool { return !m.matches(a.Labels) })
	})
}
