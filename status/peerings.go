// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/memory"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// Peering is a peering with another cluster, and what is remembered of it.
type Peering struct {
	cluster.Peering

	Health verdict.PeeringHealth
	Active time.Time // When it was last seen to be active; zero if it never was.
}

// judgePeerings remembers what Consul says of all peerings, and judges each by that.
func judgePeerings(all []cluster.Peering, remembered *memory.Peerings) []Peering {
	remembered.Learn(all)
	judged := make([]Peering, len(all))
	for i := range all {
		active, heard := remembered.Past(&all[i])
		judged[i] = Peering{all[i], verdict.JudgePeering(&all[i], active, heard), active}
	}
	return judged
}
