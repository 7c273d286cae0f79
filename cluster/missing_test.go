// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// brief is what a topology says of a server in this test.
type brief struct {
	Name, ID string
	Status   MemberStatus
	Voter    bool
	How      Departure
	Since    time.Time
	Unprobed string
}

func TestTopology_Remember(t *testing.T) {
	t.Parallel()
	now, earlier := time.Unix(2000, 0), time.Unix(1000, 0)
	before := func(name, id, host string, last MemberStatus) Server {
		s := newServer(member(name, host, id, last))
		return s
	}
	missing := func(name, id, host string, how Departure) Server {
		s := before(name, id, host, StatusAlive)
		s.Absence = &Absence{How: how, Since: earlier}
		return s
	}
	a := member("a", "10.0.0.1", "id-1", StatusAlive)
	peerA := RaftPeer{ID: "id-1", Name: "a", Address: "10.0.0.1:8300", Voter: true}
	isA := brief{Name: "a", ID: "id-1", Status: StatusAlive, Voter: true}
	for _, tc := range []struct {
		name       string
		members    []Member
		peers      []RaftPeer
		remembered []Server
		want       []brief
	}{
		{
			"nothing is known now", nil, nil,
			[]Server{missing("c", "id-3", "10.0.0.3", DepartureRemoved)},
			[]brief{
				{Name: "a", ID: "id-1", Voter: true}, {Name: "c", ID: "id-3", How: DepartureRemoved, Since: earlier},
			},
		},
		{
			"gone in each way",
			[]Member{a},
			[]RaftPeer{peerA},
			[]Server{
				before("alive", "id-2", "10.0.0.2", StatusAlive), before("failed", "id-3", "10.0.0.3", StatusFailed),
				before("leaving", "id-4", "10.0.0.4", StatusLeaving), missing("long", "id-5", "10.0.0.5", DepartureRemoved),
			},
			[]brief{
				isA,
				{Name: "alive", ID: "id-2", How: DepartureGone, Since: now},
				{Name: "failed", ID: "id-3", How: DepartureRemoved, Since: now},
				{
					Name: "leaving", ID: "id-4", How: DepartureLeft, Since: now,
					Unprobed: "the server left the cluster in order",
				},
				{Name: "long", ID: "id-5", How: DepartureRemoved, Since: earlier},
			},
		},
		{
			"left in Serf",
			[]Member{a, member("b", "10.0.0.2", "id-2", StatusLeft)},
			[]RaftPeer{peerA},
			[]Server{before("b", "id-2", "10.0.0.2", StatusFailed)},
			[]brief{isA, {Name: "b", ID: "id-2", Status: StatusLeft, How: DepartureRemoved, Since: now}},
		},
		{
			"failed in Serf, and no peer",
			[]Member{a, member("b", "10.0.0.2", "id-2", StatusFailed)},
			[]RaftPeer{peerA},
			[]Server{before("b", "id-2", "10.0.0.2", StatusAlive)},
			[]brief{isA, {Name: "b", ID: "id-2", Status: StatusFailed, How: DepartureRemoved, Since: now}},
		},
		{
			"failed in Serf, and a peer",
			[]Member{a, member("b", "10.0.0.2", "id-2", StatusFailed)},
			[]RaftPeer{peerA, {ID: "id-2", Address: "10.0.0.2:8300", Voter: true}},
			[]Server{missing("b", "id-2", "10.0.0.2", DepartureGone)},
			[]brief{isA, {Name: "b", ID: "id-2", Status: StatusFailed, Voter: true}},
		},
		{
			"back without a vote",
			[]Member{a, member("b", "10.0.0.2", "id-2", StatusAlive)},
			[]RaftPeer{peerA},
			[]Server{missing("b", "id-2", "10.0.0.2", DepartureGone)},
			[]brief{isA, {Name: "b", ID: "id-2", Status: StatusAlive}},
		},
		{
			"another server has its address",
			[]Member{a},
			[]RaftPeer{peerA},
			[]Server{missing("old", "id-9", "10.0.0.1", DepartureGone)},
			[]brief{isA, {
				Name: "old", ID: "id-9", How: DepartureGone, Since: earlier, Unprobed: "another server has this address now",
			}},
		},
		{
			"another server has its name",
			[]Member{a},
			[]RaftPeer{peerA},
			[]Server{missing("a", "id-9", "10.0.0.9", DepartureGone)},
			[]brief{isA},
		},
		{
			"a Raft configuration without IDs",
			[]Member{a},
			[]RaftPeer{{Address: "10.0.0.1:8300", Voter: true}, {Address: "10.0.0.2:8300", Voter: true}},
			[]Server{before("b", "id-2", "10.0.0.2", StatusAlive)},
			[]brief{isA, {Name: "b", ID: "id-2", Voter: true}},
		},
		{
			"a Raft configuration without IDs, and a missing server at the same address",
			[]Member{a},
			[]RaftPeer{{Address: "10.0.0.1:8300", Voter: true}, {Address: "10.0.0.2:8300", Voter: true}},
			[]Server{missing("old", "id-9", "10.0.0.2", DepartureRemoved), before("b", "id-2", "10.0.0.2", StatusAlive)},
			[]brief{
				isA, {Name: "b", ID: "id-2", Voter: true}, {Name: "old", ID: "id-9", How: DepartureRemoved, Since: earlier},
			},
		},
		{
			"a Raft configuration without IDs, and only a missing server at the same address",
			[]Member{a},
			[]RaftPeer{{Address: "10.0.0.1:8300", Voter: true}, {Address: "10.0.0.2:8300", Voter: true}},
			[]Server{missing("old", "id-9", "10.0.0.2", DepartureRemoved)},
			[]brief{
				{Name: "10.0.0.2:8300", Voter: true},
				isA,
				{Name: "old", ID: "id-9", How: DepartureRemoved, Since: earlier},
			},
		},
		{
			"no Raft configuration",
			[]Member{a},
			nil,
			[]Server{before("b", "id-2", "10.0.0.2", StatusFailed)},
			[]brief{isA, {Name: "b", ID: "id-2", Voter: true}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			topology := newTopology(tc.members, tc.peers)
			itself := before("a", "id-1", "10.0.0.1", StatusAlive) // Or the memory would be another cluster's.
			topology.remember(append(tc.remembered, itself), tc.members, now)
			var got []brief
			for _, s := range topology.Servers {
				b := brief{Name: s.Name, ID: s.ID, Status: s.Status, Voter: s.Voter, Unprobed: s.unprobed()}
				if s.Absence != nil {
					b.How, b.Since = s.Absence.How, s.Absence.Since
				}
				got = append(got, b)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("servers (-want +got):\n%s", diff)
			}
		})
	}
}

