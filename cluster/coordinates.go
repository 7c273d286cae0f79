// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"maps"
	"math"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// maxRTTServers bounds the servers between which round trips are estimated: the pairs grow with the square of it.
const maxRTTServers = 10

// endpointCoordinates answers with the coordinates of all nodes that the token may read. A token without rights gets
// an empty list.
var endpointCoordinates = consul.Endpoint{Path: "/v1/coordinate/nodes", HasMeta: true}

// RTT is the round trip between two servers as their network coordinates estimate it.
type RTT struct {
	// From and To are node names; From comes first in the alphabet.
	From, To string
	Seconds  float64
}

// coordinateEntry is the coordinate of a node in one network segment.
type coordinateEntry struct {
	Node string
	// Segment and Partition are those of Consul Enterprise; servers are in the empty segment, among others, and in the
	// default partition.
	Segment, Partition string
	Coord              *coordinate
}

// coordinate is a node's place in a space where distances are round trips (hashicorp/serf: coordinate.Coordinate).
// All is in seconds.
type coordinate struct {
	Vec []float64
	// Adjustment corrects for the mean error of the distances from this node, and may be negative.
	Adjustment float64
	// Height is the way from the node to the network.
	Height float64
}

// usable reports whether a server can be found by it.
func (e *coordinateEntry) usable() bool {
	return e.Coord != nil && e.Segment == "" && (e.Partition == "" || e.Partition == "default")
}

// ServerRTTs are the estimated round trips between the servers that are alive, one for each pair that has
// coordinates. Nothing is read and none is there with more than maxRTTServers of them, or when the agent has
// coordinates switched off, for which Consul would log an error.
func (s *Snapshot) ServerRTTs() *Fact[[]RTT] {
	return s.serverRTTs.Start(s.ctx, func(ctx context.Context) ([]RTT, error) {
		agentFact, membersFact := s.Agent(), s.Members()
		agent, err := agentFact.Get(ctx)
		if err != nil {
			return nil, err
		}
		members, err := membersFact.Get(ctx)
		if err != nil {
			return nil, err
		}
		servers := livingServers(members)
		if agent.CoordinatesOff || len(servers) < 2 || len(servers) > maxRTTServers {
			return nil, nil
		}
		latest := make(map[string]coordinateEntry)
		err = s.stream(ctx, endpointCoordinates, s.newBudget(), func(d *consul.JSONReader) error {
			return consul.EachElement(d, func(e *coordinateEntry) error {
				if e.usable() && slices.Contains(servers, e.Node) {
					latest[e.Node] = *e
				}
				return nil
			})
		})
		if err != nil {
			return nil, err
		}
		return roundTrips(servers, slices.Collect(maps.Values(latest))), nil
	})
}

// livingServers returns the names of the servers that are alive, sorted.
func livingServers(members []Member) []string {
	var names []string
	for _, m := range members {
		if m.Server() && m.Status == StatusAlive {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// roundTrips estimates one for each pair of servers, which must be sorted. Pairs without usable coordinates are left
// out.
func roundTrips(servers []string, entries []coordinateEntry) []RTT {
	at := make(map[string]*coordinate, len(servers))
	for i := range entries {
		e := &entries[i]
		if e.usable() {
			at[e.Node] = e.Coord
		}
	}
	var rtts []RTT
	for i, from := range servers {
		for _, to := range servers[i+1:] {
			a, b := at[from], at[to]
			if a == nil || b == nil {
				continue
			}
			if seconds, ok := a.distanceTo(b); ok {
				rtts = append(rtts, RTT{from, to, seconds})
			}
		}
	}
	return rtts
}

// distanceTo is the Euclidean distance plus both heights, and plus both adjustments unless they make it negative
// (hashicorp/serf: Coordinate.DistanceTo). It is not ok for coordinates of different spaces, and where it is no time.
func (c *coordinate) distanceTo(other *coordinate) (seconds float64, ok bool) {
	if len(c.Vec) != len(other.Vec) {
		return 0, false
	}
	var squares float64
	for i := range c.Vec {
		d := c.Vec[i] - other.Vec[i]
		squares += d * d
	}
	seconds = math.Sqrt(squares) + c.Height + other.Height
	if adjusted := seconds + c.Adjustment + other.Adjustment; adjusted > 0 {
		seconds = adjusted
	}
	return seconds, seconds >= 0 && !math.IsInf(seconds, 0)
}
