// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/probe"
)

// summary is what a server is in a word: its name, ID, address, Serf status, and whether it votes.
func summary(servers []Server) (lines []string) {
	for _, s := range servers {
		vote := "no vote"
		if s.Voter {
			vote = "votes"
		}
		lines = append(lines, fmt.Sprintf("%s id=%s %s %s %s", s.Name, s.ID, s.RPCAddress, s.Status, vote))
	}
	return lines
}

func on(m Member, port int) Member {
	m.RPCPort = port
	return m
}

func peer(id, address string) RaftPeer { return RaftPeer{ID: id, Address: address, Voter: true} }

// Name, node ID, address and Raft peer are not one to one. Nobody appears twice, and a vote is a peer by its ID.
func TestNewTopology_Identity(t *testing.T) {
	t.Parallel()
	const a, c = "10.0.0.1:8300", "10.0.0.3:8300"
	memberA := member("a", "10.0.0.1", "id-a", StatusAlive)
	lineA := "a id=id-a 10.0.0.1:8300 alive votes"
	readReplica := func(version string) Member {
		m := member("c", "10.0.0.3", "id-c", StatusAlive)
		m.Version, m.NonVoter = version, strings.Contains(version, enterprise)
		return m
	}
	assumed := func(address string) RaftPeer { return RaftPeer{Address: address, Voter: true, VoterAssumed: true} }
	noID := func(m Member) Member {
		m.ID = ""
		return m
	}
	for _, tc := range []struct {
		name    string
		members []Member
		peers   []RaftPeer
		want    []string
	}{
		{
			"the tag of a read replica, and a configuration in which it votes",
			[]Member{memberA, readReplica("1.22.5+ent")},
			[]RaftPeer{peer("id-a", a), peer("id-c", c)},
			[]string{lineA, "c id=id-c 10.0.0.3:8300 alive votes"},
		},
		{
			"the same, known by addresses only",
			[]Member{memberA, readReplica("1.22.5+ent")},
			[]RaftPeer{assumed(a), assumed(c)},
			[]string{lineA, "c id=id-c 10.0.0.3:8300 alive no vote"},
		},
		{
			"the tag means nothing in the community edition",
			[]Member{memberA, readReplica("1.22.5")},
			[]RaftPeer{assumed(a), assumed(c)},
			[]string{lineA, "c id=id-c 10.0.0.3:8300 alive votes"},
		},
		{
			"servers that share an address",
			[]Member{on(memberA, 8300), on(member("b", "10.0.0.1", "id-b", StatusAlive), 8310)},
			[]RaftPeer{peer("id-a", a), peer("id-b", "10.0.0.1:8310")},
			[]string{lineA, "b id=id-b 10.0.0.1:8310 alive votes"},
		},
		{
			"renamed: the old name has failed",
			[]Member{memberA, member("c", "10.0.0.3", "id-c", StatusFailed), member("d", "10.0.0.3", "id-c", StatusAlive)},
			[]RaftPeer{peer("id-a", a), peer("id-c", c)},
			[]string{lineA, "d id=id-c 10.0.0.3:8300 alive votes"},
		},
		{
			"wiped and renamed at the old address: the vote is still the old one's",
			[]Member{memberA, member("c", "10.0.0.3", "id-c", StatusFailed), member("d", "10.0.0.3", "id-d", StatusAlive)},
			[]RaftPeer{peer("id-a", a), peer("id-c", c)},
			[]string{lineA, "c id=id-c 10.0.0.3:8300 failed votes", "d id=id-d 10.0.0.3:8300 alive no vote"},
		},
		{
			"the same, after the leader has swapped them",
			[]Member{memberA, member("c", "10.0.0.3", "id-c", StatusFailed), member("d", "10.0.0.3", "id-d", StatusAlive)},
			[]RaftPeer{peer("id-a", a), peer("id-d", c)},
			[]string{lineA, "c id=id-c 10.0.0.3:8300 failed no vote", "d id=id-d 10.0.0.3:8300 alive votes"},
		},
		{
			"rebuilt with the same name at the same address: Consul calls the old peer by the new one's name",
			[]Member{memberA, member("c", "10.0.0.3", "id-new", StatusAlive)},
			[]RaftPeer{peer("id-a", a), {ID: "id-c", Name: "c", Address: c, Voter: true}},
			[]string{"10.0.0.3:8300 id=id-c 10.0.0.3:8300 none votes", lineA, "c id=id-new 10.0.0.3:8300 alive no vote"},
		},
		{
			"rebuilt with the same name elsewhere, and a vote already",
			[]Member{memberA, member("c", "10.0.0.9", "id-new", StatusAlive)},
			[]RaftPeer{peer("id-a", a), peer("id-c", c), peer("id-new", "10.0.0.9:8300")},
			[]string{"10.0.0.3:8300 id=id-c 10.0.0.3:8300 none votes", lineA, "c id=id-new 10.0.0.9:8300 alive votes"},
		},
		{
			"a new address",
			[]Member{memberA, member("c", "10.0.0.9", "id-c", StatusAlive)},
			[]RaftPeer{peer("id-a", a), peer("id-c", c)},
			[]string{lineA, "c id=id-c 10.0.0.9:8300 alive votes"},
		},
		{
			"two servers have swapped their addresses",
			[]Member{member("a", "10.0.0.3", "id-a", StatusAlive), member("c", "10.0.0.1", "id-c", StatusAlive)},
			[]RaftPeer{peer("id-a", a), {ID: "id-c", Address: c}},
			[]string{"a id=id-a 10.0.0.3:8300 alive votes", "c id=id-c 10.0.0.1:8300 alive no vote"},
		},
		{
			"an address without an ID is that of the member that is alive",
			[]Member{member("c", "10.0.0.3", "id-c", StatusFailed), member("d", "10.0.0.3", "id-d", StatusAlive)},
			[]RaftPeer{assumed(c)},
			[]string{"c id=id-c 10.0.0.3:8300 failed no vote", "d id=id-d 10.0.0.3:8300 alive votes"},
		},
		{
			"a member without an ID, at whose address another one is alive",
			[]Member{noID(member("c", "10.0.0.3", "", StatusFailed)), member("d", "10.0.0.3", "id-d", StatusAlive)},
			[]RaftPeer{peer("id-c", c)},
			[]string{
				"10.0.0.3:8300 id=id-c 10.0.0.3:8300 none votes", "c id= 10.0.0.3:8300 failed no vote",
				"d id=id-d 10.0.0.3:8300 alive no vote",
			},
		},
		{
			"a member without an ID",
			[]Member{noID(memberA)},
			[]RaftPeer{peer("id-a", a)},
			[]string{"a id= 10.0.0.1:8300 alive votes"},
		},
		{
			"a peer whose ID is its address", []Member{memberA}, []RaftPeer{peer(a, a)}, []string{lineA},
		},
		{
			"two members with one name",
			[]Member{memberA, member("a", "10.0.0.3", "id-c", StatusAlive)},
			[]RaftPeer{peer("id-a", a), peer("id-c", c)},
			[]string{"10.0.0.3:8300 id=id-c 10.0.0.3:8300 alive votes", lineA},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			expectSame(t, "servers", tc.want, summary(newTopology(tc.members, tc.peers).Servers))
			slices.Reverse(tc.members)
			expectSame(t, "servers in another order", tc.want, summary(newTopology(tc.members, tc.peers).Servers))
		})
	}
}

