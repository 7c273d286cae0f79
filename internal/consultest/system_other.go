// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package consultest

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

func childAttributes() *syscall.SysProcAttr { return nil }

// processAlive says whether a process of this id exists.
func processAlive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	_ = p.Release()
	return true
}

func processPaused(int) bool { return false }

func (p *process) pause() error {
	return fmt.Errorf("stop process %d: %w", p.pid, errors.ErrUnsupported)
}

func (p *process) resume() error {
	return fmt.Errorf("continue process %d: %w", p.pid, errors.ErrUnsupported)
}

func (p *process) hangUp() error {
	return fmt.Errorf("hang up process %d: %w", p.pid, errors.ErrUnsupported)
}
