// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// coordinatesSeed is what three servers on loopback addresses wrote, and a client in a segment.
const coordinatesSeed = `[
	{"Node":"client-1","Segment":"alpha","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":1e-5}},
	{"Node":"server-1","Segment":"","Coord":{"Vec":[0.0003,-0.0001,0,0.0002,0,0,0,0],"Error":1.1,"Adjustment":-0.0001,"Height":0.00012}},
	{"Node":"server-1","Segment":"alpha","Coord":{"Vec":[9,9,9,9,9,9,9,9],"Error":1.5,"Adjustment":0,"Height":1e-5}},
	{"Node":"server-2","Segment":"","Partition":"default","Coord":{"Vec":[-0.0002,0,0.0004,0,0,0,0,0],"Error":1.2,"Adjustment":-0.00005,"Height":0.00001}},
	{"Node":"server-3","Segment":"","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":-9,"Height":0.00001}}]`

func TestDistanceTo(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		a, b coordinate
		want float64
		none bool
	}{
		{name: "plain", a: coordinate{Vec: []float64{3, 0}}, b: coordinate{Vec: []float64{0, 4}}, want: 5},
		{name: "heights", a: coordinate{Vec: []float64{1}, Height: 0.25}, b: coordinate{Vec: []float64{3}, Height: 0.5}, want: 2.75},
		{name: "adjustments", a: coordinate{Adjustment: -0.5, Height: 2}, b: coordinate{Adjustment: 0.25}, want: 1.75},
		{name: "adjustments too large", a: coordinate{Adjustment: -5, Height: 2}, b: coordinate{Adjustment: 0.25}, want: 2},
		{name: "other dimensions", a: coordinate{Vec: []float64{1}}, b: coordinate{Vec: []float64{1, 2}}, none: true},
		{name: "negative", a: coordinate{Height: -1}, none: true},
		{name: "infinite", a: coordinate{Vec: []float64{math.MaxFloat64}}, b: coordinate{Vec: []float64{-math.MaxFloat64}}, none: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, ok := tc.a.distanceTo(&tc.b)
			if ok == tc.none || (ok && got != tc.want) {
				t.Errorf("got %v, %v; want %v, %v", got, ok, tc.want, !tc.none)
			}
		})
	}
}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	var entries []coordinateEntry
	var theirs []api.CoordinateEntry
	for _, into := range []any{&entries, &theirs} {
		if err := json.Unmarshal([]byte(coordinatesSeed), into); err != nil {
			t.Fatal(err)
		}
	}
	got := roundTrips([]string{"server-1", "server-2", "server-3", "server-4"}, entries)
	s1, s2, s3 := theirs[1].Coord, theirs[3].Coord, theirs[4].Coord
	want := []RTT{
		{"server-1", "server-2", s1.DistanceTo(s2).Seconds()},
		{"server-1", "server-3", s1.DistanceTo(s3).Seconds()},
		{"server-2", "server-3", s2.DistanceTo(s3).Seconds()},
	}
	closely := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 2e-9 }) // The library rounds down to nanoseconds.
	if diff := cmp.Diff(want, got, closely); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := roundTrips([]string{"server-1", "server-2"}, []coordinateEntry{{Node: "server-1"}, {Node: "server-2"}}); got != nil {
		t.Errorf("got %v without coordinates; want none", got)
	}
}

// Coordinates are read only where they will be used.
func TestServerRTTs_NotRead(t *testing.T) {
	t.Parallel()
	servers := func(n, status int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"Name":"server-%d","Status":%d,"Tags":{"role":"consul"}}`, i, status))
		}
		return "[" + strings.Join(append(list, `{"Name":"client","Status":1,"Tags":{"role":"node"}}`), ",") + "]"
	}
	const on, off = `{"Config":{"NodeName":"a"}}`, `{"Config":{"NodeName":"a"},"DebugConfig":{"DisableCoordinates":true}}`
	for _, tc := range []struct {
		name, self, members string
		read                bool
	}{
		{"one server", on, servers(1, 1), false},
		{"two servers", on, servers(2, 1), true},
		{"two that failed", on, servers(2, 4), false},
		{"ten servers", on, servers(maxRTTServers, 1), true},
		{"eleven servers", on, servers(maxRTTServers+1, 1), false},
		{"switched off", off, servers(3, 1), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			handlers := map[string]http.HandlerFunc{
				endpointSelf.Path: answer(200, tc.self), endpointMembers.Path: answer(200, tc.members),
			}
			if tc.read {
				handlers[endpointCoordinates.Path] = answer(200, coordinatesSeed)
			}
			c := newTestCluster(t, consul.Options{Address: fakeAgent(t, handlers)})
			if _, err := snapshot(t, c).ServerRTTs().Get(t.Context()); err != nil {
				t.Error(err)
			}
			if n := c.Requests()[consul.RequestKey{Endpoint: endpointCoordinates.Path, Code: "200"}]; (n == 1) != tc.read {
				t.Errorf("coordinates were read %d times; want once: %v", n, tc.read)
			}
		})
	}
}

// FuzzRoundTrips compares with the library's formula wherever that has an answer.
func FuzzRoundTrips(f *testing.F) {
	f.Add([]byte(coordinatesSeed))
	f.Add([]byte(`[null,{"Node":"server-1"},{"Node":"server-2","Coord":{"Vec":null}},{"Node":"server-1","Coord":{"Vec":[1e300]}}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var entries []coordinateEntry
		var theirs []api.CoordinateEntry
		if json.Unmarshal(b, &entries) != nil || json.Unmarshal(b, &theirs) != nil {
			return
		}
		servers := []string{"server-1", "server-2", "server-3"}
		for _, rtt := range roundTrips(servers, entries) {
			if rtt.From >= rtt.To || rtt.Seconds < 0 || math.IsInf(rtt.Seconds, 0) || math.IsNaN(rtt.Seconds) {
				t.Fatalf("got %+v", rtt)
			}
			want := theirDistance(theirs, rtt.From, rtt.To)
			if rtt.Seconds < time.Hour.Seconds() && math.Abs(rtt.Seconds-want.Seconds()) > 2e-9 {
				t.Errorf("got %+v; want %s", rtt, want)
			}
		}
	})
}

// theirDistance is the library's, between the last coordinates of the two nodes in the default segment and partition.
func theirDistance(entries []api.CoordinateEntry, from, to string) time.Duration {
	last := func(node string) *api.CoordinateEntry {
		for _, e := range slices.Backward(entries) {
			if e.Node == node && e.Coord != nil && e.Segment == "" && (e.Partition == "" || e.Partition == "default") {
				return &e
			}
		}
		return nil
	}
	return last(from).Coord.DistanceTo(last(to).Coord)
}
