// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package logqueue keeps a log that nobody reads from stopping the program: a pipe is full some time after its reader
// has stopped reading, and a write to it then blocks for good.
package logqueue

import (
	"bytes"
	"io"
	"sync"
	"time"
)

const (
	// maxBytes bounds what waits to be written: thousands of lines.
	maxBytes = 1 << 20
	// lineWait is how long Write waits for its line to be written.
	lineWait = 100 * time.Millisecond
	// closeWait is how long Close waits for all lines to be written.
	closeWait = 500 * time.Millisecond
)

// Queue is a writer of whole lines that never blocks for long. One goroutine writes them to the log, in order.
type Queue struct {
	w      io.Writer
	report func(w io.Writer, dropped int)
	// ended is closed once all lines are written after Close.
	ended chan struct{}

	mu sync.Mutex
	// changed is signaled when there is a line, and by Close.
	changed *sync.Cond
	lines   []*line // Guarded by mu: those that are not written yet, the one that is being written included.
	size    int     // Guarded by mu: of the lines, in bytes.
	dropped int     // Guarded by mu: how many lines since the last one that was taken.
	behind  bool    // Guarded by mu: whether a Write has waited in vain, and there are still lines to write.
	closed  bool    // Guarded by mu.
}

type line struct {
	text []byte
	// droppedBefore is how many lines were dropped between the one before and this one.
	droppedBefore int
	written       chan struct{}
}

// New returns a queue in front of w. It calls report, with w, from the goroutine that writes, in the place of lines
// that were dropped.
func New(w io.Writer, report func(w io.Writer, dropped int)) *Queue {
	q := &Queue{w: w, report: report, ended: make(chan struct{})}
	q.changed = sync.NewCond(&q.mu)
	go q.run()
	return q
}

// Write takes one line and waits until it is written, but only for 100 ms, and not at all while the log is known to be
// behind. So a line is there before the program goes on, unless the log blocks. A line that there is no room for, or
// that comes after Close, is dropped. There is never an error.
func (q *Queue) Write(p []byte) (int, error) {
	l, wait := q.add(p)
	if !wait {
		return len(p), nil
	}
	select {
	case <-l.written:
	case <-time.After(lineWait):
		q.mu.Lock()
		q.behind = len(q.lines) > 0
		q.mu.Unlock()
	}
	return len(p), nil
}

// add puts a line into the queue, and says whether to wait for it.
func (q *Queue) add(p []byte) (l *line, wait bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	// A line that is larger than all the room is taken when there is no other one.
	if q.closed || len(q.lines) > 0 && q.size+len(p) > maxBytes {
		q.dropped++
		return nil, false
	}
	l = &line{bytes.Clone(p), q.dropped, make(chan struct{})}
	q.lines, q.size, q.dropped = append(q.lines, l), q.size+len(p), 0
	q.changed.Signal()
	return l, !q.behind
}

// run writes the lines until Close.
func (q *Queue) run() {
	defer close(q.ended)
	for l := q.next(); l != nil; l = q.next() {
		q.reportDropped(l.droppedBefore)
		_, _ = q.w.Write(l.text) // There is nowhere else to say that it failed.
		q.reportDropped(q.done(l))
	}
}

// next waits for a line. There is none after Close.
func (q *Queue) next() *line {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.lines) == 0 && !q.closed {
		q.changed.Wait()
	}
	if len(q.lines) == 0 {
		return nil
	}
	return q.lines[0]
}

// done takes a written line out of the queue. If it was the last one, done returns how many were dropped after it.
func (q *Queue) done(l *line) (dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	close(l.written)
	q.lines, q.size = q.lines[1:], q.size-len(l.text)
	if len(q.lines) > 0 {
		return 0
	}
	dropped, q.dropped = q.dropped, 0
	q.lines, q.behind = nil, false
	return dropped
}

func (q *Queue) reportDropped(n int) {
	if n > 0 {
		q.report(q.w, n)
	}
}

// Close waits until all lines are written, but no longer than 500 ms.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed = true
	q.changed.Signal()
	q.mu.Unlock()
	select {
	case <-q.ended:
	case <-time.After(closeWait):
	}
}
