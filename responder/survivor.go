// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-kit/log/level"
)

// Process is a program that an action has started.
type Process struct {
	// Group is its process group, which has the number of the program.
	Group int `json:"group"`
	// Start tells it from a later process with the same number.
	Start string `json:"start"`
}

// survivor is a program that was started by a responder which was killed, and runs on.
type survivor struct {
	Record
	// end is when it is ended, by the clock that never jumps.
	end time.Duration
}

// survivorInterval is how often it is looked whether it has ended.
const survivorInterval = 500 * time.Millisecond

// adopt takes over a program that runs on. The caller holds mu, or is alone.
func (r *Responder) adopt(record Record) {
	left := r.left(&record)
	r.survivors = append(r.survivors, survivor{record, r.clock.elapsed() + left})
	level.Warn(r.logger).Log("msg", "a program from before a restart runs on; nothing else is done until it has ended",
		"rule", record.Rule, "process_group", record.Process.Group, "left", left)
}

// checkSurvivors writes how the programs ended that have ended, and ends those whose time is over.
func (r *Responder) checkSurvivors() {
	r.mu.Lock()
	var ended []Record
	r.survivors = slices.DeleteFunc(r.survivors, func(s survivor) bool {
		switch {
		case !s.Process.alive():
			s.Result = ResultUnknown
			s.Error = "the responder was killed before the program ended, which it did later; it is not made again"
		case r.clock.elapsed() >= s.end:
			s.Result, s.Error = ResultTimeout, "the program outlived the responder, and was killed at its time limit"
			if err := s.Process.kill(); err != nil {
				s.Error = fmt.Sprintf("the program outlived the responder, and cannot be killed at its time limit: %v", err)
			}
		default:
			return false
		}
		s.Ended = new(r.now().UTC().Truncate(time.Millisecond))
		ended = append(ended, s.Record)
		return true
	})
	r.mu.Unlock()
	for _, record := range ended {
		r.settle(record)
	}
}

// watchSurvivors waits for the programs from before a restart, until there are none or ctx is done.
func (r *Responder) watchSurvivors(ctx context.Context) {
	for {
		r.checkSurvivors()
		r.mu.Lock()
		left := len(r.survivors)
		r.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-time.After(survivorInterval):
		case <-ctx.Done():
			return
		}
	}
}
