// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// maxPeerings bounds how many peerings are remembered.
const maxPeerings = 1000

// peeringState is what is remembered of a peering with another cluster. Times are by this program's clock, except that
// of the heartbeat.
type peeringState struct {
	// Active is when it was last seen to be active; zero if it never was.
	Active time.Time `json:"active,omitzero"`
	// Heartbeat is that of the peer, by the clock of Consul's leader, and Heard is when it was seen first.
	Heartbeat time.Time `json:"heartbeat,omitzero"`
	Heard     time.Time `json:"heard,omitzero"`
}

// LearnPeerings takes all peerings that there are. One that is not among them was deleted, and is forgotten.
func (m *Memory) LearnPeerings(all []cluster.Peering) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := make(map[string]peeringState)
	for i := range all[:min(len(all), maxPeerings)] {
		p := &all[i]
		if p.Read.Before(m.peeringsRead) { // Scrapes overlap.
			return
		}
		m.peeringsRead = p.Read
		before := m.state.Peerings[p.ID]
		known[p.ID] = before.with(p)
		m.dirty = m.dirty || before.Active.IsZero() != known[p.ID].Active.IsZero()
	}
	m.dirty = m.dirty || len(known) != len(m.state.Peerings)
	m.state.Peerings = known
}

// with adds what one answer says.
func (s peeringState) with(p *cluster.Peering) peeringState {
	if p.State == cluster.PeeringActive {
		s.Active = p.Read.UTC()
	}
	if p.LastHeartbeat != nil && !p.LastHeartbeat.Equal(s.Heartbeat) {
		s.Heartbeat, s.Heard = p.LastHeartbeat.UTC(), p.Read.UTC()
	}
	return s
}

// PeeringPast returns when a peering was last seen to be active, and when its last heartbeat was seen first; zero if
// that is not known.
func (m *Memory) PeeringPast(p *cluster.Peering) (active, heard time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.state.Peerings[p.ID]
	return s.Active, s.Heard
}
