// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// ruleName is what can stand in a metric, a log and a file's name.
var ruleName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// problems returns all that is wrong with a rule.
func (r *RuleConfig) problems() []error {
	var errs []error
	note := func(key, format string, args ...any) { errs = append(errs, fmt.Errorf(key+": "+format, args...)) }
	if !ruleName.MatchString(r.Name) {
		note("name", "%q has other characters than letters, digits, '_', '-' and '.', or none", r.Name)
	}
	if len(r.Matchers) == 0 {
		note("matchers", "there is none, so that any alert would do")
	}
	for _, text := range r.Matchers {
		if _, err := parseMatcher(text); err != nil {
			note("matchers", "%w", err)
		}
	}
	if r.Cooldown < time.Second {
		note("cooldown", "%s is less than 1s", r.Cooldown)
	}
	if r.MaxPerHour < 1 {
		note("max_per_hour", "%d is less than 1", r.MaxPerHour)
	}
	if r.Require.Margin < 0 {
		note("require.margin", "%d is less than 0: the quorum would be lost", r.Require.Margin)
	}
	if r.Require.MinVoters < minVoters {
		note("require.min_voters", "%d is less than %d: no server could fail then", r.Require.MinVoters, minVoters)
	}
	return append(errs, r.Action.problems()...)
}

// problems returns all that is wrong with an action.
func (a *ActionConfig) problems() []error {
	var errs []error
	note := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("action."+key+": "+format, args...))
	}
	var named []string
	if a.Transfer != nil {
		named = append(named, actionTransfer)
	}
	if c := a.Remove; c != nil {
		named = append(named, actionRemove)
		if c.DeadFor < time.Second {
			note(actionRemove+".dead_for", "%s is less than 1s", c.DeadFor)
		}
	}
	if c := a.Exec; c != nil {
		named = append(named, actionExec)
		if !filepath.IsAbs(c.Command) {
			note(actionExec+".command", "%q is no absolute path", c.Command)
		} else if err := executable(c.Command); err != nil {
			note(actionExec+".command", "%w", err)
		}
		if c.Timeout < time.Second || c.Timeout > time.Hour {
			note(actionExec+".timeout", "%s is not between 1s and 1h", c.Timeout)
		}
	}
	if c := a.Notify; c != nil {
		named = append(named, actionNotify)
		if u, err := url.Parse(c.URL); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			note(actionNotify+".url", "not a URL with http or https") // Which may hold a password.
		}
		if c.Timeout < time.Second || c.Timeout > time.Minute {
			note(actionNotify+".timeout", "%s is not between 1s and 1m", c.Timeout)
		}
	}
	if len(named) != 1 {
		errs = append(errs, errors.New("action: want one of "+strings.Join([]string{actionTransfer, actionRemove, actionExec, actionNotify}, ", ")+
			", such as {"+actionTransfer+": {}}"))
	}
	return errs
}

// rule is a rule in use.
type rule struct {
	name       string
	matchers   []matcher
	action     action
	dryRun     bool
	cooldown   time.Duration
	maxPerHour int
}

func (r *rule) matches(labels map[string]string) bool {
	for i := range r.matchers {
		if !r.matchers[i].matches(labels) {
			return false
		}
	}
	return true
}
