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
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// pipedLog is the standard error of a process: a pipe that is read only when a test asks for a line.
type pipedLog struct {
	r, w  *os.File
	lines *bufio.Reader
}

func newPipedLog(t *testing.T) *pipedLog {
	t.Helper()
	r, w, err := os.Pipe()
	harness.Must(t, err)
	t.Cleanup(func() {
		r.Close()
		w.Close()
	})
	return &pipedLog{r, w, bufio.NewReader(r)}
}

// until reads until a line matches, and returns what the groups of the pattern are.
func (l *pipedLog) until(t *testing.T, pattern string) []string {
	t.Helper()
	harness.Must(t, l.r.SetReadDeadline(time.Now().Add(20*time.Second)))
	for want := regexp.MustCompile(pattern); ; {
		line, err := l.lines.ReadString('\n')
		if err != nil {
			t.Fatalf("no line like %s: %v", pattern, err)
		}
		if m := want.FindStringSubmatch(line); m != nil {
			return m
		}
	}
}

// fill writes until the pipe takes nothing more.
func (l *pipedLog) fill(t *testing.T) {
	t.Helper()
	// A description of its own: that of the process stays one that blocks.
	fd, err := syscall.Open(fmt.Sprintf("/proc/self/fd/%d", l.w.Fd()), syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	harness.Must(t, err)
	defer syscall.Close(fd)
	for _, size := range []int{os.Getpagesize(), 1} {
		for err = nil; err == nil; {
			_, err = syscall.Write(fd, bytes.Repeat([]byte("\n"), size))
		}
		if !errors.Is(err, syscall.EAGAIN) {
			t.Fatal(err)
		}
	}
}

// quick asks for a page and fails if that takes long or has another status.
func quick(t *testing.T, method, url string, status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	harness.Must(t, err)
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("while nobody reads the log: %v", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != status {
		t.Fatalf("%s: status %d; want %d", url, resp.StatusCode, status)
	}
}

// endsSoon waits for a process that was told to end.
func endsSoon(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the exporter ended with %v; want exit code 0", err)
		}
	case <-time.After(5 * time.Second):
		_ = cmd.Process.Kill()
		t.Errorf("the exporter has not ended: %v", <-ended)
	}
}

// An exporter whose log is a pipe that nobody reads serves on, says afterwards how much of its log is missing, and ends
// when it is told to.
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
	const config = "modules: {m: {targets: [127.0.0.1]}}"
	file := filepath.Join(harness.WriteFiles(t, map[string]string{"modules.yml": config}), "modules.yml")
	log := newPipedLog(t)
	cmd := exec.Command(os.Args[0], "--consul.server="+agent.URL, "--config.file="+file,
		"--web.enable-lifecycle", "--web.listen-address=127.0.0.1:0")
	cmd.Env = append(os.Environ(), harness.AsExporter+"=1")
	cmd.Stderr = log.w
	harness.Must(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill() }() // Does nothing if it has ended.
	url := "http://" + log.until(t, `Listening on.* address=(\S+)`)[1]
	quick(t, http.MethodGet, url+"/metrics", http.StatusOK)

	log.fill(t)
	for i := range 4 { // Each scrape logs that something fails, or no longer does.
		good.Store(i%2 == 0)
		quick(t, http.MethodGet, url+"/metrics", http.StatusOK)
	}
	var bad strings.Builder // A reload logs a line of 100 bytes and more for each problem.
	for i := range 1000 {
		fmt.Fprintf(&bad, "  m%d: {scheme: ftp, targets: [127.0.0.1]}\n", i)
	}
	replace(t, file, "modules:\n"+bad.String())
	for range 15 {
		quick(t, http.MethodPost, url+"/-/reload", http.StatusInternalServerError)
	}
	log.until(t, `level=error .*collector failed`)
	if n := log.until(t, `level=warn .*lines are missing here" dropped=(\d+)`)[1]; len(n) < 3 {
		t.Errorf("%s lines were dropped; want some thousand", n)
	}
	replace(t, file, config)
	quick(t, http.MethodPost, url+"/-/reload", http.StatusOK)
	log.until(t, `configuration file is loaded anew`)

	log.fill(t)
	harness.Must(t, cmd.Process.Signal(syscall.SIGTERM))
	endsSoon(t, cmd)
}
