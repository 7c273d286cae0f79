// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// coordinatesSeed is what three servers on loopback addresses wrote, and a client in a segment.
const coordinatesSeed = `[
	{"Node":"client-1","Segment":"alpha","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":1e-5}},
	{"Node":"server-1","Segment":"","Coord":{"Vec":[0.0003,-0.0001,0,0.0002,0,0,0,0],"Error":1.1,"Adjustment":-0.0001,
		"Height":0.00012}},
	{"Node":"server-1","Segment":"alpha","Coord":{"Vec":[9,9,9,9,9,9,9,9],"Error":1.5,"Adjustment":0,"Height":1e-5}},
	{"Node":"server-2","Segment":"","Partition":"default","Coord":{"Vec":[-0.0002,0,0.0004,0,0,0,0,0],"Error":1.2,
		"Adjustment":-0.00005,"Height":0.00001}},
	{"Node":"server-3","Segment":"","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":-9,"Height":0.00001}}]`

func coordinatesIn(answer string) (c coordinates, err error) {
	var entries []*api.CoordinateEntry
	err = json.Unmarshal([]byte(answer), &entries)
	c = make(coordinates)
	for _, e := range entries {
		if e != nil {
			c.add(e)
		}
	}
	return c, err
}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	const a, b = `[{"Node":"a","Coord":`, `},{"Node":"b","Coord":`
	for _, tc := range []struct {
		name, answer string
		want         []RTT
	}{
		{
			"segments are left out, and adjustments that are too large", coordinatesSeed,
			[]RTT{
				{"server-1", "server-2", 0.000658232},
				{"server-1", "server-3", 0.000504165},
				{"server-2", "server-3", 0.000467213},
			},
		},
		{"heights", a + `{"Vec":[1],"Height":0.25}` + b + `{"Vec":[3],"Height":0.5}}]`, []RTT{{"a", "b", 2.75}}},
		{"other dimensions", a + `{"Vec":[1]}` + b + `{"Vec":[1,2]}}]`, nil},
		{"negative", a + `{"Height":-1}` + b + `{}}]`, nil},
		{"infinite", a + `{"Vec":[1e300]}` + b + `{"Vec":[-1e300]}}]`, nil},
		{"no coordinate", a + `null` + b + `{}}]`, nil},
	} {
		c := must.Get(coordinatesIn(tc.answer))(t)
		expectSame(t, tc.name, tc.want, c.roundTrips(slices.Sorted(maps.Keys(c))))
	}
}

// Coordinates are read only where they will be used.
func TestServerRTTs_NotRead(t *testing.T) {
	t.Parallel()
	const on, off = `{"Config":{"NodeName":"a"}}`, `{"Config":{"NodeName":"a"},"DebugConfig":{"DisableCoordinates":true}}`
	const client = `{"Name":"client","Status":1,"Tags":{"role":"node"}}`
	for _, tc := range []struct {
		name, self string
		servers    []string
		read       bool
	}{
		{"one server", on, servers(1, StatusAlive), false},
		{"two servers", on, servers(2, StatusAlive), true},
		{"two that failed", on, servers(2, StatusFailed), false},
		{"ten servers", on, servers(maxRTTServers, StatusAlive), true},
		{"eleven servers", on, servers(maxRTTServers+1, StatusAlive), false},
		{"switched off", off, servers(3, StatusAlive), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newTestCluster(t, Options{}, map[string]http.HandlerFunc{
				endpointSelf.Path:        answer(200, tc.self),
				endpointMembers.Path:     answer(200, list(append(tc.servers, client)...)),
				endpointCoordinates.Path: answer(200, coordinatesSeed),
			})
			_, err := scrape(t, c, (*Snapshot).ServerRTTs)
			if n := asked(c, endpointCoordinates); err != nil || (n == 1) != tc.read {
				t.Errorf("error %v, and coordinates were read %d times; want once: %v", err, n, tc.read)
			}
		})
	}
}
