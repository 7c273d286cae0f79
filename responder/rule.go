// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"net/url"
	"regexp"
	"time"
)

// ruleName is what can stand in a metric, a log and a file's name.
var ruleName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

func (r *RuleConfig) check(want expectation) {
	want(ruleName.MatchString(r.Name), "name", "%q has other characters than letters, digits, '_', '-' and '.', or none",
		r.Name)
	want(len(r.Matchers) > 0, "matchers", "there is none, so that any alert would do")
	for _, text := range r.Matchers {
		_, err := parseMatcher(text)
		want(err == nil, "matchers", "%w", err)
	}
	want(r.Cooldown >= time.Second, "cooldown", "%s is less than 1s", r.Cooldown)
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
	}
	if c := a.Exec; c != nil {
		named++
		err := executable(c.Command)
		want(err == nil, "action.exec.command", "%w", err)
		want(time.Second <= c.Timeout && c.Timeout <= time.Hour, "action.exec.timeout", "%s is not between 1s and 1h",
			c.Timeout)
	}
	if c := a.Notify; c != nil {
		named++
		u, err := url.Parse(c.URL)
		good := err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
		want(good, "action.notify.url", "not a URL with http or https") // Which may hold a password.
		want(time.Second <= c.Timeout && c.Timeout <= time.Minute, "action.notify.timeout", "%s is not between 1s and 1m",
			c.Timeout)
	}
	want(named == 1, "action", "want one of transfer-leadership, remove-dead-peer, exec, notify, "+
		"such as {transfer-leadership: {}}")
}

// rule is a rule in use.
type rule struct {
	RuleConfig
	matchers []matcher
	action   action
}
