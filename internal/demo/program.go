// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a program that the demo has started. It is reaped as soon as it ends.
type process struct {
	name    string
	pid     int
	cmd     *exec.Cmd
	logFile string
	done    chan struct{} // Closed when the process has ended and is reaped.
}

// startProcess starts a program that ends with the demo, however that ends, and writes all its output to a file in dir.
// Only the main goroutine may call it: see main.
func startProcess(name, dir, binary string, args ...string) (*process, error) {
	p := &process{name: name, logFile: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.logFile)
	if err != nil {
		return nil, fmt.Errorf("make the log of %s: %w", name, err)
	}
	// The process has a descriptor of its own.
	defer func() { _ = log.Close() }()
	p.cmd = &exec.Cmd{
		Path:        binary,
		Args:        append([]string{binary}, args...),
		Stdout:      log,
		Stderr:      log,
		SysProcAttr: childAttributes(),
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.pid = p.cmd.Process.Pid
	go func() {
		// The error only says how the process ended, as ended does.
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// ended returns an error that says how the process ended, or nil while it runs.
func (p *process) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended with %s; its last line: %s", p.name, p.cmd.ProcessState, lastLine(p.logFile))
	default:
		return nil
	}
}

// kill ends the process at once and waits until it is gone.
func (p *process) kill() error {
	if p.ended() != nil {
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	<-p.done
	return nil
}

// waitReady waits until the process answers a request for this URL with 200.
func (p *process) waitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		status, err := httpStatus(ctx, url)
		if err == nil && status == http.StatusOK {
			return p.ended() // Another program may have got the port, and the answer be its.
		}
		select {
		case <-ticker.C:
		case <-p.done:
			return p.ended()
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to answer: %w", p.name, ctx.Err())
		}
	}
}

// httpStatus returns the status of the answer to a GET request.
func httpStatus(ctx context.Context, url string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// lastLine returns the last line of a file that is not empty.
func lastLine(file string) string {
	const longest = 400
	content, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	content = bytes.TrimSpace(content)
	line := content[bytes.LastIndexByte(content, '\n')+1:]
	if len(line) > longest {
		return string(line[:longest]) + "..."
	}
	return string(line)
}

// startServer starts a server by a function that is given the address to listen on, and waits until it answers on the path
// that says so. The address has the preferred port or one near it.
func startServer(
	ctx context.Context, preferred int, readyPath string, start func(address string) (*process, error),
) (p *process, address string, err error) {
	const tries = 5
	for range tries {
		if address, err = freeAddress(ctx, preferred); err != nil {
			return nil, "", err
		}
		if p, err = start(address); err != nil {
			return nil, "", err
		}
		if err = p.waitReady(ctx, "http://"+address+readyPath); err == nil {
			return p, address, nil
		}
		err = errors.Join(err, p.kill())
		// Another program may have taken the port in the meantime.
		if !strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
			break
		}
	}
	return nil, "", err
}

// freeAddress returns an address on 127.0.0.1 with the preferred port if that is free, or else one of those after it, or
// else any.
func freeAddress(ctx context.Context, preferred int) (string, error) {
	const tries = 20
	ports := make([]int, 0, tries+1)
	for i := range tries {
		ports = append(ports, preferred+i)
	}
	var errs []error
	for _, port := range append(ports, 0) {
		var config net.ListenConfig
		listener, err := config.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return listener.Addr().String(), listener.Close()
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("find a free port: %w", errs[len(errs)-1])
}
