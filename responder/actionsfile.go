// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/ownfile"
)

const (
	// actionMemory is how long an action is remembered. Alerts that began before that are refused: nobody knows any more
	// what they have led to.
	actionMemory = 30 * 24 * time.Hour
	// maxActionsBytes is how large the file may grow before what does not count any more is dropped.
	maxActionsBytes = 1 << 20
)

// actionsFile has the actions that were made, apart from the history: no number of refusals pushes one of them out of
// it. It has a line from before each action, and one from after it. Now and then it is replaced as a whole with what
// still counts.
type actionsFile struct {
	*lineFile
	// latest are the latest lines of the actions, by ID.
	latest map[uint64]Record
	// last is the length of the latest line.
	last int64
	// compacted is the size that the file had when it was last replaced.
	compacted int64
}

// openActions opens the file, and shows what it has to note.
func openActions(path string, note func(Record)) (f *actionsFile, torn bool, err error) {
	f = &actionsFile{latest: make(map[uint64]Record)}
	var lines []byte
	if f.lineFile, lines, err = openLineFile(path); err != nil {
		return nil, false, err
	}
	good, err := readRecords(lines, func(r Record) {
		f.latest[r.ID] = r
		note(r)
	})
	if err != nil {
		return nil, false, errors.Join(unreadable(path, lines[:good], err), f.close())
	}
	if torn = good < len(lines); torn {
		err = f.cut(f.size - int64(len(lines)-good))
	}
	if err = cmp.Or(err, f.sync()); err != nil {
		return nil, torn, errors.Join(err, f.close())
	}
	return f, torn, nil
}

// slim is what of a record decides about later actions.
func slim(r Record) Record {
	r.Reasons, r.Quorum, r.Output, r.Error = []string{}, nil, "", ""
	return r
}

// add writes an action. When the file has grown too much, those from before the memory are dropped.
func (f *actionsFile) add(r Record) error {
	r = slim(r)
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if f.size > f.compacted+maxActionsBytes {
		maps.DeleteFunc(f.latest, func(_ uint64, old Record) bool { return r.Time.Sub(old.Time) > actionMemory })
		if err := f.rewrite(); err != nil {
			return err
		}
	}
	if err := f.lineFile.add(append(line, '\n')); err != nil {
		return err
	}
	f.latest[r.ID], f.last = r, int64(len(line)+1)
	return nil
}

// forget takes back the latest line, of an action that is not begun after all.
func (f *actionsFile) forget(id uint64) error {
	delete(f.latest, id)
	return f.cut(f.size - f.last)
}

// complete adds the actions among records of the history that the file lacks: it is new, or was deleted.
func (f *actionsFile) complete(records []Record) error {
	lacks := make(map[uint64]Record)
	for _, r := range records {
		if _, ok := f.latest[r.ID]; !ok && r.Result.acted() {
			lacks[r.ID] = slim(r)
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	maps.Copy(f.latest, lacks)
	return f.rewrite()
}

// rewrite replaces the file with what still counts. It also restores one that was deleted.
func (f *actionsFile) rewrite() error {
	content := []byte(historyHeader + "\n")
	for _, id := range slices.Sorted(maps.Keys(f.latest)) {
		line, err := json.Marshal(f.latest[id])
		if err != nil {
			return err
		}
		content = append(append(content, line...), '\n')
	}
	next, err := f.replacement(content)
	if err != nil {
		return err
	}
	_ = f.close()
	f.lineFile, f.compacted = next, next.size
	return f.sync()
}

// replacement puts a file with this content at the path.
func (f *actionsFile) replacement(content []byte) (*lineFile, error) {
	beside := f.path + ".new"
	if err := os.Remove(beside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	file, err := os.OpenFile(beside, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err = ownfile.Lock(file); err == nil {
		if _, err = file.Write(content); err == nil {
			if err = file.Sync(); err == nil {
				err = os.Rename(beside, f.path)
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(beside))
	}
	return &lineFile{path: f.path, file: file, size: int64(len(content))}, nil
}
