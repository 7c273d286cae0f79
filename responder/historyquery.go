// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"cmp"
	"errors"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"
)

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

// query returns the records that are wanted. It reads the files without keeping anybody from adding to them.
func (h *history) query(f filter) (historyPage, error) {
	page := historyPage{Records: []Record{}}
	files, err := h.openAll()
	defer func() {
		for _, file := range files {
			_ = file.Close()
		}
	}()
	if err != nil {
		return page, err
	}
	seen := make(map[uint64]bool)
	oldest := uint64(math.MaxUint64) // Of the decisions in the files read so far: those in the others are older.
	for _, file := range files {
		lines, err := readLines(file)
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
			if !r.ended() {
				oldest = min(oldest, r.ID)
			}
			if later || !f.wants(&r) {
				continue
			}
			page.Records = append(page.Records, r)
		}
		slices.SortFunc(page.Records, func(a, b Record) int { return cmp.Compare(b.ID, a.ID) })
		if len(page.Records) <= f.limit {
			continue
		}
		page.Records = slices.Clip(page.Records[:f.limit+1]) // One more says that there is another page.
		if page.Records[f.limit].ID >= oldest {
			break
		}
	}
	if len(page.Records) > f.limit {
		page.Records = page.Records[:f.limit]
		page.NextBefore = page.Records[f.limit-1].ID
	}
	return page, nil
}

// openAll opens the files that there are, the newest first. What is renamed afterwards stays open.
func (h *history) openAll() (files []*os.File, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.Keep + 1 {
		file, err := historyKind.Open(h.path(i))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return files, err
		}
		files = append(files, file)
	}
	return files, nil
}
