// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"cmp"
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// newTestHandler serves an exporter whose agent is at the address.
func newTestHandler(tb testing.TB, agent string, opts Options) http.Handler {
	tb.Helper()
	return newPortsHandler(tb, agent, opts, cluster.PortOptions{Timeout: 3 * time.Second, Concurrency: 64})
}

func newPortsHandler(
	tb testing.TB, agent string, opts Options, ports cluster.PortOptions, enabled ...string,
) http.Handler {
	tb.Helper()
	address := must.Get(consul.ParseAddress(agent))(tb)
	c := cluster.New(cluster.Options{
		Client: consul.Options{Address: address, Timeout: 5 * time.Second},
		Ports:  ports,
	})
	tb.Cleanup(c.Close)
	opts.Exporter = must.Get(collector.NewExporter(collector.Options{Cluster: c, Enabled: enabled}))(tb)
	opts.Cluster = c
	opts.TelemetryPath = cmp.Or(opts.TelemetryPath, "/metrics")
	return must.Get(NewHandler(opts))(tb)
}

// deadAgent is an address where nothing listens.
const deadAgent = "http://127.0.0.1:1"

func get(tb testing.TB, h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	tb.Helper()
	return request(tb, h, http.MethodGet, path, header...)
}

func request(tb testing.TB, h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), method, path, http.NoBody)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPages(t *testing.T) {
	t.Parallel()
	plain := newTestHandler(t, deadAgent, Options{})
	other := newTestHandler(t, deadAgent, Options{TelemetryPath: "/consul/metrics", EnablePprof: true})
	for _, tc := range []struct {
		name   string
		h      http.Handler
		path   string
		status int
		want   string
	}{
		{"metrics", plain, "/metrics", 200, "\nconsul_up 0\n"},
		{"memory", plain, "/state", 200, `"format": "consul_cluster_exporter state"`},
		{"own metrics", plain, "/metrics", 200, "\nconsul_exporter_build_info{"},
		{"process", plain, "/metrics", 200, "\nprocess_open_fds "},
		{"handler", plain, "/metrics", 200, "\npromhttp_metric_handler_requests_total{"},
		{"metrics elsewhere", other, "/consul/metrics", 200, "\nconsul_up 0\n"},
		{"no metrics there", other, "/metrics", 404, "not found"},
		{"one collector", plain, "/metrics?collect[]=ports", 200, `consul_exporter_collector_success{collector="ports"} 0`},
		{"not another collector", plain, "/metrics?collect[]=ports", 200, `!collector_success{collector="raft"}`},
		{"excluded", plain, "/metrics?exclude[]=agent&exclude[]=raft", 200, `!collector_success{collector="agent"}`},
		{"unknown collector", plain, "/metrics?collect[]=x", 400, `there is no enabled collector "x"; there are: acl, `},
		{"contradiction", plain, "/metrics?collect[]=ports&exclude[]=raft", 400, "cannot be used together"},
		{"healthy", plain, "/-/healthy", 200, "healthy"},
		{"ready", plain, "/-/ready", 200, "ready"},
		{"status page", plain, "/", 200, `<a href="/metrics">Metrics</a>`},
		{"status page of metrics elsewhere", other, "/", 200, `<a href="/consul/metrics">Metrics</a>`},
		{"unknown page", plain, "/x", 404, "not found"},
		{"profiles off", plain, "/debug/pprof/", 404, "not found"},
		{"profiles on", other, "/debug/pprof/", 200, "goroutine"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := get(t, tc.h, tc.path)
			want, unwanted := strings.CutPrefix(tc.want, "!")
			if w.Code != tc.status || strings.Contains(w.Body.String(), want) == unwanted {
				t.Errorf("status %d, body %.3000s; want %d and %q", w.Code, w.Body, tc.status, tc.want)
			}
		})
	}
}

// As promhttp does, and so consul_exporter.
func TestMetrics_Names(t *testing.T) {
	t.Parallel()
	body := get(t, newTestHandler(t, deadAgent, Options{}),
		"/metrics?name[]=consul_up&name[]=go_goroutines&name[]=nothing").Body.String()
	families := regexp.MustCompile(`(?m)^# TYPE (\S+)`).FindAllStringSubmatch(body, -1)
	if len(families) != 2 || families[0][1] != "consul_up" || families[1][1] != "go_goroutines" ||
		!strings.Contains(body, "\nconsul_up 0\n") {
		t.Errorf("got %s\nwant the two families that were asked for", body)
	}
}

