// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
)

// program is a server that the demo has started: the exporter, Alertmanager or Prometheus.
type program struct {
	name, address string
	logFile       string
	cmd           *exec.Cmd
	done          chan struct{} // Closed when the process has ended.
}

func (p *program) url() string { return "http://" + p.address }

// startProgram starts a server that ends with the demo, however that ends, and waits until it is ready. It listens on
// this port of 127.0.0.1, or on any other if the port is taken. Only the main goroutine may call it: see main.
func (d *demo) startProgram(ctx context.Context, name, binary string, port int, args ...string) (*program, error) {
	address, err := freeAddress(ctx, port)
	if err != nil {
		return nil, fmt.Errorf("find a port for %s: %w", name, err)
	}
	p := &program{name: name, address: address, logFile: filepath.Join(d.dir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.logFile)
	if err != nil {
		return nil, fmt.Errorf("create the log of %s: %w", name, err)
	}
	defer log.Close() // The process has its own descriptor.
	// It runs until kill: the end of the demo is not to look like its failure.
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), binary, append(args, "--web.listen-address="+address)...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = log, log, consultest.ChildAttributes()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	d.programs = append(d.programs, p)
	go func() {
		_ = p.cmd.Wait() // How it ended is in ProcessState.
		close(p.done)
	}()
	if err := p.waitReady(ctx); err != nil {
		return nil, err
	}
	go func() {
		<-p.done
		d.ended <- p
	}()
	return p, nil
}

// freeAddress returns an address on 127.0.0.1 with the preferred port, or with any other if that is taken.
func freeAddress(ctx context.Context, preferred int) (string, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", preferred))
	if err != nil {
		listener, err = config.Listen(ctx, "tcp4", "127.0.0.1:0")
	}
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// waitReady waits until the program says that it is ready, or has ended.
func (p *program) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err := consultest.Poll(ctx, p.name, func(ctx context.Context) error {
		if p.ended() != nil {
			return nil
		}
		_, err := get(ctx, p.url()+"/-/ready")
		return err
	})
	// Another program could have taken the port in between, and responded.
	return cmp.Or(p.ended(), err)
}

// ended returns an error that says how the program ended; nil while it runs.
func (p *program) ended() error {
	select {
	case <-p.done:
		content, err := os.ReadFile(p.logFile)
		if err != nil {
			content = []byte(err.Error())
		}
		lines := strings.Split(strings.TrimSpace(string(content)), "\n")
		return fmt.Errorf("%s ended with %s; its last line: %.400s", p.name, p.cmd.ProcessState, lines[len(lines)-1])
	default:
		return nil
	}
}

// kill ends the program at once and waits until it is gone.
func (p *program) kill() {
	_ = p.cmd.Process.Kill() // Fails only if it has ended.
	<-p.done
}

func get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return io.ReadAll(response.Body)
}
