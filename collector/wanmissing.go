// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"maps"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// readWANMissing exports which servers are missing from the WAN pool. Nothing is known if the agent is a client, or if
// the token may see only some of the members.
func readWANMissing(define *definitions) reader {
	memory := define.memory
	since := define.gauge("consul_server_wan_missing_since_timestamp_seconds",
		"Since when the server has been missing from the agent's WAN pool. Absent if it is there, has no WAN "+
			"port, or there is one datacenter.", "server")
	return func(snap *cluster.Snapshot) adder {
		lanMembers, wanMembers := snap.Members(), snap.WANMembers()
		return func(ctx context.Context, out *families) error {
			lan, err := lanMembers.Get(ctx)
			wan, wanErr := wanMembers.Get(ctx)
			if err != nil || wanErr != nil || snap.MembersFiltered() {
				return nil // Readers of the members report it.
			}
			missing, known := verdict.MissingFromWAN(lan, wan)
			if !known {
				return nil
			}
			absences := memory.LearnWAN(missing, snap.Start())
			for _, server := range slices.Sorted(maps.Keys(absences)) {
				out.instant(since, absences[server], server)
			}
			return nil
		}
	}
}
