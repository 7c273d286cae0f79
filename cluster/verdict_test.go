// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/probe"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	one, two, three := server(1), server(2), server(3)
	reversed := says(two, 1, 3, 10)
	reversed.RPC.Raft.Peers = []string{one.RPCAddress, two.RPCAddress, three.RPCAddress}
	stranger := says(two, 1, 3, 10)
	stranger.RPC.Raft.Peers = append(stranger.RPC.Raft.Peers, "10.9.9.9:8300")
	partial := Report{Server: two, RPC: probe.RPCResult{Result: probe.Result{Up: true}, Raft: probe.RaftView{LeaderKnown: true, Leader: one.RPCAddress}}}

	for _, tc := range []struct {
		name    string
		reports []Report
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
			reports: []Report{says(one, 1, 3, 10), says(two, 1, 3, 10), notAsked(three)},
			want: Verdict{
				Quorum: Quorum{3, 2, 2, 1, 2}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 1},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 0},
			},
			unknown: true,
		},
		{
			name:    "nor is the quorum, if it may be there with those",
			reports: []Report{says(one, 0, 3, 10), notAsked(two), notAsked(three)},
			want: Verdict{
				Quorum: Quorum{3, 2, 1, 2, 1}, Leadership: Leadership{nil, nil, 1, 2},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0},
			},
			unknown: true,
		},
		{
			name:    "it is lost if it is not there even with those",
			reports: []Report{silent(one), silent(two), notAsked(three)},
			want: Verdict{
				Quorum: Quorum{3, 2, 0, 1, 0}, Leadership: Leadership{nil, nil, 0, 1}, LogLag: map[string]uint64{},
			},
			margin: -1,
		},
		{
			name:    "one server",
			reports: []Report{says(one, 1, 1, 10)},
			want: Verdict{
				Quorum: Quorum{1, 1, 1, 0, 1}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0},
			},
			margin: 0,
		},
		{
			name:    "three healthy servers with their peers in any order",
			reports: []Report{says(one, 1, 3, 12), reversed, says(three, 1, 3, 12)},
			want: Verdict{
				Quorum: Quorum{3, 2, 3, 0, 3}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 2, "server-3": 0},
			},
			margin: 1,
		},
		{
			name:    "leader silent and still named",
			reports: []Report{silent(one), says(two, 1, 3, 10), says(three, 1, 3, 10)},
			want: Verdict{
				Quorum: Quorum{3, 2, 2, 0, 2}, Leadership: Leadership{nil, []string{one.RPCAddress}, 0, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-2": 0, "server-3": 0},
			},
			margin: 0,
		},
		{
			name:    "a voter that answers and knows of no leader is none to spare",
			reports: []Report{says(one, 1, 3, 10), says(two, 1, 3, 10), says(three, 0, 3, 10)},
			want: Verdict{
				Quorum: Quorum{3, 2, 3, 0, 2}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 1, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 0, "server-3": 0},
			},
			margin: 0,
		},
		{
			name:    "nor is one that knows of another leader",
			reports: []Report{says(one, 1, 3, 10), says(two, 1, 3, 10), says(three, 2, 3, 10)},
			want: Verdict{
				Quorum: Quorum{3, 2, 3, 0, 2}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress, two.RPCAddress}, 0, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 0, "server-3": 0},
			},
			margin: 0,
		},
		{
			name:    "a leader that was elected this moment has a quorum, though nobody has heard of it",
			reports: []Report{says(one, 1, 3, 10), says(two, 0, 3, 10), says(three, 0, 3, 10)},
			want: Verdict{
				Quorum: Quorum{3, 2, 3, 0, 1}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 2, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 0, "server-3": 0},
			},
			margin: 0,
		},
		{
			name:    "without a leader all that answer count",
			reports: []Report{says(one, 0, 3, 10), says(two, 0, 3, 10), says(three, 0, 3, 10)},
			want: Verdict{
				Quorum: Quorum{3, 2, 3, 0, 3}, Leadership: Leadership{nil, nil, 3, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 0, "server-3": 0},
			},
			margin: 1,
		},
		{
			name:    "a leader that has not noticed that the quorum is lost",
			reports: []Report{says(one, 1, 3, 10), silent(two), silent(three)},
			want: Verdict{
				Quorum: Quorum{3, 2, 1, 0, 1}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0},
			},
			margin: -1,
		},
		{
			name:    "quorum lost",
			reports: []Report{silent(one), silent(two), says(three, 0, 3, 10)},
			want: Verdict{
				Quorum: Quorum{3, 2, 1, 0, 1}, Leadership: Leadership{nil, nil, 1, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-3": 0},
			},
			margin: -1,
		},
		{
			name:    "nobody answers",
			reports: []Report{silent(one), silent(two), silent(three)},
			want:    Verdict{Quorum: Quorum{3, 2, 0, 0, 0}, LogLag: map[string]uint64{}},
			margin:  -2,
		},
		{
			name:    "split brain",
			reports: []Report{says(one, 1, 1, 10), says(two, 2, 2, 50)},
			want: Verdict{
				Quorum:         Quorum{2, 2, 2, 0, 2},
				Leadership:     Leadership{[]string{"server-1", "server-2"}, []string{one.RPCAddress, two.RPCAddress}, 0, 0},
				Configurations: 2, LogLag: map[string]uint64{"server-1": 40, "server-2": 0},
			},
			margin: 0,
		},
		{
			name:    "four voters need three",
			reports: []Report{says(one, 1, 4, 9), says(two, 1, 4, 9), says(three, 1, 4, 9), silent(server(4))},
			want: Verdict{
				Quorum: Quorum{4, 3, 3, 0, 3}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 0, "server-3": 0},
			},
			margin: 0,
		},
		{
			name:    "a server without a vote does not count for the quorum, and lags",
			reports: []Report{says(one, 1, 2, 30), says(nonVoter(two), 1, 2, 10)},
			want: Verdict{
				Quorum: Quorum{1, 1, 1, 0, 1}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 20},
			},
			margin: 0,
		},
		{
			name:    "a dead peer that no member matches counts as a voter and as unknown",
			reports: []Report{says(one, 1, 3, 10), says(two, 1, 3, 10), silent(strange(three))},
			want: Verdict{
				Quorum: Quorum{3, 2, 2, 0, 2}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 0},
				Configurations: 1, UnknownPeers: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 0},
			},
			margin: 0,
		},
		{
			name:    "one server has a peer that the others do not have",
			reports: []Report{says(one, 1, 3, 10), stranger, says(three, 1, 3, 10)},
			want: Verdict{
				Quorum: Quorum{3, 2, 3, 0, 3}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 0},
				Configurations: 2, UnknownPeers: 1, LogLag: map[string]uint64{"server-1": 0, "server-2": 0, "server-3": 0},
			},
			margin: 1,
		},
		{
			name:    "a server whose Raft is shutting down tells only a part",
			reports: []Report{says(one, 1, 3, 10), partial, says(three, 1, 3, 10)},
			want: Verdict{
				Quorum: Quorum{3, 2, 3, 0, 3}, Leadership: Leadership{[]string{"server-1"}, []string{one.RPCAddress}, 0, 0},
				Configurations: 1, LogLag: map[string]uint64{"server-1": 0, "server-3": 0},
			},
			margin: 1,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			topology := Topology{MembersKnown: true}
			for _, r := range tc.reports {
				topology.Servers = append(topology.Servers, r.Server)
				topology.Peers = append(topology.Peers, RaftPeer{ID: r.Server.ID, Address: r.Server.RPCAddress, Voter: r.Server.Voter})
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
	moved := server(1)
	moved.RPCAddress = "10.0.0.99:8300"
	topology := Topology{
		MembersKnown: true, Servers: []Server{moved},
		Peers: []RaftPeer{{ID: "id-1", Address: "10.0.0.1:8300", Voter: true}},
	}
	if got := Judge(topology, []Report{says(moved, 1, 1, 5)}).UnknownPeers; got != 0 {
		t.Errorf("unknown peers = %d; want 0", got)
	}
}