// What is remembered stays when another configuration counts than the asked agent's, and no two servers have one name.
func TestTopology_RememberedIdentity(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	server := func(name, id, host string) Server { return newServer(member(name, host, id, StatusAlive)) }
	topology := newTopology(
		[]Member{member("a", "10.0.0.1", "id-a", StatusAlive), member("c", "10.0.0.3", "id-new", StatusAlive)},
		[]RaftPeer{peer("id-a", "10.0.0.1:8300"), peer("id-b", "10.0.0.2:8300"), peer("id-c", "10.0.0.3:8300")},
	)
	topology.remember([]Server{
		server("b", "id-b", "10.0.0.2"), server("c", "id-c", "10.0.0.3"), server("gone", "id-d", "10.0.0.4"),
	}, nil, now)
	expectSame(t, "servers", []string{
		"10.0.0.3:8300 id=id-c 10.0.0.3:8300 none votes", "a id=id-a 10.0.0.1:8300 alive votes",
		"b id=id-b 10.0.0.2:8300 none votes", "c id=id-new 10.0.0.3:8300 alive no vote",
		"gone id=id-d 10.0.0.4:8300 none no vote",
	}, summary(topology.Servers))

	says := probe.RaftView{
		LeaderKnown: true, Leader: "10.0.0.1:8300", StatsKnown: true, PeersKnown: true,
		Peers: []string{"10.0.0.1:8300", "10.0.0.2:8300"},
	}
	other := topology.decided([]Report{{Server: topology.Servers[1], RPC: probe.RPCResult{Raft: says}}})
	expectSame(t, "servers by the leader", []string{
		"a id=id-a 10.0.0.1:8300 alive votes", "b id=id-b 10.0.0.2:8300 none votes",
		"c id=id-new 10.0.0.3:8300 alive no vote", "gone id=id-d 10.0.0.4:8300 none no vote",
	}, summary(other.Servers))
	if missing := other.MissingServers(); len(missing) != 1 || missing[0].Name != "gone" {
		t.Errorf("missing are %+v; want the one that is gone", missing)
	}
}

