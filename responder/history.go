// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/ownfile"
)

// history is the file of all decisions: a header and JSON lines, to which is only ever added. When it is large it
// becomes FILE.1, and the one before FILE.2; of these some are kept. It is safe for concurrent use.
type history struct {
	HistoryConfig
	maxBytes int64
	lockFile *os.File

	mu   sync.Mutex
	file *os.File // Guarded by mu.
	size int64    // Guarded by mu.
	// broken is why nothing can be added any more; nil if it can. Guarded by mu.
	broken error
}

// openHistory opens the history, takes it for this process, and shows all records to note, oldest first. What a crash
// has left of a line that was being written is cut off, and torn says so; as the action begins only when its line is
// written, nothing is lost with it. If one of the files is not the responder's, all of them are left as they are.
func openHistory(c HistoryConfig, note func(Record)) (h *history, torn bool, err error) {
	if err := c.Check(); err != nil {
		return nil, false, err
	}
	h = &history{HistoryConfig: c, maxBytes: int64(c.MaxMegabytes) << 20}
	// The history itself is renamed; its lock is a file that stays.
	if h.lockFile, err = lockKind.OpenToWrite(c.lockPath(), 0, 0o600); err != nil {
		return nil, false, err
	}
	if err = lock(h.lockFile); err != nil {
		err = fmt.Errorf("history %s is in use by another process: %w", c.File, err)
	} else {
		torn, err = h.load(note)
	}
	if err != nil {
		_ = h.close()
		return nil, false, err
	}
	return h, torn, nil
}

func (h *history) load(note func(Record)) (torn bool, err error) {
	for i := h.Keep; i > 0; i-- {
		lines, err := readHistory(h.path(i))
		if err != nil {
			return false, err
		}
		if good, err := readRecords(lines, note); err != nil || good < len(lines) {
			return false, unreadable(h.path(i), lines[:good], err)
		}
	}
	var lines []byte
	if h.file, lines, err = openHistoryFile(h.File); err != nil {
		return false, err
	}
	good, err := readRecords(lines, note)
	if err != nil {
		return false, unreadable(h.File, lines[:good], err)
	}
	h.size = int64(len(historyHeader) + 1 + good)
	if good < len(lines) {
		if err := h.file.Truncate(h.size); err != nil {
			return true, err
		}
		torn = true
	}
	return torn, h.syncAll()
}

// unreadable says where a history cannot be read. It is not passed over: it may have the action that is not to be
// made again.
func unreadable(path string, good []byte, err error) error {
	if err == nil {
		err = errors.New("it ends in the middle of a line")
	}
	line := bytes.Count(good, []byte{'\n'}) + 2 // The header is line 1.
	return fmt.Errorf("history %s, line %d: %w; fix the line, or move the file away: "+
		"then the actions it records may be repeated", path, line, err)
}

// readRecords reads lines and returns how many bytes of good ones the content begins with. What is torn at its end is
// no error; a bad line with a good one after it is.
func readRecords(content []byte, note func(Record)) (good int, err error) {
	bad := false
	for line := range bytes.Lines(content) {
		var r Record
		switch {
		case json.Unmarshal(line, &r) != nil || r.ID == 0:
			bad = true
		case bad:
			return good, errors.New("this is no record")
		case bytes.HasSuffix(line, []byte{'\n'}):
			note(r)
			good += len(line)
		}
	}
	return good, nil
}

// add writes a record, and returns when it is on the disk.
func (h *history) add(r Record) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	line = append(line, '\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken != nil {
		return fmt.Errorf("write the history: %w", h.broken)
	}
	if h.size > int64(len(historyHeader)+1) && h.size+int64(len(line)) > h.maxBytes {
		if err := h.rotate(); err != nil {
			return fmt.Errorf("rotate the history: %w", err)
		}
	}
	_, err = h.file.Write(line)
	if err == nil {
		err = h.file.Sync()
	}
	if err != nil {
		// Half a line would spoil the next one.
		if undo := h.file.Truncate(h.size); undo != nil {
			h.broken = fmt.Errorf("after an error half a line is left: %w", errors.Join(err, undo))
		}
		return fmt.Errorf("write the history: %w", err)
	}
	h.size += int64(len(line))
	return nil
}

// rotate begins a new file. The caller holds mu.
func (h *history) rotate() error {
	if err := h.movable(); err != nil {
		return err
	}
	for i := h.Keep; i > 0; i-- {
		if err := os.Rename(h.path(i-1), h.path(i)); err != nil && (i == 1 || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	file, _, err := openHistoryFile(h.File)
	if err != nil {
		h.broken = err
		return err
	}
	_ = h.file.Close() // All of it is on the disk.
	h.file, h.size = file, int64(len(historyHeader)+1)
	return h.syncAll()
}

// movable returns an error if someone has put another file at one of the paths since the history was opened.
func (h *history) movable() error {
	info, err := os.Lstat(h.File)
	if err != nil {
		return err
	}
	if err := ownfile.Same(h.file, info); err != nil {
		return err
	}
	return h.Check()
}

// syncAll makes sure that the file and its name are on the disk.
func (h *history) syncAll() error {
	if err := h.file.Sync(); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(h.File))
	if err != nil {
		return err
	}
	defer dir.Close()
	return syncDir(dir)
}

func (h *history) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var err error
	if h.file != nil {
		err = h.file.Close()
	}
	return errors.Join(err, h.lockFile.Close())
}

// filter says which records are wanted. What is empty does not matter.
type filter struct {
	rule, action, result, alertName, server string
	since, until                            time.Time
	// before is the ID that those wanted are older than; 0: all.
	before uint64
	// limit is how many are wanted at most.
	limit int
}

func (f *filter) wants(r *Record) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return is(f.rule, r.Rule) && is(f.action, r.Action) && is(f.result, string(r.Result)) &&
		is(f.alertName, r.Alert.Labels[labelAlertName]) && is(f.server, r.Alert.Labels[labelServer]) &&
		(f.since.IsZero() || !r.Time.Before(f.since)) && (f.until.IsZero() || r.Time.Before(f.until)) &&
		(f.before == 0 || r.ID < f.before)
}

// historyPage is an answer of GET /history. As JSON it is public: fields are only ever added.
type historyPage struct {
	// Records are the newest first.
	Records []Record `json:"records"`
	// NextBefore is what to ask for as before to get the next page; left out on the last one.
	NextBefore uint64 `json:"next_before,omitempty"`
}

// query returns the records that are wanted.
func (h *history) query(f filter) (historyPage, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	page := historyPage{Records: []Record{}}
	seen := make(map[uint64]bool)
	for i := range h.Keep + 1 {
		lines, err := readHistory(h.path(i))
		if err != nil {
			return page, err
		}
		var records []Record
		if _, err := readRecords(lines, func(r Record) { records = append(records, r) }); err != nil {
			return page, err
		}
		for _, r := range slices.Backward(records) {
			later := seen[r.ID] // Then this is the line from before the action.
			seen[r.ID] = true
			if later || !f.wants(&r) {
				continue
			}
			if n := len(page.Records); n == f.limit {
				page.NextBefore = page.Records[n-1].ID
				return page, nil
			}
			page.Records = append(page.Records, r)
		}
	}
	return page, nil
}
