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
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// historyIn opens the history in a folder and returns it with the records that it has.
func historyIn(t *testing.T, c HistoryConfig) (*history, []Record, bool) {
	t.Helper()
	h, records, torn, err := openHistory(c)
	must.Do(t, err)
	t.Cleanup(func() { _ = h.close() })
	return h, records, torn
}

func ids(records []Record) (ids []uint64) {
	for _, r := range records {
		ids = append(ids, r.ID)
	}
	return ids
}

func smallHistory(t *testing.T) HistoryConfig {
	t.Helper()
	return HistoryConfig{File: filepath.Join(t.TempDir(), "history.jsonl"), MaxMegabytes: 1, Keep: 3}
}

// sampleRecord is a record with something in each of its fields.
func sampleRecord(id uint64, result Result) Record {
	at := time.Date(2026, 11, 25, 12, 0, int(id), 0, time.UTC)
	r := Record{
		ID: id, Time: at, Rule: fmt.Sprintf("rule-%d", id%2), Action: actionExec, Result: result,
		What: "Run /bin/true", Reasons: []string{"Because."},
		Alert: AlertRef{
			fmt.Sprintf("f%d", id), at.Add(-time.Minute),
			map[string]string{"alertname": "A", "server": fmt.Sprintf("server-%d", id%3), "odd": "\n\"\x00ä"},
		},
	}
	if result.acted() {
		r.Quorum = &QuorumRecord{3, 3, 2, 2, 3, 2}
		r.Deadline = new(at.Add(time.Minute))
	}
	if result == ResultDone {
		r.Ended, r.Output = new(at.Add(time.Second)), "fine\n"
	}
	return r
}

// Wherever a crash cuts the file off, all lines that were complete are read, the rest is cut off, and the next record
// follows.
func TestHistory_CutAnywhere(t *testing.T) {
	t.Parallel()
	c := smallHistory(t)
	h, _, _ := historyIn(t, c)
	want := []Record{sampleRecord(1, ResultRefused), sampleRecord(2, ResultStarted), sampleRecord(2, ResultDone)}
	for _, r := range want {
		must.Do(t, h.add(r))
	}
	must.Do(t, h.close())
	whole := must.Get(os.ReadFile(c.File))(t)
	header := len(historyHeader) + 1
	for n := header; n <= len(whole); n++ {
		if near := min(n+3, len(whole)); n%7 != 0 && !bytes.Contains(whole[max(n-3, 0):near], []byte{'\n'}) {
			continue // Each place in the middle of a line is like another one.
		}
		cut := HistoryConfig{File: filepath.Join(t.TempDir(), "h"), MaxMegabytes: 1, Keep: 1}
		must.Do(t, os.WriteFile(cut.File, whole[:n], 0o600))
		complete := bytes.Count(whole[header:n], []byte{'\n'})
		h, records, torn := historyIn(t, cut)
		if wantTorn := whole[n-1] != '\n'; torn != wantTorn {
			t.Errorf("cut at %d: torn %v; want %v", n, torn, wantTorn)
		}
		must.Do(t, h.add(sampleRecord(7, ResultCooldown)))
		must.Do(t, h.close())
		_, after, torn := historyIn(t, cut)
		if diff := cmp.Diff(append(want[:complete:complete], sampleRecord(7, ResultCooldown)), after); diff != "" || torn {
			t.Fatalf("cut at %d: torn again: %v; records differ (-want +got):\n%s", n, torn, diff)
		}
		if diff := cmp.Diff(want[:complete:complete], append(want[:0:0], records...)); diff != "" {
			t.Fatalf("cut at %d: records differ (-want +got):\n%s", n, diff)
		}
	}
}

// What a power failure can leave behind a file is cut off as well; a bad line before good ones is not passed over.
func TestHistory_Spoilt(t *testing.T) {
	t.Parallel()
	header, record := historyHeader+"\n", `{"id":1,"result":"started"}`+"\n"
	for _, tc := range []struct{ name, content, older, want string }{
		{"zeros at the end", header + record + "\x00\x00\n\x00{\n", "", ""},
		{"a bad line", header + record + "{\"id\": \n" + record, "", ", line 3: this is no record; fix the line"},
		{"an older file is torn", header + record, header + record[:20], ".1, line 2: it ends in the middle of a line"},
	} {
		c := smallHistory(t)
		must.Do(t, os.WriteFile(c.File, []byte(tc.content), 0o600))
		must.Do(t, os.WriteFile(c.File+".1", []byte(tc.older), 0o600))
		h, records, torn, err := openHistory(c)
		if tc.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.File+tc.want) {
				t.Errorf("%s: error %v; want %q", tc.name, err, tc.want)
			}
			continue
		}
		must.Do(t, err)
		if len(records) != 1 || !torn {
			t.Errorf("%s: %v, torn %v; want the one record, and the rest cut off", tc.name, records, torn)
		}
		must.Do(t, h.close())
	}
}

