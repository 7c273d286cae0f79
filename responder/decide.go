// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log/level"
)

const (
	// maxWait is how long an alert may wait for its turn. After that it gets another one.
	maxWait = time.Minute
	// maxNotifying is how many notifications may be under way at one time.
	maxNotifying = 20
)

func (r *Responder) decide(ctx context.Context, j job) {
	o := r.consider(ctx, &j)
	switch {
	case o.repeated:
		level.Debug(r.logger).Log("msg", "alert has led to an action before",
			"alert", j.alert.name(), "fingerprint", j.fingerprint)
	case o.again:
		r.refuse(&j, o.rule, o.record)
	case o.record.Result == ResultStarted:
		if err := r.act(ctx, o.rule.action, o.plan, o.record); err != nil {
			r.again(&j, o.rule, err.Error())
		}
	default:
		r.settle(o.record)
	}
}

// outcome is what there is to do about an alert.
type outcome struct {
	// repeated is whether the alert has led to an action before. There is nothing else then.
	repeated bool
	rule     *rule
	plan     plan
	// record has the result started if the action is to be made.
	record Record
	// again is whether the alert is refused for a reason that may go.
	again bool
}

// consider decides on an alert that a rule matches, and does nothing.
func (r *Responder) consider(ctx context.Context, j *job) outcome {
	rules := r.matching(&j.alert)
	if r.repeated(j, rules...) {
		return outcome{repeated: true}
	}
	refuse := func(rule *rule, result Result, reason string) outcome {
		return outcome{rule: rule, record: r.record(rule, j, result, reason), again: true}
	}
	if reason := r.stale(j); reason != "" {
		return outcome{rule: rules[0], record: r.record(rules[0], j, ResultRefused, reason)}
	}
	if doubt := r.pending(j); doubt != "" {
		return refuse(rules[0], ResultRefused, doubt)
	}
	if reason := r.pause(rules...); reason != "" {
		return refuse(rules[0], ResultCooldown, reason)
	}
	chosen, v, reason := r.choose(ctx, rules, &j.alert)
	if chosen == nil {
		return refuse(rules[len(rules)-1], ResultRefused, reason)
	}
	if r.repeated(j, chosen) {
		return outcome{repeated: true}
	}
	if reason := r.pause(chosen); reason != "" {
		return refuse(chosen, ResultCooldown, reason)
	}
	if reason := r.crowd(chosen.action); reason != "" {
		return refuse(chosen, ResultRefused, reason)
	}
	plan, decision := chosen.action.judge(&j.alert, v)
	o := outcome{rule: chosen, plan: plan, record: r.record(chosen, j, ResultRefused, decision.reasons...)}
	o.record.What, o.record.Quorum = plan.what, decision.quorum
	over := r.stale(j) // It may have been resolved while the cluster was looked at.
	switch {
	case over != "":
		o.record.Reasons = append(o.record.Reasons, over)
	case !decision.allowed:
		o.again = true
	case chosen.DryRun:
		o.record.Result = ResultDryRun
	default:
		o.record.Result = ResultStarted
	}
	return o
}

// refuse writes a refusal, unless it was written before, and has the alert decided on again when its reason may be
// gone.
func (r *Responder) refuse(j *job, rule *rule, record Record) {
	if r.again(j, rule, string(record.Result)+" "+strings.Join(record.Reasons, " ")) {
		r.settle(record)
	}
}

// stale says why the alert is out of date; empty if it is not.
func (r *Responder) stale(j *job) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ledger.stale(&j.alert, r.now())
}

// repeated reports whether an alert has led to an action before, as far as each of the rules is concerned.
func (r *Responder) repeated(j *job, rules ...*rule) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rule := range rules {
		if !r.ledger.repeated(&j.alert, rule) {
			return false
		}
	}
	return true
}

// pending says why another action may still be under way, or the alert has waited for too long; empty if neither.
func (r *Responder) pending(j *job) string {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch until := r.ledger.busyUntil; {
	case len(r.survivors) > 0:
		return fmt.Sprintf("A program from before a restart is under way (process group %d).", r.survivors[0].Process.Group)
	case now.Before(until):
		return fmt.Sprintf("An action that has begun may be under way until %s.", until.Format(time.RFC3339))
	case j.queued.Before(r.idleSince):
		return "Another action was under way when the alert arrived."
	case now.Sub(j.queued) > maxWait:
		return fmt.Sprintf("The alert has waited for %s, and may be out of date.", now.Sub(j.queued).Round(time.Second))
	}
	return ""
}

// crowd says that too many notifications are under way for another one; empty if not. Nothing else waits for them.
func (r *Responder) crowd(a action) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.guarded() || r.notifying < maxNotifying {
		return ""
	}
	return fmt.Sprintf("%d notifications are under way.", r.notifying)
}

