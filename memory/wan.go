// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"maps"
	"time"
)

// wanAbsences are the servers that are missing from the WAN pool.
type wanAbsences struct {
	last  time.Time            // When the latest scrape began that could tell.
	since map[string]time.Time // By the name of the server.
}

// LearnWAN takes which servers are missing from the WAN pool in a scrape that began at that time, and returns since
// when each of them is, as far as it was watched. A scrape that cannot tell is not to be learned from.
func (m *Memory) LearnWAN(missing []string, at time.Time) map[string]time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at.Before(m.wan.last) { // Scrapes overlap.
		return maps.Clone(m.wan.since)
	}
	since := make(map[string]time.Time, len(missing))
	for _, name := range missing {
		since[name] = at
		if before, ok := m.wan.since[name]; ok {
			since[name] = before
		}
	}
	m.wan = wanAbsences{at, since}
	return maps.Clone(since)
}
