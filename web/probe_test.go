// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/zervigo/consul_cluster_exporter/config"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// write writes a file and returns its path.
func write(tb testing.TB, path, content string) string {
	tb.Helper()
	must.Do(tb, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// newModulesHandler serves an exporter with a configuration file of this content, and returns the file's path.
func newModulesHandler(tb testing.TB, content string, opts Options) (h *Handler, path string) {
	tb.Helper()
	path = write(tb, filepath.Join(tb.TempDir(), "c.yml"), content)
	opts.Modules = must.Get(config.Open(path, nil))(tb)
	h = newTestHandler(tb, deadAgent, opts).(*Handler)
	tb.Cleanup(h.Close)
	return h, path
}

func TestProbe_Refused(t *testing.T) {
	t.Parallel()
	address, requests := fakeAgent(t)
	token := write(t, filepath.Join(t.TempDir(), "token"), "hush-hush")
	h, _ := newModulesHandler(t, "modules: {m: {token_file: "+token+
		", collectors: [raft], targets: [127.0.0.9, 127.0.0.0/8:1, allowed.invalid]}}", Options{})
	// A token that is read again would be told to be gone.
	must.Do(t, os.Remove(token))
	without := newTestHandler(t, deadAgent, Options{})
	for _, tc := range []struct {
		name   string
		h      http.Handler
		query  string
		status int
		want   string
	}{
		{"no configuration file", without, "target=" + address + "&module=m", 404, errNoModules.Error()},
		{"unknown module", h, "target=" + address + "&module=hush", 400, errUnknownModule.Error()},
		{"no module", h, "target=" + address, 400, errModuleWanted.Error()},
		{"two modules", h, "target=" + address + "&module=m&module=m", 400, errModuleWanted.Error()},
		{"no target", h, "module=m", 400, errTargetWanted.Error()},
		{"empty target", h, "module=m&target=", 400, errTargetWanted.Error()},
		{"two targets", h, "module=m&target=127.0.0.1:1&target=" + address, 400, errTargetWanted.Error()},
		{"another port", h, "module=m&target=" + address, 400, config.ErrNotAllowed.Error()},
		{"name of an address", h, "module=m&target=localhost:1", 400, config.ErrNotAllowed.Error()},
		{"URL", h, "module=m&target=http://user:hush@127.0.0.1:1", 400, config.ErrTarget.Error()},
		{
			"unknown collector", h, "module=m&target=127.0.0.1:1&collect[]=weather", 400,
			`there is no enabled collector "weather"; there are: raft`,
		},
		{
			"contradiction", h, "module=m&target=127.0.0.1:1&collect[]=raft&exclude[]=raft", 400,
			"collect[] and exclude[] cannot be used together",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := get(t, tc.h, "/probe?"+tc.query)
			if w.Code != tc.status || w.Body.String() != tc.want+"\n" {
				t.Errorf("status %d, body %q; want %d and %q", w.Code, w.Body, tc.status, tc.want)
			}
			if strings.Contains(w.Body.String(), "hush") {
				t.Errorf("the answer has what was asked: %s", w.Body)
			}
		})
	}
	if w := get(t, h, "/probe?module=m&target=127.0.0.1:1", timeoutHeader, "soon"); w.Code != http.StatusBadRequest {
		t.Errorf("status %d for a bad timeout, want 400", w.Code)
	}
	if w := request(t, h, http.MethodPost, "/probe?module=m&target=127.0.0.1:1"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("status %d for POST, want 405", w.Code)
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("the agent got %d requests, want none", n)
	}
}

// fakeAgent answers what consul_up needs, that there is no leader, and counts its requests.
func fakeAgent(tb testing.TB) (address string, requests *atomic.Int32) {
	tb.Helper()
	requests = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.URL.Path != "/v1/status/leader" {
			http.Error(w, "not here", http.StatusForbidden)
			return
		}
		fmt.Fprint(w, `""`)
	}))
	tb.Cleanup(server.Close)
	return server.Listener.Addr().String(), requests
}

