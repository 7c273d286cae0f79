// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"

	"github.com/zervigo/consul_cluster_exporter/internal/ownfile"
)

// stateFile keeps a memory in a file, which is only ever replaced as a whole. Beside it are FILE.lock, which the one
// exporter that uses it holds, and FILE.forget, a list of servers that the command forget adds to under a lock and
// that the exporter empties under the same lock once it has saved the state without them. So neither waits long for
// the other, and nothing that the operator wants is lost.
type stateFile struct {
	path   string
	memory *Memory
	lock   *os.File
	// awake has an element when there may be something to save.
	awake   chan struct{}
	stop    chan struct{}
	stopped sync.WaitGroup

	// broken is whether the latest attempt to save failed.
	broken atomic.Bool
	// syncing is held during an attempt.
	syncing sync.Mutex
	saved   float64 // Guarded by syncing: state.Seconds when it was last saved.
}

const (
	// statePerm lets a group read the file, for the command check.
	statePerm = 0o640
	// forgetHeader is the first line of FILE.forget.
	forgetHeader = "# Servers that consul_cluster_exporter is to forget."
	// saveEvery is how often the state is saved when only the time counted is new.
	saveEvery = time.Minute
)

var (
	stateLockKind = ownfile.Empty("a lock of the exporter")
	forgetKind    = ownfile.WithFirstLine("a list of servers to forget", forgetHeader)
)

// CheckFile says why there cannot be a state file at the path, without a trace there.
func CheckFile(path string) error {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	folder, err := os.Stat(filepath.Dir(path))
	if err == nil && !folder.IsDir() {
		err = fmt.Errorf("%s is not a folder", filepath.Dir(path))
	}
	return err
}

// Open reads the memory from a file and keeps it there until Close. No other exporter may use the file. What cannot be
// read is set aside, and the memory starts empty.
func Open(path string, opts Options) (*Memory, error) {
	if err := CheckFile(path); err != nil {
		return nil, err
	}
	lock, err := stateLockKind.OpenToWrite(path+".lock", 0, 0o600)
	if err != nil {
		return nil, err
	}
	if err := ownfile.Lock(lock); err != nil {
		_ = lock.Close()
		if errors.Is(err, ownfile.ErrInUse) {
			return nil, fmt.Errorf("%s belongs to another exporter that is running; each needs a file of its own", path)
		}
		return nil, err
	}
	m := &Memory{opts: opts}
	m.file = &stateFile{path: path, memory: m, lock: lock, awake: make(chan struct{}, 1), stop: make(chan struct{})}
	if err := m.file.load(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	m.file.stopped.Go(m.file.run)
	return m, nil
}

// load reads the file, if there is one, and makes the list of servers to forget.
func (f *stateFile) load() error {
	m := f.memory
	text, err := readState(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		if m.state, err = decode(text); err != nil {
			logger := m.logger()
			level.Warn(logger).Log("msg", "the state file cannot be used, it is set aside and memory starts empty",
				"file", f.path, "set_aside", f.path+".corrupt", "err", err)
			if err := os.Rename(f.path, f.path+".corrupt"); err != nil {
				return err
			}
		}
	}
	list, err := forgetKind.OpenToWrite(f.path+".forget", 0, 0o660)
	if err != nil {
		return err
	}
	f.note(writeForgetHeader(list)) // On a full disk the exporter starts nevertheless.
	return list.Close()
}

// writeForgetHeader makes an empty file a list of servers to forget.
func writeForgetHeader(list *os.File) error {
	info, err := list.Stat()
	if err != nil || info.Size() > 0 {
		return err
	}
	return appendWhole(list, 0, forgetHeader+"\n")
}

// appendWhole writes text at the end of a file of this size, or nothing of it.
func appendWhole(file *os.File, size int64, text string) error {
	_, err := file.WriteString(text)
	if err != nil {
		_ = file.Truncate(size)
	}
	return err
}

// readState reads a file of at most maxStateBytes; what is longer is cut off behind that, which decode notices.
func readState(path string) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // To open a pipe would take forever.
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxStateBytes+1))
}

// wake has the state saved soon, in the background: a disk that hangs holds up no scrape.
func (f *stateFile) wake() {
	select {
	case f.awake <- struct{}{}:
	default: // It is awake.
	}
}

func (f *stateFile) run() {
	for {
		select {
		case <-f.awake:
			f.sync(false)
		case <-f.stop:
			return
		}
	}
}

// sync forgets what the operator wants forgotten, and saves the state if it has changed, or anyway.
func (f *stateFile) sync(anyway bool) {
	f.syncing.Lock()
	defer f.syncing.Unlock()
	f.note(f.trySync(anyway))
}

// note keeps whether an attempt to write failed, and logs when that changes.
func (f *stateFile) note(err error) {
	logger := f.memory.logger()
	switch failed := err != nil; {
	case failed && !f.broken.Swap(true):
		level.Warn(logger).Log("msg", "the state file cannot be written, a restart would forget what is new", "file", f.path,
			"err", err)
	case !failed && f.broken.Swap(false):
		level.Info(logger).Log("msg", "the state file is written again", "file", f.path)
	}
}

func (f *stateFile) trySync(anyway bool) error {
	list, ids, err := openForgetList(f.path, ownfile.Lock)
	if errors.Is(err, ownfile.ErrInUse) { // It is being added to: next time.
		return f.save(anyway)
	}
	if err != nil {
		return err
	}
	defer list.Close() // Unlocks it.
	if len(ids) > 0 {
		f.memory.Forget(ids...)
	}
	if err := f.save(anyway || len(ids) > 0 || f.broken.Load()); err != nil || len(ids) == 0 {
		return err
	}
	return list.Truncate(int64(len(forgetHeader) + 1))
}

