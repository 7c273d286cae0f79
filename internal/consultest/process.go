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
	"sync/atomic"
)

// A launcher starts processes from one operating system thread that lives until close. That matters on Linux, where
// the order to kill a child when its parent dies is bound to the thread that started it: a child started from any
// goroutine would die as soon as the Go runtime retires that thread.
//
// A cluster has a launcher of its own, so that no goroutine outlives it and users can check for leaked goroutines.
type launcher struct {
	tasks chan func()   // run by the thread
	quit  chan struct{} // closed by close
	done  chan struct{} // closed when the thread has ended

	processes []*process // all that were started; belongs to the thread until done
}

func newLauncher() *launcher {
	l := &launcher{tasks: make(chan func()), quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for {
			select {
			case task := <-l.tasks:
				task()
			case <-l.quit:
				return
			}
		}
	}()
	return l
}

// close kills all processes that are left, waits until they are reaped, and makes every further start fail. It must
// be called only once.
func (l *launcher) close() error {
	close(l.quit)
	<-l.done
	var errs []error
	for _, p := range l.processes {
		errs = append(errs, p.kill())
	}
	return errors.Join(errs...)
}

// start runs the binary with these arguments and output, and without the environment variables with which Consul's
// own commands are configured.
func (l *launcher) start(binary string, args []string, output *os.File) (p *process, err error) {
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
	started := make(chan struct{})
	task := func() {
		defer close(started)
		if err = cmd.Start(); err != nil {
			return
		}
		p = &process{cmd: cmd, done: make(chan struct{})}
		l.processes = append(l.processes, p)
		go func() {
			_ = cmd.Wait() // The error only says how the process ended, which is in ProcessState, too.
			close(p.done)
		}()
	}
	select {
	case l.tasks <- task:
		<-started
		return p, err
	case <-l.done:
		return nil, errors.New("the cluster is closed")
	}
}

// A process is a started process that is reaped as soon as it ends.
type process struct {
	cmd    *exec.Cmd
	done   chan struct{} // closed when the process has ended and is reaped
	paused atomic.Bool   // by Agent.Stop
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
