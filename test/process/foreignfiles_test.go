// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package process_test

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// ownHistory is a history without any record, and aRecord a line of one.
const (
	ownHistory = `{"format":"consul_cluster_exporter responder history","version":1}` + "\n"
	aRecord    = `{"id":1,"time":"2026-11-25T12:00:00Z","rule":"r","action":"exec","dry_run":false,"alert":{"fingerprint":"f",` +
		`"starts_at":"2026-11-25T11:59:00Z","labels":{"alertname":"A"}},"result":"done","reasons":[]}` + "\n"
)

// foreignFiles are what can be at a path that the program would write to. The reason is what the error says about it;
// it is empty where the content is what is wrong.
var foreignFiles = []struct {
	name, reason string
	make         func(path string) error
}{
	{"a text that ends without a newline", "", withContent("Notes of mine\nand more")},
	{"a newline", "", withContent("\n")},
	{"binary junk", "", withContent("\x00\x7fELF\xff\xfe\n\x00{")},
	{"JSON lines of another program", "", withContent(`{"id":1,"time":"2026-11-25T12:00:00Z","msg":"hello"}` + "\n")},
	{"a JSON document", "", withContent("{\n  \"id\": 7\n}\n")},
	{"records without a header", "", withContent(aRecord)},
	{"a header that is cut off", "", withContent(ownHistory[:20])},
	{"a header of a later version", "", withContent(strings.Replace(ownHistory, ":1}", ":2}", 1) + aRecord)},
	{"a directory", "it is a directory", func(path string) error { return os.Mkdir(path, 0o700) }},
	{"a FIFO", "it is a FIFO", func(path string) error { return syscall.Mkfifo(path, 0o600) }},
	{"a socket", "it is a socket", func(path string) error {
		listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			return err
		}
		listener.SetUnlinkOnClose(false)
		return listener.Close()
	}},
	{"a symbolic link to a file of others", "it is a symbolic link", linkTo("target", "others' file")},
	{"a symbolic link to a history", "it is a symbolic link", linkTo("target", ownHistory)},
	{"a symbolic link to nothing", "it is a symbolic link", func(path string) error { return os.Symlink("nothing", path) }},
}

func withContent(content string) func(string) error {
	return func(path string) error { return os.WriteFile(path, []byte(content), 0o600) }
}

// linkTo makes a link to a file beside it.
func linkTo(name, content string) func(string) error {
	return func(path string) error {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), []byte(content), 0o600); err != nil {
			return err
		}
		return os.Symlink(name, path)
	}
}

// runAlone runs the program in a process of its own until it ends by itself.
func runAlone(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), harness.AsExporter+"=1")
	out, _ := cmd.CombinedOutput() // The exit code says it.
	if ctx.Err() != nil {
		t.Fatalf("%v does not end; it printed\n%s", args, out)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// folderState is all there is to know about the files in a folder, by name: what they are, and what they contain.
func folderState(t *testing.T, dir string) map[string]string {
	t.Helper()
	state := make(map[string]string)
	harness.Must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %d %s %q", info.Sys().(*syscall.Stat_t).Ino, info.ModTime(), content)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " to " + target
		}
		state[filepath.Base(path)] = text
		return nil
	}))
	return state
}

// The commands that write files into a folder replace only their own there. If one file is another's, they write none
// at all.
func TestOutputDir_ForeignFiles(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		command, at, reason string
	}{
		{"alerts", "raft.yml", "its first line is not # Written by `consul_cluster_exporter alerts`"},
		{"alerts", "alertmanager/alertmanager.example.yml", "its first line is not # Written by `consul_cluster_exporter alerts`"},
		{"dashboards", "raft.json", `its uid is not "consul-raft"`},
	} {
		for _, foreign := range foreignFiles {
			dir := t.TempDir()
			path := filepath.Join(dir, filepath.FromSlash(tc.at))
			harness.Must(t, os.MkdirAll(filepath.Dir(path), 0o700))
			harness.Must(t, foreign.make(path))
			before := folderState(t, dir)
			code, output := runAlone(t, tc.command, "--output-dir="+dir)
			reason := tc.reason
			if foreign.reason != "" {
				reason = foreign.reason
			}
			want := "consul_cluster_exporter: error: --output-dir: " + path + " exists and is not "
			if code != 1 || !strings.HasPrefix(output, want) || !strings.Contains(output, ": "+reason) || strings.Count(output, "\n") != 1 ||
				!strings.Contains(output, "choose another folder, such as "+filepath.Join(dir, "consul")) {
				t.Errorf("%s, %s as %s: exit code %d and\n%s\nwant exit code 1 and one line that begins with\n%s\nand says: %s",
					tc.command, foreign.name, tc.at, code, output, want, reason)
			}
			if diff := cmp.Diff(before, folderState(t, dir)); diff != "" {
				t.Errorf("%s, %s as %s: the files have changed (-before +after):\n%s", tc.command, foreign.name, tc.at, diff)
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
		if code, output := runAlone(t, command, "--output-dir="+dir); code != 0 {
			t.Fatalf("%s: exit code %d and %s", command, code, output)
		}
		want, err := os.ReadFile(filepath.Join(dir, name))
		harness.Must(t, err)
		edited := strings.Replace(string(want), "Raft", "Paxos", 1)
		harness.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(edited+"\n\n\n"), 0o600))
		if code, output := runAlone(t, command, "--output-dir="+dir); code != 0 || edited == string(want) {
			t.Fatalf("%s: exit code %d and %s", command, code, output)
		}
		got, err := os.ReadFile(filepath.Join(dir, name))
		harness.Must(t, err)
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s, %s (-as first written +replaced):\n%s", command, name, diff)
		}
		if content, err := os.ReadFile(filepath.Join(dir, "mine.yml")); err != nil || string(content) != "mine" {
			t.Errorf("%s: mine.yml has %q, %v; want it as it was", command, content, err)
		}
	}
}
