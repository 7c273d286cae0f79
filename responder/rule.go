// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"regexp"
	"time"
)

// ruleName is what can stand in a metric, a log and a file's name.
var ruleName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// anyCluster is what a rule names that is for alerts of all clusters.
const anyCluster = "any"

// maxWindow is longer than it makes sense to try a repair, and less than actions are remembered.
const maxWindow = 24 * time.Hour

func (r *RuleConfig) check(want expectation) {
	want(ruleName.MatchString(r.Name), "name", "%q has other characters than letters, digits, '_', '-' and '.', or none",
		r.Name)
	want(r.Cluster != "", "cluster", "there is none; name it as the label cluster of its alerts does, or write %s",
		anyCluster)
	want(len(r.Matchers) > 0, "matchers", "there is none, so that any alert would do")
	for _, text := range r.Matchers {
		_, err := parseMatcher(text)
		want(err == nil, "matchers", "%w", err)
	}
	want(r.Cooldown >= time.Second, "cooldown", "%s is less than 1s", r.Cooldown)
	want(time.Second <= r.Window && r.Window <= maxWindow, "window", "%s is not between 1s and %s", r.Window, maxWindow)
	want(r.MaxPerHour >= 1, "max_per_hour", "%d is less than 1", r.MaxPerHour)
	want(r.Require.Margin >= 0, "require.margin", "%d is less than 0: the quorum would be lost", r.Require.Margin)
	want(r.Require.MinVoters >= minVoters, "require.min_voters", "%d is less than %d: no server could fail then",
		r.Require.MinVoters, minVoters)
	r.Action.check(want)
}

func (a *ActionConfig) check(want expectation) {
	named := 0
	if a.Transfer != nil {
		named++
	}
	if c := a.Remove; c != nil {
		named++
		want(c.DeadFor >= time.Second, "action.remove-dead-peer.dead_for", "%s is less than 1s", c.DeadFor)
		want(c.RefusedHostIsDead || c.SilentHostIsDead || c.Confirm != nil, "action.remove-dead-peer",
			"no server would ever count as dead: want refused_host_is_dead, silent_host_is_dead or confirm")
		if c.Confirm != nil {
			c.Confirm.check(want.in("action.remove-dead-peer.confirm."))
		}
	}
	if c := a.Exec; c != nil {
		named++
		c.check(want.in("action.exec."))
	}
	if c := a.Notify; c != nil {
		named++
		want(c.URL == "" || c.URLFile == "", "action.notify.url_file", "there is a url, too")
		key := "action.notify.url"
		if c.URLFile != "" {
			key = "action.notify.url_file"
		}
		_, err := c.target()
		want(err == nil, key, "%w", err)
		want(time.Second <= c.Timeout && c.Timeout <= time.Minute, "action.notify.timeout", "%s is not between 1s and 1m",
			c.Timeout)
	}
	want(named == 1, "action", "want one of transfer-leadership, remove-dead-peer, exec, notify, "+
		"such as {transfer-leadership: {}}")
}

func (e *ExecConfig) check(want expectation) {
	err := executable(e.Command)
	want(err == nil, "command", "%w", err)
	want(time.Second <= e.Timeout && e.Timeout <= maxExecTimeout, "timeout", "%s is not between 1s and 1h", e.Timeout)
}

// rule is a rule in use.
type rule struct {
	RuleConfig
	matchers []matcher
	action   action
}
