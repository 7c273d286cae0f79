// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/probe"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// docsRows returns the tables below a heading of docs/troubleshooting.md, up to the next one of the same level: the cells of each row.
func docsRows(t *testing.T, heading string) [][]string {
	t.Helper()
	content, err := os.ReadFile("docs/troubleshooting.md")
	harness.Must(t, err)
	_, section, ok := strings.Cut(string(content), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/troubleshooting.md has no section %s", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var rows [][]string
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if strings.HasPrefix(line, "| ") {
			rows = append(rows, cells)
		}
	}
	return rows
}

// code returns the pieces of code in a cell.
func code(cell string) []string {
	var pieces []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
		pieces = append(pieces, m[1])
	}
	return pieces
}

// logLine is a line of the log as the code or the document has it. Its level is empty if it depends, as in "warn or error".
type logLine struct{ level, msg string }

// The document has each line that the exporter may log, with its level, and no other; and what a running exporter logs is among them.
func TestTroubleshooting_Log(t *testing.T) {
	documented := make(map[logLine]bool)
	for _, row := range docsRows(t, "Log lines") {
		switch level, _, depends := strings.Cut(row[0], " or "); {
		case !slices.Contains([]string{"debug", "info", "warn", "error"}, level):
		case depends:
			documented[logLine{"", code(row[1])[0]}] = true
		default:
			documented[logLine{level, code(row[1])[0]}] = true
		}
	}
	fromToolkit := map[logLine]bool{{"info", "Listening on"}: true, {"info", "TLS is disabled."}: true, {"info", "TLS is enabled."}: true}
	if diff := cmp.Diff(documented, merged(loggedByCode(t), fromToolkit)); diff != "" {
		t.Errorf("lines of the log differ (-docs/troubleshooting.md +code):\n%s", diff)
	}
	e := harness.StartExporter(t, nil, "--consul.server=127.0.0.1:1", "--log.level=debug")
	_, _, err := e.Get(t.Context(), "/metrics", 10*time.Second)
	harness.Must(t, err)
	lines := regexp.MustCompile(`(?m)^.*\blevel=(\w+).* msg=("[^"]*"|\S+)`).FindAllStringSubmatch(e.Log.String(), -1)
	for _, m := range lines {
		if line := (logLine{m[1], strings.Trim(m[2], `"`)}); !documented[line] {
			t.Errorf("a running exporter logs a line that is not in docs/troubleshooting.md: %v", line)
		}
	}
	if len(lines) < 4 {
		t.Errorf("%d lines were found in the log:\n%s", len(lines), e.Log)
	}
}

func merged[K comparable, V any](a, b map[K]V) map[K]V {
	a = maps.Clone(a)
	maps.Copy(a, b)
	return a
}

// loggedByCode finds the lines that the program's own packages log: level.Info(...).Log("msg", "...", ...).
func loggedByCode(t *testing.T) map[logLine]bool {
	t.Helper()
	lines := make(map[logLine]bool)
	harness.Must(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (slices.Contains([]string{".git", "dist", "test", "tools"}, path) || filepath.Dir(path) == "internal" && path != "internal/cli"):
			return filepath.SkipDir
		case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				line, logs, err := loggedBy(call)
				if err != nil {
					t.Errorf("%s: %v", path, err)
				}
				if logs {
					lines[line] = true
				}
			}
			return true
		})
		return nil
	}))
	return lines
}

// loggedBy returns the line that a call logs, if it does.
func loggedBy(call *ast.CallExpr) (line logLine, logs bool, err error) {
	log, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || log.Sel.Name != "Log" || len(call.Args) < 2 {
		return line, false, nil
	}
	leveled, ok := log.X.(*ast.CallExpr)
	if !ok {
		return line, false, nil
	}
	key, isText := call.Args[0].(*ast.BasicLit)
	msg, isText2 := call.Args[1].(*ast.BasicLit)
	if !isText || !isText2 || key.Value != `"msg"` {
		return line, false, errors.New(`want level.X(logger).Log("msg", "text", ...) for a line of the log, so that docs/troubleshooting.md can have it`)
	}
	if level, ok := leveled.Fun.(*ast.SelectorExpr); ok {
		line.level = strings.ToLower(level.Sel.Name)
	}
	line.msg, err = strconv.Unquote(msg.Value)
	return line, true, err
}

// The document has each reason, exit code and state, and no other.
func TestTroubleshooting_Words(t *testing.T) {
	t.Parallel()
	first := func(heading string, column int) []string {
		var words []string
		for _, row := range docsRows(t, heading) {
			if column < len(row) {
				words = append(words, code(row[column])...)
			}
		}
		slices.Sort(words)
		return slices.Compact(words)
	}
	if diff := cmp.Diff(sortedTexts(probe.Reasons()), first("Reasons", 0)); diff != "" {
		t.Errorf("reasons differ (-code +document):\n%s", diff)
	}
	codes := []int{cli.ExitHealthy, cli.ExitDegraded, cli.ExitCritical, cli.ExitUnknown, cli.ExitUsage}
	var wantCodes []string
	for _, c := range codes {
		wantCodes = append(wantCodes, strconv.Itoa(c))
	}
	if diff := cmp.Diff(sortedTexts(wantCodes), first("Exit codes", 0)); diff != "" {
		t.Errorf("exit codes differ (-code +document):\n%s", diff)
	}
	var states []string
	states = append(states, sortedTexts(cluster.RaftStates())...)
	states = append(states, sortedTexts(cluster.PeeringStates())...)
	states = append(states, sortedTexts(slices.Collect(maps.Keys(cli.LevelCodes)))...)
	for _, s := range append(cluster.MemberStatuses(), cluster.StatusNone) {
		states = append(states, s.String())
	}
	for _, s := range cluster.HealthStatuses() {
		states = append(states, s.String())
	}
	states = append(states, connectionStates(t)...)
	slices.Sort(states)
	if diff := cmp.Diff(slices.Compact(states), first("States", 1)); diff != "" {
		t.Errorf("states differ (-code +document):\n%s", diff)
	}
}

func sortedTexts[T ~string](words []T) []string {
	texts := make([]string, 0, len(words))
	for _, w := range words {
		texts = append(texts, string(w))
	}
	slices.Sort(texts)
	return texts
}

// connectionStates are the values of the label state of consul_port_connections, from the code.
func connectionStates(t *testing.T) []string {
	t.Helper()
	source, err := os.ReadFile("collector/connections.go")
	harness.Must(t, err)
	m := regexp.MustCompile(`(?s)shownStates = \[\]string\{(.*?)\}`).FindSubmatch(source)
	if m == nil {
		t.Fatal("collector/connections.go has no shownStates")
	}
	var states []string
	for _, s := range regexp.MustCompile(`"(\w+)"`).FindAllSubmatch(m[1], -1) {
		states = append(states, string(s[1]))
	}
	return states
}
