// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package process_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// piped is an exporter whose standard error is a pipe that is read only when a test asks for a line.
type piped struct {
	cmd   *exec.Cmd
	r, w  *os.File
	lines *bufio.Reader
	url   string
	// modules is its configuration file.
	modules string
}

func startPiped(t *testing.T, consul string) *piped {
	t.Helper()
	modules := harness.WriteFile(t, "modules.yml", someModules)
	r, w, err := os.Pipe()
	must.Do(t, err)
	p := &piped{exec.Command(os.Args[0], "--consul.server="+consul, "--config.file="+modules, "--web.enable-lifecycle",
		"--web.listen-address=127.0.0.1:0"), r, w, bufio.NewReader(r), "", modules}
	p.cmd.Env = append(os.Environ(), harness.AsExporter+"=1")
	p.cmd.Stderr = w
	must.Do(t, p.cmd.Start())
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // Does nothing if it has ended.
		r.Close()
		w.Close()
	})
	p.url = "http://" + p.until(t, `Listening on.* address=(\S+)`)[1]
	return p
}

// until reads until a line matches, and returns what the groups of the pattern are.
func (p *piped) until(t *testing.T, pattern string) []string {
	t.Helper()
	must.Do(t, p.r.SetReadDeadline(time.Now().Add(20*time.Second)))
	for want := regexp.MustCompile(pattern); ; {
		line, err := p.lines.ReadString('\n')
		if err != nil {
			t.Fatalf("no line like %s: %v", pattern, err)
		}
		if m := want.FindStringSubmatch(line); m != nil {
			return m
		}
	}
}

// fill writes until the pipe takes nothing more.
func (p *piped) fill(t *testing.T) {
	t.Helper()
	// Opened again, so that the process's descriptor stays one that blocks.
	fd := must.Get(syscall.Open(fmt.Sprintf("/proc/self/fd/%d", p.w.Fd()), syscall.O_WRONLY|syscall.O_NONBLOCK, 0))(t)
	defer syscall.Close(fd)
	for _, size := range []int{os.Getpagesize(), 1} {
		var err error
		for err == nil {
			_, err = syscall.Write(fd, bytes.Repeat([]byte("\n"), size))
		}
		if !errors.Is(err, syscall.EAGAIN) {
			t.Fatal(err)
		}
	}
}

// ask fails if an answer takes long or has another status.
func (p *piped) ask(t *testing.T, method, path string, status int) {
	t.Helper()
	req := must.Get(http.NewRequestWithContext(t.Context(), method, p.url+path, http.NoBody))(t)
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	must.Do(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != status {
		t.Fatalf("%s: status %d; want %d", path, resp.StatusCode, status)
	}
}

// stop sends SIGTERM and waits for the end.
func (p *piped) stop(t *testing.T) {
	t.Helper()
	late := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	must.Do(t, p.cmd.Process.Signal(syscall.SIGTERM))
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the exporter ended with %v; want exit code 0 within 5 s", err)
	}
}

// An exporter survives that its log is closed.
func TestStderrClosed(t *testing.T) {
	p := startPiped(t, "127.0.0.1:1")
	p.r.Close()
	p.w.Close()
	for range 3 {
		p.ask(t, http.MethodPost, "/-/reload", http.StatusOK)
	}
	p.stop(t)
}

// An exporter whose log is a pipe that nobody reads goes on serving, later logs how many lines are missing, and stops
// when it gets the signal.
func TestStderrFull(t *testing.T) {
	var good atomic.Bool
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !good.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, "[]")
	}))
	defer agent.Close()
	p := startPiped(t, agent.URL)
	p.ask(t, http.MethodGet, "/metrics", http.StatusOK)

	p.fill(t)
	for i := range 4 { // Each scrape logs that something fails, or no longer does.
		good.Store(i%2 == 0)
		p.ask(t, http.MethodGet, "/metrics", http.StatusOK)
	}
	bad := "modules:\n" // A reload logs a line of 100 bytes and more for each problem.
	for i := range 1000 {
		bad += fmt.Sprintf("  m%d: {scheme: ftp, targets: [127.0.0.1]}\n", i)
	}
	replace(t, p.modules, bad)
	for range 15 {
		p.ask(t, http.MethodPost, "/-/reload", http.StatusInternalServerError)
	}
	p.until(t, `level=warn .*change=agent state=failing`)
	if n := p.until(t, `level=warn .*lines are missing here" dropped=(\d+)`)[1]; len(n) < 3 {
		t.Errorf("%s lines were dropped; want some thousand", n)
	}
	replace(t, p.modules, someModules)
	p.ask(t, http.MethodPost, "/-/reload", http.StatusOK)
	p.until(t, `configuration file is loaded anew`)

	p.fill(t)
	p.stop(t)
}