// The servers of another cluster are not missing in this one: a state file was mixed up.
func TestTopology_RememberAnother(t *testing.T) {
	t.Parallel()
	voter := newServer(member("x", "10.0.0.8", "id-8", StatusAlive))
	other := newServer(member("y", "10.0.0.9", "id-9", StatusAlive))
	other.Voter = false
	gone := other
	gone.Absence = &Absence{How: DepartureRemoved, Voter: true}
	known := newServer(member("a", "10.0.0.1", "id-1", StatusAlive))
	own := []RaftPeer{{ID: "id-1", Address: "10.0.0.1:8300", Voter: true}}
	for _, tc := range []struct {
		name       string
		peers      []RaftPeer
		remembered []Server
		another    bool
	}{
		{"voters of another one", own, []Server{voter, other}, true},
		{"a missing voter of another one", own, []Server{other, gone}, true},
		{"this one's", own, []Server{voter, known}, false},
		{"no voter", own, []Server{other}, false},
		{"a configuration without IDs", []RaftPeer{{Address: "10.0.0.1:8300", Voter: true}}, []Server{voter}, false},
		{"no configuration", nil, []Server{voter}, false},
		{"no memory", own, nil, false},
	} {
		topology := newTopology([]Member{member("a", "10.0.0.1", "id-1", StatusAlive)}, tc.peers)
		topology.remember(tc.remembered, nil, time.Unix(1, 0))
		stranger := slices.ContainsFunc(topology.Servers, func(s Server) bool { return s.ID == "id-8" || s.ID == "id-9" })
		if topology.Strangers(tc.remembered) != tc.another || (tc.another && stranger) {
			t.Errorf("%s: another cluster's %v, servers %+v; want %v", tc.name, topology.Strangers(tc.remembered),
				topology.Servers, tc.another)
		}
	}
}

