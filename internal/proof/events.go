// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// event is a line of the output of `go test -json`.
type event struct {
	Action, Test, Output, Key, Value string
	// Elapsed is in seconds.
	Elapsed float64
}

// collect reads the output of `go test -json`, copies the text in it to log as it arrives, and returns the tests in
// the order in which they began.
func collect(events io.Reader, log io.Writer) ([]*Test, error) {
	var tests []*Test
	byName := make(map[string]*Test)
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return tests, nil
		}
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("read the output of go test: %w", err)
		}
		var e event
		if json.Unmarshal(line, &e) != nil { // A message of the go command itself.
			_, _ = log.Write(line)
			continue
		}
		_, _ = io.WriteString(log, e.Output)
		if e.Test == "" {
			continue
		}
		if e.Action == "run" {
			byName[e.Test] = &Test{Name: e.Test, Result: failed} // Until an event says otherwise.
			tests = append(tests, byName[e.Test])
		}
		if t := byName[e.Test]; t != nil {
			t.note(&e)
		}
	}
}

// note adds what an event says about the test.
func (t *Test) note(e *event) {
	switch e.Action {
	case passed, failed, skipped:
		t.Result = e.Action
		t.Duration = rounded(time.Duration(e.Elapsed * float64(time.Second)))
	case "attr":
		if e.Key == figureAttr {
			t.Figures = append(t.Figures, e.Value)
		}
	}
}

// rounded is a duration as precise as it matters.
func rounded(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
