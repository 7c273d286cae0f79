// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	one, two, three := reporttest.Server(1), reporttest.Server(2), reporttest.Server(3)
	says := func(s cluster.Server, leader int) cluster.Report { return reporttest.Says(s, leader, 3, 10) }
	silent, notAsked := reporttest.Silent, reporttest.NotAsked
	reversed, stranger, partial := says(two, 1), says(two, 1), says(two, 1)
	reversed.RPC.Raft.Peers = []string{one.RPCAddress, two.RPCAddress, three.RPCAddress}
	stranger.RPC.Raft.Peers = append(stranger.RPC.Raft.Peers, "10.9.9.9:8300")
	partial.RPC.Raft = probe.RaftView{LeaderKnown: true, Leader: one.RPCAddress}
	first := []string{"server-1"}
	by := func(leader int, servers ...int) []ReportedLeader {
		reported := ReportedLeader{Leader: reporttest.Server(leader).Name}
		for _, i := range servers {
			reported.By = append(reported.By, reporttest.Server(i).Name)
		}
		return []ReportedLeader{reported}
	}
	reports := func(all ...cluster.Report) []cluster.Report { return all }
	const unknown = "unknown"

	for _, tc := range []struct {
		name, margin string
		reports      []cluster.Report
		want         Verdict // What is not in LogLag does not lag.
	}{
		{"no server", "-1", nil, Verdict{Quorum: Quorum{Needed: 1}}},
		{
			"a voter that could not be asked is not lost", unknown, reports(says(one, 1), says(two, 1), notAsked(three)),
			Verdict{Quorum{3, 2, 2, 1, 2}, Leadership{first, by(1, 1, 2), 0, 1}, 1, 0, nil, nil},
		},
		{
			"nor is the quorum, if it may be there with those", unknown, reports(says(one, 0), notAsked(two), notAsked(three)),
			Verdict{Quorum{3, 2, 1, 2, 1}, Leadership{nil, nil, 1, 2}, 1, 0, nil, nil},
		},
		{
			"it is lost if it is not there even with those", "-1", reports(silent(one), silent(two), notAsked(three)),
			Verdict{Quorum{3, 2, 0, 1, 0}, Leadership{nil, nil, 0, 1}, 0, 0, nil, nil},
		},
		{
			"one server", "0", reports(reporttest.Says(one, 1, 1, 10)),
			Verdict{Quorum{1, 1, 1, 0, 1}, Leadership{first, by(1, 1), 0, 0}, 1, 0, nil, nil},
		},
		{
			"three healthy servers with their peers in any order", "1",
			reports(reporttest.Says(one, 1, 3, 12), reversed, reporttest.Says(three, 1, 3, 12)),
			Verdict{Quorum{3, 2, 3, 0, 3}, Leadership{first, by(1, 1, 2, 3), 0, 0}, 1, 0, map[string]uint64{"server-2": 2}, nil},
		},
		{
			"leader silent and still named", "0", reports(silent(one), says(two, 1), says(three, 1)),
			Verdict{Quorum{3, 2, 2, 0, 2}, Leadership{nil, by(1, 2, 3), 0, 0}, 1, 0, nil, nil},
		},
		{
			"a leader that no known server is", "0", reports(says(one, 9)),
			Verdict{Quorum{1, 1, 1, 0, 1}, Leadership{nil, []ReportedLeader{{"10.0.0.9:8300", first}}, 0, 0}, 1, 2, nil, nil},
		},
		{
			"a voter that answers and knows of no leader is none to spare", "0",
			reports(says(one, 1), says(two, 1), says(three, 0)),
			Verdict{Quorum{3, 2, 3, 0, 2}, Leadership{first, by(1, 1, 2), 1, 0}, 1, 0, nil, nil},
		},
		{
			"nor is one that knows of another leader", "0", reports(says(one, 1), says(two, 1), says(three, 2)),
			Verdict{Quorum{3, 2, 3, 0, 2}, Leadership{first, append(by(1, 1, 2), by(2, 3)...), 0, 0}, 1, 0, nil, nil},
		},
		{
			"a leader that was elected this moment has a quorum, though nobody has heard of it", "0",
			reports(says(one, 1), says(two, 0), says(three, 0)),
			Verdict{Quorum{3, 2, 3, 0, 1}, Leadership{first, by(1, 1), 2, 0}, 1, 0, nil, nil},
		},
		{
			"without a leader all that answer count", "1", reports(says(one, 0), says(two, 0), says(three, 0)),
			Verdict{Quorum{3, 2, 3, 0, 3}, Leadership{nil, nil, 3, 0}, 1, 0, nil, nil},
		},
		{
			"a leader that has not noticed that the quorum is lost", "-1", reports(says(one, 1), silent(two), silent(three)),
			Verdict{Quorum{3, 2, 1, 0, 1}, Leadership{first, by(1, 1), 0, 0}, 1, 0, nil, nil},
		},
		{
			"quorum lost", "-1", reports(silent(one), silent(two), says(three, 0)),
			Verdict{Quorum{3, 2, 1, 0, 1}, Leadership{nil, nil, 1, 0}, 1, 0, nil, nil},
		},
		{"nobody answers", "-2", reports(silent(one), silent(two), silent(three)), Verdict{Quorum: Quorum{3, 2, 0, 0, 0}}},
		{
			"split brain", "0", reports(reporttest.Says(one, 1, 1, 10), reporttest.Says(two, 2, 2, 50)),
			Verdict{
				Quorum{2, 2, 2, 0, 2},
				Leadership{[]string{"server-1", "server-2"}, append(by(1, 1), by(2, 2)...), 0, 0},
				2, 0,
				map[string]uint64{"server-1": 40}, nil,
			},
		},
		{
			"four voters need three", "0",
			of(4, silent(reporttest.Server(4))),
			Verdict{Quorum{4, 3, 3, 0, 3}, Leadership{first, by(1, 1, 2, 3), 0, 0}, 1, 0, nil, nil},
		},
		{
			"a server without a vote does not count for the quorum, and lags", "0",
			reports(reporttest.Says(one, 1, 2, 30), reporttest.Says(reporttest.NonVoter(two), 1, 2, 10)),
			Verdict{Quorum{1, 1, 1, 0, 1}, Leadership{first, by(1, 1, 2), 0, 0}, 1, 0, map[string]uint64{"server-2": 20}, nil},
		},
		{
			"a dead peer that no member matches counts as a voter and as unknown", "0",
			reports(says(one, 1), says(two, 1), silent(reporttest.Strange(three))),
			Verdict{Quorum{3, 2, 2, 0, 2}, Leadership{first, by(1, 1, 2), 0, 0}, 1, 1, nil, nil},
		},
		{
			"one server has a peer that the others do not have", "1", reports(says(one, 1), stranger, says(three, 1)),
			Verdict{Quorum{3, 2, 3, 0, 3}, Leadership{first, by(1, 1, 2, 3), 0, 0}, 2, 1, nil, nil},
		},
		{
			"a server whose Raft is shutting down tells only a part", "1", reports(says(one, 1), partial, says(three, 1)),
			Verdict{Quorum{3, 2, 3, 0, 3}, Leadership{first, by(1, 1, 2, 3), 0, 0}, 1, 0, nil, nil},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			topology := cluster.Topology{MembersKnown: true}
			lag := make(map[string]uint64)
			for _, r := range tc.reports {
				s := r.Server
				topology.Servers = append(topology.Servers, s)
				topology.Peers = append(topology.Peers, cluster.RaftPeer{ID: s.ID, Address: s.RPCAddress, Voter: s.Voter})
				if r.RPC.Raft.StatsKnown {
					lag[s.Name] = 0
				}
			}
			maps.Copy(lag, tc.want.LogLag)
			tc.want.LogLag = lag
			got := Judge(topology, tc.reports)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("verdict differs (-want +got):\n%s", diff)
			}
			margin := unknown
			if n, known := got.Quorum.Margin(); known {
				margin = fmt.Sprint(n)
			}
			if margin != tc.margin {
				t.Errorf("margin is %s; want %s", margin, tc.margin)
			}
		})
	}
}

// A member that came back at another address is known by its ID, though the Raft configuration still has the old one.
func TestJudge_ChangedAddress(t *testing.T) {
	t.Parallel()
	moved := reporttest.Server(1)
	moved.RPCAddress = "10.0.0.99:8300"
	topology := cluster.Topology{
		MembersKnown: true, Servers: []cluster.Server{moved},
		Peers: []cluster.RaftPeer{{ID: "id-1", Address: "10.0.0.1:8300", Voter: true}},
	}
	if got := Judge(topology, []cluster.Report{reporttest.Says(moved, 1, 1, 5)}).UnknownPeers; got != 0 {
		t.Errorf("unknown peers = %d; want 0", got)
	}
}
