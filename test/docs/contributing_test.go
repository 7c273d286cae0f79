// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// A copy of the project to which the code of CONTRIBUTING.md is added, step by step, passes the tests that the document names, and is an exporter
// with one more collector, one more probe and one more option.
func TestContributing(t *testing.T) {
	t.Parallel()
	dir := copyProject(t)
	d := harness.ReadDocument(t, "CONTRIBUTING.md")
	for _, block := range d.Blocks {
		var err error
		switch block.Language {
		case "go":
			err = addFile(dir, block.Text)
		case "diff":
			err = applyDiff(dir, block.Text)
		default:
			continue
		}
		if err != nil {
			t.Fatalf("CONTRIBUTING.md:%d: %v", block.Line, err)
		}
	}
	inCopy(t, dir, "go", "test", "-vet=off", "./collector", "-run", "^Test(Registry|RequestBudget|Isolation|Consistent|Golden|Lint)", "-update")
	inCopy(t, dir, "go", "test", "-vet=off", "./probe", "-run", "^TestUI$")
	inCopy(t, dir, "go", "test", "-vet=off", "./config", "-run", "^Test(Options|ExampleIsComplete)$")
	binary := filepath.Join(t.TempDir(), cli.Name)
	inCopy(t, dir, "go", "build", "-o", binary, ".")

	c := consultest.Start(t, consultest.Options{Servers: 1, Config: map[string]any{"ui_config": map[string]any{"enabled": true}}})
	server := c.Servers[0]
	_, _, err := server.Client().ConfigEntries().Set(&api.ServiceIntentionsConfigEntry{
		Kind: api.ServiceIntentions, Name: "web", Sources: []*api.SourceIntention{{Name: "api", Action: api.IntentionActionAllow}},
	}, nil)
	harness.Must(t, err)
	e := harness.StartBinary(t, binary, nil, "--consul.server="+server.URL(), "--no-probe.udp")
	e.ScrapeUntil(t, time.Minute, "the new collector, the new probe and the new option work", func(s harness.Samples) bool {
		_, udp := s[`consul_port_up{port="8301",protocol="serf_lan",server="server-1",transport="udp"}`]
		return s["consul_connect_intentions"] == 1 && s[`consul_port_up{port="8500",protocol="ui",server="server-1",transport="tcp"}`] == 1 && !udp
	})
}

// copyProject copies what a build and the tests of the packages need.
func copyProject(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	harness.Must(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "dist"):
			return filepath.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(dir, path), 0o755)
		case !entry.Type().IsRegular() || path == cli.Name:
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, path), content, 0o644)
	}))
	return dir
}

// addFile writes a new file, whose path is in the comment on its first line.
func addFile(dir, text string) error {
	first, rest, _ := strings.Cut(text, "\n")
	path, ok := strings.CutPrefix(first, "// ")
	if !ok || !filepath.IsLocal(path) {
		return fmt.Errorf("the first line %q has no path", first)
	}
	path = filepath.Join(dir, path)
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s is there already", path)
	}
	return os.WriteFile(path, []byte(strings.TrimLeft(rest, "\n")), 0o644)
}

// applyDiff changes the file that the first line names: lines that begin with a space stay, those with a minus go, those with a plus come.
func applyDiff(dir, text string) error {
	first, hunk, _ := strings.Cut(text, "\n")
	path, ok := strings.CutPrefix(first, "--- ")
	if !ok {
		return fmt.Errorf("the first line %q has no path", first)
	}
	path = filepath.Join(dir, path)
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var before, after strings.Builder
	for line := range strings.Lines(hunk) {
		switch line[0] {
		case ' ':
			before.WriteString(line[1:])
			after.WriteString(line[1:])
		case '-':
			before.WriteString(line[1:])
		case '+':
			after.WriteString(line[1:])
		default:
			return fmt.Errorf("line %q is not of a diff", line)
		}
	}
	if n := strings.Count(string(content), "\n"+before.String()); n != 1 {
		return fmt.Errorf("%s has %d times what is to be changed; want it once:\n%s", path, n, before.String())
	}
	return os.WriteFile(path, []byte(strings.Replace(string(content), "\n"+before.String(), "\n"+after.String(), 1)), 0o644)
}

// inCopy runs a command in the copy.
func inCopy(t *testing.T, dir string, command ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = dir
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s in a copy of the project: %v\n%s", strings.Join(command, " "), err, out)
	}
	if strings.Contains(string(out), "no tests to run") {
		t.Errorf("%s in a copy of the project runs no test", strings.Join(command, " "))
	}
	t.Logf("%s took %s", strings.Join(command, " "), time.Since(start).Round(time.Millisecond))
}
