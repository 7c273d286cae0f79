// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"cmp"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// Pool is one Serf pool, as the agent sees it. As JSON it is public: fields are only ever added.
type Pool struct {
	// Pool is lan or wan.
	Pool string `json:"pool"`
	// Count is the number of members.
	Count int `json:"count"`
	// ByStatus counts the members that are alive, leaving, left and failed.
	ByStatus map[string]int `json:"by_status"`
	// NotAlive are the members in another state, failed ones first: at most 100.
	NotAlive []PoolMember `json:"not_alive"`
	// NotAliveOmitted is how many more there are.
	NotAliveOmitted int `json:"not_alive_omitted,omitempty"`
}

// PoolMember is a member of a Serf pool.
type PoolMember struct {
	// Name is the node name.
	Name string `json:"name"`
	// Status is the state that Serf has of it.
	Status string `json:"status"`
	// IsServer is false for client agents.
	IsServer bool `json:"is_server"`
}

// JudgePools counts the members of the pools that could be read: others have none.
func JudgePools(lan, wan []cluster.Member) []Pool {
	pools := []Pool{judgePool("lan", lan), judgePool("wan", wan)}
	return slices.DeleteFunc(pools, func(p Pool) bool { return p.Count == 0 })
}

func judgePool(name string, members []cluster.Member) Pool {
	pool := Pool{Pool: name, Count: len(members), ByStatus: make(map[string]int), NotAlive: []PoolMember{}}
	for _, status := range cluster.MemberStatuses() {
		pool.ByStatus[status.String()] = 0
	}
	for _, m := range members {
		pool.ByStatus[m.Status.String()]++
	}
	notAlive := slices.DeleteFunc(slices.Clone(members), func(m cluster.Member) bool {
		return m.Status == cluster.StatusAlive
	})
	slices.SortFunc(notAlive, func(a, b cluster.Member) int {
		return cmp.Or(cmp.Compare(b.Status, a.Status), cmp.Compare(a.Name, b.Name)) // StatusFailed is the largest.
	})
	for _, m := range notAlive[:min(len(notAlive), maxListed)] {
		pool.NotAlive = append(pool.NotAlive, PoolMember{m.Name, m.Status.String(), m.Server()})
	}
	pool.NotAliveOmitted = len(notAlive) - len(pool.NotAlive)
	return pool
}
