// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// endpointPeerings is answered by the leader alone (Consul: HTTPHandlers.PeeringList), since Consul 1.13.
var endpointPeerings = consul.Endpoint{Path: "/v1/peerings"}

// Peering is a connection with another cluster.
type Peering struct {
	Name  string
	State PeeringState
	// LastHeartbeat is nil when there was none, or Consul does not tell.
	LastHeartbeat *time.Time
	// Imported and Exported are the numbers of services.
	Imported, Exported int
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
		PeeringPending, PeeringEstablishing, PeeringActive, PeeringFailing, PeeringDeleting, PeeringTerminated, PeeringUnknown,
	}
}

func newPeeringState(s string) PeeringState {
	if state := PeeringState(strings.ToLower(s)); slices.Contains(PeeringStates(), state) {
		return state
	}
	return PeeringUnknown
}

// Peerings are the peerings of the cluster, by name.
func (s *Snapshot) Peerings() *Fact[[]Peering] {
	return s.peerings.Start(s.ctx, func(ctx context.Context) ([]Peering, error) {
		ep := endpointPeerings
		if err := s.permit(ctx, s.cluster.client.Options().Address, &ep); err != nil {
			return nil, fmt.Errorf("read %s: %w", ep.Name(), err)
		}
		if kept, ok := s.cluster.keptPeerings.get(s.start); ok {
			return kept, nil
		}
		peerings, err := readList(ctx, s, endpointPeerings, newPeering)
		slices.SortFunc(peerings, func(a, b Peering) int { return cmp.Compare(a.Name, b.Name) })
		if err == nil {
			s.cluster.keptPeerings.set(peerings, s.start)
		}
		return peerings, err
	})
}

// peeringsMemory is how long an answer is kept that has a peering without a stream.
const peeringsMemory = 5 * time.Minute

// keptPeerings is the last answer, if it has a peering that has no stream yet: Consul's leader logs a warning about each of those whenever
// it is asked (Consul: agent/rpc/peering, reconcilePeering). It is safe for concurrent use.
type keptPeerings struct {
	mu       sync.Mutex
	peerings []Peering // Guarded by mu; what is in it is never changed.
	until    time.Time // Guarded by mu.
}

func (k *keptPeerings) get(now time.Time) (peerings []Peering, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.peerings, now.Before(k.until)
}

func (k *keptPeerings) set(peerings []Peering, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.peerings, k.until = peerings, time.Time{}
	if slices.ContainsFunc(peerings, func(p Peering) bool {
		return p.State == PeeringPending || p.State == PeeringEstablishing
	}) {
		k.until = now.Add(peeringsMemory)
	}
}

func newPeering(p *api.Peering) Peering {
	peering := Peering{
		Name: p.Name, State: newPeeringState(string(p.State)),
		Imported: len(p.StreamStatus.ImportedServices), Exported: len(p.StreamStatus.ExportedServices),
	}
	if beat := p.StreamStatus.LastHeartbeat; beat != nil && !beat.IsZero() {
		peering.LastHeartbeat = beat
	}
	return peering
}