func TestHistory_OneProcess(t *testing.T) {
	t.Parallel()
	c := smallHistory(t)
	h, _, _ := historyIn(t, c)
	_, _, _, err := openHistory(c)
	if err == nil || !strings.Contains(err.Error(), "is in use by another responder") {
		t.Errorf("error %v; want that the history is in use", err)
	}
	must.Do(t, h.close())
	historyIn(t, c)
}

// A file of others stays as it is, at any path that the responder would write to, and so do the other files of the
// history. An empty file is used.
func TestHistory_Foreign(t *testing.T) {
	t.Parallel()
	header, record := historyHeader+"\n", `{"id":1,"result":"done"}`+"\n"
	for _, foreign := range []string{
		"Notes of mine\nand more", "\n", `{"id":1,"msg":"hello"}` + "\n", record, header[:20],
		strings.Replace(header, ":1}", ":2}", 1) + record,
	} {
		for _, name := range []string{"", ".lock", ".1", ".3"} {
			c := smallHistory(t)
			files := map[string]string{"": header + record + `{"id":2,`, ".lock": "", ".1": ""} // It would be repaired.
			files[name] = foreign
			for name, content := range files {
				must.Do(t, os.WriteFile(c.File+name, []byte(content), 0o600))
			}
			_, _, _, err := openHistory(c)
			for _, err := range []error{err, c.Check()} {
				if err == nil || !strings.HasPrefix(err.Error(), c.File+name+" exists and is not ") ||
					!strings.HasSuffix(err.Error(), "such as /var/lib/consul-responder/history.jsonl") {
					t.Errorf("%q as %s: error %v; want that it is not the responder's", foreign, name, err)
				}
			}
			for name, want := range files {
				if got, err := os.ReadFile(c.File + name); err != nil || string(got) != want {
					t.Errorf("%s has %q, %v; want %q as before", name, got, err, want)
				}
			}
			if all, err := filepath.Glob(c.File + "*"); err != nil || len(all) != len(files) {
				t.Errorf("there are %q, %v; want no more files", all, err)
			}
		}
	}
	c := smallHistory(t)
	for _, name := range []string{"", ".lock", ".1"} {
		must.Do(t, os.WriteFile(c.File+name, nil, 0o600))
	}
	must.Do(t, c.Check())
	historyIn(t, c)
	if got, err := os.ReadFile(c.File); err != nil || string(got) != header {
		t.Errorf("an empty file has become %q, %v; want a history", got, err)
	}
}

// The files are no larger than allowed, no more than those to keep are kept, and what they have is read in order.
func TestHistory_Rotation(t *testing.T) {
	t.Parallel()
	c := smallHistory(t)
	h, _, _ := historyIn(t, c)
	const n = 12
	for id := uint64(1); id <= n; id++ {
		r := sampleRecord(id, ResultDone)
		r.Output = strings.Repeat("x", 500<<10)
		must.Do(t, h.add(r)) // Two in a file.
	}
	must.Do(t, h.close())
	files := must.Get(filepath.Glob(c.File + "*"))(t)
	if len(files) != 6 {
		t.Errorf("files %v; want the history, three older ones, the actions, and the lock", files)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Size() > 1<<20 {
			t.Errorf("%s: %v, %v; want 1 MiB at most", file, info, err)
		}
	}
	h, records, _ := historyIn(t, c)
	if diff := cmp.Diff([]uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, ids(records)); diff != "" {
		t.Errorf("records, of which the first are only among the actions (-want +got):\n%s", diff)
	}
	page := must.Get(h.query(filter{limit: 3, before: 8}))(t)
	if diff := cmp.Diff([]uint64{7, 6, 5}, ids(page.Records)); diff != "" || page.NextBefore != 0 {
		t.Errorf("more before %d; records (-want +got):\n%s", page.NextBefore, diff)
	}
}

