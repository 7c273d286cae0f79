// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// A launcher starts the processes of one cluster, until it is closed.
type launcher struct {
	mu        sync.Mutex
	closed    bool
	processes []*process // all that were started
}

// close kills all processes that are left, waits until they are reaped, and makes every further start fail.
func (l *launcher) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	var errs []error
	for _, p := range l.processes {
		errs = append(errs, p.kill())
	}
	return errors.Join(errs...)
}

// start runs the binary with these arguments and output, and without the environment variables with which Consul's
// own commands are configured.
func (l *launcher) start(binary string, args []string, output *os.File) (*process, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errors.New("the cluster is closed")
	}
	cmd := &exec.Cmd{
		Path:        binary,
		Args:        append([]string{binary}, args...),
		Stdout:      output,
		Stderr:      output,
		SysProcAttr: ChildAttributes(),
		Env: slices.DeleteFunc(os.Environ(), func(variable string) bool {
			return strings.HasPrefix(variable, "CONSUL_")
		}),
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	if err := p.start(); err != nil {
		return nil, err
	}
	l.processes = append(l.processes, p)
	return p, nil
}

// A process is a started process that is reaped as soon as it ends.
type process struct {
	cmd    *exec.Cmd
	done   chan struct{} // closed when the process has ended and is reaped
	paused atomic.Bool   // by Agent.Stop
}

// start starts the process from an operating system thread that lives as long as it. On Linux the order to kill a child
// when its parent dies is bound to the thread that started it, and the Go runtime retires threads.
func (p *process) start() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // The error only says how the process ended, which is in ProcessState, too.
			close(p.done)
		}
	}()
	return <-started
}

// running says whether the process has not ended yet. A nil process has.
func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends the process at once and waits until it is reaped.
func (p *process) kill() error {
	if !p.running() {
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill process %d: %w", p.cmd.Process.Pid, err)
	}
	<-p.done
	return nil
}
