// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
)

// open opens a state file that the test does not close by itself.
func open(t *testing.T, path string, opts Options) *Memory {
	t.Helper()
	m, err := Open(path, opts)
	must.Do(t, err)
	return m
}

// known is a cluster of three that misses one, in a file that no exporter has open.
func known(t *testing.T) (path string, w *world) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "state.json")
	m := open(t, path, Options{})
	w = newWorld(t, m, 1, 2, 3)
	w.scrape(2*hour, often)
	w.become(cluster.StatusFailed, 3)
	w.scrape(1, often)
	w.remove(3)
	w.scrape(1, often)
	w.expect("one is gone", Shortage{3, 1}, "3 removed")
	must.Do(t, m.Close())
	return path, w
}

func TestFile_Restart(t *testing.T) {
	t.Parallel()
	path, w := known(t)
	before := w.m.Remembered()
	info, err := os.Stat(path)
	must.Do(t, err)
	if info.Mode().Perm() != 0o640 {
		t.Errorf("the state file has mode %v; want 0640", info.Mode().Perm())
	}
	again := open(t, path, Options{})
	defer again.Close()
	if diff := cmp.Diff(before, again.Remembered()); diff != "" {
		t.Errorf("remembered before and after a restart:\n%s", diff)
	}
	w.m, w.at = again, w.at.Add(30*24*time.Hour)
	w.look()
	w.expect("a month later", Shortage{3, 1}, "3 removed")
	if n := again.LeaderChanges(); n != 0 {
		t.Errorf("%d leader changes since the start; want none", n)
	}
	if again.File() != FileGood || w.m.File() != FileGood || new(Memory).File() != FileNone {
		t.Errorf("the file is %q; want good", again.File())
	}
}

// Ports at which something has answered are known after a restart.
func TestFile_Answered(t *testing.T) {
	t.Parallel()
	path, w := known(t)
	var before []string
	for _, answered := range [][]string{{"10.0.0.2:8302", "10.0.0.3:8302"}, {"10.0.0.2:8302"}, nil} {
		m := open(t, path, Options{})
		if got := m.Answered(); !slices.Equal(got, before) {
			t.Errorf("after a restart: %q; want %q", got, before)
		}
		w.at = w.at.Add(time.Second)
		m.Learn(&inputs.Evidence{At: w.at, Answered: answered})
		must.Do(t, m.Close())
		before = answered
	}
}

func TestFile_LeaderSurvives(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.json")
	m := open(t, path, Options{})
	reports := []cluster.Report{reporttest.Says(reporttest.Server(2), 2, 3, 10)}
	elected := time.Date(2026, 3, 4, 12, 1, 0, 0, time.UTC)
	before := []cluster.Report{reporttest.Says(reporttest.Server(1), 1, 3, 10)}
	m.Learn(&inputs.Evidence{At: elected.Add(-time.Minute), Reports: before})
	m.Learn(&inputs.Evidence{At: elected, Reports: reports})
	must.Do(t, m.Close())
	again := open(t, path, Options{})
	defer again.Close()
	if got := again.LeaderSince(reports); !got.Equal(elected) {
		t.Errorf("the leader leads since %v; want %v", got, elected)
	}
	later := []cluster.Report{reporttest.Says(reporttest.Server(3), 3, 3, 10)}
	again.Learn(&inputs.Evidence{At: elected.Add(time.Hour), Reports: later})
	if got := again.LeaderSince(later); !got.IsZero() || again.LeaderChanges() != 0 {
		t.Errorf("since %v after %d changes; want neither: it was elected while nobody watched", got, again.LeaderChanges())
	}
}

func TestFile_OneExporterOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.json")
	first := open(t, path, Options{})
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), "another exporter") {
		t.Errorf("the second one gets %v; want that the file belongs to another exporter", err)
	}
	must.Do(t, first.Close())
	must.Do(t, open(t, path, Options{}).Close())
}

