// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package reservation

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// HostClock returns the clock of this host, which has this name. It counts the time since the host was started, and
// nobody can set it: a host that starts with a wrong time and then gets the right one must not end a reservation.
func HostClock(host string) Clock {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if _, ok := sinceBoot(); err != nil || len(boot) == 0 || !ok {
		return wallClock(host)
	}
	return Clock{ID: strings.TrimSpace(string(boot)), Now: func() time.Duration {
		passed, _ := sinceBoot()
		return passed
	}}
}

// sinceBoot returns the time since the host was started, with the time in which it was suspended.
func sinceBoot() (passed time.Duration, ok bool) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, false
	}
	return time.Duration(now.Nano()), true
}
