// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// stat is what /proc says about a process.
type stat struct {
	state string
	group int
	start string // In ticks since the boot.
}

// readStat reads /proc/PID/stat. The name of the program, in parentheses, may have anything in it.
func readStat(pid string) (s stat, ok bool) {
	content, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return s, false
	}
	_, behind, _ := strings.Cut(string(content[strings.LastIndexByte(string(content), ')')+1:]), " ")
	fields := strings.Fields(behind)
	if len(fields) < 20 {
		return s, false
	}
	group, err := strconv.Atoi(fields[2])
	return stat{fields[0], group, fields[19]}, err == nil
}

func bootID() string {
	content, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(content))
}

// newProcess describes a process that heads its group.
func newProcess(pid int) *Process {
	s, ok := readStat(strconv.Itoa(pid))
	if !ok {
		return nil
	}
	return &Process{Group: pid, Start: bootID() + "/" + s.start}
}

// alive reports whether something of its group runs. While it does, no other process gets its number.
func (p *Process) alive() bool {
	boot, start, _ := strings.Cut(p.Start, "/")
	if boot != bootID() {
		return false
	}
	if head, ok := readStat(strconv.Itoa(p.Group)); ok && head.start != start {
		return false // The number is another one's now.
	}
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return true
	}
	for _, entry := range processes {
		if s, ok := readStat(entry.Name()); ok && s.group == p.Group && s.state != "Z" && s.state != "X" {
			return true
		}
	}
	return false
}

func (p *Process) kill() error { return syscall.Kill(-p.Group, syscall.SIGKILL) }
