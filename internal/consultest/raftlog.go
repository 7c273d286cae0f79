// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// A RaftEntry is an entry of a server's Raft log.
type RaftEntry struct {
	Index uint64
	// Kind is the kind of Raft entry (hashicorp/raft: LogType), 0 for commands.
	Kind uint64
	// Command is what Consul is to do (Consul: structs.MessageType), without the bit that says that older versions may
	// ignore it; 0 unless Kind is.
	Command byte
}

// String names the entry without its index: "command 6" or "raft 1".
func (e RaftEntry) String() string {
	if e.Kind != 0 {
		return fmt.Sprintf("raft %d", e.Kind)
	}
	return fmt.Sprintf("command %d", e.Command)
}

// RaftLog returns the entries in the server's write-ahead log, in order. It reads the files, so the server may be
// running or not; of one that is running, the latest entries may be missing. Servers have such a log unless
// Options.Config says otherwise.
func (a *Agent) RaftLog() ([]RaftEntry, error) {
	files, err := filepath.Glob(filepath.Join(a.dataDir(), "raft", "wal", "*.wal"))
	if err != nil {
		return nil, err
	}
	var entries []RaftEntry
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		part, err := decodeSegment(data)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		entries = append(entries, part...)
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("%s has no write-ahead log", a)
	}
	slices.SortFunc(entries, func(a, b RaftEntry) int { return int(a.Index) - int(b.Index) })
	return entries, nil
}

// decodeSegment reads a file of the log: a header, and frames of eight bytes each and their content, which is padded
// to eight bytes (hashicorp/raft-wal: segment/format.go).
func decodeSegment(data []byte) ([]RaftEntry, error) {
	const (
		fileHeader, frameHeader             = 32, 8
		frameEnd, frameEntry, frameIndex, _ = 0, 1, 2, 3
	)
	var entries []RaftEntry
	for at := fileHeader; at+frameHeader <= len(data); at += frameHeader {
		length := int(binary.LittleEndian.Uint32(data[at+4:]))
		switch data[at] {
		case frameEnd:
			return entries, nil
		case frameEntry, frameIndex:
			content := data[at+frameHeader:]
			if length > len(content) {
				return nil, errors.New("a frame is longer than the file")
			}
			if data[at] == frameEntry {
				entries = append(entries, decodeRaftEntry(content[:length]))
			}
			at += (length + 7) &^ 7
		}
	}
	return entries, nil
}

// decodeRaftEntry reads index, term, kind, length and data (hashicorp/raft-wal: BinaryCodec).
func decodeRaftEntry(b []byte) (e RaftEntry) {
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		b = b[max(n, 0):]
		return v
	}
	e.Index, _, e.Kind = number(), number(), number()
	if length := number(); e.Kind == 0 && length > 0 && len(b) > 0 {
		const mayBeIgnored = 1 << 7
		e.Command = b[0] &^ mayBeIgnored
	}
	return e
}
