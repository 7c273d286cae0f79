// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package responder

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// ownGroup makes a program the head of a new process group, which is killed as a whole at its timeout.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// writableByOthers says how others than root and this process's user can write a file; empty if they cannot.
func writableByOthers(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "" // Whoever reads it says so.
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch mode := info.Mode().Perm(); {
	case mode&0o022 != 0:
		return fmt.Sprintf("can be written by others (%s)", mode)
	case ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid():
		return fmt.Sprintf("belongs to the user %d", stat.Uid)
	default:
		return ""
	}
}

// replaceableByOthers says in which folder above it others can put another file in place of a file, given by its
// absolute path; empty if in none. In a folder with the sticky bit they cannot, nor below one that they cannot enter.
func replaceableByOthers(path string) string {
	found := ""
	for folder := filepath.Dir(path); ; folder = filepath.Dir(folder) {
		info, err := os.Stat(folder)
		if err != nil {
			return found
		}
		why := writableByOthers(folder)
		switch {
		case why != "" && info.Mode()&os.ModeSticky == 0:
			found = fmt.Sprintf("is in %s, which %s", folder, why)
		case why == "" && info.Mode().Perm()&0o011 == 0:
			found = ""
		}
		if folder == filepath.Dir(folder) {
			return found
		}
	}
}

func mayRun(info os.FileInfo) bool { return info.Mode().Perm()&0o111 != 0 }
