// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package process_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// ownHistory is a history without any record.
const ownHistory = `{"format":"consul_cluster_exporter responder history","version":1}` + "\n"

// folderState is what the files in a folder are, and what they contain.
func folderState(t *testing.T, dir string) map[string]string {
	t.Helper()
	state := make(map[string]string)
	must.Do(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().IsRegular() {
			var content []byte
			content, err = os.ReadFile(path)
			state[path] = string(content)
		}
		state[path] += fmt.Sprint(info.Mode(), info.ModTime())
		return err
	}))
	return state
}

// responderConfig writes a configuration with a history in this folder into another one.
func responderConfig(t *testing.T, dir string) (flag string) {
	t.Helper()
	return "--config.file=" + harness.WriteFile(t, "responder.yml",
		"expected_servers: 3\nhistory: {file: "+dir+"/history.jsonl, keep: 3}\nrules:\n"+
			"  - {name: r, cluster: any, matchers: [alertname=A], action: {exec: {command: /bin/true}}}\n")
}

// A file of others at a path that a command would write to stays as it is, and the command writes nothing at all.
// TestKind proves the same for all kinds of files, and TestHistory_Foreign for all files of a history.
func TestForeignFiles(t *testing.T) {
	t.Parallel()
	const notWritten = "its first line is not # Written by `consul_cluster_exporter alerts`"
	for _, tc := range []struct{ command, at, reason string }{
		{"alerts", "raft.yml", notWritten},
		{"alerts", "alertmanager/alertmanager.example.yml", notWritten},
		{"dashboards", "raft.json", `its uid is not "consul-raft"`},
		{"responder", "history.jsonl", "its first line is not " + ownHistory[:20]},
		{"responder --config.check", "history.jsonl", "its first line is not " + ownHistory[:20]},
		{"responder", "history.jsonl.lock", "it is not empty"},
	} {
		for reason, foreign := range map[string]func(path string) error{
			tc.reason:               func(path string) error { return os.WriteFile(path, []byte("{\n  \"id\": 7\n}\n"), 0o600) },
			"it is a directory":     func(path string) error { return os.Mkdir(path, 0o700) },
			"it is a symbolic link": func(path string) error { return os.Symlink("target", path) },
		} {
			dir := t.TempDir()
			args, option, advice := strings.Fields(tc.command), "--output-dir", filepath.Join(dir, "consul")
			if args[0] == "responder" {
				option, advice = "history.file", "/var/lib/consul-responder/history.jsonl"
				args = append(args, responderConfig(t, dir), "--consul.server=127.0.0.1:1", "--web.listen-address=127.0.0.1:0")
			} else {
				args = append(args, "--output-dir="+dir)
			}
			path := filepath.Join(dir, filepath.FromSlash(tc.at))
			must.Do(t, os.MkdirAll(filepath.Dir(path), 0o700))
			must.Do(t, foreign(path))
			before := folderState(t, dir)
			code, _, stderr := harness.RunProgram(t, args...)
			want := "consul_cluster_exporter: error: " + option + ": " + path + " exists and is not "
			if code != 1 || !strings.HasPrefix(stderr, want) || !strings.Contains(stderr, ": "+reason) ||
				!strings.HasSuffix(stderr, "such as "+advice+"\n") || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%s: exit code %d and\n%s\nwant one line that begins with\n%s\nand says: %s",
					args, code, stderr, want, reason)
			}
			if diff := cmp.Diff(before, folderState(t, dir)); diff != "" {
				t.Errorf("%s, %s: the files have changed (-before +after):\n%s", args, reason, diff)
			}
		}
	}
}

// An empty file is replaced, and what the commands have written before, also if it was edited; other files in the
// folder stay.
func TestOutputDir_OwnFiles(t *testing.T) {
	t.Parallel()
	for command, name := range map[string]string{"alerts": "raft.yml", "dashboards": "raft.json"} {
		dir := harness.WriteFiles(t, map[string]string{name: "", "mine.yml": "mine"})
		write := func() (content string) {
			if code, _, stderr := harness.RunProgram(t, command, "--output-dir="+dir); code != 0 {
				t.Fatalf("%s: exit code %d and %s", command, code, stderr)
			}
			return string(must.Get(os.ReadFile(filepath.Join(dir, name)))(t))
		}
		want := write()
		edited := strings.Replace(want, "Raft", "Paxos", 1) + "\n\n\n"
		must.Do(t, os.WriteFile(filepath.Join(dir, name), []byte(edited), 0o600))
		if diff := cmp.Diff(want, write()); diff != "" || !strings.Contains(edited, "Paxos") {
			t.Errorf("%s, %s (-as first written +replaced):\n%s", command, name, diff)
		}
		if content, err := os.ReadFile(filepath.Join(dir, "mine.yml")); err != nil || string(content) != "mine" {
			t.Errorf("%s: mine.yml has %q, %v; want it as it was", command, content, err)
		}
	}
}

// --config.check does not repair a history that a crash has cut off, as the responder does.
func TestResponder_OwnFiles(t *testing.T) {
	t.Parallel()
	dir := harness.WriteFiles(t, map[string]string{"history.jsonl": ownHistory + `{"id":2,"ti`})
	before := folderState(t, dir)
	code, stdout, stderr := harness.RunProgram(t, "responder", "--config.check", responderConfig(t, dir))
	if code != 0 || stdout+stderr != "configuration is good\n" {
		t.Errorf("exit code %d and %q; want that it is good", code, stdout+stderr)
	}
	if diff := cmp.Diff(before, folderState(t, dir)); diff != "" {
		t.Errorf("--config.check has changed the files (-before +after):\n%s", diff)
	}
}
