// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package consultest

import "syscall"

// childAttributes leaves the child in this process's group, so that at least
// Ctrl-C ends both: here is no way to have a child killed with its parent.
func childAttributes() *syscall.SysProcAttr { return nil }

// processAlive says whether a process of this id exists.
func processAlive(pid int) bool {
	return syscall.Kill(pid, 0) != syscall.ESRCH
}

// processPaused takes for granted that a process that was sent the signal has stopped.
func processPaused(int) bool { return true }
