// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// silentAgent is an agent that accepts and never answers: it keeps a scrape running until --consul.timeout.
func silentAgent(t *testing.T) (address string, accepted <-chan struct{}) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	harness.Must(t, err)
	t.Cleanup(func() { listener.Close() })
	connected := make(chan struct{}, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			connected <- struct{}{}
		}
	}()
	return listener.Addr().String(), connected
}

// SIGTERM, here its like, lets a running scrape finish and then ends with 0.
func TestStopFinishesScrapes(t *testing.T) {
	silent, accepted := silentAgent(t)
	e := harness.StartExporter(t, nil, "--consul.server="+silent, "--consul.timeout=2s", "--log.format=json")
	type answer struct {
		status int
		body   string
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		status, body, err := e.Get(t.Context(), "/metrics", 10*time.Second)
		answered <- answer{status, body, err}
	}()
	<-accepted
	if err := e.Stop(); err != nil {
		t.Errorf("exporter ended with %v; want exit code 0", err)
	}
	a := <-answered
	if a.err != nil || a.status != http.StatusOK {
		t.Fatalf("the running scrape ended with status %d and error %v", a.status, a.err)
	}
	harness.ParseSamples(t, a.body).Expect(t, harness.Samples{"consul_up": 0, `consul_exporter_collector_success{collector="raft"}`: 0})
	if log := e.Log.String(); !strings.Contains(log, `"msg":"stopped"`) {
		t.Errorf("log has no line about the end:\n%s", log)
	}
}

// scrapeForMinutes begins a scrape that lasts longer than the test.
func scrapeForMinutes(t *testing.T) *harness.Exporter {
	t.Helper()
	silent, accepted := silentAgent(t)
	e := harness.Launch(t, os.Args[0], nil, "--consul.server="+silent, "--consul.timeout=5m")
	go func() { _, _, _ = e.Get(t.Context(), "/metrics", 5*time.Minute) }()
	<-accepted
	return e
}

// SIGTERM ends the program within 10 s, however long a scrape may take.
func TestStop_LongScrape(t *testing.T) {
	t.Parallel() // It waits.
	e := scrapeForMinutes(t)
	start := time.Now()
	if err := e.Stop(); err != nil || time.Since(start) > 10*time.Second {
		t.Errorf("the exporter ended %s after SIGTERM, with %v; want 10 s at most, and exit code 0", time.Since(start), err)
	}
}

// A second signal ends the program at once.
func TestStop_Twice(t *testing.T) {
	t.Parallel() // It waits.
	for _, second := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		e := scrapeForMinutes(t)
		harness.Must(t, e.Cmd.Process.Signal(syscall.SIGTERM))
		harness.WaitFor(t, 5*time.Second, "that the exporter is stopping", func() string {
			if log := e.Log.String(); !strings.Contains(log, "stopping") {
				return log
			}
			return ""
		})
		harness.Must(t, e.Cmd.Process.Signal(second))
		<-e.Exited
		ended, ok := errors.AsType[*exec.ExitError](e.Result)
		if !ok || ended.Sys().(syscall.WaitStatus).Signal() != second {
			t.Errorf("the exporter ended with %v; want that %s ended it", e.Result, second)
		}
		if log := e.Log.String(); strings.Contains(log, "cut off") {
			t.Errorf("the exporter waited for the scrape:\n%s", log)
		}
	}
}

// An exporter whose log nobody reads any more lives on.
func TestStderrClosed(t *testing.T) {
	folder := harness.WriteFiles(t, map[string]string{"modules.yml": "modules: {m: {targets: [127.0.0.1]}}"})
	cmd := exec.Command(os.Args[0], "--consul.server=127.0.0.1:1", "--config.file="+filepath.Join(folder, "modules.yml"),
		"--web.enable-lifecycle", "--web.listen-address=127.0.0.1:0")
	cmd.Env = append(os.Environ(), harness.AsExporter+"=1")
	log, err := cmd.StderrPipe()
	harness.Must(t, err)
	harness.Must(t, cmd.Start())
	defer func() {
		harness.Must(t, cmd.Process.Signal(syscall.SIGTERM))
		if err := cmd.Wait(); err != nil {
			t.Errorf("the exporter ended with %v; want exit code 0", err)
		}
	}()
	address := ""
	for lines := bufio.NewScanner(log); address == "" && lines.Scan(); {
		if m := regexp.MustCompile(`Listening on.* address=(\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			address = m[1]
		}
	}
	log.Close()
	for range 3 {
		resp, err := http.Post("http://"+address+"/-/reload", "", http.NoBody)
		if err != nil {
			t.Fatalf("after it wrote to its closed log: %v", err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("status %d; want 200", resp.StatusCode)
		}
	}
}
