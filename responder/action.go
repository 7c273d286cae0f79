// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
	"fmt"
	"time"
)

// The names of the actions.
const (
	actionTransfer = "transfer-leadership"
	actionRemove   = "remove-dead-peer"
	actionExec     = "exec"
	actionNotify   = "notify"
)

// operatorTimeout bounds what is asked of Consul's operator API, the waiting for its effect included.
const operatorTimeout = 20 * time.Second

// action is what a rule leads to.
type action interface {
	name() string
	// guarded is whether it can change anything about the cluster. If not, it needs no view of the cluster, and only
	// its rule's limits count.
	guarded() bool
	// applies says why the action cannot be the answer to the alert, whatever the guards say; empty if it can. The next
	// rule is tried then.
	applies(a *Alert, v *view) string
	// judge makes the plan, and decides whether the cluster can afford it.
	judge(a *Alert, v *view) (plan, decision)
	// timeout bounds the plan's run.
	timeout() time.Duration
}

// plan is exactly what is to be done.
type plan struct {
	// what says it, for the history.
	what string
	// run does it, and calls began with a program that it has started. The output is for the history.
	run func(ctx context.Context, began func(*Process)) (output string, err error)
}

// decision is what the guards say.
type decision struct {
	allowed bool
	// reasons say why, one sentence each.
	reasons []string
	// quorum is nil where the decision did not come so far.
	quorum *QuorumRecord
}

// deny is the same decision with one more reason, which speaks against it.
func (d decision) deny(format string, args ...any) decision {
	return decision{reasons: append(d.reasons, fmt.Sprintf(format, args...)), quorum: d.quorum}
}

func refused(format string, args ...any) decision {
	return decision{reasons: []string{fmt.Sprintf(format, args...)}}
}

// needsServer says that an alert is not about a server; empty if it is.
func needsServer(a *Alert, unknown string) string {
	if a.server() != "" {
		return ""
	}
	return "The alert has no label " + labelServer + ", so there is no telling " + unknown + "."
}

// QuorumRecord is what the guards know about the quorum.
type QuorumRecord struct {
	// Voters have a vote and Needed of them must agree, before and after the action.
	VotersBefore int `json:"voters_before"`
	VotersAfter  int `json:"voters_after"`
	NeededBefore int `json:"needed_before"`
	NeededAfter  int `json:"needed_after"`
	// Before and After are how many can be counted on. After is without the server that the action is about.
	Before int `json:"before"`
	After  int `json:"after"`
}
