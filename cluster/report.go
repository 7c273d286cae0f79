// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"

	"github.com/zervigo/consul_cluster_exporter/probe"
)

// Report is what one server said in this scrape.
type Report struct {
	Server Server
	// RPC is the result of asking its port 8300.
	RPC probe.RPCResult
}

// LeadsItself reports whether the server calls itself leader.
func (r Report) LeadsItself() bool {
	return r.RPC.Raft.LeaderKnown && r.RPC.Raft.Leader != "" && r.RPC.Raft.Leader == r.Server.RPCAddress
}

// Again returns how to ask port 8300 of the servers once more that answered before. What the others said stays; ok is
// false if the time for fetching is over.
func (s *Snapshot) Again(t Topology) func(before []Report) (after []Report, ok bool) {
	pl := s.cluster.planner(&s.before, t, s.KnownAgent())
	return func(before []Report) ([]Report, bool) {
		again := probes{ctx: s.ctx, run: s.cluster.probePort, started: make(map[portKey]*Fact[PortReport])}
		ports := slices.DeleteFunc(pl.rpcs(), func(p Port) bool {
			return !slices.ContainsFunc(before, func(r Report) bool { return r.Server.Name == p.Server && r.RPC.Up })
		})
		after := slices.Clone(before)
		for _, answer := range again.wait(ports) {
			for i := range after {
				if after[i].Server.Name == answer.Server {
					after[i].RPC.Result, after[i].RPC.Raft = answer.Result, answer.raft
				}
			}
		}
		return after, s.ctx.Err() == nil
	}
}
