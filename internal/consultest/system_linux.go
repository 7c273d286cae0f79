// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// childAttributes makes the kernel kill the child when this process dies, by whatever cause, and keeps the terminal's
// Ctrl-C from it: with a process group of its own, only this process gets that and decides what becomes of the
// cluster.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// processAlive says whether a process of this id exists and is more than a zombie that its parent has not reaped.
func processAlive(pid int) bool {
	state := processState(pid)
	return state != 0 && state != 'Z' && state != 'X'
}

// processPaused says whether all of the process has been stopped by a signal.
func processPaused(pid int) bool {
	return processState(pid) == 'T'
}

// processState returns the letter for the state of a process in /proc/PID/stat, or 0 if there is no such process.
func processState(pid int) byte {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// The letter follows the name, which is in parentheses and may hold any character, also a parenthesis.
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 || end+2 >= len(stat) {
		return 0
	}
	return stat[end+2]
}
