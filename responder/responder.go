// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
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
	// HookEnvironment are the variables with which programs reach Consul as the responder does, such as CONSUL_HTTP_ADDR.
	HookEnvironment []string
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
	now   func() time.Time
	clock clock // Guarded by mu.
	// look takes a fresh snapshot, except in tests.
	look func(context.Context) *view

	// turnedAway are complaints about strangers, who must not hide those about what Alertmanager delivers.
	turnedAway, rejections complaints

	queries sync.Mutex // Held while one reads the history.

	// wake has an element when there may be something in the queue.
	wake chan struct{}

	mu    sync.Mutex
	queue []job // Guarded by mu.
	// waiting are, by fingerprint, the alerts that were refused and are to be decided on again. Guarded by mu.
	waiting map[string]job
	ledger  *ledger // Guarded by mu.
	// survivors are programs from before a restart. Guarded by mu.
	survivors []survivor
	// notifying is how many notifications are under way. Guarded by mu.
	notifying int
	running   sync.WaitGroup // The notifications.
	// idleSince is when the last action ended: what arrived before was delivered while it was under way. Guarded by mu.
	idleSince time.Time
}

// New opens the history. Close must be called at the end, after Run has returned.
func New(opts Options) (*Responder, error) {
	r, err := newResponder(opts)
	if err != nil {
		return nil, err
	}
	if err := r.open(opts.Config.History); err != nil {
		return nil, err
	}
	return r, nil
}

// newResponder returns one that has done nothing yet.
func newResponder(opts Options) (*Responder, error) {
	start := time.Now()
	r := &Responder{
		maxPerHour: opts.Config.MaxPerHour, secret: opts.Secret, logger: opts.Logger, now: time.Now, ledger: newLedger(),
		clock: clock{elapsed: func() time.Duration { return time.Since(start) }},
	}
	if err := r.makeRules(opts); err != nil {
		return nil, err
	}
	removes := slices.ContainsFunc(r.rules, func(rule *rule) bool { return rule.Action.Remove != nil })
	r.look = func(ctx context.Context) *view { return look(ctx, opts.Consul, removes) }
	return r, nil
}

// open opens the history, and learns from it what was done.
func (r *Responder) open(c HistoryConfig) error {
	r.ledger, r.wake, r.metrics = newLedger(), make(chan struct{}, 1), newMetrics(r.rules)
	r.waiting = make(map[string]job)
	history, records, torn, err := openHistory(c)
	if err != nil {
		return err
	}
	r.history = history
	if torn {
		level.Warn(r.logger).Log("msg", "the history ended in the middle of a line, which was cut off", "file", c.File)
	}
	if future := r.ledger.learn(records, r.now()); future > 0 {
		level.Warn(r.logger).Log("msg", "the history has actions from the future, which count as made by now",
			"actions", future)
	}
	for i := range records { // Those that an earlier restart has given a result, without knowing that they are over.
		if records[i].Result == ResultUnknown && records[i].Process == nil {
			r.waitFor(&records[i])
		}
	}
	r.history.lost = func(path string) {
		level.Error(r.logger).Log("msg", "a file of the history was deleted or cut off, and is made again", "file", path)
	}
	if err := r.closeInterrupted(); err != nil {
		_ = r.history.close()
		return err
	}
	r.metrics.lastAction(r.ledger.lastAction)
	return nil
}

// makeRules makes the rules from a configuration that Load has checked.
func (r *Responder) makeRules(opts Options) error {
	c := opts.Config
	operator, err := newOperator(opts.Consul)
	if err != nil {
		return err
	}
	for _, rc := range c.Rules {
		made := &rule{RuleConfig: rc}
		if rc.Cluster != anyCluster {
			made.matchers = append(made.matchers, matcher{label: labelCluster, value: rc.Cluster})
		}
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
			made.action = &removeDeadPeer{
				guards: g, RemoveConfig: *a.Remove, operator: operator, rule: rc.Name,
				reach: opts.HookEnvironment,
				look:  func(ctx context.Context) *view { return look(ctx, opts.Consul, true) },
			}
		case a.Exec != nil:
			made.action = &execCommand{guards: g, ExecConfig: *a.Exec, rule: rc.Name, reach: opts.HookEnvironment}
		default:
			made.action = &notify{NotifyConfig: *a.Notify, rule: rc.Name}
		}
		r.rules = append(r.rules, made)
	}
	return nil
}

// closeInterrupted gives the actions a result during which the responder was killed. They are not made again. A program
// that runs on has none yet.
func (r *Responder) closeInterrupted() error {
	for _, record := range r.ledger.open {
		if record.Process != nil && record.Process.alive() {
			r.adopt(record)
			continue
		}
		record.Result = ResultUnknown
		record.Error = "the responder was killed before it knew how the action ended; it is not made again"
		record.Ended = new(r.now())
		if err := r.conclude(record); err != nil {
			return err
		}
		if record.Process == nil {
			r.waitFor(&record)
		}
	}
	return nil
}

// waitFor keeps others back while an action may go on that this process has not begun. A notification keeps nobody.
func (r *Responder) waitFor(record *Record) {
	until := r.now().Add(r.left(record))
	if record.Action != actionNotify && until.After(r.ledger.busyUntil) {
		r.ledger.busyUntil = until
	}
}

// left is for how long an action from before a restart may go on: never for longer than from its beginning, whatever
// the clock was then.
func (r *Responder) left(record *Record) time.Duration {
	if record.Deadline == nil {
		return 0
	}
	return min(max(record.Deadline.Sub(r.now()), 0), max(record.Deadline.Sub(record.Time), 0), maxExecTimeout)
}

// Close ends what New has begun.
func (r *Responder) Close() error { return r.history.close() }

// Run decides on what is in the queue until ctx is done. An action that has begun by then is still finished.
func (r *Responder) Run(ctx context.Context) {
	var watches sync.WaitGroup
	defer watches.Wait()
	defer r.running.Wait()
	for _, rule := range r.rules {
		if remove, ok := rule.action.(*removeDeadPeer); ok {
			watches.Go(func() { remove.watch(ctx) })
		}
	}
	watches.Go(func() { r.watchHistory(ctx) })
	watches.Go(func() { r.watchSurvivors(ctx) })
	for {
		next, ok := r.take()
		if ok && ctx.Err() == nil {
			r.decide(ctx, next)
			continue
		}
		select {
		case <-r.wake:
		case <-time.After(time.Second): // Something that was refused may have its turn.
		case <-ctx.Done():
			return
		}
	}
}

// historyInterval is how often it is looked whether the files of the history are still there.
const historyInterval = 2 * time.Second

// watchHistory restores files of the history that were deleted, until ctx is done.
func (r *Responder) watchHistory(ctx context.Context) {
	failing := ""
	for {
		select {
		case <-time.After(historyInterval):
		case <-ctx.Done():
			return
		}
		text := ""
		if err := r.history.verify(); err != nil {
			text = err.Error()
		}
		if text != failing && text != "" {
			level.Error(r.logger).Log("msg", "nothing is done until the history can be written", "err", text)
		}
		failing = text
	}
}
