// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/zervigo/consul_cluster_exporter/internal/ownfile"
)

// history is the file of all decisions: a header and JSON lines, to which is only ever added. When it is large it
// becomes FILE.1, and the one before FILE.2; of these some are kept. Beside it are the actions that were made, which
// are kept for longer. It is safe for concurrent use.
type history struct {
	HistoryConfig
	maxBytes int64
	lockFile *os.File
	// lost is called when a file was deleted or cut off, and is made again.
	lost func(path string)

	mu      sync.Mutex
	log     *lineFile    // Guarded by mu.
	actions *actionsFile // Guarded by mu.
	owed    []Record     // How actions ended, where that could not be written yet. Guarded by mu.
}

// openHistory opens the history, takes it for this process, and returns all of its records, oldest first. What a crash
// has left of a line that was being written is cut off, and torn says so; as the action begins only when its line is
// written, nothing is lost with it. If one of the files is not the responder's, all of them are left as they are.
func openHistory(c HistoryConfig) (h *history, records []Record, torn bool, err error) {
	if err := c.Check(); err != nil {
		return nil, nil, false, err
	}
	h = &history{HistoryConfig: c, maxBytes: int64(c.MaxMegabytes) << 20, lost: func(string) {}}
	if err = h.takeLock(); err == nil {
		records, torn, err = h.load()
	}
	if err != nil {
		_ = h.close()
		return nil, nil, false, err
	}
	return h, records, torn, nil
}

// takeLock opens the lock, which is a file that stays: the history itself is renamed.
func (h *history) takeLock() error {
	file, err := lockKind.OpenToWrite(h.lockPath(), 0, 0o600)
	if err != nil {
		return err
	}
	if err := ownfile.Lock(file); err != nil {
		return errors.Join(inUse(h.File, err), file.Close())
	}
	if h.lockFile != nil {
		_ = h.lockFile.Close()
	}
	h.lockFile = file
	return nil
}

// load reads all files. An action that a crash has left in one of them only is among the records all the same.
func (h *history) load() (records []Record, torn bool, err error) {
	add := func(r Record) { records = append(records, r) }
	for i := h.Keep; i > 0; i-- {
		lines, err := readHistory(h.path(i))
		if err != nil {
			return nil, false, err
		}
		if good, err := readRecords(lines, add); err != nil || good < len(lines) {
			return nil, false, unreadable(h.path(i), lines[:good], err)
		}
	}
	var lines []byte
	if h.log, lines, err = openLineFile(h.File); err != nil {
		return nil, false, err
	}
	good, err := readRecords(lines, add)
	if err != nil {
		return nil, false, unreadable(h.File, lines[:good], err)
	}
	if torn = good < len(lines); torn {
		if err := h.log.cut(h.log.size - int64(len(lines)-good)); err != nil {
			return nil, true, err
		}
	}
	var tornActions bool
	if h.actions, tornActions, err = openActions(h.actionsPath(), add); err != nil {
		return nil, torn, err
	}
	if err := h.actions.complete(records); err != nil {
		return nil, torn, err
	}
	return inOrder(records), torn || tornActions, h.log.sync()
}

// inOrder sorts records by their IDs, and keeps one of each line that is in two files.
func inOrder(records []Record) []Record {
	type line struct {
		id      uint64
		result  Result
		process bool
	}
	known := make(map[line]bool)
	slices.SortStableFunc(records, func(a, b Record) int { return cmp.Compare(a.order(), b.order()) })
	return slices.DeleteFunc(records, func(r Record) bool {
		l := line{r.ID, r.Result, r.Process != nil}
		again := known[l]
		known[l] = true
		return again
	})
}

// add writes a record, and returns when it is on the disk: an action in both files.
func (h *history) add(r Record) error {
	if err := h.write(r); err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	return nil
}

func (h *history) write(r Record) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.ended() {
		h.owed = append(h.owed, r)
	}
	if err := h.restore(); err != nil {
		return err
	}
	if !h.log.empty() && h.log.size+int64(len(line)) > h.maxBytes {
		if err := h.rotate(); err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
	}
	switch {
	case !r.Result.acted():
		return h.log.add(line)
	case r.ended():
		return h.pay()
	}
	if err := h.actions.add(r); err != nil {
		return err
	}
	if err := h.log.add(line); err != nil { // It does not begin then.
		return errors.Join(err, h.actions.forget(r.ID))
	}
	return nil
}

// pay writes how actions ended, also those that could not be written before. The caller holds mu.
func (h *history) pay() error {
	for len(h.owed) > 0 {
		line, err := json.Marshal(h.owed[0])
		if err != nil {
			return err
		}
		// Where both files do not have it, it is unknown after a restart, in both.
		if err := h.log.add(append(line, '\n')); err != nil {
			return err
		}
		if err := h.actions.add(h.owed[0]); err != nil {
			return err
		}
		h.owed = h.owed[1:]
	}
	return nil
}

// verify restores files that were deleted, writes what could not be written before, and returns why it cannot.
func (h *history) verify() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.restore(); err != nil {
		return err
	}
	return h.pay()
}

// restore makes files again that were deleted or cut off. What the actions' file had is still known. The caller holds
// mu.
func (h *history) restore() error {
	loss, err := h.actions.loss()
	if err == nil && loss != "" {
		err = h.actions.rewrite()
		h.report(h.actions.path, err)
	}
	if err != nil {
		return err
	}
	if loss, err = h.log.loss(); err == nil && loss != "" {
		err = h.restoreLog(loss)
		h.report(h.log.path, err)
	}
	if err != nil {
		return err
	}
	info, err := os.Lstat(h.lockPath())
	if err == nil {
		return ownfile.Same(h.lockFile, info)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = h.takeLock()
		h.report(h.lockPath(), err)
	}
	return err
}

// report says that a file was lost, once it is there again: until then its error is reported.
func (h *history) report(path string, err error) {
	if err == nil {
		h.lost(path)
	}
}

// restoreLog makes the log again after a loss.
func (h *history) restoreLog(loss string) error {
	if loss == lossCut {
		return h.log.repair()
	}
	next, _, err := openLineFile(h.log.path)
	if err != nil {
		return err
	}
	_ = h.log.close()
	h.log = next
	return h.log.sync()
}

// rotate begins a new file. The caller holds mu, and has restored what was deleted.
func (h *history) rotate() error {
	if err := h.Check(); err != nil {
		return err
	}
	for i := h.Keep; i > 0; i-- {
		if err := os.Rename(h.path(i-1), h.path(i)); err != nil && (i == 1 || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	next, _, err := openLineFile(h.File)
	if err != nil {
		h.log.broken = err
		return err
	}
	_ = h.log.close() // All of it is on the disk.
	h.log = next
	return h.log.sync()
}

func (h *history) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	if h.log != nil {
		errs = append(errs, h.log.close())
	}
	if h.actions != nil {
		errs = append(errs, h.actions.close())
	}
	if h.lockFile != nil {
		errs = append(errs, h.lockFile.Close())
	}
	return errors.Join(errs...)
}
