// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package reservation

import "time"

// Clock is a clock by which reservations end.
type Clock struct {
	// ID tells it from the clocks of other hosts.
	ID string
	// Now is the time since a moment that is the same for all who read a clock with this ID.
	Now func() time.Duration
}

func (c Clock) seconds() int64 { return int64(c.Now() / time.Second) }

// wallClock is the clock of a host with this name that has no other one. It can be set, and two hosts may have the same
// name.
func wallClock(host string) Clock {
	return Clock{ID: host, Now: func() time.Duration { return time.Duration(time.Now().UnixNano()) }}
}
