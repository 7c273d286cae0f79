// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// endpointPeerings is answered by the leader alone (Consul: HTTPHandlers.PeeringList), since Consul 1.13.
var endpointPeerings = consul.Endpoint{Path: "/v1/peerings"}

// Peering is a connection with another cluster.
type Peering struct {
	// ID is the peering's own: one that is made anew under the same name has another.
	ID, Name string
	// Read is when the scrape began in which Consul was asked.
	Read               time.Time
	State              PeeringState
	LastHeartbeat      *time.Time // Nil when there was none, or Consul does not tell.
	Imported, Exported int        // The numbers of services.
}

// PeeringState is how a peering fares.
type PeeringState string

// The states of a peering (Consul: api.PeeringState); PeeringUnknown stands for any that a later Consul may bring.
const (
	PeeringPending      PeeringState = "pending"
	PeeringEstablishing PeeringState = "establishing"
	PeeringActive       PeeringState = "active"
	PeeringFailing      PeeringState = "failing"
	PeeringDeleting     PeeringState = "deleting"
	PeeringTerminated   PeeringState = "terminated"
	PeeringUnknown      PeeringState = "unknown"
)

// PeeringStates returns all states.
func PeeringStates() []PeeringState {
	return []PeeringState{
		PeeringPending, PeeringEstablishing, PeeringActive, PeeringFailing,
		PeeringDeleting, PeeringTerminated, PeeringUnknown,
	}
}

// Peerings are the peerings of the cluster, by name.
func (s *Snapshot) Peerings() *Fact[[]Peering] {
	return s.peerings.Start(s.ctx, func(ctx context.Context) ([]Peering, error) {
		ep := endpointPeerings
		if err := s.permit(ctx, s.Address(), &ep); err != nil {
			return nil, fmt.Errorf("read %s: %w", ep.Name(), err)
		}
		if kept := &s.before.peerings; kept.holds(s.start) {
			return kept.peerings, nil
		}
		peerings, err := readList(ctx, s, s.Address(), endpointPeerings, newPeering)
		for i := range peerings {
			peerings[i].Read = s.start
		}
		slices.SortFunc(peerings, func(a, b Peering) int { return cmp.Compare(a.Name, b.Name) })
		return peerings, err
	})
}

// peeringsMemory is how long an answer is kept that has a peering without a stream; the first one is kept less long,
// as peerings also lack it while a new leader makes it.
const (
	peeringsMemory      = 5 * time.Minute
	firstPeeringsMemory = 1 * time.Minute
)

// keptPeerings is the last answer, if it has a peering that has no stream yet: Consul's leader logs a warning about
// each of those whenever it is asked (Consul: agent/rpc/peering, reconcilePeering).
type keptPeerings struct {
	peerings []Peering
	until    time.Time
}

func (k *keptPeerings) holds(now time.Time) bool { return now.Before(k.until) }

// newKeptPeerings keeps an answer, if need be, in place of the last one.
func newKeptPeerings(peerings []Peering, last keptPeerings, now time.Time) keptPeerings {
	hold := peeringsMemory
	if last.until.IsZero() {
		hold = firstPeeringsMemory
	}
	if slices.ContainsFunc(peerings, func(p Peering) bool {
		return p.State == PeeringPending || p.State == PeeringEstablishing
	}) {
		return keptPeerings{peerings, now.Add(hold)}
	}
	return keptPeerings{}
}

func newPeering(p *api.Peering) Peering {
	peering := Peering{
		ID: p.ID, Name: p.Name, State: oneOf(string(p.State), PeeringStates(), PeeringUnknown),
		Imported: len(p.StreamStatus.ImportedServices), Exported: len(p.StreamStatus.ExportedServices),
	}
	if beat := p.StreamStatus.LastHeartbeat; beat != nil && !beat.IsZero() {
		peering.LastHeartbeat = beat
	}
	return peering
}
