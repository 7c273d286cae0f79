// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"
)

// MemberStatus is what Serf says of a member, with the numbers of the API (api.AgentMember.Status).
type MemberStatus int

// The states of a Serf member.
const (
	StatusNone    MemberStatus = 0
	StatusAlive   MemberStatus = 1
	StatusLeaving MemberStatus = 2
	StatusLeft    MemberStatus = 3
	StatusFailed  MemberStatus = 4
)

// MemberStatuses returns the states that a member can be in.
func MemberStatuses() []MemberStatus {
	return []MemberStatus{StatusAlive, StatusLeaving, StatusLeft, StatusFailed}
}

func (s MemberStatus) String() string {
	words := [...]string{"none", "alive", "leaving", "left", "failed"}
	if s < 0 || int(s) >= len(words) {
		s = StatusNone
	}
	return words[s]
}

// Member is a member of a Serf pool: an agent, server or client.
type Member struct {
	Name string
	// Addr is the advertised IP address.
	Addr       string
	Status     MemberStatus
	Role       string // "consul" for servers and "node" for clients, as in the member's tags.
	Datacenter string
	Version    string // Consul's version without the revision: "1.22.5", or "1.22.5+ent".
	ID         string // The node ID, which is the Raft server ID of servers.
	RPCPort    int    // 0 for clients.
	// LANPort and WANPort are those of gossip, GRPCPort and GRPCTLSPort those of a server's gRPC; 0 if none or unknown.
	LANPort, WANPort, GRPCPort, GRPCTLSPort int
	UsesTLS                                 bool // Whether a server's port 8300 can speak TLS.
	ACLs                                    bool // Whether a server has ACLs switched on.
	ACLsOff                                 bool // Whether a server has ACLs switched off; false where it does not say.
	// NonVoter is whether the server is a read replica of Consul Enterprise. The community edition ignores the setting.
	NonVoter bool
}

// Server reports whether the member is a server.
func (m Member) Server() bool { return m.Role == "consul" }

func (m Member) alive() bool { return m.Status == StatusAlive }

// membersWhere returns the members for which is is true.
func membersWhere(members []Member, is func(Member) bool) []Member {
	return slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return !is(m) })
}

// hasServer reports whether there is a server among the members.
func hasServer(members []Member) bool { return slices.ContainsFunc(members, Member.Server) }

// enterprise is in the versions of Consul Enterprise.
const enterprise = "+ent"

func newMember(m *api.AgentMember) Member {
	version, _, _ := strings.Cut(m.Tags["build"], ":")
	port := func(tag string) int {
		n, _ := strconv.Atoi(m.Tags[tag]) // Clients have none.
		return n
	}
	_, nonVoter := m.Tags["nonvoter"]
	_, readReplica := m.Tags["read_replica"]
	return Member{
		Name:        m.Name,
		Addr:        m.Addr,
		Status:      MemberStatus(m.Status),
		Role:        m.Tags["role"],
		Datacenter:  m.Tags["dc"],
		Version:     version,
		ID:          m.Tags["id"],
		RPCPort:     port("port"),
		LANPort:     int(m.Port),
		WANPort:     port("wan_join_port"),
		GRPCPort:    port("grpc_port"),
		GRPCTLSPort: port("grpc_tls_port"),
		UsesTLS:     m.Tags["use_tls"] != "",
		ACLs:        m.Tags["acls"] == "1",
		ACLsOff:     m.Tags["acls"] == "0",
		NonVoter:    (nonVoter || readReplica) && strings.Contains(version, enterprise),
	}
}

// serverHosts returns the servers' addresses by node ID, that of a member which is alive if several have one ID.
func serverHosts(members []Member) map[string]string {
	hosts := make(map[string]string, len(members))
	for _, m := range membersWhere(members, Member.Server) {
		if hosts[m.ID] == "" || m.alive() {
			hosts[m.ID] = m.Addr
		}
	}
	return hosts
}

