// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package logqueue

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// blocker is a log whose writes block while it is held.
type blocker struct {
	held sync.Mutex
	text bytes.Buffer
}

func (b *blocker) Write(p []byte) (int, error) {
	b.held.Lock()
	defer b.held.Unlock()
	return b.text.Write(p)
}

func reportLine(w io.Writer, dropped int) { fmt.Fprintf(w, "dropped=%d\n", dropped) }

// gate blocks in a way that synctest knows of.
type gate struct {
	open chan struct{}
	text bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	return g.text.Write(p)
}

// A line is in the log when Write returns, whatever other goroutines write.
func TestWrite(t *testing.T) {
	t.Parallel()
	var log blocker
	q := New(&log, reportLine)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			text := fmt.Sprintf("line %d\n", i)
			fmt.Fprint(q, text)
			log.held.Lock()
			defer log.held.Unlock()
			if !strings.Contains(log.text.String(), text) {
				t.Errorf("%q is not in the log", text)
			}
		})
	}
	all.Wait()
	q.Close()
	if got := strings.Count(log.text.String(), "\n"); got != 50 {
		t.Errorf("the log has %d lines; want 50", got)
	}
}

// While the log blocks, the first line costs a moment and the others nothing. Once it no longer blocks, it has all
// lines in their order, and Write waits for them again.
func TestWrite_Blocked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &gate{open: make(chan struct{})}
		q := New(log, reportLine)
		start := time.Now()
		for i := range 100 {
			fmt.Fprintf(q, "%d ", i)
		}
		if took := time.Since(start); took != lineWait {
			t.Errorf("100 lines took %s; want %s, for the first", took, lineWait)
		}
		close(log.open)
		synctest.Wait()
		fmt.Fprint(q, "last")
		got := log.text.String()
		if !strings.HasPrefix(got, "0 1 2 3 ") || !strings.HasSuffix(got, " 98 99 last") ||
			strings.Contains(got, "dropped") {
			t.Errorf("the log has %q; want all lines, the last one at once", got)
		}
		q.Close()
	})
}

// What there is no room for is dropped, and the log says in its place how much that was.
func TestWrite_Full(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &gate{open: make(chan struct{})}
		q := New(log, reportLine)
		large := strings.Repeat("x", maxBytes/4-1) + "\n"
		for range 4 + 3 {
			fmt.Fprint(q, large)
		}
		log.open <- struct{}{} // The first line.
		synctest.Wait()
		fmt.Fprint(q, "between\n")
		fmt.Fprint(q, large)
		fmt.Fprint(q, large)
		close(log.open)
		synctest.Wait()
		fmt.Fprint(q, "after\n")
		got := strings.Fields(strings.ReplaceAll(log.text.String(), large, "large\n"))
		if want := "large large large large dropped=3 between dropped=2 after"; strings.Join(got, " ") != want {
			t.Errorf("the log has %q; want %q", got, want)
		}
		q.Close()
	})
}

// Close waits for what is written slowly, but not for what is not written at all.
func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, opens := range []time.Duration{closeWait - time.Millisecond, time.Hour} {
			log := &gate{open: make(chan struct{})}
			q := New(log, reportLine)
			fmt.Fprint(q, "line")
			time.AfterFunc(opens, func() { close(log.open) })
			start := time.Now()
			q.Close()
			if took, want := time.Since(start), min(opens, closeWait); took != want {
				t.Errorf("Close took %s; want %s", took, want)
			}
			if opens < closeWait && log.text.String() != "line" {
				t.Errorf("the log has %q; want the line", &log.text)
			}
			fmt.Fprint(q, "late") // Does not panic.
			<-q.ended
		}
	})
}