func TestProbe(t *testing.T) {
	t.Parallel()
	agent, _ := fakeAgent(t)
	const modules = "modules: {m: {targets: [127.0.0.1]}, one: {targets: [127.0.0.1], collectors: [raft]}}"
	h, _ := newModulesHandler(t, modules, Options{})
	expect := func(query string, wanted ...string) {
		t.Helper()
		start := time.Now()
		w := get(t, h, "/probe?"+query, timeoutHeader, "5")
		most := time.Since(start).Seconds()
		_, after, _ := strings.Cut(w.Body.String(), "\nprobe_duration_seconds ")
		text, _, _ := strings.Cut(after, "\n")
		if took, err := strconv.ParseFloat(text, 64); err != nil || took <= 0 || took > most {
			t.Errorf("%s: probe_duration_seconds is %q; want more than 0 and no more than %v", query, text, most)
		}
		if w.Code != http.StatusOK {
			t.Errorf("%s: status %d, body %s; want 200", query, w.Code, w.Body)
		}
		for _, want := range wanted {
			unwanted := strings.HasPrefix(want, "!")
			if strings.Contains(w.Body.String(), "\n"+strings.TrimPrefix(want, "!")) == unwanted {
				t.Errorf("%s: %q is missing, or should:\n%s", query, want, w.Body)
			}
		}
	}
	expect("module=m&target="+agent, "probe_success 1\n", "consul_up 1\n", "consul_raft_leader 0\n",
		"consul_exporter_scrapes_total 1\n", "!go_goroutines", "!process_open_fds", "!promhttp_",
		"!consul_exporter_build_info")
	expect("module=m&target="+agent, "consul_exporter_scrapes_total 2\n") // It is kept.
	expect("module=one&target="+agent, "consul_exporter_scrapes_total 1\n", "probe_success 1\n", "!consul_up",
		`consul_exporter_collector_success{collector="raft"}`, `!consul_exporter_collector_success{collector="agent"}`)
	expect("module=m&target="+agent+"&collect[]=raft", "probe_success 1\n",
		`!consul_exporter_collector_success{collector="agent"}`)
	expect("module=m&target=127.0.0.1:1", "probe_success 0\n", "consul_up 0\n")
	w := get(t, h, "/metrics")
	if strings.Contains(w.Body.String(), "probe_success") || strings.Contains(w.Body.String(), "probe_duration_seconds") {
		t.Error("/metrics has what belongs to /probe")
	}
}

