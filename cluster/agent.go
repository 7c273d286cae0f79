// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/telemetry"
)

// Agent is what an agent says about itself (/v1/agent/self).
type Agent struct {
	Name          string
	ID            string // The node ID, which is the Raft server ID of servers.
	Datacenter    string
	Server        bool   // Whether the agent is a server.
	AdvertiseAddr string // The address other agents know it by.
	// ClientAddrs are the addresses its ports for clients are bound to, but for those that have their own in bound.
	ClientAddrs []string
	// BindAddr is what its ports for the cluster are bound to, and WANBindAddr that of the WAN pool; empty if unknown.
	BindAddr, WANBindAddr string
	// ports are the numbers of its ports for clients, 0 where one is off, and bound are the IP addresses they are bound
	// to.
	ports  map[Protocol]int
	bound  map[Protocol][]string
	Domain string // That of its DNS, without a final dot.
	// DNSLimit is how many addresses its DNS returns at most; 0 is without a limit.
	DNSLimit int
	// GRPCOwnCA is whether its gRPC with TLS shows a certificate of the service mesh, as servers do that have no other.
	GRPCOwnCA bool
	// RPCTLS is whether it speaks TLS to the servers' port 8300, or wants to be spoken to in TLS on its own.
	RPCTLS                     bool
	EncryptedLAN, EncryptedWAN bool // Whether it has gossip keys.
	// PlainGossip is whether it sends and accepts plain text although it has keys: encryption is being introduced.
	PlainGossip      bool
	CoordinatesOff   bool      // Whether it has network coordinates switched off.
	serfLAN, serfWAN serfStats // Read by SerfPools.
	// ACLsOn and ACLsOff are whether it has ACLs switched on or off; neither if it does not tell.
	ACLsOn, ACLsOff bool
	// MeshOff and PeeringOff are whether it has the service mesh and cluster peering switched off.
	MeshOff, PeeringOff bool
	WANThroughGateways  bool // Whether datacenters are federated through mesh gateways.
	KeyListPolicy       bool // Whether listing keys needs a right of its own.
	// BootstrapExpect is how many servers it waits for before the first election; 0 if it does not tell.
	BootstrapExpect int
	fingerprint     uint64           // Tells configurations apart.
	telemetry       telemetry.Config // Read by Telemetry.
	Raft            *RaftStats       // Nil for clients.
	direct          bool             // Whether it was asked at an address at which it listens itself.
}

// boundTo returns the IP addresses that an agent's port for clients is bound to: those of "addresses" in its
// configuration, which Consul gives as "tcp://127.0.0.1:8600", or else "client_addr". None means that it is only on a
// unix socket.
func (a *Agent) boundTo(p Protocol) []string {
	if hosts, ok := a.bound[p]; ok {
		return hosts
	}
	return a.ClientAddrs
}

// offers reports whether a port for clients is bound to the address that the agent advertises, so that other hosts
// reach it there.
func (a *Agent) offers(p Protocol) bool {
	hosts := a.boundTo(p)
	return slices.Contains(hosts, a.AdvertiseAddr) || slices.ContainsFunc(hosts, consul.IsUnspecified)
}

// withoutMeshCA reports whether a server gets no certificate from the service mesh's authority (Consul: Agent.Start,
// servercert).
func (a *Agent) withoutMeshCA() bool { return a.MeshOff || a.PeeringOff }

// is reports whether the agent is this server.
func (a *Agent) is(s Server) bool { return a.ID != "" && a.ID == s.ID }

// state tells configurations of the agent apart, for Port.agent.
func (a *Agent) state() string { return a.Name + " " + strconv.FormatUint(a.fingerprint, 16) }

// reachable returns an address that a port is bound to and that other hosts can reach; empty if there is none.
func (a *Agent) reachable(p Protocol) string {
	for _, host := range a.boundTo(p) {
		if !consul.IsLoopback(host) {
			return host
		}
	}
	return ""
}

// wanApart reports whether the WAN pool has an address of its own, at which alone its port answers.
func (a *Agent) wanApart() bool {
	same := slices.Contains([]string{"", a.BindAddr, a.AdvertiseAddr}, a.WANBindAddr)
	return !same && !consul.IsUnspecified(a.WANBindAddr)
}

// addresses returns all that its ports may be bound to.
func (a *Agent) addresses() []string {
	all := append(slices.Clone(a.ClientAddrs), a.AdvertiseAddr, a.BindAddr, a.WANBindAddr)
	for _, hosts := range a.bound {
		all = append(all, hosts...)
	}
	return all
}

