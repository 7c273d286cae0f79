// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// urlPassword is in all the URLs below, and must be nowhere else.
const urlPassword = "hunter2"

// urlsWithPassword are URLs with a password that somebody may write, most of them malformed.
var urlsWithPassword = []string{
	"http://user:hunter2@127.0.0.1:1", "http://user:hunter2%ss@127.0.0.1:1", "http://user:hunter2/x@127.0.0.1:1",
	"http://user:8500/hunter2@127.0.0.1", "http://user:hunter2?x@127.0.0.1:1", "http://user:hunter2#x@127.0.0.1:1",
	"http://user:hunter2 x@127.0.0.1:1", "http://user:hunter2\"x@127.0.0.1:1", "http://user:hunter2\nx@127.0.0.1:1",
	"http://user:hunter2@x@127.0.0.1:1", "http://user:hunter2@[::1", "http://user:hunter2@127.0.0.1:port",
	"http://user:hunter2@", "http:/user:hunter2@127.0.0.1:1", "http//user:hunter2@127.0.0.1:1",
	"ftp://user:hunter2@127.0.0.1:1", "unix://user:hunter2@/run/consul.sock", "user:hunter2@127.0.0.1:1",
	"://user:hunter2@127.0.0.1:1", "http://127.0.0.1:1/?user:hunter2@",
}

// Whatever takes a URL, or is given one by mistake, prints no password.
func TestPasswords_Rejected(t *testing.T) {
	dir := t.TempDir()
	file := func(name, format, url string) string {
		path := filepath.Join(dir, name)
		must.Do(t, os.WriteFile(path, fmt.Appendf(nil, format, url), 0o600))
		return path
	}
	for _, url := range urlsWithPassword {
		for _, args := range [][]string{
			{"--consul.server=" + url},
			{"check", "--consul.server=" + url},
			{"responder", "--consul.server=" + url},
			{"check", "--consul.server=" + url, "--output=json"},
			{"healthcheck", "--url=" + url},
			{"alerts", "--runbook-url=" + url},
			{"alerts", "--runbook-url=" + url + "/{alert}"},
			{url},
			{"--consul.srv=" + url},
			{"--web.telemetry-path", url},
			{"--consul.timeout=" + url},
			{"--log.level=" + url},
			{"--responder.url=" + url},
			{"--config.check", "--config.file=" + file("modules.yml", "modules: {m: {targets: [%q]}}", url)},
			{"--config.check", "--config.file=" + file("scheme.yml", "modules: {m: {scheme: %q, targets: [a]}}", url)},
			{"--config.check", "--config.file=" + file("key.yml", "modules: {m: {%q: 1, targets: [a]}}", url)},
			{"responder", "--config.check", "--config.file=" + file("r.yml", "{expected_servers: 1, history: {file: h}, "+
				"rules: [{name: r, cluster: any, matchers: [a=b], action: {notify: {url: %q, timeout: 1h}}}]}", url)},
		} {
			code, stdout, stderr := harness.RunProgram(t, args...)
			if code == 0 && args[0] != "alerts" {
				t.Errorf("%q: exit code 0", args)
			}
			if strings.Contains(stdout+stderr, urlPassword) {
				t.Errorf("%q printed the password:\n%s%s", args, stdout, stderr)
			}
		}
		t.Setenv("CONSUL_HTTP_ADDR", url)
		for _, args := range [][]string{{"--help"}, {"check", "--help"}, {"--config.check"}} {
			if _, stdout, stderr := harness.RunProgram(t, args...); strings.Contains(stdout+stderr, urlPassword) {
				t.Errorf("CONSUL_HTTP_ADDR=%q, %q printed the password:\n%s%s", url, args, stdout, stderr)
			}
		}
		t.Setenv("CONSUL_HTTP_ADDR", "")
	}
}

// What asks for a target or loads a file in a running exporter puts no password on a page, in the metrics or in the
// log.
func TestPasswords_Running(t *testing.T) {
	path := harness.WriteFile(t, "config.yml", someModules)
	e := harness.StartExporter(t, nil, "--consul.server=http://127.0.0.1:1", "--config.file="+path,
		"--web.enable-lifecycle", "--log.level=debug")
	for _, url := range urlsWithPassword {
		must.Do(t, os.WriteFile(path, fmt.Appendf(nil, "modules: {m: {scheme: %q, targets: [%q]}}", url, url), 0o600))
		seen := e.Reload(t, http.StatusInternalServerError)
		_, body, err := e.Get(t.Context(), probePage("m", url), 10*time.Second)
		must.Do(t, err)
		if strings.Contains(seen+body, urlPassword) {
			t.Errorf("a page has the password of %q:\n%s\n%s", url, seen, body)
		}
	}
	if seen := e.ScrapeText(t) + e.Page(t, "/", http.StatusOK) + e.Log.String(); strings.Contains(seen, urlPassword) {
		t.Errorf("the password is in the metrics, on the page or in the log:\n%s", seen)
	}
}
