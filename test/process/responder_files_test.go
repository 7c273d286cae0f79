// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package process_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// responderConfig writes a configuration with this history into a folder of its own.
func responderConfig(t *testing.T, history string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "responder.yml")
	harness.Must(t, os.WriteFile(path, fmt.Appendf(nil, "expected_servers: 3\nhistory: {file: %s, keep: 3}\nrules:\n"+
		"  - {name: r, matchers: [alertname=A], action: {exec: {command: /bin/true}}}\n", history), 0o600))
	return path
}

// What is not the responder's stays as it is, at any path that the responder would write to: --config.check and the
// responder itself refuse it.
func TestResponder_ForeignFiles(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"history.jsonl", "history.jsonl.lock", "history.jsonl.1", "history.jsonl.3"} {
		for _, foreign := range foreignFiles {
			dir := t.TempDir()
			history := filepath.Join(dir, "history.jsonl")
			if at != "history.jsonl" {
				harness.Must(t, os.WriteFile(history, []byte(ownHistory+aRecord+`{"id":2,`), 0o600)) // It would be repaired.
			}
			harness.Must(t, foreign.make(filepath.Join(dir, at)))
			reason := cmp.Or(foreign.reason, "its first line is not "+ownHistory[:20])
			if at == "history.jsonl.lock" {
				reason = cmp.Or(foreign.reason, "it is not empty")
			}
			expectRefused(t, foreign.name+" as "+at, dir, history, filepath.Join(dir, at), reason)
		}
	}
	for _, device := range []string{"/dev/null", "/dev/zero"} {
		expectRefused(t, device, t.TempDir(), device, device, "it is a device")
		if _, err := os.Lstat(device + ".lock"); err == nil {
			t.Errorf("%s has got a lock beside it", device)
		}
	}
}

// expectRefused runs the responder and its check with a history, and expects that both refuse what is at a path and
// change nothing in the folder.
func expectRefused(t *testing.T, name, dir, history, path, reason string) {
	t.Helper()
	before := folderState(t, dir)
	config := responderConfig(t, history)
	for _, extra := range []string{"--config.check", "--web.listen-address=127.0.0.1:0"} {
		code, output := runAlone(t, "responder", "--config.file="+config, "--consul.server=127.0.0.1:1", extra)
		want := "consul_cluster_exporter: error: history.file: " + path + " exists and is not "
		if code != 1 || !strings.HasPrefix(output, want) || !strings.Contains(output, ": "+reason) || strings.Count(output, "\n") != 1 ||
			!strings.Contains(output, "such as /var/lib/consul-responder/history.jsonl") {
			t.Errorf("%s, %s: exit code %d and\n%s\nwant exit code 1 and one line that begins with\n%s\nand says: %s", name, extra, code, output, want, reason)
		}
		if diff := gocmp.Diff(before, folderState(t, dir)); diff != "" {
			t.Errorf("%s, %s: the files have changed (-before +after):\n%s", name, extra, diff)
		}
	}
}

// What can be taken is taken, and only by the responder itself: nothing, an empty file, a history, also one that a
// crash has cut off. Each line of what it leaves is JSON.
func TestResponder_OwnFiles(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"nothing", nil, ownHistory},
		{"empty files", map[string]string{"history.jsonl": "", "history.jsonl.lock": "", "history.jsonl.1": ""}, ownHistory},
		{"a history", map[string]string{"history.jsonl": ownHistory + aRecord, "history.jsonl.2": ownHistory + aRecord}, ownHistory + aRecord},
		{"a history that is cut off", map[string]string{"history.jsonl": ownHistory + aRecord + `{"id":2,"ti`}, ownHistory + aRecord},
	} {
		dir := harness.WriteFiles(t, tc.files)
		before := folderState(t, dir)
		config := responderConfig(t, filepath.Join(dir, "history.jsonl"))
		args := []string{"responder", "--config.file=" + config, "--consul.server=127.0.0.1:1"}
		if code, output := runAlone(t, append(args, "--config.check")...); code != 0 || output != "configuration is good\n" {
			t.Errorf("%s: exit code %d and %q; want that it is good", tc.name, code, output)
		}
		if diff := gocmp.Diff(before, folderState(t, dir)); diff != "" {
			t.Errorf("%s: --config.check has changed the files (-before +after):\n%s", tc.name, diff)
		}
		for range 2 { // The second one finds what the first has left.
			harness.Must(t, harness.StartExporter(t, nil, args...).Stop())
			content, err := os.ReadFile(filepath.Join(dir, "history.jsonl"))
			harness.Must(t, err)
			if diff := gocmp.Diff(tc.want, string(content)); diff != "" {
				t.Errorf("%s: the history (-want +got):\n%s", tc.name, diff)
			}
			for line := range strings.Lines(string(content)) {
				if !json.Valid([]byte(line)) {
					t.Errorf("%s: the history has the line %q", tc.name, line)
				}
			}
		}
	}
}
