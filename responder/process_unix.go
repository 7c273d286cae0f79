// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package responder

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup makes a program the head of a new process group, which is killed as a whole at its timeout.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

func mayRun(info os.FileInfo) bool { return info.Mode().Perm()&0o111 != 0 }
