// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// answer is what a request got.
type answer struct {
	status int
	body   string
	err    error
}

// startScraped starts an exporter whose agent accepts and never answers, and returns while a scrape is running.
func startScraped(t *testing.T, flags ...string) (e *harness.Exporter, scraped <-chan answer) {
	t.Helper()
	connected := make(chan struct{}, 100)
	port := listenOn(t, "127.0.0.1:0", func(conn net.Conn) {
		connected <- struct{}{}
		_, _ = io.Copy(io.Discard, conn)
	}, func(net.PacketConn, net.Addr) {})
	e = harness.Launch(t, os.Args[0], nil, append(flags, fmt.Sprintf("--consul.server=127.0.0.1:%d", port))...)
	answers := make(chan answer, 1)
	go func() {
		status, body, err := e.Get(t.Context(), "/metrics", 5*time.Minute)
		answers <- answer{status, body, err}
	}()
	<-connected
	return e, answers
}

// SIGTERM lets a running scrape finish and then ends with 0.
func TestStopFinishesScrapes(t *testing.T) {
	t.Parallel() // It waits.
	e, scraped := startScraped(t, "--consul.timeout=2s", "--log.format=json")
	if err := e.Stop(); err != nil {
		t.Errorf("exporter ended with %v; want exit code 0", err)
	}
	a := <-scraped
	if a.err != nil || a.status != http.StatusOK {
		t.Fatalf("the running scrape ended with status %d and error %v", a.status, a.err)
	}
	harness.ParseSamples(t, a.body).Expect(t, harness.Samples{
		"consul_up": 0, `consul_exporter_collector_success{collector="raft"}`: 0,
	})
	if log := e.Log.String(); !strings.Contains(log, `"msg":"stopped"`) {
		t.Errorf("log has no line about the end:\n%s", log)
	}
}

// SIGTERM ends the program within 10 s, however long a scrape may take.
func TestStop_LongScrape(t *testing.T) {
	t.Parallel()
	e, _ := startScraped(t, "--consul.timeout=5m")
	start := time.Now()
	if err := e.Stop(); err != nil || time.Since(start) > 10*time.Second {
		t.Errorf("the exporter ended %s after SIGTERM, with %v; want 10 s at most, and exit code 0", time.Since(start), err)
	}
}

// A second signal ends the program at once.
func TestStop_Twice(t *testing.T) {
	t.Parallel()
	for _, second := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		e, _ := startScraped(t, "--consul.timeout=5m")
		must.Do(t, e.Cmd.Process.Signal(syscall.SIGTERM))
		e.WaitLog(t, "stopping", 1)
		must.Do(t, e.Cmd.Process.Signal(second))
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