// RaftState is the role of a server in Raft.
type RaftState string

// The states of a Raft server; RaftUnknown stands for any that a later Consul may bring.
const (
	RaftLeader    RaftState = "leader"
	RaftFollower  RaftState = "follower"
	RaftCandidate RaftState = "candidate"
	RaftShutdown  RaftState = "shutdown"
	RaftUnknown   RaftState = "unknown"
)

// RaftStates returns all states.
func RaftStates() []RaftState {
	return []RaftState{RaftLeader, RaftFollower, RaftCandidate, RaftShutdown, RaftUnknown}
}

// Leads reports whether it is a server that calls itself leader.
func (a *Agent) Leads() bool { return a.Raft != nil && a.Raft.State == RaftLeader }

// RaftStats are the Raft figures of `consul info`, which port 8300 does not tell (hashicorp/raft: Raft.Stats).
type RaftStats struct {
	State             RaftState
	Term              uint64
	CommitIndex       uint64
	AppliedIndex      uint64
	FSMPending        uint64
	LastSnapshotIndex uint64
	LastSnapshotTerm  uint64
	// NeverHeard is whether the server has not heard of any leader since it started.
	NeverHeard bool
	// Peers is its Raft configuration, without the names of the nodes.
	Peers []RaftPeer
}

// agentSelf is the part of /v1/agent/self that is used.
type agentSelf struct {
	Config struct {
		NodeName   string
		NodeID     string
		Datacenter string
		Server     bool
	}
	DebugConfig debugConfig
	Member      struct {
		Addr string
	}
	Stats struct {
		Raft    map[string]string `json:"raft"`
		SerfLAN serfStats         `json:"serf_lan"`
		SerfWAN serfStats         `json:"serf_wan"`
	}
}

// debugConfig is the part of an agent's configuration that is used.
type debugConfig struct {
	ClientAddrs, HTTPAddrs, HTTPSAddrs                  []string
	GRPCAddrs, GRPCTLSAddrs, DNSAddrs                   []string
	BindAddr, SerfBindAddrWAN                           string
	HTTPPort, HTTPSPort, GRPCPort, GRPCTLSPort, DNSPort int
	DNSDomain                                           string
	DNSARecordLimit                                     int
	// TLS is there since Consul 1.12; before, it is the three after it.
	TLS struct {
		InternalRPC struct{ VerifyIncoming, VerifyOutgoing bool }
		GRPC        struct{ CertFile string }
	}
	VerifyIncoming, VerifyIncomingRPC, VerifyOutgoing bool
	// AutoEncryptTLS and AutoConfig.Enabled are about clients, which get their certificates from the servers.
	AutoEncryptTLS bool
	AutoConfig     struct{ Enabled bool }
	// StaticRuntimeConfig is what a reload does not change.
	StaticRuntimeConfig                         struct{ EncryptVerifyIncoming, EncryptVerifyOutgoing *bool }
	DisableCoordinates                          bool
	ACLsEnabled, ConnectEnabled, PeeringEnabled *bool
	ACLEnableKeyListPolicy                      bool
	BootstrapExpect                             int
	ConnectMeshGatewayWANFederationEnabled      bool
	Telemetry                                   telemetry.Config

	// fingerprint tells configurations apart, the part of them that is not used included.
	fingerprint uint64
}

// fingerprints is the seed of all fingerprints.
var fingerprints = maphash.MakeSeed()

// UnmarshalJSON reads the configuration and takes its fingerprint.
func (c *debugConfig) UnmarshalJSON(text []byte) error {
	type fields debugConfig // Without this method.
	if err := json.Unmarshal(text, (*fields)(c)); err != nil {
		return err
	}
	c.fingerprint = maphash.Bytes(fingerprints, text)
	return nil
}

// ErrNotAgent means that the answer is not what an agent says about itself.
var ErrNotAgent = errors.New("the answer has no node name; is this a Consul agent?")

// off reports whether a switch is there and off. Older versions of Consul do not have all of them.
func off(enabled *bool) bool { return enabled != nil && !*enabled }