// A page is read from as few files as it takes: the newest records are asked for again and again.
func TestHistory_QueryReadsLittle(t *testing.T) {
	t.Parallel()
	c := smallHistory(t)
	h, _, _ := historyIn(t, c)
	for id := uint64(1); id <= 6; id++ {
		r := sampleRecord(id, ResultRefused)
		r.Reasons = []string{strings.Repeat("x", 500<<10)} // Two in a file.
		if id == 5 {
			must.Do(t, h.add(sampleRecord(2, ResultDone))) // Ends late, and is older than what other files have.
		}
		must.Do(t, h.add(r))
	}
	must.Do(t, os.WriteFile(c.path(2), []byte(historyHeader+"\nspoilt\n{\"id\":1}\n"), 0o600))
	for limit, want := range map[int][]uint64{1: {6}, 3: {6, 5, 4}} {
		page := must.Get(h.query(filter{limit: limit}))(t)
		if diff := cmp.Diff(want, ids(page.Records)); diff != "" || page.NextBefore != want[limit-1] {
			t.Errorf("more before %d; records (-want +got):\n%s", page.NextBefore, diff)
		}
	}
	if _, err := h.query(filter{limit: 6}); err == nil {
		t.Error("the file that is spoilt was not read, and has records of the page")
	}
}

// No number of refusals pushes an action out of what is remembered.
func TestHistory_ActionsAreKept(t *testing.T) {
	t.Parallel()
	c := smallHistory(t)
	c.Keep = 1
	h, _, _ := historyIn(t, c)
	must.Do(t, h.add(sampleRecord(1, ResultStarted)))
	must.Do(t, h.add(sampleRecord(1, ResultDone)))
	refusal := sampleRecord(2, ResultRefused)
	refusal.Reasons = []string{strings.Repeat("x", 600<<10)} // One in a file.
	for range 4 {
		refusal.ID++
		must.Do(t, h.add(refusal))
	}
	must.Do(t, h.close())
	_, records, _ := historyIn(t, c)
	if n := len(records); n < 2 || records[1].ID != 1 || records[1].Result != ResultDone {
		t.Errorf("%d records, and none of the action that was made", n)
	}
}

// What does not count any more is dropped when the file of the actions has grown.
func TestHistory_ActionsCompacted(t *testing.T) {
	t.Parallel()
	c := smallHistory(t)
	h, _, _ := historyIn(t, c)
	large := sampleRecord(1, ResultDone)
	large.Alert.Labels["large"] = strings.Repeat("x", 200<<10)
	for id := uint64(1); id <= 20; id++ {
		large.ID, large.Time = id, large.Time.Add(10*24*time.Hour)
		must.Do(t, h.add(large))
	}
	if info, err := os.Stat(c.actionsPath()); err != nil || info.Size() > maxActionsBytes+4*300<<10 {
		t.Errorf("the file is %v, %v; want it to be dropped what is older than %s", info, err, actionMemory)
	}
	must.Do(t, h.close())
	if _, records, _ := historyIn(t, c); records[len(records)-1].ID != 20 {
		t.Error("the latest action is not remembered")
	}
}

// A file that somebody deletes is missed at once, and made again with what it must have.
func TestHistory_Deleted(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", ".actions", ".lock"} {
		c := smallHistory(t)
		h, _, _ := historyIn(t, c)
		var lost []string
		h.lost = func(path string) { lost = append(lost, path) }
		must.Do(t, h.add(sampleRecord(1, ResultDone)))
		must.Do(t, os.Remove(c.File+name))
		must.Do(t, h.verify())
		if len(lost) != 1 || lost[0] != c.File+name {
			t.Errorf("%s is deleted, and %q are missed", c.File+name, lost)
		}
		if _, _, _, err := openHistory(c); err == nil {
			t.Errorf("%s was deleted, and another responder has the history", name)
		}
		must.Do(t, h.add(sampleRecord(2, ResultDone)))
		must.Do(t, h.close())
		if _, records, _ := historyIn(t, c); !cmp.Equal(ids(records), []uint64{1, 2}) {
			t.Errorf("%s was deleted, and the records are %v; want both", name, ids(records))
		}
	}
}