func TestMetrics_OpenMetrics(t *testing.T) {
	t.Parallel()
	accept := "application/openmetrics-text;version=1.0.0"
	w := get(t, newTestHandler(t, deadAgent, Options{}), "/metrics", "Accept", accept)
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "application/openmetrics-text") ||
		!strings.HasSuffix(w.Body.String(), "# EOF\n") {
		t.Errorf("content type %q, body ends with %q; want OpenMetrics", got, w.Body.String()[w.Body.Len()-20:])
	}
}

func TestScrapeBudget(t *testing.T) {
	t.Parallel()
	const offset = 500 * time.Millisecond
	for _, tc := range []struct {
		header string
		want   time.Duration // 0: an error.
	}{
		{"", 10 * time.Second},
		{"10", 9500 * time.Millisecond},
		{"2.5", 2 * time.Second},
		{"0.52", 50 * time.Millisecond},
		{"0.1", 50 * time.Millisecond},
		{"0.01", 10 * time.Millisecond},
		{"1e300", maxBudget - offset},
		{"0", 0},
		{"-1", 0},
		{"NaN", 0},
		{"soon", 0},
	} {
		got, err := scrapeBudget(tc.header, offset)
		if (err != nil) != (tc.want == 0) || (err == nil && got != tc.want) {
			t.Errorf("budget for %q is %s, %v; want %s", tc.header, got, err, tc.want)
		}
	}
	w := get(t, newTestHandler(t, deadAgent, Options{}), "/metrics", timeoutHeader, "soon")
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `is "soon"; want a number of seconds`) {
		t.Errorf("status %d, body %s; want 400 and what is wrong", w.Code, w.Body)
	}
}

func TestValidateTelemetryPath(t *testing.T) {
	t.Parallel()
	for path, good := range map[string]bool{
		"/metrics": true, "/a/b": true, "/-/metrics": true,
		"": false, "metrics": false, "/": false, "//": false, "/a/": false, "/a/../b": false, "/{x}": false,
		"/-/healthy": false, "/-/ready": false, "/debug/pprof": false, "/debug/pprof/x": false,
	} {
		if err := ValidateTelemetryPath(path); (err == nil) != good {
			t.Errorf("ValidateTelemetryPath(%q) = %v", path, err)
		}
	}
}

// BenchmarkScrape is a whole scrape of a real cluster of three healthy servers over loopback, encoded as text. The
// target for port 8300, Raft and the members is a median below 10 ms and less than 2 MB allocated; the other 27 ports
// come on top.
func BenchmarkScrape(b *testing.B) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := must.Get(consultest.New(ctx, consultest.Options{Servers: 3}))(b)
	defer c.Close()
	b.Run("raft", func(b *testing.B) {
		benchmarkScrape(b, c.Servers[0].URL(), cluster.PortOptions{Protocols: []cluster.Protocol{cluster.ProtocolRPC}},
			"agent", "members", "ports", "raft")
	})
	b.Run("every port", func(b *testing.B) { benchmarkScrape(b, c.Servers[0].URL(), cluster.PortOptions{}) })
}

func benchmarkScrape(b *testing.B, agent string, ports cluster.PortOptions, enabled ...string) {
	b.Helper()
	ports.Timeout, ports.Concurrency = 3*time.Second, 64
	h := newPortsHandler(b, agent, Options{}, ports, enabled...)
	get(b, h, "/metrics")
	var took []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		w := get(b, h, "/metrics")
		took = append(took, time.Since(start))
		if !strings.Contains(w.Body.String(), "\nconsul_cluster_failure_margin 1\n") {
			b.Fatalf("scrape is not that of three healthy servers:\n%s", w.Body)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// FuzzScrapeBudget: whatever a client says about its time, a scrape has some, and not for ever.
func FuzzScrapeBudget(f *testing.F) {
	for _, header := range []string{"", "10", "0.5", "-1", "NaN", "+Inf", "1e999", "1e-300", "0x1p-2", "10s"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		budget, err := scrapeBudget(header, 500*time.Millisecond)
		if err == nil && (budget <= 0 || budget > maxBudget) {
			t.Errorf("a scrape with %q has %s", header, budget)
		}
	})
}
