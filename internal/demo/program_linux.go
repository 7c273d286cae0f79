// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import "syscall"

// childAttributes makes the kernel kill the child when this program dies, for whatever reason, and keeps the
// terminal's Ctrl-C from it: only this program receives that, and ends the others.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