// Each port has one voice: that of the server which is there.
func TestPlan_OneVoice(t *testing.T) {
	t.Parallel()
	const c = "10.0.0.3:8300"
	withPorts := func(m Member) Member {
		m.LANPort = 8301
		return m
	}
	was := withPorts(member("c", "10.0.0.3", "id-c", StatusFailed))
	is := withPorts(member("d", "10.0.0.3", "id-d", StatusAlive))
	also := withPorts(member("c", "10.0.0.3", "id-c", StatusAlive))
	isFailed := withPorts(member("d", "10.0.0.3", "id-d", StatusFailed))
	shared := []Member{
		on(member("a", "10.0.0.1", "id-a", StatusAlive), 8300), on(member("b", "10.0.0.1", "id-b", StatusAlive), 8310),
	}
	sharedPeers := []RaftPeer{peer("id-a", "10.0.0.1:8300"), peer("id-b", "10.0.0.1:8310")}
	asked := func(id string) *Agent {
		return &Agent{
			Name: id[3:], ID: id, Server: true, AdvertiseAddr: "10.0.0.1", ClientAddrs: []string{"0.0.0.0"},
			ports: map[Protocol]int{ProtocolHTTP: 8500},
		}
	}
	for _, tc := range []struct {
		name    string
		members []Member
		peers   []RaftPeer
		agent   *Agent
		want    string // The ports that are asked, and who holds the others.
	}{
		{
			"another server is alive at the address of a peer",
			[]Member{was, is},
			[]RaftPeer{peer("id-c", c)},
			nil,
			"c:rpc=d c:serf_lan=d d:rpc d:serf_lan",
		},
		{
			"a left-over peer",
			[]Member{is},
			[]RaftPeer{peer("id-c", c)},
			nil,
			"10.0.0.3:8300:rpc=d d:rpc d:serf_lan",
		},
		{
			"Serf has not noticed yet",
			[]Member{also, is},
			[]RaftPeer{peer("id-c", c)},
			nil,
			"c:rpc=d c:serf_lan=d d:rpc d:serf_lan",
		},
		{
			"but the asked agent is where it is",
			[]Member{also, is},
			[]RaftPeer{peer("id-c", c)},
			asked("id-c"),
			"c:http c:rpc c:serf_lan d:rpc=c d:serf_lan=c",
		},
		{
			"nobody is alive there: the peer is expected",
			[]Member{was, isFailed},
			[]RaftPeer{peer("id-d", c)},
			nil,
			"c:rpc=d c:serf_lan=d d:rpc d:serf_lan",
		},
		{
			"servers that share an address: the agent says where its own API is", shared, sharedPeers, asked("id-b"),
			"a:rpc b:http b:rpc",
		},
		{
			"and nobody says where those of two others are", append(slices.Clone(shared),
				member("z", "10.0.0.2", "id-z", StatusAlive)), sharedPeers, asked("id-z"),
			"a:rpc b:rpc z:http z:rpc",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			pl := &planner{
				topology: newTopology(tc.members, tc.peers), agent: tc.agent,
				opts: PortOptions{
					ClientPorts: ClientPortsServers, Protocols: []Protocol{ProtocolRPC, ProtocolSerfLAN, ProtocolHTTP},
				},
			}
			var got []string
			for _, p := range pl.ports() {
				if p.Transport != TransportTCP {
					continue
				}
				line := p.Server + ":" + string(p.Protocol)
				if p.heldBy != "" {
					line += "=" + p.heldBy
				}
				got = append(got, line)
			}
			slices.Sort(got)
			expectSame(t, "ports", tc.want, strings.Join(got, " "))
		})
	}
}

