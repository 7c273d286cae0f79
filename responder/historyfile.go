// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"

	"github.com/zervigo/consul_cluster_exporter/internal/ownfile"
)

// historyHeader is the first line of each file of a history, without its newline. It is JSON, as all lines are. A
// file without it is never written to, whatever else it contains: another program's JSON lines can look like records.
const historyHeader = `{"format":"consul_cluster_exporter responder history","version":1}`

var (
	historyKind = ownfile.WithFirstLine("a history of the responder", historyHeader)
	// lockKind is that of the lock, which is never written to.
	lockKind = ownfile.Empty("a lock of the responder")
)

// ofAnotherHistory matches the names of the lock, of the actions and of the older files of any history. A history with
// such a name would be replaced by the other one.
var ofAnotherHistory = regexp.MustCompile(`\.([0-9]+|lock|actions|actions\.new)$`)

func (c *HistoryConfig) lockPath() string    { return c.File + ".lock" }
func (c *HistoryConfig) actionsPath() string { return c.File + ".actions" }

// path is that of the history, and from 1 on of its older files.
func (c *HistoryConfig) path(i int) string {
	if i == 0 {
		return c.File
	}
	return fmt.Sprintf("%s.%d", c.File, i)
}

// Check returns why the responder must not use these files: one of them is not its own. It changes nothing.
func (c *HistoryConfig) Check() error {
	errs := []error{
		historyKind.Check(c.File), lockKind.Check(c.lockPath()), historyKind.Check(c.actionsPath()),
		historyKind.Check(c.actionsPath() + ".new"),
	}
	for i := range c.Keep {
		errs = append(errs, historyKind.Check(c.path(i+1)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w; choose a path where FILE, FILE.lock, FILE.actions and FILE.1 to FILE.%d do not exist "+
			"yet, such as /var/lib/consul-responder/history.jsonl", err, c.Keep)
	}
	return nil
}

// readHistory reads the lines after the header of a file, which is not there or of a history. There are none in an
// empty file.
func readHistory(path string) ([]byte, error) {
	file, err := historyKind.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readLines(file)
}

// readLines reads the lines after the header of a file whose kind is known. They are nil if the file is empty.
func readLines(file io.Reader) ([]byte, error) {
	content, err := io.ReadAll(file)
	if err != nil || len(content) == 0 {
		return nil, err
	}
	return content[len(historyHeader)+1:], nil
}

// openHistoryFile opens a file of a history to add to it and returns the lines after the header. A new file gets one.
func openHistoryFile(path string) (file *os.File, lines []byte, err error) {
	if file, err = historyKind.OpenToWrite(path, os.O_APPEND, 0o600); err != nil {
		return nil, nil, err
	}
	if lines, err = readLines(file); err == nil && lines == nil {
		if _, err = io.WriteString(file, historyHeader+"\n"); err != nil {
			err = errors.Join(err, file.Truncate(0)) // A part of a header is nobody's.
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, lines, nil
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
