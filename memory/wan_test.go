// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"maps"
	"testing"
	"time"
)

// A server is missing from the WAN pool since the first scrape in a row that missed it.
func TestMemory_LearnWAN(t *testing.T) {
	t.Parallel()
	at := func(second int) time.Time { return time.Unix(1000+int64(second), 0) }
	m := new(Memory)
	for _, step := range []struct {
		second  int
		missing []string
		want    map[string]time.Time
	}{
		{0, nil, nil},
		{15, []string{"a"}, map[string]time.Time{"a": at(15)}},
		{30, []string{"a", "b"}, map[string]time.Time{"a": at(15), "b": at(30)}},
		{20, nil, map[string]time.Time{"a": at(15), "b": at(30)}}, // It began earlier and ended later.
		{45, []string{"b"}, map[string]time.Time{"b": at(30)}},
		{60, []string{"a", "b"}, map[string]time.Time{"a": at(60), "b": at(30)}},
	} {
		if got := m.LearnWAN(step.missing, at(step.second)); !maps.Equal(got, step.want) {
			t.Errorf("after %d s: %v; want %v", step.second, got, step.want)
		}
	}
}
