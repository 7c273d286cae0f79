// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"slices"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// The state of each port, and what a server's ports say about it together.
func TestJudgeServers(t *testing.T) {
	t.Parallel()
	connecting := []probe.PhaseDuration{{Phase: probe.PhaseConnect}}
	asking := append(slices.Clone(connecting), probe.PhaseDuration{Phase: probe.PhaseRequest})
	port := func(protocol cluster.Protocol, transport string, r probe.Result) cluster.PortReport {
		return cluster.PortReport{Port: cluster.Port{Server: "server-1", Protocol: protocol, Transport: transport}, Result: r}
	}
	rpc := func(r probe.Result) cluster.PortReport { return port(cluster.ProtocolRPC, "tcp", r) }
	http := func(r probe.Result) cluster.PortReport { return port(cluster.ProtocolHTTP, "tcp", r) }
	up, skipped, rejects := probe.Result{Up: true}, probe.Result{Skipped: true}, probe.Result{Reason: probe.ReasonLimit}
	hangs := probe.Result{Reason: probe.ReasonTimeout, Phases: asking}
	silent := probe.Result{Reason: probe.ReasonTimeout, Phases: connecting}
	udp, accepts := port(cluster.ProtocolDNS, "udp", hangs), port(cluster.ProtocolSerfLAN, "tcp", up)
	accepts.Serf.Encrypted = true
	heldBack := probe.NotMade(probe.ErrHeldBack)
	notAsked := rpc(skipped)
	notAsked.Note = "mesh is off"
	type (
		ports  = []cluster.PortReport
		states = []PortState
	)
	for _, tc := range []struct {
		name       string
		ports      ports
		states     states
		hung, down bool
	}{
		{"answers", ports{rpc(up)}, states{PortUp}, false, false},
		{"hung", ports{rpc(hangs), http(silent)}, states{PortHangs, PortDown}, true, false},
		{"hung, and accepts", ports{rpc(hangs), accepts}, states{PortHangs, PortAccepts}, true, false},
		{"down", ports{rpc(silent), http(skipped)}, states{PortDown, PortUnknown}, false, true},
		{"down, and accepts", ports{rpc(silent), accepts}, states{PortDown, PortAccepts}, false, false},
		{"answers elsewhere", ports{rpc(hangs), http(up)}, states{PortHangs, PortUp}, false, false},
		{"rejects", ports{rpc(silent), http(rejects)}, states{PortDown, PortTurnedAway}, false, false},
		{"hung, and rejected before", ports{rpc(hangs), http(heldBack)}, states{PortHangs, PortTurnedAway}, true, false},
		{"down, and rejected before", ports{rpc(silent), http(heldBack)}, states{PortDown, PortTurnedAway}, false, true},
		{"rejected before on port 8300", ports{rpc(heldBack), http(hangs)}, states{PortTurnedAway, PortHangs}, false, false},
		{"not probed", ports{notAsked}, states{PortNotAsked}, false, false},
		{"UDP cannot hang", ports{rpc(silent), udp}, states{PortDown, PortDown}, false, true},
		{"port 8300 by its report", ports{http(silent)}, states{PortDown, PortDown}, false, true},
	} {
		slices.Reverse(tc.ports)
		s := JudgeServers([]cluster.Report{reporttest.Silent(reporttest.Server(1))}, tc.ports, nil, nil)[0]
		var got states
		for _, p := range s.Ports {
			got = append(got, p.State)
		}
		if !slices.Equal(got, tc.states) || s.Hung != tc.hung || s.Down != tc.down {
			t.Errorf("%s: ports are %q, hung is %v, down is %v; want %q, %v, %v",
				tc.name, got, s.Hung, s.Down, tc.states, tc.hung, tc.down)
		}
	}
}

// What a server reports over HTTP and what autopilot reports about it are joined with what its port 8300 tells.
func TestJudgeServers_Join(t *testing.T) {
	t.Parallel()
	one, two, three := reporttest.Server(1), reporttest.Server(2), reporttest.Server(3)
	servers := JudgeServers(
		[]cluster.Report{reporttest.Says(one, 1, 3, 9), reporttest.Says(two, 1, 3, 9), reporttest.Says(three, 0, 3, 9)}, nil,
		map[string]cluster.Agent{"id-3": {Raft: &cluster.RaftStats{State: cluster.RaftCandidate}}},
		&cluster.AutopilotState{Servers: []cluster.AutopilotServer{{ID: "id-2", Name: "server-2", Healthy: true}}},
	)
	var states []cluster.RaftState
	var leaders []string
	for _, s := range servers {
		states, leaders = append(states, s.RaftState()), append(leaders, s.Leader)
	}
	wantStates := []cluster.RaftState{cluster.RaftLeader, cluster.RaftFollower, cluster.RaftCandidate}
	if !slices.Equal(states, wantStates) || !slices.Equal(leaders, []string{"server-1", "server-1", ""}) {
		t.Errorf("states are %q, leaders %q", states, leaders)
	}
	if healthy := servers[1].AutopilotHealthy; healthy == nil || !*healthy || servers[0].AutopilotHealthy != nil {
		t.Errorf("autopilot reports %v and %v; want nothing about server-1, and server-2 to be healthy",
			servers[0].AutopilotHealthy, healthy)
	}
}
