// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"maps"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

func member(name, addr, id string, status MemberStatus) Member {
	return Member{
		Name: name, Addr: addr, ID: id, Status: status, Role: "consul", Datacenter: "dc1", Version: "1.22.5", RPCPort: 8300,
	}
}

func TestNewTopology(t *testing.T) {
	t.Parallel()
	client := Member{Name: "client", Addr: "10.0.1.1", Status: StatusAlive, Role: "node"}
	replica := member("replica", "10.0.0.4", "id-4", StatusAlive)
	replica.NonVoter, replica.Version = true, "1.22.5+ent"
	members := []Member{
		client,
		member("b", "10.0.0.2", "id-2", StatusFailed),
		member("a", "10.0.0.1", "id-1", StatusAlive),
		member("gone", "10.0.0.3", "id-3", StatusLeft),
		replica,
		member("joining", "fd00::5", "id-5", StatusAlive),
	}
	peers := []RaftPeer{
		{ID: "id-1", Name: "a", Address: "10.0.0.1:8300", Voter: true},
		{ID: "id-2", Name: "b", Address: "10.0.0.2:8300", Voter: true},
		{ID: "id-4", Name: "replica", Address: "10.0.0.4:8300", Voter: false},
		{ID: "id-9", Address: "10.0.0.9:8300", Voter: true},
	}
	srv := func(name, id, host, address, version string, status MemberStatus, voter bool) Server {
		s := Server{Name: name, ID: id, Host: host, RPCAddress: address, Version: version, Status: status, Voter: voter}
		if status != StatusNone {
			s.Datacenter = "dc1"
		}
		return s
	}
	srvA := srv("a", "id-1", "10.0.0.1", "10.0.0.1:8300", "1.22.5", StatusAlive, true)
	srvB := srv("b", "id-2", "10.0.0.2", "10.0.0.2:8300", "1.22.5", StatusFailed, true)
	srvReplica := srv("replica", "id-4", "10.0.0.4", "10.0.0.4:8300", "1.22.5+ent", StatusAlive, false)
	srvReplica.Replica = true
	states := map[MemberStatus]int{StatusAlive: 3, StatusFailed: 1, StatusLeft: 1}

	for _, tc := range []struct {
		name    string
		members []Member
		peers   []RaftPeer
		want    Topology
	}{
		{"nothing known", nil, nil, Topology{}},
		{"members and Raft", members, peers, Topology{
			MembersKnown: true, RaftKnown: true, Peers: peers, ServerStates: states,
			Servers: []Server{
				srv("10.0.0.9:8300", "id-9", "10.0.0.9", "10.0.0.9:8300", "", StatusNone, true), srvA, srvB,
				srv("joining", "id-5", "fd00::5", "[fd00::5]:8300", "1.22.5", StatusAlive, false), srvReplica,
			},
		}},
		{"members only: all but replicas are taken for voters", members[1:3], nil, Topology{
			MembersKnown: true, ServerStates: map[MemberStatus]int{StatusAlive: 1, StatusFailed: 1},
			Servers: []Server{srvA, srvB},
		}},
		{"members and addresses only", []Member{members[2], replica}, []RaftPeer{
			{Address: "10.0.0.1:8300", Voter: true}, {Address: "10.0.0.4:8300", Voter: true, VoterAssumed: true},
		}, Topology{
			MembersKnown: true, RaftKnown: true, ServerStates: map[MemberStatus]int{StatusAlive: 2},
			Peers: []RaftPeer{
				{Address: "10.0.0.1:8300", Voter: true}, {Address: "10.0.0.4:8300", Voter: true, VoterAssumed: true},
			},
			Servers: []Server{srvA, srvReplica},
		}},
		{"addresses only", nil, []RaftPeer{{Address: "10.0.0.1:8300", Voter: true}}, Topology{
			RaftKnown: true, Peers: []RaftPeer{{Address: "10.0.0.1:8300", Voter: true}},
			Servers: []Server{srv("10.0.0.1:8300", "", "10.0.0.1", "10.0.0.1:8300", "", StatusNone, true)},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			expectSame(t, "topology", tc.want, newTopology(tc.members, tc.peers))
		})
	}
}