func TestFile_SetAside(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"empty":           "",
		"torn":            `{"format":"consul_cluster_exporter state","version":1,"servers":[{"id":"a"`,
		"of others":       `{"some":"thing"}`,
		"zeros":           strings.Repeat("\x00", 1000),
		"a later version": `{"format":"consul_cluster_exporter state","version":2}`,
		"too large": `{"format":"consul_cluster_exporter state","version":1,"x":"` +
			strings.Repeat("x", maxStateBytes) + `"}`,
		"no address": `{"format":"consul_cluster_exporter state","version":1,"servers":[{"id":"a","name":"a"}]}`,
		"two in one": `{"format":"consul_cluster_exporter state","version":1}{}`,
		"twice the same": `{"format":"consul_cluster_exporter state","version":1,"servers":[` +
			`{"id":"a","name":"a","rpc_address":"10.0.0.1:8300"},{"id":"a","name":"b","rpc_address":"10.0.0.2:8300"}]}`,
		"missing from tomorrow on": `{"format":"consul_cluster_exporter state","version":1,"seconds":100,"servers":[` +
			`{"id":"a","name":"a","rpc_address":"10.0.0.1:8300","missing":{"how":"left","at_seconds":86500}}]}`,
		"missing in an unknown way": `{"format":"consul_cluster_exporter state","version":1,"servers":[` +
			`{"id":"a","name":"a","rpc_address":"10.0.0.1:8300","missing":{"how":"somehow"}}]}`,
		"a vote before all time": `{"format":"consul_cluster_exporter state","version":1,"servers":[` +
			`{"id":"a","name":"a","rpc_address":"10.0.0.1:8300","voter_at_seconds":-1}]}`,
		"too many expected": `{"format":"consul_cluster_exporter state","version":1,"expected_voters":201}`,
		"too many": `{"format":"consul_cluster_exporter state","version":1,"held_seconds":[` +
			strings.Repeat("1,", MaxServers) + `1]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "state.json")
			must.Do(t, os.WriteFile(path, []byte(content), 0o600))
			if _, err := Read(path, Options{}); err == nil {
				t.Error("Read takes it")
			}
			var lines bytes.Buffer
			m := open(t, path, Options{Logger: log.NewLogfmtLogger(&lines)})
			w := newWorld(t, m, 1, 2, 3)
			w.scrape(1, often)
			must.Do(t, m.Close())
			if n := strings.Count(lines.String(), "\n"); n != 1 || !strings.Contains(lines.String(), "set aside") {
				t.Errorf("logged %q; want one line", lines.String())
			}
			aside, err := os.ReadFile(path + ".corrupt")
			if must.Do(t, err); string(aside) != content {
				t.Errorf("set aside are %d bytes; want what was there", len(aside))
			}
			again, err := Read(path, Options{})
			if must.Do(t, err); len(again.Remembered()) != 3 {
				t.Errorf("%d servers are in the new file; want 3", len(again.Remembered()))
			}
		})
	}
}

func TestFile_NoRegularFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if _, err := Open(folder, Options{}); err == nil {
		t.Error("a folder is opened")
	}
	if _, err := Open(filepath.Join(folder, "none", "state.json"), Options{}); err == nil {
		t.Error("a file in a folder that does not exist is opened")
	}
	foreign := filepath.Join(folder, "state.json")
	must.Do(t, os.WriteFile(foreign+".forget", []byte("somebody's notes\n"), 0o600))
	if _, err := Open(foreign, Options{}); err == nil {
		t.Error("a list of others is taken for that of servers to forget")
	}
	must.Do(t, os.WriteFile(foreign+".lock", []byte("somebody's lock\n"), 0o600))
	if _, err := Open(foreign, Options{}); err == nil {
		t.Error("a lock of others is taken")
	}
}

func TestFile_OfAnotherCluster(t *testing.T) {
	t.Parallel()
	path, _ := known(t)
	var lines bytes.Buffer
	m := open(t, path, Options{Logger: log.NewLogfmtLogger(&lines)})
	w := newWorld(t, m, 11, 12, 13)
	w.scrape(1, often)
	must.Do(t, m.Close())
	if n := strings.Count(lines.String(), "another cluster"); n != 1 {
		t.Errorf("logged %q; want one line about another cluster", lines.String())
	}
	aside, err := Read(path+".other-cluster", Options{})
	must.Do(t, err)
	now, err := Read(path, Options{})
	must.Do(t, err)
	if len(aside.Remembered()) != 3 || len(now.Remembered()) != 3 || now.Remembered()[0].ID == aside.Remembered()[0].ID {
		t.Errorf("set aside are %v, and now there are %v", aside.Remembered(), now.Remembered())
	}
}

// While the state of another cluster cannot be set aside, it is not written over.
func TestFile_OfAnotherCluster_Stays(t *testing.T) {
	t.Parallel()
	path, _ := known(t)
	before := must.Get(os.ReadFile(path))(t)
	must.Do(t, os.MkdirAll(filepath.Join(path+".other-cluster", "occupied"), 0o700))
	m := open(t, path, Options{})
	newWorld(t, m, 11, 12, 13).scrape(1, often)
	for range 2 {
		if err := m.file.save(true); err == nil {
			t.Error("the state is saved, although that of another cluster could not be set aside")
		}
	}
	if now := must.Get(os.ReadFile(path))(t); !bytes.Equal(now, before) {
		t.Errorf("the state of another cluster was replaced by %s", now)
	}
	must.Do(t, os.RemoveAll(path+".other-cluster"))
	must.Do(t, m.Close())
}

func TestFile_Forget(t *testing.T) {
	t.Parallel()
	path, w := known(t)
	for _, id := range []string{"id-1", "nobody"} {
		if _, err := RequestForget(path, id); err == nil || !strings.Contains(err.Error(), "id-3 (server-3)") {
			t.Errorf("forget %s: %v; want what is missing", id, err)
		}
	}
	name, err := RequestForget(path, "id-3")
	if must.Do(t, err); name != "server-3" {
		t.Errorf("forgotten is %q; want server-3", name)
	}
	read, err := Read(path, Options{})
	if must.Do(t, err); len(read.Remembered()) != 2 || read.Shortage() != (Shortage{2, 0}) {
		t.Errorf("read before the next start: %v, %+v; want 2 servers", read.Remembered(), read.Shortage())
	}
	w.m = open(t, path, Options{})
	w.m.file.sync(false)
	w.scrape(1, often)
	w.expect("after the next start", Shortage{2, 0})
	must.Do(t, w.m.Close())
	list, err := os.ReadFile(path + ".forget")
	if must.Do(t, err); string(list) != forgetHeader+"\n" {
		t.Errorf("the list is %q; want it empty", list)
	}
	if _, err := RequestForget(path, "id-3"); err == nil || !strings.Contains(err.Error(), "no server is missing") {
		t.Errorf("forget once more: %v; want that no server is missing", err)
	}
	if _, err := RequestForget(path+".none", "id-3"); err == nil {
		t.Error("a server is forgotten in a file that does not exist")
	}
}

// TestFile_ForgetWhileSaving has many servers forgotten while the exporter saves all the time: none may be lost.
func TestFile_ForgetWhileSaving(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.json")
	m := open(t, path, Options{})
	const n = 15
	w := newWorld(t, m)
	for i := range n + 1 {
		w.join(i)
	}
	w.scrape(2*hour, often)
	w.become(cluster.StatusFailed, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
	w.remove(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
	w.scrape(1, often)
	m.file.sync(true)
	var forgets, saves sync.WaitGroup
	done := make(chan struct{})
	saves.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				m.file.sync(true)
			}
		}
	})
	for i := 1; i <= n; i++ {
		forgets.Go(func() {
			if _, err := RequestForget(path, fmt.Sprintf("id-%d", i)); err != nil {
				t.Errorf("forget %d: %v", i, err)
			}
		})
	}
	forgets.Wait()
	close(done)
	saves.Wait()
	must.Do(t, m.Close())
	w.expect("all are forgotten", Shortage{1, 0})
}

func TestFile_NotWritable(t *testing.T) {
	t.Parallel()
	path, w := known(t)
	var lines bytes.Buffer
	w.m = open(t, path, Options{Logger: log.NewLogfmtLogger(&lines)})
	must.Do(t, os.MkdirAll(filepath.Join(path+".tmp", "full"), 0o700)) // Cannot be replaced.
	w.m.file.sync(true)
	w.m.file.sync(true)
	if w.m.File() != FileBroken || strings.Count(lines.String(), "cannot be written") != 1 {
		t.Errorf("the file is %q, logged %q; want it broken, and one line", w.m.File(), lines.String())
	}
	must.Do(t, os.RemoveAll(path+".tmp"))
	w.m.file.sync(false)
	if w.m.File() != FileGood || strings.Count(lines.String(), "written again") != 1 {
		t.Errorf("the file is %q, logged %q; want it good again", w.m.File(), lines.String())
	}
	must.Do(t, w.m.Close())
}

// What could not take the place of the file does not stay beside it: a full disk needs the room.
func TestReplaceFile_LeavesNothing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	must.Do(t, os.MkdirAll(filepath.Join(folder, "state.json", "full"), 0o700)) // Cannot be replaced.
	if err := replaceFile(filepath.Join(folder, "state.json"), []byte("text")); err == nil {
		t.Error("a folder is replaced")
	}
	if left := must.Get(os.ReadDir(folder))(t); len(left) != 1 {
		t.Errorf("left are %v; want only what was there", left)
	}
}

func TestMemory_Encode(t *testing.T) {
	t.Parallel()
	path, w := known(t)
	text, err := w.m.Encode(time.Unix(1, 0))
	must.Do(t, err)
	m, err := Decode(text, Options{ExpectedVoters: 5})
	if must.Do(t, err); m.Shortage() != (Shortage{5, 3}) || cmp.Diff(w.m.Remembered(), m.Remembered()) != "" {
		t.Errorf("decoded: %+v, %v; want the same as %s has", m.Shortage(), m.Remembered(), path)
	}
	if err := m.Close(); err != nil {
		t.Errorf("a memory without a file is closed with %v", err)
	}
}
