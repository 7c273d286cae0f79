// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// pollInterval is the pause between two looks at a condition.
	pollInterval = 25 * time.Millisecond
	// pollTimeout bounds one look: an agent that is busy electing a leader can keep a request for seconds, when the
	// next one would be answered at once.
	pollTimeout = time.Second
)

// A fatalError makes Poll give up at once.
type fatalError struct{ error }

func (e fatalError) Unwrap() error { return e.error }

func fatal(err error) error { return fatalError{err} }

// Poll calls check, at once and then again and again, until it returns nil. The error says what was waited for and
// why check was not satisfied the last time.
func Poll(ctx context.Context, what string, check func(context.Context) error) error {
	look := func() error {
		ctx, cancel := context.WithTimeout(ctx, pollTimeout)
		defer cancel()
		return check(ctx)
	}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := look()
		if err == nil {
			return nil
		}
		if _, hopeless := errors.AsType[fatalError](err); hopeless {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; the last time: %w", what, context.Cause(ctx), err)
		}
	}
}

// pollEach waits until check returns nil for each of the agents, leaving out those that are killed or stopped.
func pollEach(
	ctx context.Context, what string, agents []*Agent, check func(context.Context, *Agent) error,
) error {
	return Poll(ctx, what, func(ctx context.Context) error {
		for _, a := range agents {
			if !a.answering() {
				continue
			}
			if err := check(ctx, a); err != nil {
				return fmt.Errorf("%s: %w", a, err)
			}
		}
		return nil
	})
}
