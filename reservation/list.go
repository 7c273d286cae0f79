// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package reservation keeps hosts that ask at the same moment whether they can stop their server from all getting a
// yes that the quorum can afford only once: whoever gets a yes has written down before which server it will stop, and
// whoever asks counts those servers as stopped.
//
// They are written down in one KV entry, by check-and-set. A lock would not do: its session ends with the agent that
// holds it, which is the one that is stopped.
package reservation

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/inputs"
)

// DefaultKey is the key of the KV entry.
const DefaultKey = "consul_cluster_exporter/stop-reservations"

const (
	// version is that of the form of the entry.
	version = 1
	// maxEntries is more than any cluster has servers, and keeps the entry below Consul's limit of 512 KB.
	maxEntries = 100
	// maxSeen bounds the clocks by which it is noted when an entry was first seen.
	maxSeen = 50
	// MaxDuration is how long an entry can hold.
	MaxDuration = 7 * 24 * time.Hour
)

// List is the content of the KV entry.
type List struct {
	Version int     `json:"version"`
	Stops   []Entry `json:"stops"`
}

// Entry is a server that is about to be stopped, or is.
type Entry struct {
	Server string `json:"server"`
	// NodeID is the server's; empty when it is not known.
	NodeID string `json:"node_id"`
	// ID tells this entry from an earlier one of the same server.
	ID string `json:"id"`
	// Seconds is how long the entry holds.
	Seconds int64 `json:"seconds"`
	// At is when it was written, by the writer's clock. It is only for people.
	At time.Time `json:"at"`
	// Seen is when the entry was first seen by each clock, the latest of them last. What counts is the time that has
	// passed by one clock: clocks differ, and a host whose clock is wrong must not end another's reservation early. It is
	// in the entry because a command that looks once has no other memory.
	Seen []Sighting `json:"seen"`
}

// Sighting is when an entry was first seen by a clock, in its seconds.
type Sighting struct {
	Clock string `json:"clock"`
	At    int64  `json:"at"`
}

// parse reads the content of the KV entry. Nothing is an empty list.
func parse(text []byte) (List, error) {
	l := List{Version: version}
	if len(text) == 0 {
		return l, nil
	}
	if err := json.Unmarshal(text, &l); err != nil {
		return List{}, fmt.Errorf("the entry is not a list of reservations: %w", err)
	}
	if l.Version != version {
		return List{}, fmt.Errorf("the entry has version %d, and this program knows version %d", l.Version, version)
	}
	if len(l.Stops) > maxEntries {
		return List{}, fmt.Errorf("the entry has %d reservations, more than %d are not believed", len(l.Stops), maxEntries)
	}
	for _, e := range l.Stops {
		if (e.Server == "" && e.NodeID == "") || e.Seconds <= 0 || e.Seconds > int64(MaxDuration.Seconds()) {
			return List{}, errors.New("the entry has a reservation without a server or a duration that makes sense")
		}
	}
	return l, nil
}

// is reports whether an entry is about this server.
func (e *Entry) is(s inputs.StoppingServer) bool { return e.server().Is(s) }

func (e *Entry) server() inputs.StoppingServer {
	return inputs.StoppingServer{Name: e.Server, ID: e.NodeID}
}

// seenBy notes when the entries were first seen by a clock that shows now, and drops those that have been seen for as
// long as they hold. It reports whether anything changed. A time in the future means that the clock was set back, so
// the entry is seen anew.
func (l *List) seenBy(clock string, now int64) (changed bool) {
	l.Stops = slices.DeleteFunc(slices.Clone(l.Stops), func(e Entry) bool {
		first, seen := e.seen(clock)
		expired := seen && first <= now && now-first >= e.Seconds
		changed = changed || expired
		return expired
	})
	for i := range l.Stops {
		e := &l.Stops[i]
		if first, seen := e.seen(clock); seen && first <= now {
			continue
		}
		e.Seen = slices.DeleteFunc(slices.Clone(e.Seen), func(s Sighting) bool { return s.Clock == clock })
		// The first ones have not been here for long, or they would have dropped it.
		e.Seen = append(e.Seen[max(0, len(e.Seen)-maxSeen+1):], Sighting{clock, now})
		changed = true
	}
	return changed
}

// seen returns when the entry was first seen by a clock.
func (e *Entry) seen(clock string) (at int64, ok bool) {
	i := slices.IndexFunc(e.Seen, func(s Sighting) bool { return s.Clock == clock })
	if i < 0 {
		return 0, false
	}
	return e.Seen[i].At, true
}

// without returns the list without the entry of a server.
func (l List) without(s inputs.StoppingServer) List {
	l.Stops = slices.DeleteFunc(slices.Clone(l.Stops), func(e Entry) bool { return e.is(s) })
	return l
}

// with returns the list with an entry for a server, in place of the one that it had. It holds for as long as that at
// least: somebody else may count on it.
func (l List) with(e Entry) List {
	if i := slices.IndexFunc(l.Stops, func(had Entry) bool { return had.is(e.server()) }); i >= 0 {
		e.Seconds = max(e.Seconds, l.Stops[i].Seconds)
	}
	l = l.without(e.server())
	l.Stops = append(l.Stops, e)
	return l
}

// has reports whether there is an entry for the server.
func (l List) has(s inputs.StoppingServer) bool {
	return slices.ContainsFunc(l.Stops, func(e Entry) bool { return e.is(s) })
}

// Servers are the servers that the entries are about.
func Servers(entries []Entry) []inputs.StoppingServer {
	var servers []inputs.StoppingServer
	for _, e := range entries {
		servers = append(servers, e.server())
	}
	return servers
}
