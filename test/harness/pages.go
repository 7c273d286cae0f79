// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/status"
)

// ServeOn serves a handler on this port of 127.0.0.1, and nowhere else, until the test ends.
func ServeOn(tb testing.TB, h http.Handler) (port string) {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Must(tb, err)
	server := &http.Server{Handler: h, ReadHeaderTimeout: ProbeTimeout}
	go server.Serve(listener)
	tb.Cleanup(func() { server.Close() })
	_, port, err = net.SplitHostPort(listener.Addr().String())
	Must(tb, err)
	return port
}

// Page fetches a path and returns what it has; the status must be the one wanted.
func (e *Exporter) Page(t *testing.T, path string, wantStatus int) string {
	t.Helper()
	status, body, err := e.Get(t.Context(), path, 10*time.Second)
	Must(t, err)
	if status != wantStatus {
		t.Errorf("%s: got status %d, want %d: %s", path, status, wantStatus, body)
	}
	return body
}

// Reload posts to /-/reload.
func (e *Exporter) Reload(t *testing.T, wantStatus int) (body string) {
	t.Helper()
	resp, err := http.Post(e.URL+"/-/reload", "", nil)
	Must(t, err)
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	Must(t, err)
	if resp.StatusCode != wantStatus {
		t.Errorf("reload: got status %d, want %d: %s", resp.StatusCode, wantStatus, content)
	}
	return string(content)
}

// WaitLog waits until a text is in the log this many times.
func (e *Exporter) WaitLog(t *testing.T, text string, n int) {
	t.Helper()
	WaitFor(t, 20*time.Second, fmt.Sprintf("%d times in the log: %s", n, text), func() string {
		if found := strings.Count(e.Log.String(), text); found < n {
			return fmt.Sprintf("it is there %d times", found)
		}
		return ""
	})
}

// WriteFiles writes files into a folder of the test's own and returns the folder.
func WriteFiles(t *testing.T, files map[string]string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for name, content := range files {
		Must(t, os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600))
	}
	return folder
}

// FreshStatus waits for a status whose snapshot was taken after now: the page has a new one every five seconds.
func (e *Exporter) FreshStatus(t *testing.T) (v status.View) {
	t.Helper()
	start := time.Now()
	WaitFor(t, 20*time.Second, "a newer status", func() string {
		v = status.View{}
		Must(t, json.Unmarshal([]byte(e.Page(t, "/?format=json", http.StatusOK)), &v))
		if v.Time.After(start) {
			return ""
		}
		return "it is of " + v.Time.String()
	})
	return v
}
