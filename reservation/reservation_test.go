// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package reservation

import (
	"encoding/json"
	"fmt"
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

// A reservation holds for its time by each clock since it was first seen by that one, whatever other clocks say.
func TestSeenBy(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name          string
		seen          []Sighting
		now           int64
		left, changed bool
		first         int64 // When this clock has seen it first, afterwards.
	}{
		{"never seen", nil, 1000, true, true, 1000},
		{"seen by another, long ago", []Sighting{{"other", 0}}, 1e6, true, true, 1e6},
		{"seen just now", []Sighting{{"me", 1000}}, 1000, true, false, 1000},
		{"a second is left", []Sighting{{"other", 0}, {"me", 1000}}, 1899, true, false, 1000},
		{"over", []Sighting{{"me", 1000}}, 1900, false, true, 0},
		{"the clock was set back", []Sighting{{"me", 5000}}, 1000, true, true, 1000},
	} {
		before := Entry{Server: "a", Seconds: 900, At: time.Unix(0, 0), Seen: tc.seen}
		l := List{Version: 1, Stops: []Entry{before}}
		changed := l.seenBy("me", tc.now)
		if changed != tc.changed || (len(l.Stops) == 1) != tc.left {
			t.Errorf("%s: changed %v, %+v; want changed %v, left %v", tc.name, changed, l, tc.changed, tc.left)
			continue
		}
		if !tc.left {
			continue
		}
		if first, _ := l.Stops[0].seen("me"); first != tc.first {
			t.Errorf("%s: seen first at %d; want %d", tc.name, first, tc.first)
		}
	}
}

// Hosts that look once and never again, such as those that a CI job runs on, don't keep the others from noting when
// they have seen a reservation, and so from ending it.
func TestSeenBy_Many(t *testing.T) {
	t.Parallel()
	l := List{Version: 1, Stops: []Entry{{Server: "a", Seconds: 900}}}
	for i := range 3 * maxSeen {
		l.seenBy(fmt.Sprint("job-", i), int64(i))
	}
	if changed := l.seenBy("me", 1000); !changed || len(l.Stops[0].Seen) != maxSeen {
		t.Errorf("seen by %d clocks, changed %v; want %d", len(l.Stops[0].Seen), changed, maxSeen)
	}
	if l.seenBy("me", 1900); len(l.Stops) != 0 {
		t.Errorf("%+v is left after its time", l.Stops)
	}
}

// All programs on a host read the same clock, and it goes on.
func TestHostClock(t *testing.T) {
	t.Parallel()
	a, b := HostClock("host"), HostClock("host")
	before := a.Now()
	if after := b.Now(); a.ID == "" || a.ID != b.ID || after < before || after-before > time.Minute {
		t.Errorf("clock %q shows %s, and then %q %s", a.ID, before, b.ID, after)
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

// Who asks again about a server makes its reservation no shorter: another one may have it for an upgrade of an hour.
func TestList_Renewed(t *testing.T) {
	t.Parallel()
	for _, seconds := range []int64{900, 3600, 7200} {
		l := List{}.with(Entry{Server: "a", NodeID: "1", Seconds: 3600})
		l = l.with(Entry{Server: "a", NodeID: "1", Seconds: seconds})
		if len(l.Stops) != 1 || l.Stops[0].Seconds != max(seconds, 3600) {
			t.Errorf("renewed for %d s: %+v", seconds, l)
		}
	}
}

// A list that would be too long to be read again is not written.
func TestStore_Full(t *testing.T) {
	t.Parallel()
	s := Store{clock: HostClock("host")}
	for i := range maxEntries {
		s.read = s.read.with(Entry{Server: fmt.Sprint("server-", i), Seconds: 1})
	}
	if _, err := s.Reserve(t.Context(), inputs.StoppingServer{Name: "one-more"}, time.Minute); err == nil {
		t.Error("one more is reserved")
	}
}

// FuzzParse reads any content, and writes only what it reads again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"stops":[{"server":"a","node_id":"1","id":"x","seconds":900,
		"seen":[{"clock":"h","at":12}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := parse(text)
		if err != nil {
			return
		}
		l.seenBy("me", 1e9)
		l = l.with(Entry{Server: "s", NodeID: "n", Seconds: 1})
		again, err := parse(must.Get(json.Marshal(l))(t))
		if len(l.Stops) <= maxEntries && (err != nil || len(again.Stops) != len(l.Stops)) {
			t.Errorf("%+v is read as %+v, %v", l, again, err)
		}
	})
}