// Nor is a file lost that somebody cuts off, as logrotate's copytruncate does: what was lost of the actions is still
// known, and the good lines of the log are kept.
func TestHistory_CutMeanwhile(t *testing.T) {
	t.Parallel()
	record := int64(len(must.Get(json.Marshal(sampleRecord(1, ResultDone)))(t)) + 1)
	header := int64(len(historyHeader) + 1)
	for _, tc := range []struct {
		name string
		size int64
	}{
		{"", 0},
		{"", 10},
		{"", header},
		{"", header + record + 10},
		{".actions", 0},
		{".actions", header + 10},
	} {
		c := smallHistory(t)
		h, _, _ := historyIn(t, c)
		var lost []string
		h.lost = func(path string) { lost = append(lost, path) }
		for id := range uint64(3) {
			must.Do(t, h.add(sampleRecord(id+1, ResultDone)))
		}
		must.Do(t, os.Truncate(c.File+tc.name, tc.size))
		must.Do(t, h.add(sampleRecord(4, ResultDone)))
		if len(lost) != 1 || lost[0] != c.File+tc.name {
			t.Errorf("%s is cut off at %d, and %q are missed", c.File+tc.name, tc.size, lost)
		}
		must.Do(t, h.close())
		if _, records, torn := historyIn(t, c); !cmp.Equal(ids(records), []uint64{1, 2, 3, 4}) || torn {
			t.Errorf("%s was cut off at %d, and the records are %v, torn %v; want all", tc.name, tc.size, ids(records), torn)
		}
	}
}

// While a file cannot be made again, that is an error, and nobody says that it was.
func TestHistory_FolderDeleted(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "history")
	must.Do(t, os.Mkdir(folder, 0o700))
	h, _, _ := historyIn(t, HistoryConfig{filepath.Join(folder, "h"), 1, 1})
	lost := 0
	h.lost = func(string) { lost++ }
	must.Do(t, os.RemoveAll(folder))
	if err := h.verify(); err == nil || lost > 0 {
		t.Errorf("error %v, %d files are made again; want that there is no folder", err, lost)
	}
	must.Do(t, os.Mkdir(folder, 0o700))
	must.Do(t, h.verify())
	if lost != 3 {
		t.Errorf("%d files are made again; want all three", lost)
	}
}

// A history is one file, by whatever path: nobody else can have it, also if the lock is gone.
func TestHistory_OneFile(t *testing.T) {
	t.Parallel()
	c := smallHistory(t)
	h, _, _ := historyIn(t, c)
	folder := filepath.Dir(c.File)
	linked, hard := filepath.Join(t.TempDir(), "linked"), filepath.Join(folder, "hard.jsonl")
	must.Do(t, os.Symlink(folder, linked))
	must.Do(t, os.Link(c.File, hard))
	must.Do(t, os.Remove(c.lockPath()))
	for _, path := range []string{c.File, filepath.Join(linked, filepath.Base(c.File)), hard} {
		_, _, _, err := openHistory(HistoryConfig{path, 1, 3})
		if err == nil || !strings.Contains(err.Error(), path+" is in use by another responder") {
			t.Errorf("%s: error %v; want that it is in use", path, err)
		}
	}
	must.Do(t, h.close())
}

// A file that somebody puts in place of the open history, or where it would be moved to, stays, and nothing is added.
func TestHistory_ReplacedMeanwhile(t *testing.T) {
	t.Parallel()
	large := sampleRecord(1, ResultDone)
	large.Output = strings.Repeat("x", 700<<10) // One in a file.
	for _, name := range []string{"", ".1", ".3", ".lock", ".actions"} {
		c := smallHistory(t)
		h, _, _ := historyIn(t, c)
		must.Do(t, h.add(large))
		path := c.File + name
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		must.Do(t, os.WriteFile(path, []byte("others' notes"), 0o600))
		if err := h.add(large); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v; want one about %s", err, path)
		}
		if content, err := os.ReadFile(path); err != nil || string(content) != "others' notes" {
			t.Errorf("%s has %q, %v; want it as it was", path, content, err)
		}
		must.Do(t, os.Remove(path))
		must.Do(t, h.add(large)) // It goes on.
	}
}

// How an action ended is written when there is room again, and in no file before the history has it.
func TestHistory_EndsLater(t *testing.T) {
	b := newFixture(t)
	b.during = func() { b.history.log.broken = errFake }
	b.deliver(b.alert("server-2", time.Minute))
	b.expect([]string{"server-2"}, ResultStarted)
	if got := b.history.actions.latest[1].Result; got != ResultStarted {
		t.Errorf("the actions have the result %s, and the history has none", got)
	}
	b.history.log.broken = nil
	must.Do(t, b.history.verify())
	b.expect([]string{"server-2"}, ResultDone)
	b.restart()
	b.expect([]string{"server-2"}, ResultDone)
}
