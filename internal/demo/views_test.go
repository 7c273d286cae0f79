// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// A docCommand is a command of a page of the documentation and what the page shows of its output.
type docCommand struct {
	command string
	output  []string
}

// docCommands returns the commands of all blocks "console" of a page. Lines "..." stand for output that the page leaves out.
func docCommands(page string) []docCommand {
	var commands []docCommand
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(page, -1) {
		for line := range strings.Lines(block[1]) {
			line = strings.TrimRight(line, "\n")
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				commands = append(commands, docCommand{command: command})
			} else if line != "" && line != "..." {
				last := &commands[len(commands)-1]
				last.output = append(last.output, line)
			}
		}
	}
	return commands
}

// What runs where, and under which number: what is different each time.
var demoRow = regexp.MustCompile(`(?m)^ +(\S+) +pid (\d+) +(\S+) +http://([^/\s]+)\S*$`)

// liveNames returns pairs of what the page calls a thing and what the demo that runs calls it.
func liveNames(t *testing.T, page, output string) []string {
	t.Helper()
	var pairs []string
	find := func(pattern *regexp.Regexp) {
		documented, live := pattern.FindAllStringSubmatch(page, -1), pattern.FindAllStringSubmatch(output, -1)
		if len(documented) == 0 || len(documented) != len(live) {
			t.Fatalf("%s: the page has %q, the demo prints %q", pattern, documented, live)
		}
		for i, d := range documented {
			for group := 1; group < len(d); group++ {
				pairs = append(pairs, d[group], live[i][group])
			}
		}
	}
	find(demoRow)
	find(regexp.MustCompile(`(?m)^ +EXPORTER=(\S+)$`))
	// Long ones first: an address is a part of a URL.
	names := make([][2]string, 0, len(pairs)/2)
	for pair := range slices.Chunk(pairs, 2) {
		names = append(names, [2]string{pair[0], pair[1]})
	}
	slices.SortStableFunc(names, func(a, b [2]string) int { return cmp.Compare(len(b[0]), len(a[0])) })
	pairs = pairs[:0]
	for _, n := range names {
		pairs = append(pairs, n[0], n[1])
	}
	return pairs
}

// gist is what of a line is the same each time: not times and sizes, nor which of the other servers succeeds server-2.
func gist(line string) string {
	line = regexp.MustCompile(`server-[13]`).ReplaceAllString(line, "server-N")
	if strings.HasPrefix(strings.TrimSpace(line), "server-") {
		line = regexp.MustCompile(`\d+(\.\d+)?`).ReplaceAllString(line, "0")
	}
	line = regexp.MustCompile(`\d+\.\d+|\d\d+|\d+ m?s\b`).ReplaceAllString(line, "0")
	return strings.Join(strings.Fields(line), " ")
}

// What docs/views.md shows is what happens: its commands, with the names and numbers that the demo prints, print what is below them.
func TestDemoViews(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the commands are those of a Unix shell")
	}
	page, err := os.ReadFile("../../docs/views.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := docCommands(string(page))
	if len(commands) < 8 || commands[0].command != "make demo" {
		t.Fatalf("docs/views.md has the commands %v; want make demo and more", commands)
	}
	p := startDemo(t)
	p.waitFor(t, 0, ready)
	live := strings.NewReplacer(liveNames(t, string(page), p.output())...)
	expectLines(t, commands[0], p.output, live)
	var variables []string
	for _, c := range commands[1:] {
		command := live.Replace(c.command)
		if regexp.MustCompile(`^[A-Z]+=\S+$`).MatchString(command) {
			variables = append(variables, command)
			continue
		}
		if strings.HasPrefix(command, "kill ") { // Once only.
			runShell(t, t.TempDir(), command)
			continue
		}
		dir := t.TempDir()
		expectLines(t, c, func() string { return runShell(t, dir, strings.Join(append(variables, command), "\n")) }, live)
	}
}

// expectLines waits until the output has all lines that the page shows.
func expectLines(t *testing.T, c docCommand, output func() string, live *strings.Replacer) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		var got []string
		printed := output()
		for line := range strings.Lines(printed) {
			got = append(got, gist(line))
		}
		missing := slices.DeleteFunc(slices.Clone(c.output), func(line string) bool { return slices.Contains(got, gist(live.Replace(line))) })
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: docs/views.md shows these lines, which are not printed:\n%s\nprinted is:\n%s", c.command, strings.Join(missing, "\n"), printed)
		}
		time.Sleep(time.Second) //nolint:forbidigo // Between two looks.
	}
}

// runShell runs a script and returns what it prints. Its exit code is that of the command check, mostly.
func runShell(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = dir
	out, _ := cmd.CombinedOutput()
	return string(out)
}
