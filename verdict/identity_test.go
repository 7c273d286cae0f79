// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"slices"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// topologyOf has these servers, and the first of them in its Raft configuration.
func topologyOf(reports []cluster.Report, peers int) cluster.Topology {
	t := cluster.Topology{MembersKnown: true, RaftKnown: true}
	for i, r := range reports {
		t.Servers = append(t.Servers, r.Server)
		if i < peers {
			t.Peers = append(t.Peers, cluster.RaftPeer{ID: r.Server.ID, Address: r.Server.RPCAddress, Voter: true})
		}
	}
	return t
}

func judgeOf(t cluster.Topology, reports []cluster.Report) Verdict {
	return Judge(&inputs.Evidence{Topology: t, Reports: reports})
}

// Two clusters whose gossip pools were merged are judged apart: no split brain, and no votes are added.
func TestJudge_Mixed(t *testing.T) {
	t.Parallel()
	other := func(i int) cluster.Report {
		r := reporttest.Says(reporttest.NonVoter(reporttest.Server(i)), 4, 3, 99999)
		r.RPC.Raft.LastLogTerm = 9
		r.RPC.Raft.Peers = []string{reporttest.Server(4).RPCAddress, reporttest.Server(5).RPCAddress}
		return r
	}
	reports := []cluster.Report{
		reporttest.Says(reporttest.Server(1), 1, 3, 10), reporttest.Says(reporttest.Server(2), 1, 3, 10),
		reporttest.Says(reporttest.Server(3), 1, 3, 10), other(4), other(5),
	}
	v := judgeOf(topologyOf(reports, 3), reports)
	if !slices.Equal(v.Mixed, []string{"server-4", "server-5"}) {
		t.Errorf("of another cluster are %q; want server-4 and server-5", v.Mixed)
	}
	if !slices.Equal(v.Leadership.Leaders, []string{"server-1"}) || len(v.Leadership.Reported) != 1 {
		t.Errorf("leadership is %+v; want server-1 alone", v.Leadership)
	}
	if v.Quorum.Voters != 3 || v.Quorum.Reachable != 3 || v.Configurations != 1 || v.UnknownPeers != 0 {
		t.Errorf("quorum is %+v with %d configurations and %d unknown peers; want 3 of 3 voters, 1 and 0",
			v.Quorum, v.Configurations, v.UnknownPeers)
	}
	if lag := v.LogLag["server-1"]; lag != 0 {
		t.Errorf("server-1 lags by %d entries behind another cluster's log; want 0", lag)
	}
}

// A server that was started with another name and no data at the address of a dead one: there is one leader, whom all
// name alike, and the old one's vote is lost.
func TestJudge_RenamedAtTheSameAddress(t *testing.T) {
	t.Parallel()
	renamed, dead := reporttest.Server(3), reporttest.Server(3)
	renamed.Name, renamed.ID = "server-9", "id-9"
	dead.Status, dead.Voter = cluster.StatusFailed, false
	notThere := cluster.Report{Server: dead, RPC: probe.RPCResult{Result: probe.Result{Reason: probe.ReasonRefused}}}
	reports := []cluster.Report{
		reporttest.Says(reporttest.Server(1), 3, 3, 10), reporttest.Says(reporttest.Server(2), 3, 3, 10),
		notThere, reporttest.Says(renamed, 3, 3, 10),
	}
	topology := topologyOf(reports, 2)
	topology.Peers = append(topology.Peers, cluster.RaftPeer{ID: "id-9", Address: renamed.RPCAddress, Voter: true})
	v := judgeOf(topology, reports)
	if !slices.Equal(v.Leadership.Leaders, []string{"server-9"}) || len(v.Leadership.Reported) != 1 ||
		v.Leadership.Reported[0].Leader != "server-9" {
		t.Errorf("leadership is %+v; want server-9 by all", v.Leadership)
	}
	if v.Quorum.Voters != 3 || v.Quorum.Reachable != 3 {
		t.Errorf("quorum is %+v; want 3 of 3 voters", v.Quorum)
	}
	if got := judgeOf(topologyOf(reports, 3), reports).UnknownPeers; got != 0 {
		t.Errorf("%d peers are unknown while the old name is a member; want 0", got)
	}
}

// The peer that a rebuilt server left behind at its own address is an unknown one, though a member has the address.
func TestJudge_LeftOverAtTheSameAddress(t *testing.T) {
	t.Parallel()
	rebuilt, left := reporttest.Server(3), reporttest.Strange(reporttest.Server(3))
	rebuilt.ID, left.Name = "id-9", "10.0.0.3:8300"
	reports := []cluster.Report{
		reporttest.Says(reporttest.Server(1), 1, 3, 10), reporttest.Says(reporttest.Server(2), 1, 3, 10),
		{Server: left, RPC: probe.RPCResult{Result: probe.Result{Reason: probe.ReasonRefused}}},
		reporttest.Says(reporttest.NonVoter(rebuilt), 1, 3, 10),
	}
	v := judgeOf(topologyOf(reports, 3), reports)
	if v.UnknownPeers != 1 || v.Quorum.Voters != 3 || v.Quorum.Reachable != 2 {
		t.Errorf("%d peers are unknown, quorum is %+v; want 1, and 2 of 3 voters", v.UnknownPeers, v.Quorum)
	}
}

// A peer that no member matches and that answers is no leftover: the agent knows only some of the members.
func TestJudge_AnsweringPeerWithoutMember(t *testing.T) {
	t.Parallel()
	reports := []cluster.Report{
		reporttest.Says(reporttest.Server(1), 1, 3, 10), reporttest.Says(reporttest.Strange(reporttest.Server(2)), 1, 3, 10),
		reporttest.Says(reporttest.Strange(reporttest.Server(3)), 1, 3, 10),
	}
	if v := judgeOf(topologyOf(reports, 3), reports); v.UnknownPeers != 0 || v.Quorum.Reachable != 3 {
		t.Errorf("%d peers are unknown, quorum is %+v; want 0, and 3 voters that answer", v.UnknownPeers, v.Quorum)
	}
}

// What autopilot says is joined by the node ID. A server that it says nothing about cannot be counted on.
func TestJudgeStop_AutopilotByID(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		second cluster.AutopilotServer
		want   string
	}{
		"the name lacks the datacenter": {cluster.AutopilotServer{ID: "id-2", Name: "server", Healthy: true}, ""},
		"and it is unhealthy": {
			cluster.AutopilotServer{ID: "id-2", Name: "server"}, "autopilot calls it unhealthy",
		},
		"another one has the name": {
			cluster.AutopilotServer{ID: "id-9", Name: "server-2", Healthy: true}, "autopilot does not know its node ID",
		},
	} {
		in := stopInput(of(3)...)
		in.Autopilot.Servers[1] = tc.second
		if _, got, err := JudgeReturn("server-2", in); got != tc.want || err != nil {
			t.Errorf("%s: the doubt is %q, error %v; want %q", name, got, err, tc.want)
		}
	}
}
