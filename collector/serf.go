// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"maps"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// newSerfCollector exports the health of gossip: the configured agent's part in the pools, the versions of the members,
// and the round trips between servers.
//
// The round trips are estimated from network coordinates, once for each pair with `from` before `to` in the alphabet,
// between at most ten servers that are alive. Nodes write their coordinates some 15 seconds after they have started.
//
// Requests: /v1/agent/self, /v1/agent/members and, for two to ten servers, /v1/coordinate/nodes, whose answer grows
// with the nodes. ACL: agent:read, and node:read for versions and round trips. Ten series, one per version and up to
// 45 round trips.
func newSerfCollector(define *definitions) collector {
	return together(readSerfPools(define), readVersions(define), readRTTs(define))
}

func readSerfPools(define *definitions) reader {
	healthScore := define.gauge("consul_serf_health_score",
		"How much the agent distrusts its own view of the pool: 0 is healthy.", "pool")
	queueDepth := define.gauge("consul_serf_queue_depth",
		"Messages that the agent has yet to gossip, by queue.", "pool", "queue")
	encrypted := define.gauge("consul_serf_encrypted",
		"1 if the agent encrypts gossip, otherwise 0.", "pool")
	return read((*cluster.Snapshot).Agent, func(agent cluster.Agent, err error, out *families) error {
		if err != nil {
			return err
		}
		pools, err := agent.SerfPools()
		for _, p := range pools {
			if p.HealthScore != nil {
				out.add(healthScore, float64(*p.HealthScore), p.Name)
			}
			for _, queue := range slices.Sorted(maps.Keys(p.QueueDepths)) {
				out.add(queueDepth, float64(p.QueueDepths[queue]), p.Name, queue)
			}
			if p.Encrypted != nil {
				out.flag(encrypted, *p.Encrypted, p.Name)
			}
		}
		return err
	})
}

// readVersions counts the members that are alive by version, if they have one.
func readVersions(define *definitions) reader {
	versions := define.gauge("consul_serf_version_members",
		"Living LAN members by Consul version.", "version")
	return ofFact((*cluster.Snapshot).Members, func(members []cluster.Member, out *families) {
		counts := make(map[string]int)
		for _, m := range members {
			if m.Status == cluster.StatusAlive && m.Version != "" {
				counts[m.Version]++
			}
		}
		for _, version := range slices.Sorted(maps.Keys(counts)) {
			out.add(versions, float64(counts[version]), version)
		}
	})
}

func readRTTs(define *definitions) reader {
	rtt := define.gauge("consul_serf_rtt_seconds",
		"Estimated round trip between two living servers; absent with more than ten servers.", "from", "to")
	return ofFact((*cluster.Snapshot).ServerRTTs, func(rtts []cluster.RTT, out *families) {
		for _, r := range rtts {
			out.add(rtt, r.Seconds, r.From, r.To)
		}
	})
}