// A missing server is probed on its ports for servers, unless another one has its address or it left in order.
func TestPlan_Missing(t *testing.T) {
	t.Parallel()
	server := func(name, host string, absence *Absence) Server {
		s := newServer(member(name, host, "id-"+name, StatusAlive))
		s.LANPort, s.WANPort, s.Absence = 8301, 8302, absence
		if absence != nil {
			s.Status = StatusNone
		}
		return s
	}
	pl := &planner{
		agent: &Agent{Name: "a", ID: "id-a", Datacenter: "dc1", Server: true, AdvertiseAddr: "10.0.0.1"},
		topology: Topology{Servers: []Server{
			server("a", "10.0.0.1", nil), server("gone", "10.0.0.2", &Absence{How: DepartureGone}),
			server("left", "10.0.0.3", &Absence{How: DepartureLeft}),
			server("old", "10.0.0.1", &Absence{How: DepartureGone, Succeeded: true}),
		}},
	}
	want := []string{
		"a rpc/tcp 10.0.0.1:8300", "a serf_lan/tcp+udp 10.0.0.1:8301", "a serf_wan/tcp+udp 10.0.0.1:8302",
		"gone rpc/tcp 10.0.0.2:8300", "gone serf_lan/tcp+udp 10.0.0.2:8301", "gone serf_wan/tcp+udp 10.0.0.2:8302 tentative",
		"left rpc/tcp 10.0.0.3:8300 unasked:departed", "old rpc/tcp 10.0.0.1:8300 unasked:departed",
	}
	if diff := cmp.Diff(want, planned(pl.ports())); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}

// A server that was taken out of the cluster and answers has an old configuration, which decides nothing although the
// voters are silent for this exporter.
func TestTopology_DecidedWithoutMissing(t *testing.T) {
	t.Parallel()
	address := func(id string) string { return "10.0.0." + id + ":8300" }
	t1 := newTopology([]Member{member("1", "10.0.0.1", "id-1", StatusAlive), member("4", "10.0.0.4", "id-4", StatusAlive)},
		[]RaftPeer{peer("id-1", address("1")), peer("id-4", address("4"))})
	t1.remember([]Server{
		newServer(member("1", "10.0.0.1", "id-1", StatusAlive)), newServer(member("3", "10.0.0.3", "id-3", StatusFailed)),
	}, nil, time.Unix(1, 0))
	var reports []Report
	for _, s := range t1.Servers {
		r := Report{Server: s}
		if s.ID == "id-3" {
			r.RPC.Up = true
			r.RPC.Raft.StatsKnown, r.RPC.Raft.LeaderKnown, r.RPC.Raft.PeersKnown = true, true, true
			r.RPC.Raft.Peers = []string{address("1"), address("3")}
		}
		reports = append(reports, r)
	}
	for _, s := range t1.decided(reports).Servers {
		if s.Voter == (s.ID == "id-3") || s.Missing() != (s.ID == "id-3") {
			t.Errorf("%s votes: %t, is missing: %t; want only 3 to be missing, without a vote", s.Name, s.Voter, s.Missing())
		}
	}
}

