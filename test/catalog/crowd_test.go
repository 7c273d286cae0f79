// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// What one client does to the exporter in TestCrowd.
const (
	// crowdAddress is the client's. Prometheus has another one.
	crowdAddress = "127.99.0.1"
	pipelines    = 200
	perPipeline  = 60
	hasty        = 16
	slowest      = 200
)

// What the exporter may use, as in examples/: MemoryMax=300M and GOMEMLIMIT=250MiB.
const (
	exampleMemoryMB = 314 // 300 MiB.
	exampleGoLimit  = "GOMEMLIMIT=250MiB"
)

// One client opens 200 connections with 60 pipelined requests each, reads 200 answers so slowly that they never
// arrive, and asks for scrapes within 50 ms on 16 connections, all at once. Every scrape of a Prometheus is complete
// and in time all the same, as is its end; the exporter stays within its memory, and neither its log nor Consul's
// grows.
//
// TestProveCrowd does the same for longer, with a larger catalog.
//
// The same catalog is what is too large for a small --consul.max-response-bytes.
func TestCrowd(t *testing.T) {
	c := harness.StartWithCatalog(t, harness.CatalogOf(1_000, 5_000))
	registerDown(t, c.Servers[0])
	t.Run("TooLarge", func(t *testing.T) { catalogTooLarge(t, c) })
	t.Run("Crowd", func(t *testing.T) { crowd(t, c, 5_000, 15*time.Second) })
}

func crowd(t *testing.T, c *consultest.Cluster, instances int, lasts time.Duration) {
	t.Helper()
	// This machine also runs Consul, the crowd and other tests: Consul may be slower than the defaults allow without
	// the exporter being at fault.
	e := harness.StartBinary(t, harness.BuildExporter(t), []string{exampleGoLimit},
		"--consul.server="+c.Servers[0].URL(), "--consul.timeout=9s", "--probe.timeout=9s")
	var marks []int
	for _, a := range c.Agents() {
		marks = append(marks, a.LogMark())
	}
	p := newPrometheus(t, e)
	harness.WaitFor(t, time.Minute, "a scrape with the catalog", func() string {
		body := e.ScrapeText(t)
		read := strings.Contains(body, "consul_exporter_collector_success{collector=\"catalog\"} 1\n")
		return harness.Unless(read, "%.3000s", body)
	})
	p.expected = p.scrape(t)
	if len(p.expected) < 5*instances {
		t.Fatalf("%d series; want those of %d instances", len(p.expected), instances)
	}
	logged := strings.Count(e.Log.String(), "\n")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	answered := map[string]func() int64{
		"pipelined": attack(ctx, pipelines, e.HostPort(), pipeline),
		"slow":      attack(ctx, slowest, e.HostPort(), readSlowly),
		"hasty":     attack(ctx, hasty, e.HostPort(), askInHaste),
	}
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		start := time.Now()
		p.scrape(t)
		<-time.After(max(0, 2*time.Second-time.Since(start)))
	}
	peak := harness.PeakMemory(t, e) / 1e6
	start := time.Now()
	if err := e.Stop(); err != nil || time.Since(start) > 10*time.Second {
		t.Errorf("the exporter ended %s after SIGTERM, with %v; want 10 s at most, and exit code 0", time.Since(start), err)
	}
	stop()
	for name, count := range answered {
		t.Logf("%s: %d answers", name, count())
	}
	t.Logf("%d scrapes, half within %s, the slowest after %s; %.0f MB of memory at the peak",
		len(p.took), harness.Percentile(p.took, 50), p.took[len(p.took)-1], peak)
	if peak > exampleMemoryMB {
		t.Errorf("%.0f MB of memory at the peak; want less than %d, the limit in examples/", peak, exampleMemoryMB)
	}
	if lines := strings.Count(e.Log.String(), "\n") - logged; lines > 10 {
		t.Errorf("the exporter logged %d lines; want next to none", lines)
	}
	for i, a := range c.Agents() {
		harness.ExpectQuiet(t, a, marks[i])
	}
}

// prometheus is a client like Prometheus, which also looks whether each scrape is complete.
type prometheus struct {
	url    string
	client *http.Client
	seed   maphash.Seed
	// expected are the series that each scrape must have.
	expected map[uint64]string
	// took is how long each scrape took, sorted.
	took []time.Duration
}

const prometheusTimeout = 10 * time.Second

func newPrometheus(t *testing.T, e *harness.Exporter) *prometheus {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &prometheus{
		url: e.URL + "/metrics", seed: maphash.MakeSeed(),
		client: &http.Client{Transport: transport, Timeout: prometheusTimeout},
	}
}

