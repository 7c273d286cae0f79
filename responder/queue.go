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
	maxQueue = 1000
	// retryInterval is how long after a refusal the same alert is decided on again.
	retryInterval = 15 * time.Second
)

// errQueueFull means that a delivery has to come again later.
var errQueueFull = fmt.Errorf("%d alerts wait already", maxQueue)

// job is an alert that waits to be decided on.
type job struct {
	alert       Alert
	fingerprint string
	// received is when it was delivered, and queued since when it waits for its turn.
	received, queued time.Time
	// refused is why it was refused before, retry when it is its turn again, and until when it can be; empty if it was
	// not.
	refused      string
	retry, until time.Time
}

// receive puts those alerts of a delivery into the queue that fire and that a rule matches. It returns how many.
func (r *Responder) receive(alerts []Alert) (queued int, err error) {
	r.metrics.alertsReceived.Add(float64(len(alerts)))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checkClock()
	now := r.now()
	for i := range alerts {
		a := &alerts[i]
		fingerprint := a.fingerprint()
		same := func(j job) bool { return j.fingerprint == fingerprint }
		if len(r.matching(a)) == 0 {
			continue
		}
		if !a.Firing {
			r.ledger.resolve(a, now)
			r.queue = slices.DeleteFunc(r.queue, same)
			delete(r.waiting, fingerprint)
			continue
		}
		if slices.ContainsFunc(r.queue, same) {
			continue
		}
		if len(r.queue) >= maxQueue {
			return queued, errQueueFull
		}
		delete(r.waiting, fingerprint)
		r.queue = append(r.queue, job{alert: *a, fingerprint: fingerprint, received: now, queued: now})
		queued++
	}
	select {
	case r.wake <- struct{}{}:
	default: // It is awake.
	}
	return queued, nil
}

// take returns what is to be decided on next: what was delivered, or else what was refused before and has its turn
// again.
func (r *Responder) take() (job, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checkClock()
	if len(r.queue) > 0 {
		next := r.queue[0]
		r.queue = slices.Delete(r.queue, 0, 1)
		return next, true
	}
	now := r.now()
	maps.DeleteFunc(r.waiting, func(_ string, j job) bool { return !now.Before(j.until) })
	if len(r.waiting) == 0 {
		return job{}, false
	}
	next := slices.MinFunc(slices.Collect(maps.Values(r.waiting)), func(a, b job) int { return a.retry.Compare(b.retry) })
	if now.Before(next.retry) {
		return job{}, false
	}
	next.queued = now
	delete(r.waiting, next.fingerprint)
	return next, true
}

// again has an alert that a rule refused decided on again, while that is within the rule's window. It returns false if
// it was refused for the same reason before, whatever the figures in it.
func (r *Responder) again(j *job, rule *rule, reason string) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := j.refused
	j.refused, j.retry, j.until = withoutFigures(reason), r.now().Add(retryInterval), j.received.Add(rule.Window)
	newer := slices.ContainsFunc(r.queue, func(other job) bool { return other.fingerprint == j.fingerprint })
	if !newer && len(r.waiting) < maxQueue && j.retry.Before(j.until) {
		r.waiting[j.fingerprint] = *j
	}
	return j.refused != before
}

// withoutFigures is a text without what changes in it from one moment to the next.
func withoutFigures(text string) string {
	figure := false
	return string(slices.DeleteFunc([]rune(text), func(c rune) bool {
		digit := '0' <= c && c <= '9'
		unit := figure && (c == '.' || c == 'h' || c == 'm' || c == 's' || c == ':' || c == 'T' || c == 'Z' || c == '-')
		figure = digit || unit
		return figure
	}))
}

// matching returns the rules for an alert, in their order.
func (r *Responder) matching(a *Alert) []*rule {
	return slices.DeleteFunc(slices.Clone(r.rules), func(rule *rule) bool {
		return slices.ContainsFunc(rule.matchers, func(m matcher) bool { return !m.matches(a.Labels) })
	})
}