// pause says why none of the rules may act at this time, whichever would be the one. It is empty if one may.
func (r *Responder) pause(rules ...*rule) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := ""
	for _, rule := range slices.Backward(rules) {
		if first = r.ledger.pause(rule, r.maxPerHour, r.now()); first == "" {
			return ""
		}
	}
	return first
}

// choose returns the first rule whose action applies, and the view of the cluster that it decides on. Without a rule,
// reason says why not the last one.
func (r *Responder) choose(ctx context.Context, rules []*rule, a *Alert) (chosen *rule, v *view, reason string) {
	for _, rule := range rules {
		if rule.action.guarded() && v == nil {
			v = r.look(ctx)
		}
		if reason = rule.action.applies(a, v); reason == "" {
			return rule, v, ""
		}
	}
	return nil, v, reason
}

func (r *Responder) record(rule *rule, j *job, result Result, reasons ...string) Record {
	return Record{
		Time: r.now().UTC().Truncate(time.Millisecond),
		Rule: rule.Name, Action: rule.action.name(), DryRun: rule.DryRun,
		Alert:  AlertRef{Fingerprint: j.fingerprint, StartsAt: j.alert.StartsAt, Labels: j.alert.Labels},
		Result: result, Reasons: append([]string{}, reasons...),
	}
}

// act makes an action. It is in the history before it begins; the error is why it could not be written.
func (r *Responder) act(ctx context.Context, a action, p plan, record Record) error {
	record.Deadline = new(record.Time.Add(a.timeout()))
	if err := r.begin(&record); err != nil {
		return err
	}
	if a.guarded() {
		r.finish(ctx, a, p, record)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.idleSince = r.now()
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notifying++
	r.running.Go(func() { // Nothing else waits for it.
		r.finish(ctx, a, p, record)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.notifying--
	})
	return nil
}

// finish makes an action that has begun, and writes what came of it. It is finished even if the responder is told to
// stop.
func (r *Responder) finish(ctx context.Context, a action, p plan, record Record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.timeout())
	defer cancel()
	output, err := p.run(ctx, func(process *Process) {
		record.Process = process
		if err := r.history.add(record); err != nil {
			level.Error(r.logger).Log("msg", "which process an action is could not be written", "rule", record.Rule, "err", err)
		}
	})
	record.Output, record.Ended = output, new(r.now().UTC().Truncate(time.Millisecond))
	switch {
	case err == nil:
		record.Result = ResultDone
	case errors.Is(err, context.DeadlineExceeded):
		record.Result, record.Error = ResultTimeout, err.Error()
	default:
		record.Result, record.Error = ResultFailed, err.Error()
	}
	if err := r.conclude(record); err != nil {
		level.Error(r.logger).Log("msg", "the result of an action could not be written",
			"rule", record.Rule, "result", record.Result, "err", err)
	}
}

// begin writes that an action begins. If that cannot be written, it must not.
func (r *Responder) begin(record *Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	record.ID = r.ledger.lastID + 1
	if err := r.history.add(*record); err != nil {
		level.Error(r.logger).Log("msg", "nothing is done, because it could not be written before",
			"rule", record.Rule, "err", err)
		r.metrics.actions.WithLabelValues(record.Rule, record.Action, string(ResultFailed)).Inc()
		return err
	}
	r.ledger.note(*record)
	level.Info(r.logger).Log("msg", "action begins", "rule", record.Rule, "action", record.Action,
		"alert", record.Alert.Labels[labelAlertName], "server", record.Alert.Labels[labelServer], "what", record.What)
	return nil
}

// settle writes a decision for which nothing is done.
func (r *Responder) settle(record Record) {
	if err := r.conclude(record); err != nil {
		level.Error(r.logger).Log("msg", "a decision could not be written",
			"rule", record.Rule, "result", record.Result, "err", err)
	}
}

// conclude writes how a decision ended, and counts it. If no action has begun, it is not in the history yet.
func (r *Responder) conclude(record Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if record.ID == 0 {
		record.ID = r.ledger.lastID + 1
	}
	r.ledger.note(record)
	r.metrics.actions.WithLabelValues(record.Rule, record.Action, string(record.Result)).Inc()
	if record.Result.acted() {
		r.metrics.lastAction(r.ledger.lastAction)
	}
	reason := record.Error
	if reason == "" && len(record.Reasons) > 0 {
		reason = record.Reasons[len(record.Reasons)-1]
	}
	level.Info(r.logger).Log("msg", "decision", "rule", record.Rule, "action", record.Action,
		"result", record.Result, "dry_run", record.DryRun, "alert", record.Alert.Labels[labelAlertName],
		"server", record.Alert.Labels[labelServer], "what", record.What, "reason", reason)
	return r.history.add(record)
}
