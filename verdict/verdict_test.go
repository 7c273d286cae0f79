// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	one, two, three := reporttest.Server(1), reporttest.Server(2), reporttest.Server(3)
	reversed := reporttest.Says(two, 1, 3, 10)
	reversed.RPC.Raft.Peers = []string{one.RPCAddress, two.RPCAddress, three.RPCAddress}
	stranger := reporttest.Says(two, 1, 3, 10)
	stranger.RPC.Raft.Peers = append(stranger.RPC.Raft.Peers, "10.9.9.9:8300")
	partial := cluster.Report{Server: two, RPC: probe.RPCResult{Result: probe.Result{Up: true}, Raft: probe.RaftView{LeaderKnown: true, Leader: one.RPCAddress}}}

	for _, tc := range []struct {
		name    string
		reports []cluster.Report
		want    Verdict
		margin  int
		unknown bool // Of the margin.
	}{
		{
			name:    "no server",
			reports: nil,
			want:    Verdict{Quorum: Quorum{Needed: 1}, LogLag: map[string]uint64{}},
			margin:  -1,
		},
		{
			name:    "a voter that could not be asked is not lost",
			reports: []cluster.Report{reporttest.Says(one, 1, 3, 10), reporttest.Says(two, 1, 3, 10), reporttest.NotAsked(three)},
			want: Verdict{
				Quorum: Quorum{3, 2, 2, 1, 2}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 1},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 0},
			},
			unknown: true,
		},
		{
			name:    "nor is the quorum, if it may be there with those",
			reports: []cluster.Report{reporttest.Says(one, 0, 3, 10), reporttest.NotAsked(two), reporttest.NotAsked(three)},
			want: Verdict{
				Quorum: Quorum{3, 2, 1, 2, 1}, Leadership: Leadership{nil, nil, 1, 2},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0},
			},
			unknown: true,
		},
		{
			name:    "it is lost if it is not there even with those",
			reports: []cluster.Report{reporttest.Silent(one), reporttest.Silent(two), reporttest.NotAsked(three)},
			want: Verdict{
				Quorum: Quorum{3, 2, 0, 1, 0}, Leadership: Leadership{nil, nil, 0, 1}, LogLag: map[string]uint64{},
			},
			margin: -1,
		},
		{
			name:    "one server",
			reports: []cluster.Report{reporttest.Says(one, 1, 1, 10)},
			want: Verdict{
				Quorum: Quorum{1, 1, 1, 0, 1}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0},
			},
			margin: 0,
		},
		{
			name:    "three healthy servers with their peers in any order",
			reports: []cluster.Report{reporttest.Says(one, 1, 3, 12), reversed, reporttest.Says(three, 1, 3, 12)},
			want: Verdict{
				Quorum: Quorum{3, 2, 3, 0, 3}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 2, "server-3": 0},
			},
			margin: 1,
		},
		{
			name:    "leader silent and still named",
			reports: []cluster.Report{reporttest.Silent(one), reporttest.Says(two, 1, 3, 10), reporttest.Says(three, 1, 3, 10)},
			want: Verdict{
				Quorum: Quorum{3, 2, 2, 0, 2}, Leadership: Leadership{nil, []string{one.RPCAddress}, 0, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-2": 0, "server-3": 0},
			},
			margin: 0,
		},
		{
			name:    "a voter that answers and knows of no leader is none to spare",
			reports: []cluster.Report{reporttest.Says(one, 1, 3, 10), reporttest.Says(two, 1, 3, 10), reporttest.Says(three, 0, 3, 10)},
			want: Verdict{
				Quorum: Quorum{3, 2, 3, 0, 2}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 1, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 0, "server-3": 0},
			},
			margin: 0,
		},
		{
			name:    "nor is one that knows of another leader",
			reports: []cluster.Report{reporttest.Says(one, 1, 3, 10), reporttest.Says(two, 1, 3, 10), reporttest.Says(three, 2, 3, 10)},
			want: Verdict{
				Quorum: Quorum{3, 2, 3, 0, 2}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress, two.RPCAddress}, 0, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 0, "server-3": 0},
			},
			margin: 0,
		},
		{
			name:    "a leader that was elected this moment has a quorum, though nobody has heard of it",
			reports: []cluster.Report{reporttest.Says(one, 1, 3, 10), reporttest.Says(two, 0, 3, 10), reporttest.Says(three, 0, 3, 10)},
			want: Verdict{
				Quorum: Quorum{3, 2, 3, 0, 1}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 2, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 0, "server-3": 0},
			},
			margin: 0,
		},
		{
			name:    "without a leader all that answer count",
			reports: []cluster.Report{reporttest.Says(one, 0, 3, 10), reporttest.Says(two, 0, 3, 10), reporttest.Says(three, 0, 3, 10)},
			want: Verdict{
				Quorum: Quorum{3, 2, 3, 0, 3}, Leadership: Leadership{nil, nil, 3, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 0, "server-3": 0},
			},
			margin: 1,
		},
		{
			name:    "a leader that has not noticed that the quorum is lost",
			reports: []cluster.Report{reporttest.Says(one, 1, 3, 10), reporttest.Silent(two), reporttest.Silent(three)},
			want: Verdict{
				Quorum: Quorum{3, 2, 1, 0, 1}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0},
			},
			margin: -1,
		},
		{
			name:    "quorum lost",
			reports: []cluster.Report{reporttest.Silent(one), reporttest.Silent(two), reporttest.Says(three, 0, 3, 10)},
			want: Verdict{
				Quorum: Quorum{3, 2, 1, 0, 1}, Leadership: Leadership{nil, nil, 1, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-3": 0},
			},
			margin: -1,
		},
		{
			name:    "nobody answers",
			reports: []cluster.Report{reporttest.Silent(one), reporttest.Silent(two), reporttest.Silent(three)},
			want:    Verdict{Quorum: Quorum{3, 2, 0, 0, 0}, LogLag: map[string]uint64{}},
			margin:  -2,
		},
		{
			name:    "split brain",
			reports: []cluster.Report{reporttest.Says(one, 1, 1, 10), reporttest.Says(two, 2, 2, 50)},
			want: Verdict{
				Quorum:         Quorum{2, 2, 2, 0, 2},
				Leadership:     Leadership{[]string{"server-1", "server-2"}, []string{one.RPCAddress, two.RPCAddress}, 0, 0},
				Configurations: 2, LogLag: map[string]uint64{"server-1": 40, "server-2": 0},
			},
			margin: 0,
		},
		{
			name:    "four voters need three",
			reports: []cluster.Report{reporttest.Says(one, 1, 4, 9), reporttest.Says(two, 1, 4, 9), reporttest.Says(three, 1, 4, 9), reporttest.Silent(reporttest.Server(4))},
			want: Verdict{
				Quorum: Quorum{4, 3, 3, 0, 3}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 0, "server-3": 0},
			},
			margin: 0,
		},
		{
			name:    "a server without a vote does not count for the quorum, and lags",
			reports: []cluster.Report{reporttest.Says(one, 1, 2, 30), reporttest.Says(reporttest.NonVoter(two), 1, 2, 10)},
			want: Verdict{
				Quorum: Quorum{1, 1, 1, 0, 1}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 20},
			},
			margin: 0,
		},
		{
			name:    "a dead peer that no member matches counts as a voter and as unknown",
			reports: []cluster.Report{reporttest.Says(one, 1, 3, 10), reporttest.Says(two, 1, 3, 10), reporttest.Silent(reporttest.Strange(three))},
			want: Verdict{
				Quorum: Quorum{3, 2, 2, 0, 2}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 0},
				Configurations: 1, UnknownPeers: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 0},
			},
			margin: 0,
		},
		{
			name:    "one server has a peer that the others do not have",
			reports: []cluster.Report{reporttest.Says(one, 1, 3, 10), stranger, reporttest.Says(three, 1, 3, 10)},
			want: Verdict{
				Quorum: Quorum{3, 2, 3, 0, 3}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 0},
				Configurations: 2, UnknownPeers: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 0, "server-3": 0},
			},
			margin: 1,
		},
		{
			name:    "a server whose Raft is shutting down tells only a part",
			reports: []cluster.Report{reporttest.Says(one, 1, 3, 10), partial, reporttest.Says(three, 1, 3, 10)},
			want: Verdict{
				Quorum: Quorum{3, 2, 3, 0, 3}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-3": 0},
			},
			margin: 1,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			topology := cluster.Topology{MembersKnown: true}
			for _, r := range tc.reports {
				topology.Servers = append(topology.Servers, r.Server)
				topology.Peers = append(topology.Peers, cluster.RaftPeer{ID: r.Server.ID, Address: r.Server.RPCAddress, Voter: r.Server.Voter})
			}
			got := Judge(topology, tc.reports)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("verdict differs (-want +got):\n%s", diff)
			}
			if margin, known := got.Quorum.Margin(); known == tc.unknown || (known && margin != tc.margin) {
				t.Errorf("margin is %d (known: %v); want %d (known: %v)", margin, known, tc.margin, !tc.unknown)
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
