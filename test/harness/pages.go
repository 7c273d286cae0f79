// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/status"
)

// ServeOn serves a handler on this port of 127.0.0.1, and nowhere else, until the test ends.
func ServeOn(tb testing.TB, h http.Handler) (port string) {
	tb.Helper()
	listener := must.Get(net.Listen("tcp", "127.0.0.1:0"))(tb)
	server := &http.Server{Handler: h, ReadHeaderTimeout: ProbeTimeout}
	go server.Serve(listener)
	tb.Cleanup(func() { server.Close() })
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

// Page fetches a path and returns what it has; the status must be the one wanted.
func (e *Exporter) Page(t *testing.T, path string, wantStatus int) string {
	t.Helper()
	status, body, err := e.Get(t.Context(), path, 10*time.Second)
	must.Do(t, err)
	if status != wantStatus {
		t.Errorf("%s: got status %d, want %d: %s", path, status, wantStatus, body)
	}
	return body
}

// Reload posts to /-/reload.
func (e *Exporter) Reload(t *testing.T, wantStatus int) (body string) {
	t.Helper()
	status, _, body := Send(t, must.Get(http.NewRequest(http.MethodPost, e.URL+"/-/reload", http.NoBody))(t))
	if status != wantStatus {
		t.Errorf("reload: got status %d, want %d: %s", status, wantStatus, body)
	}
	return body
}

// WaitLog waits until a text is in the log this many times.
func (e *Exporter) WaitLog(t *testing.T, text string, n int) {
	t.Helper()
	WaitFor(t, 20*time.Second, fmt.Sprintf("%d times in the log: %s", n, text), func() string {
		found := strings.Count(e.Log.String(), text)
		return Unless(found >= n, "it is there %d times", found)
	})
}

// WriteFiles writes files into a folder of the test's own and returns the folder.
func WriteFiles(t *testing.T, files map[string]string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for name, content := range files {
		must.Do(t, os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600))
	}
	return folder
}

// WriteFile writes a file that only its owner may read into a folder of the test's own, and returns its path.
func WriteFile(t *testing.T, name, content string) (path string) {
	t.Helper()
	return filepath.Join(WriteFiles(t, map[string]string{name: content}), name)
}

// PageEvery is how long the page has the same status.
const PageEvery = 5 * time.Second

// FreshStatus waits for a status whose snapshot was taken after now, see PageEvery.
func (e *Exporter) FreshStatus(t *testing.T) (v status.View) {
	t.Helper()
	start := time.Now().Truncate(time.Millisecond) // As the status has it.
	WaitFor(t, 20*time.Second, "a newer status", func() string {
		page := e.Page(t, "/?format=json", http.StatusOK)
		ExpectSchema(t, "StatusDocument", page)
		v = status.View{}
		must.Do(t, json.Unmarshal([]byte(page), &v))
		return Unless(!v.Time.Before(start), "it is of %s", v.Time)
	})
	return v
}