// The time that Prometheus grants holds, also for an agent that accepts and never answers.
func TestProbe_Timeout(t *testing.T) {
	t.Parallel()
	silent := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer silent.Close()
	h, _ := newModulesHandler(t, "modules: {m: {timeout: 1m, targets: [127.0.0.1]}}",
		Options{TimeoutOffset: 100 * time.Millisecond})
	start := time.Now()
	w := get(t, h, "/probe?module=m&target="+silent.Addr().String(), timeoutHeader, "1")
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s, want the second that is granted, or a little more", took)
	}
	if body := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(body, "\nprobe_success 0\n") ||
		!strings.Contains(body, "probe_duration_seconds 0.") {
		t.Errorf("status %d, body %s; want 200 and that it has failed", w.Code, body)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	agent, _ := fakeAgent(t)
	const good = "modules: {m: {targets: [127.0.0.1]}, other: {targets: [127.0.0.1]}}"
	var logged lockedBuilder
	h, path := newModulesHandler(t, good, Options{EnableLifecycle: true, Logger: log.NewLogfmtLogger(&logged)})
	post := func(status int) string {
		t.Helper()
		w := request(t, h, http.MethodPost, "/-/reload")
		if w.Code != status {
			t.Errorf("status %d, body %s; want %d", w.Code, w.Body, status)
		}
		return w.Body.String()
	}
	expect := func(page, want string) {
		t.Helper()
		if body := get(t, h, page).Body.String(); !strings.Contains(body, want) {
			t.Errorf("%s has no %q:\n%s", page, want, body)
		}
	}
	m, other := "/probe?module=m&target="+agent, "/probe?module=other&target="+agent
	expect("/metrics", "\nconsul_exporter_config_last_reload_successful 1\n")
	expect("/metrics", "\nconsul_exporter_config_last_reload_success_timestamp_seconds 1.") // Such as 1.9e+09.
	expect(m, "\nconsul_exporter_scrapes_total 1\n")
	expect(other, "\nconsul_exporter_scrapes_total 1\n")

	write(t, path, "modules: {m: {scheme: ftp, targets: [127.0.0.1], port: -1}}")
	if body := post(500); !strings.Contains(body, "modules.m.scheme") || !strings.Contains(body, "modules.m.port") {
		t.Errorf("the answer does not have all problems: %s", body)
	}
	if n := strings.Count(logged.String(), "configuration file is not loaded"); n != 2 ||
		!strings.Contains(logged.String(), "modules.m.scheme") {
		t.Errorf("want one line for each problem; log:\n%s", logged.String())
	}
	expect("/metrics", "\nconsul_exporter_config_last_reload_successful 0\n")
	expect(m, "\nconsul_exporter_scrapes_total 2\n")

	write(t, path, "modules: {m: {targets: [127.0.0.1], timeout: 3s}, other: {targets: [127.0.0.1]}}")
	post(200)
	expect("/metrics", "\nconsul_exporter_config_last_reload_successful 1\n")
	if n := len(h.probe.keeper.entries); n != 1 {
		t.Errorf("%d exporters are kept; want only that of the module that has not changed", n)
	}
	expect(m, "\nconsul_exporter_scrapes_total 1\n") // It starts again.
	expect(other, "\nconsul_exporter_scrapes_total 2\n")

	write(t, path, "modules: {m: {targets: [127.0.0.1], timeout: 3s}}")
	post(200)
	expect(other, errUnknownModule.Error())

	if w := get(t, h, "/-/reload"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") == "" {
		t.Errorf("status %d, header %v; want 405 and what is allowed", w.Code, w.Header())
	}
}

func TestReload_SwitchedOff(t *testing.T) {
	t.Parallel()
	off, _ := newModulesHandler(t, "modules: {m: {targets: [127.0.0.1]}}", Options{})
	noFile := newTestHandler(t, deadAgent, Options{EnableLifecycle: true})
	for _, tc := range []struct {
		name   string
		h      http.Handler
		method string
		status int
		want   string
	}{
		{"not enabled", off, http.MethodPost, 403, "--web.enable-lifecycle"},
		{"not enabled, and GET", off, http.MethodGet, 405, "POST"},
		{"no file", noFile, http.MethodPost, 404, "--config.file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := request(t, tc.h, tc.method, "/-/reload")
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
				t.Errorf("status %d, body %s; want %d and %q", w.Code, w.Body, tc.status, tc.want)
			}
		})
	}
	if body := get(t, noFile, "/metrics").Body.String(); strings.Contains(body, "consul_exporter_config_") {
		t.Error("there are metrics about a configuration file, and there is none")
	}
	if err := noFile.(*Handler).Reload(); err != nil {
		t.Errorf("got error %v for SIGHUP without a file, want none", err)
	}
}

// Requests, reloads and a changing module at the same time.
func TestProbe_Concurrent(t *testing.T) {
	t.Parallel()
	agent, _ := fakeAgent(t)
	h, path := newModulesHandler(t, "modules: {m: {targets: [127.0.0.1], timeout: 1s}}", Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				if w := get(t, h, "/probe?module=m&target="+agent); w.Code != http.StatusOK ||
					!strings.Contains(w.Body.String(), "\nprobe_success 1\n") {
					t.Errorf("status %d, body %s", w.Code, w.Body)
				}
			}
		})
	}
	for i := range 20 {
		// Whole files only: the writing of one is not atomic.
		next := write(t, path+".next", fmt.Sprintf("modules: {m: {targets: [127.0.0.1], timeout: %ds}}", 2+i))
		must.Do(t, os.Rename(next, path))
		if err := h.Reload(); err != nil || ctx.Err() != nil {
			t.Fatal(err, ctx.Err())
		}
	}
	wg.Wait()
}

// lockedBuilder is written by many.
type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
