// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// Exporter is a running exporter.
type Exporter struct {
	URL string
	Cmd *exec.Cmd
	Log processLog
	// Exited is closed after the process has ended, with Result.
	Exited chan struct{}
	Result error
}

// StartExporter starts the exporter on a free port and ends it, in good order, with the test. It is this test binary,
// with the race detector if the tests have it.
func StartExporter(t *testing.T, env []string, args ...string) *Exporter {
	t.Helper()
	return StartBinary(t, os.Args[0], env, args...)
}

// BuildExporter builds the exporter as users have it, for what depends on its speed, memory and size.
func BuildExporter(tb testing.TB) (binary string) {
	tb.Helper()
	binary = filepath.Join(tb.TempDir(), cli.Name)
	if out, err := exec.CommandContext(tb.Context(), "make", "build", "BINARY="+binary).CombinedOutput(); err != nil {
		tb.Fatalf("build the exporter: %v: %s", err, out)
	}
	return binary
}

// StartBinary starts a binary of the exporter as StartExporter does.
func StartBinary(tb testing.TB, binary string, env []string, args ...string) *Exporter {
	tb.Helper()
	e := Launch(tb, binary, env, args...)
	tb.Cleanup(func() {
		if err := e.Stop(); err != nil {
			tb.Errorf("exporter ended with %v; want exit code 0; its log:\n%s", err, e.Log)
		}
	})
	return e
}

// Launch starts an exporter, ours or another, and waits until it listens. It ends with the test at the latest.
func Launch(tb testing.TB, binary string, env []string, args ...string) *Exporter {
	tb.Helper()
	return launchAt(tb, "127.0.0.1:0", binary, env, args...)
}

// Relaunch kills an exporter and starts another with the same arguments at the same address.
func (e *Exporter) Relaunch(tb testing.TB) *Exporter {
	tb.Helper()
	_ = e.Cmd.Process.Kill() // Fails when it has ended.
	<-e.Exited
	args := e.Cmd.Args[1 : len(e.Cmd.Args)-1] // The last one is the address.
	return launchAt(tb, e.HostPort(), e.Cmd.Path, nil, args...)
}

func launchAt(tb testing.TB, address, binary string, env []string, args ...string) *Exporter {
	tb.Helper()
	e := &Exporter{
		Cmd:    exec.Command(binary, append(args, "--web.listen-address="+address)...),
		Log:    processLog(filepath.Join(tb.TempDir(), "log")),
		Exited: make(chan struct{}),
	}
	e.Cmd.Env = append(os.Environ(), append(env, AsExporter+"=1")...)
	file := must.Get(os.Create(string(e.Log)))(tb)
	defer file.Close()
	e.Cmd.Stderr = file
	must.Do(tb, e.Cmd.Start())
	go func() {
		e.Result = e.Cmd.Wait()
		close(e.Exited)
	}()
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("log of the exporter:\n%s", e.Log)
		}
		_ = e.Stop() // Whoever wants to know how it ended has stopped it.
	})
	e.URL = "http://" + e.listening(tb)
	return e
}

// listening waits for the address that the process listens on.
func (e *Exporter) listening(tb testing.TB) (address string) {
	tb.Helper()
	said := regexp.MustCompile(`address"?[=:]"?(127[0-9.]+:[0-9]+).*Listening on.*\n|Listening on.*address=(\S+).*\n`)
	late := time.After(20 * time.Second)
	look := time.NewTicker(time.Millisecond) // A benchmark measures how fast it starts.
	defer look.Stop()
	for {
		if m := said.FindStringSubmatch(e.Log.String()); m != nil {
			return m[1] + m[2]
		}
		select {
		case <-look.C:
		case <-e.Exited:
			tb.Fatalf("exporter ended with %v; its log:\n%s", e.Result, e.Log)
		case <-late:
			tb.Fatalf("exporter does not listen; its log:\n%s", e.Log)
		}
	}
}

// HostPort is where it listens.
func (e *Exporter) HostPort() string { return strings.TrimPrefix(e.URL, "http://") }

// Stop sends SIGTERM, unless the process has ended, and returns how it ended.
func (e *Exporter) Stop() error {
	_ = e.Cmd.Process.Signal(syscall.SIGTERM) // Fails when it has ended.
	<-e.Exited
	return e.Result
}

// Get fetches a path as Prometheus would with a scrape timeout.
func (e *Exporter) Get(ctx context.Context, path string, timeout time.Duration) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(content), err
}

// Send makes a request and returns the whole answer.
func Send(tb testing.TB, req *http.Request) (status int, header http.Header, body string) {
	tb.Helper()
	resp, err := http.DefaultClient.Do(req)
	must.Do(tb, err)
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header, string(must.Get(io.ReadAll(resp.Body))(tb))
}

// Scrape gets the metrics with Prometheus's default timeout, which the exporter must meet.
func (e *Exporter) Scrape(t *testing.T) Samples {
	t.Helper()
	return ParseSamples(t, e.ScrapeText(t))
}

// ScrapeText is a scrape as it arrives, for tests with so many that parsing them all would be most of the work.
func (e *Exporter) ScrapeText(t *testing.T) (body string) {
	t.Helper()
	const timeout = 10 * time.Second
	start := time.Now()
	status, body, err := e.Get(t.Context(), "/metrics", timeout)
	if took := time.Since(start); err != nil || status != http.StatusOK || took > timeout {
		t.Fatalf("scrape: status %d after %s, %v: %s", status, took, err, body)
	}
	return body
}

// ScrapeUntil scrapes until the condition holds and returns that scrape.
func (e *Exporter) ScrapeUntil(t *testing.T, within time.Duration, what string, condition func(Samples) bool) Samples {
	t.Helper()
	var s Samples
	WaitFor(t, within, what, func() string {
		s = e.Scrape(t)
		return Unless(condition(s), "last scrape:\n%s", s)
	})
	return s
}

// Await scrapes until the series have these values and there are none with these prefixes, and returns that scrape.
func (e *Exporter) Await(t *testing.T, want Samples, unwanted ...string) (s Samples) {
	t.Helper()
	WaitFor(t, time.Minute, "the metrics", func() string {
		s = e.Scrape(t)
		return strings.Join(append(s.Differences(want), s.Unwanted(unwanted...)...), "\n")
	})
	return s
}

// WaitFor looks again and again until what is missing is nothing: often at first, and then every half a second, because
// a look is mostly a scrape, and others need the processors.
func WaitFor(tb testing.TB, within time.Duration, what string, missing func() string) {
	tb.Helper()
	deadline := time.Now().Add(within)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		lacks := missing()
		if lacks == "" {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("not within %s: %s: %s", within, what, lacks)
		}
		time.Sleep(pause) //nolint:forbidigo // Between two looks.
	}
}

// Unless is what WaitFor's function returns: nothing if a condition holds, else this text.
func Unless(holds bool, format string, args ...any) string {
	if holds {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// Soon is a context for what a scene waits for.
func Soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// processLog has the path of what a process has written to its standard error: a file, so that all that it logged
// before it answered is there with the answer.
type processLog string

func (l processLog) String() string {
	content, err := os.ReadFile(string(l))
	if err != nil {
		return err.Error()
	}
	return string(content)
}