// While no agent says who the members are, a voter that is not in the Raft configuration of a leader's followers and
// does not answer is missing. One that answers, or turns the exporter away, is alive.
func TestTopology_MarkDropped(t *testing.T) {
	t.Parallel()
	now, earlier := time.Unix(2000, 0), time.Unix(1000, 0)
	address := func(id string) string { return "10.0.0." + id + ":8300" }
	gone := newServer(member("3", "10.0.0.3", "id-3", StatusFailed))
	missing, replica := gone, gone
	removed := &Absence{How: DepartureRemoved, Since: now, Voter: true}
	missing.Voter, missing.Absence = false, &Absence{How: DepartureGone, Since: earlier}
	replica.Voter = false
	refused := probe.Result{Reason: probe.ReasonRefused}
	for name, tc := range map[string]struct {
		before Server
		leader string
		result probe.Result
		want   *Absence
	}{
		"a voter that is gone":              {gone, address("1"), refused, removed},
		"one that was missing before":       {missing, address("1"), refused, &Absence{How: DepartureGone, Since: earlier}},
		"missing before, and turns us away": {missing, address("1"), probe.Result{Reason: probe.ReasonTLS}, missing.Absence},
		"it turns us away":                  {gone, address("1"), probe.Result{Reason: probe.ReasonTLS}, nil},
		"it answers":                        {gone, address("1"), probe.Result{Up: true}, nil},
		"it had no vote":                    {replica, address("1"), refused, nil},
		"nobody leads":                      {gone, "", refused, nil},
	} {
		var members []Member
		var peers []RaftPeer
		for _, id := range []string{"1", "2", "3"} {
			members = append(members, member(id, "10.0.0."+id, "id-"+id, StatusAlive))
			peers = append(peers, peer("id-"+id, address(id)))
		}
		topology := newTopology(members, peers)
		var reports []Report
		for _, s := range topology.Servers {
			r := Report{Server: s, RPC: probe.RPCResult{Result: tc.result}}
			if s.ID != "id-3" {
				r.RPC = probe.RPCResult{Result: probe.Result{Up: true}, Raft: probe.RaftView{
					StatsKnown: true, LeaderKnown: true, PeersKnown: true, Leader: tc.leader,
					Peers: []string{address("1"), address("2")},
				}}
			}
			reports = append(reports, r)
		}
		topology = topology.decided(reports)
		topology.markDropped(reports, []Server{tc.before}, now)
		for _, s := range topology.Servers {
			var want *Absence
			if s.ID == "id-3" {
				want = tc.want
			}
			if diff := cmp.Diff(want, s.Absence); diff != "" {
				t.Errorf("%s: absence of %s (-want +got):\n%s", name, s.Name, diff)
			}
		}
	}
}

// While no agent answers, a server that is remembered is spoken to as its tag said: plain text to one that wants TLS is
// a warning in its log, and no answer.
func TestPlan_RememberedTLS(t *testing.T) {
	t.Parallel()
	for _, usesTLS := range []bool{true, false} {
		remembered := member("a", "10.0.0.1", "id-1", StatusAlive)
		remembered.LANPort, remembered.UsesTLS = 8301, usesTLS
		s := newServer(remembered)
		var t1 Topology
		t1.remember([]Server{s}, nil, time.Unix(1, 0))
		pl := &planner{topology: t1, configured: consul.Address{Scheme: "http"}}
		if got := pl.rpcTLS(t1.Servers[0]); got != usesTLS {
			t.Errorf("TLS is spoken: %t; want %t", got, usesTLS)
		}
	}
}

// Before the agent has said how gossip is, nothing is asked of gossip ports, and of port 8300 only what is asked with
// the agent's settings as well.
func TestPlan_Early(t *testing.T) {
	t.Parallel()
	verified := &tls.Config{RootCAs: x509.NewCertPool()}
	for _, tc := range []struct {
		name   string
		config *tls.Config
		mode   RPCTLS
		agent  *Agent
		scheme string
		want   []string
	}{
		{"plain", nil, RPCTLSAuto, nil, "http", []string{"plain rpc"}},
		{"plain, HTTPS", nil, RPCTLSAuto, nil, "https", []string{"plain rpc"}},
		{"authority", verified, RPCTLSAuto, nil, "http", []string{"tls rpc"}},
		{"off", nil, RPCTLSOff, nil, "http", []string{"plain rpc", "tls rpc"}},
		{"on", verified, RPCTLSOn, nil, "http", []string{"plain rpc", "tls rpc"}},
		{"known", nil, RPCTLSAuto, &Agent{}, "http", []string{"plain rpc", "plain serf_lan", "tls rpc", "tls serf_lan"}},
	} {
		var servers []Server
		for i, name := range []string{"plain", "tls"} {
			s := newServer(member(name, fmt.Sprint("10.0.0.", i+1), "id-"+name, StatusAlive))
			s.LANPort, s.Status, s.UsesTLS = 8301, StatusNone, name == "tls"
			servers = append(servers, s)
		}
		pl := &planner{
			opts: PortOptions{RPCTLS: tc.mode}, rpcConfig: tc.config, agent: tc.agent, topology: Topology{Servers: servers},
			configured: consul.Address{Scheme: tc.scheme},
		}
		var got []string
		for _, p := range pl.early(pl.ports()) {
			if p.Transport == TransportTCP {
				got = append(got, fmt.Sprint(p.Server, " ", p.Protocol))
			}
		}
		expectSame(t, tc.name, tc.want, got)
	}
}