func newAgent(self *agentSelf) (Agent, error) {
	config, rpc, static := self.DebugConfig, self.DebugConfig.TLS.InternalRPC, self.DebugConfig.StaticRuntimeConfig
	a := Agent{
		Name:          self.Config.NodeName,
		ID:            self.Config.NodeID,
		Datacenter:    self.Config.Datacenter,
		Server:        self.Config.Server,
		AdvertiseAddr: self.Member.Addr,
		ClientAddrs:   config.ClientAddrs,
		BindAddr:      config.BindAddr,
		WANBindAddr:   consul.HostOf(config.SerfBindAddrWAN),
		Domain:        strings.TrimSuffix(config.DNSDomain, "."),
		DNSLimit:      config.DNSARecordLimit,
		GRPCOwnCA:     self.Config.Server && config.TLS.GRPC.CertFile == "",
		RPCTLS: rpc.VerifyIncoming || rpc.VerifyOutgoing ||
			config.VerifyIncoming || config.VerifyIncomingRPC || config.VerifyOutgoing ||
			config.AutoEncryptTLS || config.AutoConfig.Enabled,
		EncryptedLAN:   self.Stats.SerfLAN.Encrypted == "true",
		EncryptedWAN:   self.Stats.SerfWAN.Encrypted == "true",
		PlainGossip:    off(static.EncryptVerifyIncoming) && off(static.EncryptVerifyOutgoing),
		CoordinatesOff: config.DisableCoordinates,
		serfLAN:        self.Stats.SerfLAN,
		serfWAN:        self.Stats.SerfWAN,
		telemetry:      config.Telemetry,
		ACLsOn:         config.ACLsEnabled != nil && *config.ACLsEnabled,
		ACLsOff:        off(config.ACLsEnabled),
		MeshOff:        off(config.ConnectEnabled),
		PeeringOff:     off(config.PeeringEnabled),

		WANThroughGateways: config.ConnectMeshGatewayWANFederationEnabled,
		KeyListPolicy:      config.ACLEnableKeyListPolicy,
		BootstrapExpect:    config.BootstrapExpect,
		fingerprint:        config.fingerprint,
	}
	a.ports, a.bound = make(map[Protocol]int), make(map[Protocol][]string)
	for i := range protocols {
		if p := &protocols[i]; p.listens != nil {
			number, addrs := p.listens(&config)
			a.ports[p.name] = max(number, 0)
			if len(addrs) > 0 {
				a.bound[p.name] = consul.HostsOf(addrs)
			}
		}
	}
	if a.Name == "" {
		return Agent{}, ErrNotAgent
	}
	if self.Stats.Raft == nil {
		return a, nil
	}
	stats, err := newRaftStats(self.Stats.Raft)
	if err != nil {
		return Agent{}, err
	}
	a.Raft = &stats
	return a, nil
}

// newRaftStats reads the figures, which Consul gives as strings.
func newRaftStats(m map[string]string) (RaftStats, error) {
	s := RaftStats{
		State:      oneOf(m["state"], RaftStates(), RaftUnknown),
		NeverHeard: m["last_contact"] == "never",
		Peers:      parseRaftConfiguration(m["latest_configuration"]),
	}
	for name, field := range map[string]*uint64{
		"term":                &s.Term,
		"commit_index":        &s.CommitIndex,
		"applied_index":       &s.AppliedIndex,
		"fsm_pending":         &s.FSMPending,
		"last_snapshot_index": &s.LastSnapshotIndex,
		"last_snapshot_term":  &s.LastSnapshotTerm,
	} {
		n, err := strconv.ParseUint(m[name], 10, 64)
		if err != nil {
			return RaftStats{}, fmt.Errorf("raft figure %s: %w", name, err)
		}
		*field = n
	}
	return s, nil
}

// raftConfigurationServer is a server in latest_configuration (hashicorp/raft: Raft.Stats), as package fmt writes it.
var raftConfigurationServer = regexp.MustCompile(`\{Suffrage:(\w+) ID:(\S*) Address:([^\s}]+)\}`)

// parseRaftConfiguration returns the servers without the names of their nodes.
func parseRaftConfiguration(text string) []RaftPeer {
	var peers []RaftPeer
	for _, m := range raftConfigurationServer.FindAllStringSubmatch(text, -1) {
		peers = append(peers, RaftPeer{ID: m[2], Address: m[3], Voter: m[1] == "Voter"})
	}
	return peers
}

// oneOf reads a word, in capitals or not; any that is none of all is read as other.
func oneOf[T ~string](word string, all []T, other T) T {
	if v := T(strings.ToLower(word)); slices.Contains(all, v) {
		return v
	}
	return other
}
