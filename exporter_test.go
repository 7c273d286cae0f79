// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/testenv"
)

// asExporter makes the test binary be the exporter, so that the tests run the real program in a process of its own.
const asExporter = "TEST_AS_EXPORTER"

func TestMain(m *testing.M) {
	if os.Getenv(asExporter) != "" {
		main()
	}
	os.Exit(m.Run())
}

// exporterProcess is a running exporter.
type exporterProcess struct {
	url string
	cmd *exec.Cmd
	log processLog
	// exited is closed after the process has ended, with result.
	exited chan struct{}
	result error
}

// startExporter starts the exporter on a free port and ends it, in good order, with the test. It is this test binary, with the
// race detector if the tests have it.
func startExporter(t *testing.T, env []string, args ...string) *exporterProcess {
	t.Helper()
	return startBinary(t, os.Args[0], env, args...)
}

// buildExporter builds the exporter as users have it, for what depends on its speed, memory and size.
func buildExporter(tb testing.TB) (binary string) {
	tb.Helper()
	binary = filepath.Join(tb.TempDir(), cli.Name)
	if out, err := exec.CommandContext(tb.Context(), "make", "build", "BINARY="+binary).CombinedOutput(); err != nil {
		tb.Fatalf("build the exporter: %v: %s", err, out)
	}
	return binary
}

func startBinary(tb testing.TB, binary string, env []string, args ...string) *exporterProcess {
	tb.Helper()
	e := launch(tb, binary, env, args...)
	tb.Cleanup(func() {
		if err := e.stop(); err != nil {
			tb.Errorf("exporter ended with %v; want exit code 0; its log:\n%s", err, e.log)
		}
	})
	return e
}

// launch starts an exporter, ours or another, and waits until it listens. It ends with the test at the latest.
func launch(tb testing.TB, binary string, env []string, args ...string) *exporterProcess {
	tb.Helper()
	e := &exporterProcess{
		cmd:    exec.Command(binary, append(args, "--web.listen-address=127.0.0.1:0")...),
		log:    processLog{filepath.Join(tb.TempDir(), "log")},
		exited: make(chan struct{}),
	}
	e.cmd.Env = append(testenv.Clean(), append(env, asExporter+"=1")...)
	file, err := os.Create(e.log.path)
	must(tb, err)
	defer file.Close()
	e.cmd.Stderr = file
	must(tb, e.cmd.Start())
	go func() {
		e.result = e.cmd.Wait()
		close(e.exited)
	}()
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("log of the exporter:\n%s", e.log)
		}
		_ = e.stop() // Whoever wants to know how it ended has stopped it.
	})
	e.url = "http://" + e.listening(tb)
	return e
}

// listening waits for the address that the process listens on.
func (e *exporterProcess) listening(tb testing.TB) (address string) {
	tb.Helper()
	said := regexp.MustCompile(`address"?[=:]"?(127[0-9.]+:[0-9]+).*Listening on.*\n|Listening on.*address=(\S+).*\n`)
	late := time.After(20 * time.Second)
	look := time.NewTicker(time.Millisecond) // A benchmark measures how fast it starts.
	defer look.Stop()
	for {
		if m := said.FindStringSubmatch(e.log.String()); m != nil {
			return m[1] + m[2]
		}
		select {
		case <-look.C:
		case <-e.exited:
			tb.Fatalf("exporter ended with %v; its log:\n%s", e.result, e.log)
		case <-late:
			tb.Fatalf("exporter does not listen; its log:\n%s", e.log)
		}
	}
}

// hostPort is where it listens.
func (e *exporterProcess) hostPort() string { return strings.TrimPrefix(e.url, "http://") }

// stop sends SIGTERM, unless the process has ended, and returns how it ended.
func (e *exporterProcess) stop() error {
	_ = e.cmd.Process.Signal(syscall.SIGTERM) // Fails when it has ended.
	<-e.exited
	return e.result
}

// get fetches a path as Prometheus would with a scrape timeout.
func (e *exporterProcess) get(ctx context.Context, path string, timeout time.Duration) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url+path, http.NoBody)
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

