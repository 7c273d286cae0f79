// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/serf/coordinate"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// maxRTTServers bounds the servers between which round trips are estimated: the pairs grow with the square of it.
const maxRTTServers = 10

// endpointCoordinates answers with the coordinates of all nodes that the token may read, which may be none.
var endpointCoordinates = consul.Endpoint{Path: "/v1/coordinate/nodes", HasMeta: true}

// RTT is the round trip between two servers as their network coordinates estimate it.
type RTT struct {
	// From and To are node names; From comes first in the alphabet.
	From, To string
	Seconds  float64
}

// coordinates are the latest of each node.
type coordinates map[string]*coordinate.Coordinate

// add adds a coordinate, unless it is for a network segment or partition of Enterprise: servers have others as well.
func (c coordinates) add(e *api.CoordinateEntry) {
	if e.Coord != nil && e.Segment == "" && (e.Partition == "" || e.Partition == "default") {
		c[e.Node] = e.Coord
	}
}

// ServerRTTs are the estimated round trips between the servers that are alive. Nothing is read if there are more than
// maxRTTServers, or if the agent has coordinates switched off, for which Consul would log an error.
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
		at := make(coordinates)
		err = s.stream(ctx, endpointCoordinates, s.newBudget(), func(d *consul.JSONReader) error {
			return consul.EachElement(d, func(e *api.CoordinateEntry) error {
				if slices.Contains(servers, e.Node) {
					at.add(e)
				}
				return nil
			})
		})
		return at.roundTrips(servers), err
	})
}

// livingServers returns the names of the servers that are alive, sorted.
func livingServers(members []Member) []string {
	var names []string
	for _, m := range membersWhere(membersWhere(members, Member.Server), Member.alive) {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// roundTrips estimates one for each pair of servers, which must be sorted, as far as their coordinates allow it.
func (c coordinates) roundTrips(servers []string) []RTT {
	var rtts []RTT
	for i, from := range servers {
		for _, to := range servers[i+1:] {
			a, b := c[from], c[to]
			if a == nil || b == nil || !a.IsCompatibleWith(b) {
				continue
			}
			if rtt := a.DistanceTo(b); rtt >= 0 && rtt < time.Duration(math.MaxInt64) {
				rtts = append(rtts, RTT{from, to, rtt.Seconds()})
			}
		}
	}
	return rtts
}
