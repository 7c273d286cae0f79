// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"syscall"

	"github.com/prometheus/procfs"
)

// ChildAttributes makes the kernel kill the child when the thread that started it ends, as it does with this process,
// and keeps the terminal's Ctrl-C from it: only this process receives that, and ends the others.
func ChildAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// processAlive says whether a process of this id exists and is more than a zombie that its parent has not reaped.
func processAlive(pid int) bool {
	state := processState(pid)
	return state != "" && state != "Z" && state != "X"
}

// processPaused says whether all of the process has been stopped by a signal.
func processPaused(pid int) bool { return processState(pid) == "T" }

// processState returns the letter for the state of a process, or "" if there is no such process.
func processState(pid int) string {
	process, err := procfs.NewProc(pid)
	if err != nil {
		return ""
	}
	stat, _ := process.Stat() // An error leaves the state empty.
	return stat.State
}