// RaftPeer is a server in the Raft configuration.
type RaftPeer struct {
	ID   string // The Raft server ID; empty when only the address is known.
	Name string // The node name, or empty when no Serf member has this ID.
	// Address is "host:port".
	Address string
	Voter   bool
	// VoterAssumed is whether Consul did not say that it has a vote: a list of addresses does not.
	VoterAssumed bool
}

// nodeID returns the ID, unless that is the address, as with version 2 of the Raft protocol.
func (p RaftPeer) nodeID() string {
	if p.ID == p.Address {
		return ""
	}
	return p.ID
}

func newRaftPeer(s *api.RaftServer) RaftPeer {
	p := RaftPeer{ID: s.ID, Name: s.Node, Address: s.Address, Voter: s.Voter}
	if p.Name == "(unknown)" { // What Consul calls a peer that no Serf member matches.
		p.Name = ""
	}
	return p
}

// Server is a server of the cluster, known from Serf, from the Raft configuration or from both.
type Server struct {
	// Name is the node name, or the Raft address of a peer that no Serf member matches. No two servers have the same one:
	// see uniqueNames.
	Name string
	ID   string // The node ID; empty when unknown.
	Host string // The advertised address without a port.
	// RPCAddress is Host with the port of server RPC and Raft (8300): the server's address in Raft.
	RPCAddress string
	Version    string       // Empty when unknown.
	Status     MemberStatus // StatusNone when no Serf member matches.
	Voter      bool         // Whether the server has a vote in Raft.
	// Datacenter, ports, UsesTLS and Replica are the member's; zero when no Serf member matches.
	Datacenter                              string
	LANPort, WANPort, GRPCPort, GRPCTLSPort int
	UsesTLS                                 bool
	Replica                                 bool // Whether it is a read replica of Consul Enterprise, which has no vote.
	// Absence is nil for a server that Consul itself names now.
	Absence *Absence
}

// alive reports whether Serf says so.
func (s Server) alive() bool { return s.Status == StatusAlive }

// maxServers is more than any cluster has, and few enough that all their ports can be probed.
const maxServers = 1000

// checkServers reports an error if there are more.
func checkServers(members []Member, peers []RaftPeer) error {
	if n := max(len(membersWhere(members, Member.Server)), len(peers)); n > maxServers {
		return fmt.Errorf("the agent names %d servers: more than %d are not believed, and none of them is asked",
			n, maxServers)
	}
	return nil
}

// Topology is who belongs to the cluster. The zero value means that nothing is known.
type Topology struct {
	// Servers are all servers but those that left, by name.
	Servers []Server
	// MembersKnown is whether the Serf members were ever read, all of them; those that were not come from the Raft
	// configuration.
	MembersKnown bool
	// ServerStates counts the servers in Serf by state, those that left included; nil unless MembersKnown.
	ServerStates map[MemberStatus]int
	// RaftKnown is whether the Raft configuration was ever read; without it Voters are guessed from the members.
	RaftKnown bool
	// Peers is the Raft configuration.
	Peers []RaftPeer
}

func newServer(m Member) Server {
	return Server{
		Name:       m.Name,
		ID:         m.ID,
		Host:       m.Addr,
		RPCAddress: net.JoinHostPort(m.Addr, strconv.Itoa(m.RPCPort)),
		Version:    m.Version,
		Status:     m.Status,
		Voter:      !m.NonVoter,
		Datacenter: m.Datacenter,

		LANPort: m.LANPort, WANPort: m.WANPort, GRPCPort: m.GRPCPort, GRPCTLSPort: m.GRPCTLSPort,
		UsesTLS: m.UsesTLS, Replica: m.NonVoter,
	}
}

// state tells states of the server apart, for Port.agent. A restarted server has usually failed in Serf before.
func (s Server) state() string {
	return fmt.Sprintf("%s %s %s %t %d %d", s.ID, s.Version, s.Status, s.UsesTLS, s.GRPCPort, s.GRPCTLSPort)
}

// IsPeer reports whether p is this server: by ID where both are known, else by address.
func (s Server) IsPeer(p RaftPeer) bool {
	if id := p.nodeID(); s.ID != "" && id != "" {
		return s.ID == id
	}
	return s.RPCAddress == p.Address
}