// save writes the state if it must be.
func (f *stateFile) save(anyway bool) error {
	m := f.memory
	m.mu.Lock()
	if !anyway && !m.dirty && m.state.Seconds-f.saved < saveEvery.Seconds() {
		m.mu.Unlock()
		return nil
	}
	seconds, foreign := m.state.Seconds, m.foreign
	text, err := m.state.encode(time.Now())
	m.dirty, m.foreign = false, false
	m.mu.Unlock()
	if err == nil && foreign {
		err = os.Rename(f.path, f.path+".other-cluster")
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err == nil {
		err = replaceFile(f.path, text)
	}
	if err != nil {
		m.mu.Lock()
		m.dirty, m.foreign = true, m.foreign || foreign // Another cluster's state is not written over.
		m.mu.Unlock()
		return err
	}
	f.saved = seconds
	return nil
}

// replaceFile replaces a file as a whole, so that after a crash there is the old one or the new one.
func replaceFile(path string, text []byte) error {
	temporary := path + ".tmp"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, statePerm)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	err = errors.Join(err, file.Chmod(statePerm), file.Sync(), file.Close()) // Whatever the umask is.
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		_ = os.Remove(temporary) // A full disk needs the room.
		return err
	}
	return ownfile.SyncFolder(filepath.Dir(path))
}

// openForgetList opens the list of servers to forget, locked, and returns what is in it. There is always one, except
// if somebody has removed it.
func openForgetList(path string, lock func(*os.File) error) (list *os.File, ids []string, err error) {
	if list, err = forgetKind.OpenToWrite(path+".forget", os.O_APPEND, 0o660); err != nil {
		return nil, nil, err
	}
	if err = lock(list); err == nil {
		err = writeForgetHeader(list)
	}
	if err == nil {
		ids, err = forgetIDs(list)
	}
	if err != nil {
		_ = list.Close()
		return nil, nil, err
	}
	return list, ids, nil
}

// forgetIDs reads the list. A line that is torn has no newline, and is no ID yet.
func forgetIDs(list io.ReadSeeker) ([]string, error) {
	if _, err := list.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(list, maxStateBytes))
	if err != nil {
		return nil, err
	}
	var ids []string
	for line := range bytes.Lines(text) {
		if id := strings.TrimSpace(string(line)); bytes.HasSuffix(line, []byte{'\n'}) && id != "" && id[0] != '#' {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Close saves the state once more and leaves the file to others.
func (m *Memory) Close() error {
	if m.file == nil {
		return nil
	}
	close(m.file.stop)
	m.file.stopped.Wait()
	m.file.sync(true)
	return m.file.lock.Close()
}

// FileState is how it goes with the state file.
type FileState string

// The states of a file.
const (
	FileNone   FileState = ""
	FileGood   FileState = "good"
	FileBroken FileState = "broken"
)

// File is whether there is a state file, and whether the latest attempt to save it succeeded.
func (m *Memory) File() FileState {
	switch {
	case m.file == nil:
		return FileNone
	case m.file.broken.Load():
		return FileBroken
	default:
		return FileGood
	}
}

// Read reads a state file that an exporter may be using, for a look at the cluster that saves nothing.
func Read(path string, opts Options) (*Memory, error) {
	text, err := readState(path)
	if err != nil {
		return nil, err
	}
	m, err := Decode(text, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if list, err := forgetKind.Open(path + ".forget"); err == nil { // The exporter may not have come to it yet.
		defer list.Close()
		ids, err := forgetIDs(list)
		if err != nil {
			return nil, err
		}
		m.Forget(ids...)
	}
	return m, nil
}

// Decode reads the answer of an exporter to a question for its state.
func Decode(text []byte, opts Options) (*Memory, error) {
	s, err := decode(text)
	if err != nil {
		return nil, err
	}
	return &Memory{opts: opts, state: s}, nil
}

// MaxBytes bounds what Decode takes.
const MaxBytes = maxStateBytes

// Encode returns the state as JSON.
func (m *Memory) Encode(now time.Time) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.encode(now)
}

// RequestForget has a missing server forgotten by the exporter that uses a state file, within one scrape, or by the
// next one that is started. It returns the name of the server.
func RequestForget(path, id string) (name string, err error) {
	m, err := Read(path, Options{})
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(m.state.Servers, func(s serverState) bool { return s.ID == id })
	if i < 0 || m.state.Servers[i].Missing == nil {
		return "", fmt.Errorf("no missing server has the ID %q; %s", id, m.missingText())
	}
	list, _, err := openForgetList(path, ownfile.LockWhenFree)
	if err != nil {
		return "", err
	}
	info, err := list.Stat()
	if err == nil {
		err = appendWhole(list, info.Size(), id+"\n")
	}
	return m.state.Servers[i].Name, errors.Join(err, list.Sync(), list.Close())
}

// missingText lists the missing servers.
func (m *Memory) missingText() string {
	var all []string
	for _, s := range m.state.Servers {
		if s.Missing != nil {
			all = append(all, s.ID+" ("+s.Name+")")
		}
	}
	if len(all) == 0 {
		return "no server is missing"
	}
	return "missing are: " + strings.Join(all, ", ")
}