// scrape returns the series about Consul, by their hash, and fails for each that is missing.
func (p *prometheus) scrape(t *testing.T) map[uint64]string {
	t.Helper()
	var body bytes.Buffer
	took, err := get(t.Context(), p.client, &body, p.url, prometheusHeader())
	if err != nil {
		t.Errorf("scrape: %v after %s: %.200s", err, took, body.String())
		return nil
	}
	i, _ := slices.BinarySearch(p.took, took)
	p.took = slices.Insert(p.took, i, took)
	series := make(map[uint64]string)
	readScrape(t, &body, func(name, _ []byte) {
		if !bytes.HasPrefix(name, []byte("consul_exporter_query_")) { // Not every scrape asks the same of Consul.
			series[maphash.Bytes(p.seed, name)] = string(name[:min(len(name), 100)])
		}
	})
	missing, example := 0, ""
	for hash, name := range p.expected {
		if _, ok := series[hash]; !ok {
			missing++
			example = name
		}
	}
	if missing > 0 {
		t.Errorf("a scrape lacks %d of %d series, such as %s", missing, len(p.expected), example)
	}
	return series
}

// get copies the body of an answer and returns how long that took from the request on.
func get(ctx context.Context, client *http.Client, to io.Writer, url string, h http.Header) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	req.Header = h
	start := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return time.Since(start), err
	}
	defer resp.Body.Close()
	_, err = io.Copy(to, resp.Body)
	took := time.Since(start)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s got status %d", url, resp.StatusCode)
	}
	return took, err
}

// readScrape takes a compressed scrape apart: each gets the series about Consul, and about how the exporter collected
// them, with their values. It fails for a collector that failed, and returns the length of the text.
func readScrape(tb testing.TB, compressed io.Reader, each func(series, value []byte)) (length int) {
	tb.Helper()
	lines := bufio.NewScanner(must.Get(gzip.NewReader(compressed))(tb))
	for lines.Scan() {
		line := lines.Bytes()
		length += len(line) + 1
		end := bytes.LastIndexByte(line, ' ')
		if end < 0 || !bytes.HasPrefix(line, []byte("consul_")) {
			continue
		}
		series, value := line[:end], line[end+1:]
		name, failed := bytes.CutPrefix(series, []byte("consul_exporter_collector_success"))
		known := string(name) == `{collector="acl"}` || string(name) == `{collector="license"}` // This Consul has neither.
		if failed && value[0] == '0' && !known {
			tb.Errorf("a collector failed: %s", line)
		}
		each(series, value)
	}
	must.Do(tb, lines.Err())
	return length
}

// prometheusHeader has what Prometheus 3 sends, except its protobuf format.
func prometheusHeader() http.Header {
	const openMetrics, text = "application/openmetrics-text;version=1.0.0;q=0.5", "text/plain;version=0.0.4;q=0.3"
	return http.Header{
		"Accept":                              {openMetrics + "," + text},
		"Accept-Encoding":                     {"gzip"},
		"X-Prometheus-Scrape-Timeout-Seconds": {fmt.Sprint(prometheusTimeout.Seconds())},
	}
}

// attack asks in this way again and again, on n connections from the client, until ctx is done. It returns what waits
// for the end and returns the number of answers.
func attack(ctx context.Context, n int, to string, ask func(context.Context, net.Conn) int) (answered func() int64) {
	var all sync.WaitGroup
	var count atomic.Int64
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(crowdAddress)}}
	for range n {
		all.Go(func() {
			for ctx.Err() == nil {
				conn, err := dialer.DialContext(ctx, "tcp", to)
				if err != nil {
					continue
				}
				stop := context.AfterFunc(ctx, func() { conn.Close() })
				count.Add(int64(ask(ctx, conn)))
				stop()
				conn.Close()
			}
		})
	}
	return func() int64 {
		all.Wait()
		return count.Load()
	}
}

const (
	crowdRequest = "GET /metrics HTTP/1.1\r\nHost: x\r\n"
	compressed   = "Accept-Encoding: gzip\r\n"
	hasteHeader  = "X-Prometheus-Scrape-Timeout-Seconds: 0.05\r\n"
)

// pipeline sends 60 requests at once and reads what comes.
func pipeline(_ context.Context, conn net.Conn) (answers int) {
	_, _ = io.WriteString(conn, strings.Repeat(crowdRequest+compressed+"\r\n", perPipeline))
	r := bufio.NewReader(conn)
	for readAnswer(r) {
		answers++
	}
	return answers
}

// askInHaste asks for a scrape within 50 ms, one after the other.
func askInHaste(_ context.Context, conn net.Conn) (answers int) {
	for r := bufio.NewReader(conn); ; answers++ {
		_, _ = io.WriteString(conn, crowdRequest+compressed+hasteHeader+"\r\n")
		if !readAnswer(r) {
			return answers
		}
	}
}

func readAnswer(r *bufio.Reader) (ok bool) {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return true
}

// readSlowly reads a byte of an answer each second, until the exporter has had enough.
func readSlowly(ctx context.Context, conn net.Conn) (answers int) {
	_, _ = io.WriteString(conn, crowdRequest+"\r\n")
	for buffer := make([]byte, 1); ; {
		if _, err := conn.Read(buffer); err != nil {
			return 1
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return 0
		}
	}
}
