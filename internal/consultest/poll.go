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
	// pollTimeout bounds one look: an agent that is busy electing a leader can
	// keep a request for seconds, when the next one would be answered at once.
	pollTimeout = time.Second
)

// fatalError marks an error after which waiting on is pointless.
type fatalError struct{ error }

func (e fatalError) Unwrap() error { return e.error }

// fatal makes poll give up at once with this error.
func fatal(err error) error { return fatalError{err} }

// poll calls check, at once and then again and again, until it returns nil. The
// error says what was waited for and why check was not satisfied the last time.
func poll(ctx context.Context, what string, check func(context.Context) error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := look(ctx, check)
		if err == nil {
			return nil
		}
		if hopeless, ok := errors.AsType[fatalError](err); ok {
			return fmt.Errorf("wait for %s: %w", what, hopeless.error)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; the last time: %w", what, context.Cause(ctx), err)
		}
	}
}

// look calls check once, for pollTimeout at most.
func look(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	return check(ctx)
}
