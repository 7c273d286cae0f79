// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"time"

	"github.com/zervigo/consul_cluster_exporter/inputs"
)

// logState is how far the log of a leader was committed. It survives a restart, because a commit index that is the same
// as before has stood still in between.
type logState struct {
	Leader    string `json:"leader"` // Its node ID.
	Committed uint64 `json:"committed"`
	// At is when the latest scrape began that knew it, and Since when the first one did.
	At    time.Time `json:"at"`
	Since time.Time `json:"since"`
	// Compared is whether two scrapes saw the log of this leader, and Scrapes how many have seen entries that wait at this
	// commit index since the first one.
	Compared bool `json:"compared,omitempty"`
	Scrapes  int  `json:"scrapes,omitempty"`
}

// Standing takes how far the log of the leader with this node ID is, and is committed, in a scrape that began at that
// time, and returns since when it stands still. An empty ID means that no leader is known, which changes nothing.
func (m *Memory) Standing(leader string, last, committed uint64, at time.Time) inputs.Standing {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.state.Log
	switch {
	case leader == "":
		return inputs.Standing{}
	case l == nil || l.Leader != leader || at.Before(l.At.Add(-longestGap)): // The clock may have been set back.
		m.state.Log = &logState{Leader: leader, Committed: committed, At: at, Since: at}
		return inputs.Standing{}
	case !at.After(l.At): // It overlaps with another one.
	case committed == l.Committed && last > committed:
		l.At, l.Compared, l.Scrapes = at, true, l.Scrapes+1
		m.dirty = m.dirty || l.Scrapes == 1 // Since when is what must not be lost.
	default:
		*l = logState{Leader: leader, Committed: committed, At: at, Since: at, Compared: true}
	}
	if !l.Compared {
		return inputs.Standing{}
	}
	return inputs.Standing{Since: l.Since, Scrapes: l.Scrapes}
}