func TestNewMember(t *testing.T) {
	t.Parallel()
	for build, want := range map[string]struct {
		version  string
		nonVoter bool
	}{
		"1.22.5:abcdef":     {"1.22.5", false}, // The community edition ignores it.
		"1.22.5+ent:abcdef": {"1.22.5+ent", true},
	} {
		got := newMember(&api.AgentMember{
			Name: "sérver", Addr: "10.0.0.1", Status: 4,
			Tags: map[string]string{
				"role": "consul", "dc": "dc1", "id": "id-1", "port": "8300", "build": build, "read_replica": "1",
			},
		})
		expected := member("sérver", "10.0.0.1", "id-1", StatusFailed)
		expected.Version, expected.NonVoter = want.version, want.nonVoter
		expectSame(t, "member", expected, got)
	}
}

func TestServesOthers(t *testing.T) {
	t.Parallel()
	server := func(advertised string, bound ...string) Agent {
		return Agent{Server: true, AdvertiseAddr: advertised, ClientAddrs: bound}
	}
	httpApart := server("10.0.0.1", "0.0.0.0")
	httpApart.bound = map[Protocol][]string{ProtocolHTTP: {"127.0.0.1"}}
	for _, tc := range []struct {
		name   string
		agent  Agent
		server string
		want   bool
	}{
		{"server on all addresses", server("10.0.0.1", "0.0.0.0"), "localhost:8500", true},
		{"server on all addresses of IPv6", server("fd00::1", "::"), "localhost:8500", true},
		{"server on its own address", server("10.0.0.1", "127.0.0.1", "10.0.0.1"), "localhost:8500", true},
		{"server on another interface", server("10.0.0.1", "127.0.0.1", "192.168.0.1"), "192.168.0.1:8500", false},
		{"server on loopback", server("10.0.0.1", "127.0.0.1", "::1"), "localhost:8500", false},
		{"cluster on loopback addresses", server("127.5.0.1", "127.5.0.1"), "127.5.0.1:8500", true},
		{"HTTP apart from the rest", httpApart, "localhost:8500", false},
		{"client", Agent{ClientAddrs: []string{"0.0.0.0"}}, "localhost:8500", false},
		{"through a socket", server("10.0.0.1", "0.0.0.0"), "unix:///s", false},
		{"through a proxy's path", server("10.0.0.1", "0.0.0.0"), "http://proxy/consul", false},
		{"on a socket", server("10.0.0.1", "unix:///s"), "localhost:8500", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			address := must.Get(consul.ParseAddress(tc.server))(t)
			if got := servesOthers(address, tc.agent, protocolOf(address)); got != tc.want {
				t.Errorf("servesOthers = %v; want %v", got, tc.want)
			}
		})
	}
}

func TestNewAgent(t *testing.T) {
	t.Parallel()
	stats := map[string]string{
		"state": "Candidate", "term": "7", "commit_index": "20", "applied_index": "19", "fsm_pending": "1",
		"last_snapshot_index": "10", "last_snapshot_term": "2",
	}
	with := func(name, value string) *agentSelf {
		self := &agentSelf{}
		self.Config.NodeName = "a"
		self.Stats.Raft = maps.Clone(stats)
		if name != "" {
			self.Stats.Raft[name] = value
		}
		return self
	}
	want := RaftStats{
		State: RaftCandidate, Term: 7, CommitIndex: 20, AppliedIndex: 19, FSMPending: 1,
		LastSnapshotIndex: 10, LastSnapshotTerm: 2,
	}
	expectSame(t, "figures", &want, must.Get(newAgent(with("", "")))(t).Raft)
	if got, err := newAgent(with("state", "Levitating")); err != nil || got.Raft.State != RaftUnknown {
		t.Errorf("state of a later Consul: %v, %v; want unknown", got.Raft, err)
	}
	if _, err := newAgent(with("term", "many")); err == nil {
		t.Error("no error for a figure that is no number")
	}
	if _, err := newAgent(&agentSelf{}); err == nil {
		t.Error("no error for an answer without a node name")
	}
}

// Where the token's rights leave members out, nobody is known to be no member.
func TestKnown_FilteredMembers(t *testing.T) {
	t.Parallel()
	members := []Member{member("a", "10.0.0.1", "id-1", StatusAlive)}
	peers := []RaftPeer{peer("id-1", "10.0.0.1:8300"), peer("id-2", "10.0.0.2:8300")}
	for _, filtered := range []bool{false, true} {
		k := known{}.with(members, filtered, peers)
		if topology := k.topology(); topology.MembersKnown == filtered || (topology.ServerStates != nil) == filtered {
			t.Errorf("filtered: %t: members are known: %t, states %v", filtered, topology.MembersKnown, topology.ServerStates)
		}
	}
}
