// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// What was active stays known through a restart of this program, and until the peering is deleted.
func TestPeerings(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	at := func(minute int) time.Time { return start.Add(time.Duration(minute) * time.Minute) }
	consulsClock := start.Add(90 * time.Minute) // Clocks differ.
	peering := func(id string, minute int, state cluster.PeeringState, beat int) cluster.Peering {
		p := cluster.Peering{ID: id, Name: "east", Read: at(minute), State: state}
		if beat > 0 {
			p.LastHeartbeat = new(consulsClock.Add(time.Duration(beat) * time.Minute))
		}
		return p
	}
	p := new(Peerings)
	for _, step := range []struct {
		name string
		now  cluster.Peering
		want verdict.PeeringHealth
	}{
		{"it is made", peering("1", 0, cluster.PeeringPending, 0), verdict.PeeringNew},
		{"it is active", peering("1", 1, cluster.PeeringActive, 1), verdict.PeeringUp},
		{"and stays it", peering("1", 4, cluster.PeeringActive, 4), verdict.PeeringUp},
		{"a scrape that began earlier ends later", peering("1", 2, cluster.PeeringPending, 0), verdict.PeeringDown},
		{"heartbeats end", peering("1", 5, cluster.PeeringActive, 4), verdict.PeeringUp},
		{"for too long", peering("1", 7, cluster.PeeringActive, 4), verdict.PeeringDown},
		{"Consul has noticed", peering("1", 8, cluster.PeeringFailing, 4), verdict.PeeringDown},
		{"another leader", peering("1", 9, cluster.PeeringEstablishing, 0), verdict.PeeringDown},
		{"that is active again", peering("1", 10, cluster.PeeringActive, 10), verdict.PeeringUp},
		{"made anew", peering("2", 11, cluster.PeeringPending, 0), verdict.PeeringNew},
	} {
		p.Learn([]cluster.Peering{step.now})
		text := must.Get(json.Marshal(p.all()))(t)
		restarted := new(Peerings)
		var all map[string]PeeringMemory
		must.Do(t, json.Unmarshal(text, &all))
		restarted.restore(all)
		for when, known := range map[string]*Peerings{"": p, ", after a restart": restarted} {
			active, heard := known.Past(&step.now)
			if got := verdict.JudgePeering(&step.now, active, heard); got != step.want {
				t.Errorf("%s%s: %s; want %s", step.name, when, got, step.want)
			}
		}
	}
	p.Learn(nil)
	if text := string(must.Get(json.Marshal(p.all()))(t)); text != "{}" {
		t.Errorf("%s is remembered of peerings that were deleted", text)
	}
}
