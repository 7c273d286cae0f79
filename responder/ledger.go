// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	// resolvedMemory is how long it is remembered that an alert was resolved, for deliveries that come out of order, and
	// maxResolved of how many at most.
	resolvedMemory = 10 * time.Minute
	maxResolved    = 10_000
	// clockTolerance is how far clocks may differ.
	clockTolerance = time.Minute
)

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
		if r.Result == ResultStarted {
			l.open[r.ID] = r
		} else {
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

// repeated reports whether an alert has led to an action already. The same fault begins at several times for two
// Prometheus servers, or when its alert flaps: any that began before the action, or within the rule's window of it, is
// the same one.
func (l *ledger) repeated(a *Alert, r *rule) bool {
	in := func(past map[string]pastAction) bool {
		p, ok := past[a.fingerprint()]
		return ok && (!a.StartsAt.After(p.at) || a.StartsAt.Sub(p.startsAt).Abs() < r.Window)
	}
	return in(l.live) || r.DryRun && in(l.dry)
}

// resolve remembers that an alert was resolved. What has no room is forgotten, the oldest first.
func (l *ledger) resolve(a *Alert, now time.Time) {
	maps.DeleteFunc(l.resolved, func(_ string, r resolution) bool { return now.Sub(r.at) > resolvedMemory })
	fingerprint := a.fingerprint()
	if _, known := l.resolved[fingerprint]; !known && len(l.resolved) >= maxResolved {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(l.resolved)), func(a, b string) int {
			return l.resolved[a].at.Compare(l.resolved[b].at)
		})
		delete(l.resolved, oldest)
	}
	l.resolved[fingerprint] = resolution{a.EndsAt, now}
}

// stale says why an alert cannot be what it says it is, at this time; empty if it can.
func (l *ledger) stale(a *Alert, now time.Time) string {
	over, known := l.resolved[a.fingerprint()]
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case a.StartsAt.After(now.Add(clockTolerance)):
		return fmt.Sprintf("The alert begins at %s, in the future: a clock is wrong.", at(a.StartsAt))
	case now.Sub(a.StartsAt) > actionMemory:
		return fmt.Sprintf("The alert began at %s, and what it led to is remembered for %.0f days.",
			at(a.StartsAt), actionMemory.Hours()/24)
	case !a.EndsAt.IsZero() && (a.EndsAt.Before(now.Add(-clockTolerance)) || a.EndsAt.Before(a.StartsAt)):
		return fmt.Sprintf("The alert fires, and ended at %s.", at(a.EndsAt))
	case known && now.Sub(over.at) <= resolvedMemory && a.StartsAt.Before(over.endsAt):
		return fmt.Sprintf("The alert is over: it was resolved, and ended at %s.", at(over.endsAt))
	default:
		return ""
	}
}

// learn takes a history into account as it is at this time: what it dates into the future cannot have been made later
// than the next record, or now, whatever the clock was then. It returns how many actions are.
func (l *ledger) learn(records []Record, now time.Time) (future int) {
	latest := now
	for i := range slices.Backward(records) {
		r := &records[i]
		if !r.Time.After(now.Add(clockTolerance)) {
			latest = r.Time
			continue
		}
		by := latest.Sub(r.Time)
		r.Time = latest
		if r.Deadline != nil {
			r.Deadline = new(r.Deadline.Add(by))
		}
		if r.Result == ResultStarted || r.Result == ResultDryRun {
			future++
		}
	}
	for _, r := range records {
		l.note(r)
	}
	return future
}

// shift moves all that is remembered of this clock, which has jumped.
func (l *ledger) shift(by time.Duration) {
	for _, times := range l.times() {
		for i := range times {
			times[i] = times[i].Add(by)
		}
	}
	for _, past := range []map[string]pastAction{l.live, l.dry} {
		for fingerprint, p := range past {
			past[fingerprint] = pastAction{p.startsAt, p.at.Add(by)}
		}
	}
	for fingerprint, r := range l.resolved {
		l.resolved[fingerprint] = resolution{r.endsAt, r.at.Add(by)}
	}
	l.busyUntil = l.busyUntil.Add(by)
}

// times are the lists of when there were actions.
func (l *ledger) times() [][]time.Time {
	lists := [][]time.Time{l.all}
	for _, byRule := range []map[string][]time.Time{l.byRule, l.dryByRule} {
		for _, times := range byRule {
			lists = append(lists, times)
		}
	}
	return lists
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
