// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"slices"
	"time"
)

// Result is how a decision ended.
type Result string

// The results.
const (
	// ResultStarted is that of an action under way.
	ResultStarted Result = "started"
	ResultDone    Result = "done"
	ResultFailed  Result = "failed"
	ResultTimeout Result = "timeout"
	// ResultUnknown is that of an action during which the responder was killed. It counts as made.
	ResultUnknown Result = "unknown"
	// ResultDryRun is that of an action that would have been made.
	ResultDryRun   Result = "dry_run"
	ResultRefused  Result = "refused_by_guard"
	ResultCooldown Result = "cooldown"
)

// results are those that a decision can end with, each a label of a metric.
var results = []Result{
	ResultDone, ResultDryRun, ResultRefused, ResultCooldown, ResultFailed, ResultTimeout, ResultUnknown,
}

// acted is whether something was done, or may have been.
func (r Result) acted() bool {
	return slices.Contains([]Result{ResultStarted, ResultDone, ResultFailed, ResultTimeout, ResultUnknown}, r)
}

// Record is one decision. As JSON it is a line of the history, and public: fields are only ever added. An action has
// two lines with the same ID, one before it begins and one after it has ended, and exec one more, with the process; the
// last one counts.
type Record struct {
	// ID is larger than that of all earlier decisions.
	ID     uint64    `json:"id"`
	Time   time.Time `json:"time"`
	Rule   string    `json:"rule"`
	Action string    `json:"action"`
	// DryRun is whether the rule only says what it would do.
	DryRun bool     `json:"dry_run"`
	Alert  AlertRef `json:"alert"`
	Result Result   `json:"result"`
	// What is exactly what was done, or would be; empty where the decision did not come so far.
	What string `json:"what,omitempty"`
	// Reasons say why, one sentence each.
	Reasons []string      `json:"reasons"`
	Quorum  *QuorumRecord `json:"quorum,omitempty"`
	// Deadline is when the action is over at the latest, and Ended when it was.
	Deadline *time.Time `json:"deadline,omitempty"`
	// Process is the program that was started.
	Process *Process   `json:"process,omitempty"`
	Ended   *time.Time `json:"ended,omitempty"`
	Error   string     `json:"error,omitempty"`
	// Output is what a program wrote, or what was seen to come of the action.
	Output string `json:"output,omitempty"`
}

// ended is whether it is about how an action ended, and not the first of its ID.
func (r *Record) ended() bool { return r.Result.acted() && r.Result != ResultStarted }

// order puts records in the order in which they were written.
func (r *Record) order() uint64 {
	if r.Result == ResultStarted {
		return 2 * r.ID
	}
	return 2*r.ID + 1
}

// AlertRef is the alert that a decision is about.
type AlertRef struct {
	Fingerprint string            `json:"fingerprint"`
	StartsAt    time.Time         `json:"starts_at"`
	Labels      map[string]string `json:"labels"`
}
