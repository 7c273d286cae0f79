// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"maps"
	"sync"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// Peerings is what is remembered of the peerings with other clusters. The zero value is ready; it is safe for
// concurrent use.
type Peerings struct {
	mu   sync.Mutex
	byID map[string]PeeringMemory // Guarded by mu: those that exist.
	// read is when the last answer was read. Guarded by mu.
	read time.Time
}

// maxPeerings bounds how many are remembered.
const maxPeerings = 1000

// PeeringMemory is what is remembered of one. Times are by this program's clock, except that of the heartbeat.
type PeeringMemory struct {
	// Active is when it was last seen to be active; zero if it never was.
	Active time.Time `json:"active,omitzero"`
	// Heartbeat is that of the peer, by the clock of Consul's leader, and Heard is when it was seen first.
	Heartbeat time.Time `json:"heartbeat,omitzero"`
	Heard     time.Time `json:"heard,omitzero"`
}

// Learn takes all peerings that there are. One that is not among them was deleted, and is forgotten.
func (p *Peerings) Learn(all []cluster.Peering) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := make(map[string]PeeringMemory, len(all))
	for i := range all {
		peering := &all[i]
		if peering.Read.Before(p.read) { // Scrapes overlap.
			return
		}
		p.read = peering.Read
		if len(known) == maxPeerings {
			break
		}
		known[peering.ID] = p.byID[peering.ID].with(peering)
	}
	p.byID = known
}

// with adds what one answer says.
func (m PeeringMemory) with(p *cluster.Peering) PeeringMemory {
	if p.State == cluster.PeeringActive {
		m.Active = p.Read
	}
	if p.LastHeartbeat != nil && !p.LastHeartbeat.Equal(m.Heartbeat) {
		m.Heartbeat, m.Heard = *p.LastHeartbeat, p.Read
	}
	return m
}

// Past returns when a peering was last seen to be active, and when its last heartbeat was seen first; zero if that is
// not known.
func (p *Peerings) Past(peering *cluster.Peering) (active, heard time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.byID[peering.ID]
	return m.Active, m.Heard
}

// all returns what is remembered, for the state file.
func (p *Peerings) all() map[string]PeeringMemory {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.byID)
}

// restore takes what the state file has.
func (p *Peerings) restore(all map[string]PeeringMemory) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byID = maps.Clone(all)
}
