// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package consultest

import (
	"fmt"
	"syscall"
)

// pause sends SIGSTOP, which cannot be caught. The process may run on for a
// moment; processPaused tells when it has stopped.
func (p *process) pause() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop process %d: %w", p.pid, err)
	}
	return nil
}

// resume sends SIGCONT.
func (p *process) resume() error {
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("continue process %d: %w", p.pid, err)
	}
	return nil
}

// hangUp sends SIGHUP, at which Consul reads its configuration again.
func (p *process) hangUp() error {
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return fmt.Errorf("hang up process %d: %w", p.pid, err)
	}
	return nil
}
