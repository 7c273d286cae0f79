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
	up, skipped := probe.Result{Up: true}, probe.Result{Skipped: true}
	hangs := probe.Result{Reason: probe.ReasonTimeout, Phases: asking}
	silent := probe.Result{Reason: probe.ReasonTimeout, Phases: connecting}
	accepts := port(cluster.ProtocolSerfLAN, "tcp", up)
	accepts.Serf.Encrypted = true
	notAsked := rpc(skipped)
	notAsked.Note = "mesh is off"
	for _, tc := range []struct {
		name       string
		ports      []cluster.PortReport
		states     []PortState
		hung, down bool
	}{
		{"answers", []cluster.PortReport{rpc(up)}, []PortState{PortUp}, false, false},
		{"hung", []cluster.PortReport{rpc(hangs), http(silent)}, []PortState{PortHangs, PortDown}, true, false},
		{"hung, and accepts", []cluster.PortReport{rpc(hangs), accepts}, []PortState{PortHangs, PortAccepts}, true, false},
		{"down", []cluster.PortReport{rpc(silent), http(skipped)}, []PortState{PortDown, PortUnknown}, false, true},
		{"down, and accepts", []cluster.PortReport{rpc(silent), accepts}, []PortState{PortDown, PortAccepts}, false, false},
		{"answers elsewhere", []cluster.PortReport{rpc(hangs), http(up)}, []PortState{PortHangs, PortUp}, false, false},
		{
			"rejects",
			[]cluster.PortReport{rpc(silent), http(probe.Result{Reason: probe.ReasonLimit})},
			[]PortState{PortDown, PortDown},
			false, false,
		},
		{"not probed", []cluster.PortReport{notAsked}, []PortState{PortNotAsked}, false, false},
		{
			"UDP cannot hang",
			[]cluster.PortReport{rpc(silent), port(cluster.ProtocolDNS, "udp", hangs)},
			[]PortState{PortDown, PortDown},
			false, true,
		},
		{"port 8300 by its report", []cluster.PortReport{http(silent)}, []PortState{PortDown, PortDown}, false, true},
	} {
		slices.Reverse(tc.ports)
		s := JudgeServers([]cluster.Report{reporttest.Silent(reporttest.Server(1))}, tc.ports, nil, nil)[0]
		var states []PortState
		for _, p := range s.Ports {
			states = append(states, p.State)
		}
		if !slices.Equal(states, tc.states) || s.Hung != tc.hung || s.Down != tc.down {
			t.Errorf("%s: ports are %q, hung is %v, down is %v; want %q, %v, %v",
				tc.name, states, s.Hung, s.Down, tc.states, tc.hung, tc.down)
		}
	}
}

// What a server reports over HTTP and what autopilot reports about it are joined with what its port 8300 tells.
func TestJudgeServers_Join(t *testing.T) {
	t.Parallel()
	one, two, three := reporttest.Server(1), reporttest.Server(2), reporttest.Server(3)
	servers := JudgeServers(
		[]cluster.Report{reporttest.Says(one, 1, 3, 9), reporttest.Says(two, 1, 3, 9), reporttest.Says(three, 0, 3, 9)}, nil,
		map[string]cluster.Agent{"server-3": {Raft: &cluster.RaftStats{State: cluster.RaftCandidate}}},
		&cluster.AutopilotState{Servers: []cluster.AutopilotServer{{Name: "server-2", Healthy: true}}},
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