// A port that another server holds is not asked, and its report says who is there.
func TestProbes_NotThere(t *testing.T) {
	t.Parallel()
	p := &probes{ctx: t.Context(), started: make(map[portKey]*Fact[PortReport]), run: nil}
	got := p.wait([]Port{{Server: "c", Protocol: ProtocolRPC, Transport: TransportTCP, heldBy: "d"}})
	if len(got) != 1 || got[0].Result.Up || got[0].Result.Skipped || got[0].Result.Reason != probe.ReasonRefused ||
		got[0].Result.Err.Error() != "another server, d, is at this address" {
		t.Errorf("reports are %+v; want one that names d", got)
	}
}

// The Raft configuration of the server that counts decides who votes.
func TestTopology_Decided(t *testing.T) {
	t.Parallel()
	address := func(id string) string { return "10.0.0." + id + ":8300" }
	server := func(id string) Member { return member(id, "10.0.0."+id, "id-"+id, StatusAlive) }
	peers := func(ids ...string) (all []RaftPeer) {
		for _, id := range ids {
			all = append(all, peer("id-"+id, address(id)))
		}
		return all
	}
	// A server says who leads, its last log term and index, and its peers.
	type said struct {
		leader      string
		term, index uint64
		peers       string
	}
	for _, tc := range []struct {
		name  string
		peers []RaftPeer // By the asked agent.
		said  map[string]said
		want  string // Who votes.
		other string // Who is of another cluster.
	}{
		{
			"all agree", peers("1", "2", "3"),
			map[string]said{"1": {"1", 2, 9, "1 2 3"}, "2": {"1", 2, 9, "1 2 3"}, "3": {"1", 2, 9, "1 2 3"}},
			"1 2 3", "",
		},
		{
			"the asked agent was removed", peers("1", "2", "3"),
			map[string]said{"1": {"", 2, 99, "1 2 3"}, "2": {"2", 3, 9, "2 3"}, "3": {"2", 3, 9, "2 3"}},
			"2 3", "",
		},
		{
			"no leader: the longest log of the highest term", peers("1", "2", "3"),
			map[string]said{"1": {"", 2, 99, "1 2 3"}, "2": {"", 3, 9, "2 3"}, "3": {"", 3, 10, "2 3 4"}},
			"2 3 4", "",
		},
		{
			"a peer of the leader's that the asked agent does not know", peers("1", "2"),
			map[string]said{"2": {"2", 3, 9, "1 2 9"}},
			"1 10.0.0.9:8300 2", "",
		},
		{
			"merged gossip pools: the cluster of the asked agent is judged", peers("1", "2"),
			map[string]said{
				"1": {"1", 2, 9, "1 2"}, "2": {"1", 2, 9, "1 2"}, "3": {"3", 7, 99, "3 4"}, "4": {"3", 7, 99, "3 4"},
			},
			"1 2", "3 4",
		},
		{
			"no configuration is known", nil,
			map[string]said{"1": {"1", 2, 9, "1 2"}, "2": {"1", 2, 9, "1 2"}, "3": {}},
			"1 2", "",
		},
		{
			"a server that is in no cluster yet is in no other", peers("1"),
			map[string]said{"1": {"1", 2, 9, "1"}, "2": {}},
			"1", "",
		},
		{"nobody says anything", peers("1", "2", "3"), nil, "1 2 3", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			topology := newTopology([]Member{server("1"), server("2"), server("3"), server("4")}, tc.peers)
			var reports []Report
			for _, s := range topology.Servers {
				r := Report{Server: s}
				if says, ok := tc.said[s.Name]; ok {
					raft := &r.RPC.Raft
					*raft = probe.RaftView{
						LeaderKnown: true, StatsKnown: true, PeersKnown: true, LastLogTerm: says.term, LastLogIndex: says.index,
					}
					if says.leader != "" {
						raft.Leader = address(says.leader)
					}
					for id := range strings.FieldsSeq(says.peers) {
						raft.Peers = append(raft.Peers, address(id))
					}
				}
				reports = append(reports, r)
			}
			var voters, other []string
			for _, s := range topology.decided(reports).Servers {
				if s.Voter {
					voters = append(voters, s.Name)
				}
			}
			_, apart := topology.Split(reports)
			for _, r := range apart {
				other = append(other, r.Server.Name)
			}
			if got := strings.Join(voters, " "); got != tc.want {
				t.Errorf("voters are %s; want %s", got, tc.want)
			}
			if got := strings.Join(other, " "); got != tc.other {
				t.Errorf("of another cluster are %q; want %q", got, tc.other)
			}
		})
	}
}

