// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// docCommands returns the commands in all blocks "console" of a page, each with the lines of its output that the page
// shows.
func docCommands(page string) (commands [][]string) {
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(page, -1) {
		for line := range strings.SplitSeq(block[1], "\n") {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				commands = append(commands, []string{command})
			} else if line != "" && line != "..." { // "..." stands for what the page leaves out.
				commands[len(commands)-1] = append(commands[len(commands)-1], line)
			}
		}
	}
	return commands
}

// liveNames replaces the processes, the addresses and the exporter of the page by those of the demo that runs.
func liveNames(t *testing.T, page, output string) *strings.Replacer {
	t.Helper()
	names := regexp.MustCompile(`(?m)^ +\S+ +pid (\d+) +(\S+) +http://([^/\s]+)\S*$|^ +EXPORTER=(\S+)$`)
	documented, live := names.FindAllStringSubmatch(page, -1), names.FindAllStringSubmatch(output, -1)
	if len(documented) != 8 || len(live) != 8 {
		t.Fatalf("the page has %q, the demo prints %q; want four agents, three programs and the exporter", documented, live)
	}
	var pairs []string // Those that have another one as a part come first, as 127.39.89.101 does before 127.39.89.1.
	for i, name := range slices.Backward(documented) {
		for group := len(name) - 1; group > 0; group-- {
			if name[group] != live[i][group] {
				pairs = append(pairs, name[group], live[i][group])
			}
		}
	}
	return strings.NewReplacer(pairs...)
}

// gist is the part of a line that is the same each time: not times and sizes, nor which of the other servers succeeds
// server-2.
func gist(line string) string {
	line = regexp.MustCompile(`server-[13]`).ReplaceAllString(line, "server-N")
	if strings.HasPrefix(strings.TrimSpace(line), "server-") {
		line = regexp.MustCompile(`\d+(\.\d+)?`).ReplaceAllString(line, "0")
	}
	line = regexp.MustCompile(`\d+\.\d+|\d\d+|\d+ m?s\b`).ReplaceAllString(line, "0")
	return strings.Join(strings.Fields(line), " ")
}

// docs/views.md is right: its commands, with the names and numbers that the demo prints, print what is below them.
// Then the demo is killed, and none of its processes survives.
func TestDemo_Views(t *testing.T) {
	t.Parallel()
	page := must.Get(os.ReadFile("docs/views.md"))(t)
	commands := docCommands(string(page))
	if len(commands) < 8 || commands[0][0] != "make demo" {
		t.Fatalf("docs/views.md has the commands %q; want make demo and more", commands)
	}
	d := startDemo(t)
	processes := d.processes(t)
	live := liveNames(t, string(page), d.output())
	var variables []string
	for _, documented := range commands {
		command, dir := live.Replace(documented[0]), t.TempDir()
		run := func() string { return runShell(t, dir, strings.Join(append(variables, command), "\n")) }
		switch {
		case command == "make demo":
			run = d.output
		case regexp.MustCompile(`^[A-Z]+=\S+$`).MatchString(command):
			variables = append(variables, command)
		case strings.HasPrefix(command, "kill "): // Once only.
			run()
			continue
		}
		harness.WaitFor(t, patience, command+" prints what docs/views.md shows", func() string {
			var got []string
			printed := run()
			for line := range strings.Lines(printed) {
				got = append(got, gist(line))
			}
			for _, line := range documented[1:] {
				if !slices.Contains(got, gist(live.Replace(line))) {
					return line + "\nis missing in\n" + printed
				}
			}
			return ""
		})
	}

	if runtime.GOOS != "linux" { // Only Linux kills children with their parent.
		must.Do(t, d.cmd.Process.Signal(os.Interrupt))
		d.expectExit(t, 0, "", processes)
		return
	}
	must.Do(t, d.cmd.Process.Kill())
	expectGone(t, processes)
}

// runShell runs a script and returns what it prints. Its exit code is that of the command check, mostly.
func runShell(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = dir
	out, _ := cmd.CombinedOutput()
	return string(out)
}
