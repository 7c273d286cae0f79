// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// WANGrace is how long a server may be missing from the WAN pool: it takes a while to be flooded into the pool.
const WANGrace = 5 * time.Minute

// MissingFromWAN returns the names of the servers that report a port for the WAN pool and are not in it, as a server
// sees the pool. It is not known for a client agent, which is in no such pool, and says nothing about a pool of a
// single datacenter.
func MissingFromWAN(lan, wan []cluster.Member) (missing []string, known bool) {
	if datacenters := datacentersOf(wan); len(datacenters) < 2 {
		return nil, false
	}
	for _, s := range lan {
		if s.Server() && s.WANPort != 0 && s.Status == cluster.StatusAlive && !slices.ContainsFunc(wan, isInWAN(s)) {
			missing = append(missing, s.Name)
		}
	}
	return missing, true
}

// isInWAN reports whether a member of the WAN pool is this server: by node ID, where both have one.
func isInWAN(s cluster.Member) func(cluster.Member) bool {
	return func(m cluster.Member) bool {
		if m.Status == cluster.StatusLeft {
			return false
		}
		if m.ID != "" && s.ID != "" {
			return m.ID == s.ID
		}
		return m.Name == s.Name+"."+s.Datacenter
	}
}

// datacentersOf returns the datacenters of the servers in the WAN pool that have not left.
func datacentersOf(wan []cluster.Member) map[string]bool {
	datacenters := make(map[string]bool)
	for _, m := range wan {
		if m.Server() && m.Status != cluster.StatusLeft {
			datacenters[m.Datacenter] = true
		}
	}
	return datacenters
}