// A server is the peer with its node ID, and never the one that only has its address. Where the two are not the same,
// there is no telling which is meant.
func TestTopology_PeerOf(t *testing.T) {
	t.Parallel()
	const a, b = "10.0.0.1:8300", "10.0.0.2:8300"
	for _, tc := range []struct {
		name  string
		id    string
		peers []RaftPeer
		want  string // The ID of the peer, or a part of the error.
	}{
		{"it", "id-a", []RaftPeer{peer("id-b", b), peer("id-a", a)}, "id-a"},
		{"it has a new address", "id-a", []RaftPeer{peer("id-a", "10.0.0.9:8300"), peer("id-b", b)}, "id-a"},
		{
			"a rebuilt server's old peer", "id-a",
			[]RaftPeer{peer("id-old", a)},
			"the peer at its address " + a + " has id-old",
		},
		{"two peers", "id-a", []RaftPeer{peer("id-a", b), peer("id-old", a)}, "a has the node ID id-a, and the peer at its"},
		{"two at one address", "id-a", []RaftPeer{peer("id-a", a), peer("id-old", a)}, "has id-old"},
		{"a peer without an ID", "id-a", []RaftPeer{peer(a, a)}, "has none"},
		{"it has no ID", "", []RaftPeer{peer("id-a", a)}, "the node ID of a is unknown"},
		{"no peer", "id-a", []RaftPeer{peer("id-b", b)}, "a is not in the Raft configuration"},
	} {
		got, err := (Topology{Peers: tc.peers}).PeerOf(Server{Name: "a", ID: tc.id, RPCAddress: a})
		if err == nil && got.ID != tc.want || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %+v, error %v; want %q", tc.name, got, err, tc.want)
		}
	}
}
