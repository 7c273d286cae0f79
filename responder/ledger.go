// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// resolvedMemory is how long it is remembered that an alert was resolved, for deliveries that come out of order.
const resolvedMemory = 10 * time.Minute

// ledger is what the history means for the next decision. It is not safe for concurrent use.
type ledger struct {
	lastID uint64
	// live and dry have, by an alert's fingerprint, the latest action: what a dry run did keeps only other dry runs from
	// doing it again.
	live, dry map[string]pastAction
	// byRule are when a rule acted, and all when any rule did that is guarded: live ones in the last hour, and the latest.
	byRule, dryByRule map[string][]time.Time
	all               []time.Time
	lastAction        time.Time
	// open are the actions that were begun and have no result.
	open map[uint64]Record
	// busyUntil is until when an action that was interrupted may still be under way.
	busyUntil time.Time
	// resolved are when alerts ended that were delivered as resolved lately, by fingerprint.
	resolved map[string]resolution
}

// pastAction is an action at a time, and when the alert began that led to it.
type pastAction struct{ startsAt, at time.Time }

// resolution is when an alert ended, and when that was delivered.
type resolution struct{ endsAt, at time.Time }

func newLedger() *ledger {
	return &ledger{
		live: make(map[string]pastAction), dry: make(map[string]pastAction),
		byRule: make(map[string][]time.Time), dryByRule: make(map[string][]time.Time),
		open: make(map[uint64]Record), resolved: make(map[string]resolution),
	}
}

// note takes a record into account. An action is noted twice, when it begins and when it has ended.
func (l *ledger) note(r Record) {
	l.lastID = max(l.lastID, r.ID)
	done := pastAction{r.Alert.StartsAt, r.Time}
	switch {
	case r.Result == ResultDryRun:
		l.dry[r.Alert.Fingerprint] = done
		l.dryByRule[r.Rule] = append(recent(l.dryByRule[r.Rule], r.Time), r.Time)
		return
	case !r.Result.acted():
		return
	}
	if _, begun := l.open[r.ID]; begun {
		if r.Result != ResultStarted {
			delete(l.open, r.ID)
		}
		return
	}
	if r.Result == ResultStarted {
		l.open[r.ID] = r
	}
	l.live[r.Alert.Fingerprint] = done
	l.byRule[r.Rule] = append(recent(l.byRule[r.Rule], r.Time), r.Time)
	if r.Action != actionNotify {
		l.all = append(recent(l.all, r.Time), r.Time)
	}
	l.lastAction = r.Time
}

// recent drops all but the latest time and those in the hour before now.
func recent(times []time.Time, now time.Time) []time.Time {
	for len(times) > 1 && now.Sub(times[0]) > time.Hour {
		times = times[1:]
	}
	return times
}

func inLastHour(times []time.Time, now time.Time) int {
	n := 0
	for _, at := range times {
		if now.Sub(at) < time.Hour {
			n++
		}
	}
	return n
}

// repeated reports whether an alert has led to an action already. The same alert of two Prometheus servers began at
// two times: any that began before the action is the same one.
func (l *ledger) repeated(a *Alert, dry bool) bool {
	in := func(past map[string]pastAction) bool {
		p, ok := past[a.fingerprint()]
		return ok && (a.StartsAt.Equal(p.startsAt) || !a.StartsAt.After(p.at))
	}
	return in(l.live) || dry && in(l.dry)
}

func (l *ledger) resolve(a *Alert, now time.Time) {
	maps.DeleteFunc(l.resolved, func(_ string, r resolution) bool { return now.Sub(r.at) > resolvedMemory })
	l.resolved[a.fingerprint()] = resolution{a.EndsAt, now}
}

// outdated reports whether an alert was delivered late, after it was resolved.
func (l *ledger) outdated(a *Alert, now time.Time) bool {
	r, ok := l.resolved[a.fingerprint()]
	return ok && now.Sub(r.at) <= resolvedMemory && a.StartsAt.Before(r.endsAt)
}

// pause says why a rule may not act at this time; empty if it may. maxPerHour is the limit of all rules.
func (l *ledger) pause(r *rule, maxPerHour int, now time.Time) string {
	own := l.byRule[r.Name]
	if r.DryRun {
		own = slices.Concat(own, l.dryByRule[r.Name])
	}
	for _, at := range own {
		if left := r.Cooldown - now.Sub(at); left > 0 {
			return fmt.Sprintf("The rule acted at %s, and its cooldown is over in %s.",
				at.Format(time.RFC3339), left.Round(time.Second))
		}
	}
	if n := inLastHour(own, now); n >= r.MaxPerHour {
		return fmt.Sprintf("The rule acted %d times in the last hour, and may %d times.", n, r.MaxPerHour)
	}
	if n := inLastHour(l.all, now); r.action.guarded() && n >= maxPerHour {
		return fmt.Sprintf("All rules together acted %d times in the last hour, and may %d times.", n, maxPerHour)
	}
	return ""
}
