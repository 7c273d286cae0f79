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

// lock takes a file for this process, until it ends. It fails at once if another process has it.
func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// syncDir makes sure that the names in a folder are on the disk.
func syncDir(dir *os.File) error { return dir.Sync() }
