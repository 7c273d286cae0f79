// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// Servers may have other ports, or other numbers for them, and the agent is shown if it is none of them.
func TestView_Matrix(t *testing.T) {
	t.Parallel()
	type ports = []status.PortStatus
	port := func(number int, protocol cluster.Protocol, transport string) status.PortStatus {
		return status.PortStatus{Port: number, Protocol: protocol, Transport: transport, State: verdict.PortUp}
	}
	v := status.View{
		Servers: []status.ServerStatus{
			{Name: "a", Ports: ports{port(8300, cluster.ProtocolRPC, "tcp"), port(8600, cluster.ProtocolDNS, "udp")}},
			{Name: "b", Ports: ports{port(8310, cluster.ProtocolRPC, "tcp")}},
		},
		Agent: status.AgentStatus{
			Address: "http://10.0.0.9:8500", Ports: ports{port(8500, cluster.ProtocolHTTP, "tcp")},
		},
	}
	m := v.Matrix()
	wantColumns := []status.Column{
		{cluster.ProtocolRPC, "tcp", 0}, {cluster.ProtocolHTTP, "tcp", 8500}, {cluster.ProtocolDNS, "udp", 8600},
	}
	if diff := cmp.Diff(wantColumns, m.Columns); diff != "" {
		t.Errorf("columns differ (-want +got):\n%s", diff)
	}
	got := make(map[string][]string)
	for _, r := range m.Rows {
		for _, p := range r.Ports {
			name := "-"
			if p != nil {
				name = p.Name()
			}
			got[r.Name] = append(got[r.Name], name)
		}
	}
	want := map[string][]string{
		"a": {"8300", "-", "8600/udp"}, "b": {"8310", "-", "-"}, "http://10.0.0.9:8500": {"-", "8500", "-"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows differ (-want +got):\n%s", diff)
	}
}

// Only states that are in the matrix are explained, each once, and all but the plain answer have an explanation.
func TestMatrix_Meanings(t *testing.T) {
	t.Parallel()
	states := func(states ...verdict.PortState) status.Matrix {
		row := status.Row{Ports: []*status.PortStatus{nil}}
		for _, s := range states {
			row.Ports = append(row.Ports, &status.PortStatus{State: s})
		}
		return status.Matrix{Rows: []status.Row{row, row}}
	}
	for _, tc := range []struct{ has, want []verdict.PortState }{
		{[]verdict.PortState{verdict.PortUp}, nil},
		{
			[]verdict.PortState{verdict.PortUp, verdict.PortUnknown, verdict.PortHangs},
			[]verdict.PortState{verdict.PortHangs, verdict.PortUnknown},
		},
		{
			[]verdict.PortState{verdict.PortNotAsked, verdict.PortAccepts, verdict.PortTurnedAway, verdict.PortDown},
			[]verdict.PortState{verdict.PortDown, verdict.PortTurnedAway, verdict.PortAccepts, verdict.PortNotAsked},
		},
	} {
		var got []verdict.PortState
		for _, m := range states(tc.has...).Meanings() {
			got = append(got, m.State)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%v: explained states differ (-want +got):\n%s", tc.has, diff)
		}
	}
}

// Ports of a server that fail for the same reason share a line, and so do those that are not asked and say the same.
func TestView_PortTroubles(t *testing.T) {
	t.Parallel()
	v := status.View{Servers: []status.ServerStatus{{Name: "a", Ports: []status.PortStatus{
		{
			Port: 8300, Transport: "tcp", State: verdict.PortHangs, Reason: "timeout",
			Error: "read tcp 10.0.0.1:1->10.0.0.2:8300: i/o timeout",
		},
		{Port: 8301, Transport: "udp", State: verdict.PortDown, Reason: "timeout", Error: "no answer"},
		{
			Port: 8302, Transport: "tcp", State: verdict.PortDown, Reason: "refused",
			Error: "connect: dial tcp 10.0.0.2:8302: connect: connection refused",
		},
		{Port: 8500, Transport: "tcp", State: verdict.PortUp},
		{Port: 8502, Transport: "tcp", State: verdict.PortNotAsked, Note: "mesh is off"},
		{Port: 8503, Transport: "tcp", State: verdict.PortNotAsked, Note: "mesh is off"},
		{Port: 8600, Transport: "tcp", State: verdict.PortUnknown, Reason: "held_back", Error: "not asked again yet"},
	}}}}
	want := []status.PortTrouble{
		{"a", []string{"8300", "8301/udp"}, verdict.PortHangs, "timeout", "i/o timeout", false},
		{"a", []string{"8302"}, verdict.PortDown, "refused", "connect: connection refused", false},
		{"a", []string{"8502", "8503"}, verdict.PortNotAsked, "", "mesh is off", true},
		{"a", []string{"8600"}, verdict.PortUnknown, "held_back", "not asked again yet", false},
	}
	if diff := cmp.Diff(want, v.PortTroubles()); diff != "" {
		t.Errorf("troubles differ (-want +got):\n%s", diff)
	}
	var why []string
	for _, t := range v.PortTroubles() {
		why = append(why, t.Why())
	}
	wantWhy := []string{
		"there was no response in time", "nothing listens there: the connection was refused", "mesh is off",
		"the server turned the exporter away before, so the next probe waits",
	}
	if diff := cmp.Diff(wantWhy, why); diff != "" {
		t.Errorf("reasons in plain words differ (-want +got):\n%s", diff)
	}
}
