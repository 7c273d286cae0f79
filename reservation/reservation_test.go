// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package reservation

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// Whatever is in the KV entry, it is a list that can be worked with or an error, which counts as no.
func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		ok   bool
		want int // The number of entries.
	}{
		{"", true, 0},
		{`{"version":1,"stops":[]}`, true, 0},
		{`{"version":1,"stops":[{"server":"a","node_id":"1","id":"x","seconds":900,"later":1}]}`, true, 1},
		{`{"version":1,"stops":[{"node_id":"1","seconds":900}]}`, true, 1},
		{`{"version":2,"stops":[]}`, false, 0},
		{`{"version":1,"stops":[{"server":"","seconds":900}]}`, false, 0},
		{`{"version":1,"stops":[{"server":"a","seconds":0}]}`, false, 0},
		{`{"version":1,"stops":[{"server":"a","seconds":9223372036854775807}]}`, false, 0},
		{`[]`, false, 0},
		{`busy`, false, 0},
	} {
		l, err := parse([]byte(tc.text))
		if (err == nil) != tc.ok || len(l.Stops) != tc.want {
			t.Errorf("%q: %+v, %v; want %d entries, good: %v", tc.text, l, err, tc.want, tc.ok)
		}
	}
}

// A reservation holds for its time by each host's own clock since that host first saw it, whatever other clocks say.
func TestSeenBy(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name          string
		seen          map[string]time.Time
		now           time.Time
		left, changed bool
		first         time.Time // When this host has seen it first, afterwards.
	}{
		{"never seen", nil, noon, true, true, noon},
		{"seen by another, long ago", map[string]time.Time{"other": noon.Add(-48 * time.Hour)}, noon, true, true, noon},
		{"seen just now", map[string]time.Time{"me": noon}, noon, true, false, noon},
		{"a second is left", map[string]time.Time{"me": noon}, noon.Add(899 * time.Second), true, false, noon},
		{"over", map[string]time.Time{"me": noon}, noon.Add(900 * time.Second), false, true, time.Time{}},
		{"the clock was set back", map[string]time.Time{"me": noon.Add(time.Hour)}, noon, true, true, noon},
	} {
		before := Entry{Server: "a", Seconds: 900, At: noon.Add(-24 * time.Hour), Seen: tc.seen}
		l := List{Version: 1, Stops: []Entry{before}}
		changed := l.seenBy("me", tc.now)
		if changed != tc.changed || (len(l.Stops) == 1) != tc.left {
			t.Errorf("%s: changed %v, %+v; want changed %v, left %v", tc.name, changed, l, tc.changed, tc.left)
		}
		if tc.left && !l.Stops[0].Seen["me"].Equal(tc.first) {
			t.Errorf("%s: seen first at %v; want %v", tc.name, l.Stops[0].Seen["me"], tc.first)
		}
	}
}

// A server has one entry at most, and is known by its ID, or else its name.
func TestList(t *testing.T) {
	t.Parallel()
	var l List
	for _, e := range []Entry{
		{Server: "a", NodeID: "1", ID: "first"},
		{Server: "b", ID: "second"},
		{Server: "renamed", NodeID: "1", ID: "third"},
		{Server: "b", NodeID: "2", ID: "fourth"},
	} {
		l = l.with(e)
	}
	want := []inputs.StoppingServer{{Name: "renamed", ID: "1"}, {Name: "b", ID: "2"}}
	if diff := cmp.Diff(want, Servers(l.Stops)); diff != "" {
		t.Errorf("servers (-want +got):\n%s", diff)
	}
	if left := l.without(want[0]); left.has(want[0]) || !left.has(want[1]) || !l.has(want[0]) {
		t.Errorf("left are %+v of %+v", left, l)
	}
}

// FuzzParse reads any content, and writes only what it reads again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"stops":[{"server":"a","node_id":"1","id":"x","seconds":900,
		"seen":{"h":"2026-11-30T12:00:00Z"}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := parse(text)
		if err != nil {
			return
		}
		l.seenBy("me", time.Unix(1e9, 0))
		l = l.with(Entry{Server: "s", NodeID: "n", Seconds: 1})
		again, err := parse(must.Get(json.Marshal(l))(t))
		if len(l.Stops) <= maxEntries && (err != nil || len(again.Stops) != len(l.Stops)) {
			t.Errorf("%+v is read as %+v, %v", l, again, err)
		}
	})
}
