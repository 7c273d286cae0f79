// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package consultest

import (
	"errors"
	"os"
	"syscall"
)

// ChildAttributes leaves the child in this process's group, so that at least Ctrl-C ends both: only Linux can kill a
// child with its parent.
func ChildAttributes() *syscall.SysProcAttr { return nil }

// processAlive says whether a process of this id exists.
func processAlive(pid int) bool {
	p, err := os.FindProcess(pid)
	return err == nil && !errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}

// processPaused assumes that a process that was sent the signal has stopped.
func processPaused(int) bool { return true }
