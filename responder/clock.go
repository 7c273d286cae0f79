// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"time"

	"github.com/go-kit/log/level"
)

// clock notices when the wall clock jumps.
type clock struct {
	// elapsed is the time since the start by a clock that never jumps.
	elapsed func() time.Duration
	// seen and seenElapsed are both clocks at the latest look; seen is zero before the first.
	seen        time.Time
	seenElapsed time.Duration
}

// jump returns by how much the wall clock has jumped since the latest look.
func (c *clock) jump(now time.Time) time.Duration {
	elapsed := c.elapsed()
	defer func() { c.seen, c.seenElapsed = now.Round(0), elapsed }()
	if c.seen.IsZero() {
		return 0
	}
	by := now.Round(0).Sub(c.seen) - (elapsed - c.seenElapsed)
	if by.Abs() <= clockTolerance {
		return 0
	}
	return by
}

// checkClock reports a jump of the wall clock, and keeps the age of all that is remembered. The caller holds mu.
func (r *Responder) checkClock() {
	by := r.clock.jump(r.now())
	if by == 0 {
		return
	}
	level.Warn(r.logger).Log("msg", "the clock has jumped; cooldowns and limits go on as if it had not", "by", by)
	r.ledger.shift(by)
	r.idleSince = r.idleSince.Add(by)
	for i := range r.queue {
		r.queue[i].received, r.queue[i].queued = r.queue[i].received.Add(by), r.queue[i].queued.Add(by)
	}
	for fingerprint, j := range r.waiting {
		j.received, j.retry, j.until = j.received.Add(by), j.retry.Add(by), j.until.Add(by)
		r.waiting[fingerprint] = j
	}
}
