// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A LogLine is one line of an agent's output. Lines that are no log lines, such as the banner at the start, have only
// Message and Raw.
type LogLine struct {
	Time    time.Time `json:"@timestamp"`
	Level   string    `json:"@level"`  // TRACE, DEBUG, INFO, WARN or ERROR
	Module  string    `json:"@module"` // such as "agent.server.raft"
	Message string    `json:"@message"`
	Raw     string    `json:"-"` // the line as it was written: JSON, with all fields
}

// String returns the line as Consul writes it.
func (l LogLine) String() string { return l.Raw }

// variable matches what differs between two lines about the same: the ID of a node or request, an address, a number
// with its unit.
var variable = regexp.MustCompile(
	`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]+(\.[0-9]+)*(ns|µs|ms|s|m|h)?(:[0-9]+)?`)

// Kind returns what the line has in common with others about the same thing: level, module, message and all fields,
// with "*" in place of what varies.
func (l LogLine) Kind() string {
	var fields map[string]any
	if json.Unmarshal([]byte(l.Raw), &fields) != nil {
		return variable.ReplaceAllString(l.Raw, "*")
	}
	var kind strings.Builder
	fmt.Fprintf(&kind, "[%s] %s: %s", l.Level, l.Module, l.Message)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !strings.HasPrefix(name, "@") {
			fmt.Fprintf(&kind, " %s=%v", name, fields[name])
		}
	}
	return variable.ReplaceAllString(kind.String(), "*")
}

// levels are Consul's log levels, from the least to the most important.
var levels = []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR"}

// AtLeast returns the lines of this level or a more important one: TRACE, DEBUG, INFO, WARN, ERROR. What has no level
// is left out. A level that does not exist is a mistake in the test, and AtLeast panics.
func AtLeast(lines []LogLine, level string) []LogLine {
	least := slices.Index(levels, level)
	if least < 0 {
		panic("consultest: there is no log level " + level)
	}
	return slices.DeleteFunc(slices.Clone(lines), func(line LogLine) bool {
		return slices.Index(levels, line.Level) < least
	})
}

// parseLog parses the complete lines of an agent's output.
func parseLog(output []byte) []LogLine {
	var lines []LogLine
	for rest := range bytes.Lines(output) {
		line, complete := bytes.CutSuffix(rest, []byte("\n"))
		if complete && len(bytes.TrimSpace(line)) > 0 {
			lines = append(lines, parseLogLine(string(line)))
		}
	}
	return lines
}

func parseLogLine(raw string) (line LogLine) {
	if err := json.Unmarshal([]byte(raw), &line); err != nil || line.Level == "" {
		line = LogLine{Message: raw}
		if strings.HasPrefix(raw, "panic: ") || strings.HasPrefix(raw, "fatal error: ") {
			// The Go runtime's last words are no log line, but no test that looks for errors may miss them.
			line.Level = "ERROR"
		}
	}
	line.Level, line.Raw = strings.ToUpper(line.Level), raw
	return line
}