// scrape gets the metrics with Prometheus's default timeout, which the exporter must meet.
func (e *exporterProcess) scrape(t *testing.T) samples {
	t.Helper()
	return parseSamples(t, e.scrapeText(t))
}

// scrapeText is a scrape as it arrives, for tests with so many that parsing them all would be most of the work.
func (e *exporterProcess) scrapeText(t *testing.T) (body string) {
	t.Helper()
	const timeout = 10 * time.Second
	start := time.Now()
	status, body, err := e.get(t.Context(), "/metrics", timeout)
	if err != nil {
		t.Fatalf("scrape: %v", err)
	}
	if took := time.Since(start); took > timeout {
		t.Errorf("scrape took %s; want less than %s", took, timeout)
	}
	if status != http.StatusOK {
		t.Fatalf("scrape got status %d: %s", status, body)
	}
	return body
}

// scrapeUntil scrapes until the condition holds and returns that scrape.
func (e *exporterProcess) scrapeUntil(t *testing.T, within time.Duration, what string, condition func(samples) bool) samples {
	t.Helper()
	var s samples
	waitFor(t, within, what, func() string {
		if s = e.scrape(t); condition(s) {
			return ""
		}
		return "last scrape:\n" + s.String()
	})
	return s
}

// waitFor looks again and again until what is missing is nothing.
func waitFor(tb testing.TB, within time.Duration, what string, missing func() string) {
	tb.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(100 * time.Millisecond) { //nolint:forbidigo // Between two looks.
		lacks := missing()
		if lacks == "" {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("not within %s: %s: %s", within, what, lacks)
		}
	}
}

// soon is a context for what a scene waits for.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// samples are the values of a scrape by series, written as name{label="value",...} with the labels in alphabetical order.
type samples map[string]float64

func parseSamples(t *testing.T, text string) samples {
	t.Helper()
	s, err := readSamples(text)
	must(t, err)
	return s
}

func readSamples(text string) (samples, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("metrics cannot be parsed: %w", err)
	}
	s := make(samples)
	for name, f := range families {
		for _, m := range f.GetMetric() {
			s[name+labelText(m.GetLabel())] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return s, nil
}

func labelText(pairs []*dto.LabelPair) string {
	if len(pairs) == 0 {
		return ""
	}
	var labels []string
	for _, p := range pairs {
		labels = append(labels, fmt.Sprintf("%s=%q", p.GetName(), p.GetValue()))
	}
	slices.Sort(labels)
	return "{" + strings.Join(labels, ",") + "}"
}

// expect compares the named series with the values wanted; absent series are not 0.
func (s samples) expect(t *testing.T, want samples) {
	t.Helper()
	for _, series := range slices.Sorted(maps.Keys(want)) {
		if got, ok := s[series]; !ok {
			t.Errorf("%s is absent; want %v", series, want[series])
		} else if got != want[series] {
			t.Errorf("%s = %v; want %v", series, got, want[series])
		}
	}
}

// expectNone fails for each series with the prefix.
func (s samples) expectNone(t *testing.T, prefixes ...string) {
	t.Helper()
	for _, prefix := range prefixes {
		for series, value := range s {
			if strings.HasPrefix(series, prefix) {
				t.Errorf("%s = %v; want it to be absent", series, value)
			}
		}
	}
}

// labels returns the value of one label in all series of a family, sorted.
func (s samples) labels(family, label string) []string {
	pattern := regexp.MustCompile(`[{,]` + label + `="([^"]*)"`)
	var values []string
	for series := range s {
		if strings.HasPrefix(series, family+"{") {
			values = append(values, pattern.FindStringSubmatch(series)[1])
		}
	}
	slices.Sort(values)
	return values
}

// String has the series about Consul, sorted.
func (s samples) String() string {
	var b strings.Builder
	for _, series := range slices.Sorted(maps.Keys(s)) {
		if strings.HasPrefix(series, "consul_") {
			fmt.Fprintf(&b, "%s %v\n", series, s[series])
		}
	}
	return b.String()
}

// processLog is what a process has written to its standard error: a file, so that all that it logged before it answered is there with the answer.
type processLog struct{ path string }

func (l processLog) String() string {
	content, err := os.ReadFile(l.path)
	if err != nil {
		return err.Error()
	}
	return string(content)
}
