// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// agentOfTests is a server's agent.
var agentOfTests = cluster.Agent{Name: "server-1", Datacenter: "dc1", Server: true}

// statusOf makes facts of a cluster with these reports, each server with the ports rpc, serf_lan and dns, which answer as port 8300 does.
func statusOf(reports ...cluster.Report) *Facts {
	f := &Facts{
		Start: noon, Took: 40 * time.Millisecond, Address: cluster.Address{Scheme: "http", Host: "10.0.0.1:8500"},
		Up: new(true), Agent: &agentOfTests, Reports: reports,
		Topology: cluster.Topology{MembersKnown: true, RaftKnown: true, ServerStates: map[cluster.MemberStatus]int{}},
	}
	for _, r := range reports {
		f.Topology.Servers = append(f.Topology.Servers, r.Server)
		f.Topology.Peers = append(f.Topology.Peers, cluster.RaftPeer{ID: r.Server.ID, Address: r.Server.RPCAddress, Voter: r.Server.Voter})
		f.Ports = append(f.Ports, portsLike(r)...)
		f.LAN = append(f.LAN, cluster.Member{Name: r.Server.Name, Role: "consul", Status: cluster.StatusAlive})
	}
	return f
}

func portsLike(r cluster.Report) []cluster.PortReport {
	var ports []cluster.PortReport
	for _, p := range []cluster.Port{
		{Protocol: cluster.ProtocolDNS, Transport: cluster.TransportUDP, Address: r.Server.Host + ":8600"},
		{Protocol: cluster.ProtocolSerfLAN, Transport: cluster.TransportTCP, Address: r.Server.Host + ":8301"},
		{Protocol: cluster.ProtocolRPC, Transport: cluster.TransportTCP, Address: r.Server.RPCAddress},
	} {
		p.Server = r.Server.Name
		ports = append(ports, cluster.PortReport{Port: p, Result: r.RPC.Result})
	}
	return ports
}

// hung returns a report of a server whose port 8300 accepts connections and does not answer.
func hung(s cluster.Server) cluster.Report {
	r := reporttest.Silent(s)
	r.RPC.Err = errors.New("no answer to a request on the open connection: i/o timeout")
	r.RPC.Phases = []probe.PhaseDuration{{Phase: probe.PhaseConnect}, {Phase: probe.PhaseRequest, Duration: 3 * time.Second}}
	return r
}

// dead returns a report of a server on whose host nothing listens any more.
func dead(s cluster.Server) cluster.Report {
	r := reporttest.Silent(s)
	r.RPC.Reason = probe.ReasonRefused
	r.RPC.Phases = []probe.PhaseDuration{{Phase: probe.PhaseConnect}}
	return r
}

// three are reports of a healthy cluster led by server-1.
func three() []cluster.Report {
	return []cluster.Report{reporttest.Says(reporttest.Server(1), 1, 3, 1000), reporttest.Says(reporttest.Server(2), 1, 3, 1000), reporttest.Says(reporttest.Server(3), 1, 3, 1000)}
}

// port returns the report of one port of a server.
func (f *Facts) Port(server string, protocol cluster.Protocol, transport string) *cluster.PortReport {
	i := slices.IndexFunc(f.Ports, func(p cluster.PortReport) bool {
		return p.Server == server && p.Protocol == protocol && p.Transport == transport
	})
	return &f.Ports[i]
}

func TestStatus(t *testing.T) {
	t.Parallel()
	one, two, last := reporttest.Server(1), reporttest.Server(2), reporttest.Server(3)
	lagging := reporttest.Says(last, 1, 3, 1)
	late := reporttest.Says(last, 1, 3, 1000)
	late.RPC.Raft.LastContactKnown, late.RPC.Raft.LastContact = true, 1234567*time.Microsecond
	odd := "\u202eевіл\x1b[31m"
	oddServer := last
	oddServer.Name = odd
	down := probe.Result{Reason: probe.ReasonRefused, Err: errors.New("connect: connection refused"), Phases: []probe.PhaseDuration{{Phase: probe.PhaseConnect}}}
	denied := func(what string) Missing {
		return Missing{What: what, Reason: "Permission denied", Denied: true, Refused: true}
	}

	for _, tc := range []struct {
		name    string
		facts   *Facts
		change  func(f *Facts)
		level   Level
		verdict string
		// problems are "severity alert server", in order.
		problems []string
		// text is part of the text of one problem.
		text string
	}{
		{
			name: "healthy", facts: statusOf(three()...), level: LevelHealthy,
			verdict: "3 of 3 voters answer, quorum is 2, server-1 leads; one more may fail.",
		},
		{
			name: "healthy, and the election was watched", facts: statusOf(three()...), level: LevelHealthy,
			change:  func(f *Facts) { f.LeaderSince = noon.Add(-2 * time.Hour) },
			verdict: "3 of 3 voters answer, quorum is 2, server-1 leads since 10:00 UTC; one more may fail.",
		},
		{
			name: "healthy, and the election was watched days ago", facts: statusOf(three()...), level: LevelHealthy,
			change:  func(f *Facts) { f.LeaderSince = noon.Add(-50 * time.Hour) },
			verdict: "3 of 3 voters answer, quorum is 2, server-1 leads since 2 March 10:00 UTC; one more may fail.",
		},
		{
			name: "one server", facts: statusOf(reporttest.Says(one, 1, 1, 10)), level: LevelHealthy,
			verdict: "1 of 1 voter answers, quorum is 1, server-1 leads; no more may fail.",
		},
		{
			name: "a hung server", facts: statusOf(reporttest.Says(one, 1, 3, 1000), reporttest.Says(two, 1, 3, 1000), hung(last)), level: LevelDegraded,
			change: func(f *Facts) {
				f.LAN[2].Status = cluster.StatusFailed
				f.WAN = []cluster.Member{{Name: "server-3.dc1", Status: cluster.StatusFailed}}
				f.Autopilot = &cluster.AutopilotState{Servers: []cluster.AutopilotServer{{Name: "server-3"}}}
				// Gossip is encrypted and there is no key: that the port accepts connections is no sign of life.
				p := f.Port("server-3", cluster.ProtocolSerfLAN, cluster.TransportTCP)
				p.Serf.Encrypted, p.Result = true, probe.Result{Up: true}
			},
			verdict:  "2 of 3 voters answer, quorum is 2, server-1 leads; server-3 hangs; no more may fail.",
			problems: []string{"critical ConsulServerHung server-3", "warning ConsulQuorumAtRisk"},
			text:     "server-3 accepts connections and answers none",
		},
		{
			name: "a dead server", facts: statusOf(reporttest.Says(one, 1, 3, 1000), reporttest.Says(two, 1, 3, 1000), dead(last)), level: LevelDegraded,
			verdict:  "2 of 3 voters answer, quorum is 2, server-1 leads; server-3 is down; no more may fail.",
			problems: []string{"critical ConsulServerDown server-3", "warning ConsulQuorumAtRisk"},
			text:     "server-3 answers on none of its ports (refused)",
		},
		{
			name: "quorum lost", facts: statusOf(reporttest.Says(one, 0, 3, 1000), dead(two), hung(last)), level: LevelCritical,
			change: func(f *Facts) {
				f.Consistent = &cluster.ConsistentRead{}
				f.Autopilot = &cluster.AutopilotState{}
			},
			verdict: "The quorum is lost; 1 of 3 voters answers, quorum is 2; server-3 hangs; server-2 is down; nothing can be written until 1 more voter answers again.",
			problems: []string{
				"critical ConsulQuorumLost", "critical ConsulServerHung server-3", "critical ConsulServerDown server-2",
			},
			text: "1 of 3 voters answers on port 8300, and 2 must agree",
		},
		{
			name: "quorum lost, and the leader has not noticed", facts: statusOf(reporttest.Says(one, 1, 3, 1000), hung(two), hung(last)), level: LevelCritical,
			verdict: "The quorum is lost; 1 of 3 voters answers, quorum is 2, server-1 calls itself leader still; server-2 and server-3 hang; " +
				"nothing can be written until 1 more voter answers again.",
			problems: []string{"critical ConsulQuorumLost", "critical ConsulServerHung server-2", "critical ConsulServerHung server-3"},
		},
		{
			name: "no leader", facts: statusOf(reporttest.Says(one, 0, 3, 9), reporttest.Says(two, 0, 3, 9), reporttest.Says(last, 0, 3, 9)), level: LevelCritical,
			change:   func(f *Facts) { f.Consistent = &cluster.ConsistentRead{} },
			verdict:  "No server leads; 3 of 3 voters answer, quorum is 2; nothing can be written until one is elected.",
			problems: []string{"critical ConsulNoLeader"},
		},
		{
			name: "split brain", facts: statusOf(reporttest.Says(one, 1, 3, 9), reporttest.Says(two, 2, 3, 9), reporttest.Says(last, 1, 3, 9)), level: LevelCritical,
			verdict:  "Split brain: server-1 and server-2 call themselves leader; 3 of 3 voters answer, quorum is 2.",
			problems: []string{"critical ConsulSplitBrain"},
		},
		{
			name: "the servers disagree", facts: statusOf(reporttest.Says(one, 1, 3, 9), reporttest.Says(two, 1, 3, 9), reporttest.Says(last, 2, 3, 9)), level: LevelCritical,
			verdict:  "The servers disagree about who leads: server-1 and server-2 say server-1, server-3 says server-2; 3 of 3 voters answer, quorum is 2, server-1 leads; no more may fail.",
			problems: []string{"critical ConsulServersDisagree", "warning ConsulQuorumAtRisk"},
		},
		{
			name: "two configurations", facts: statusOf(reporttest.Says(one, 1, 3, 9), reporttest.Says(two, 1, 3, 9), reporttest.Says(last, 1, 2, 9)), level: LevelCritical,
			verdict:  "The servers have 2 different Raft configurations; 3 of 3 voters answer, quorum is 2, server-1 leads; one more may fail.",
			problems: []string{"critical ConsulServersDisagree"},
		},
		{
			name: "consistent reads fail", facts: statusOf(three()...), level: LevelCritical,
			change:   func(f *Facts) { f.Consistent = &cluster.ConsistentRead{} },
			verdict:  "Consistent reads fail; 3 of 3 voters answer, quorum is 2, server-1 leads; one more may fail.",
			problems: []string{"critical ConsulConsistentReadsFail"},
		},
		{
			name: "a server knows of no leader", facts: statusOf(reporttest.Says(one, 1, 3, 9), reporttest.Says(two, 1, 3, 9), reporttest.Says(last, 0, 3, 9)), level: LevelDegraded,
			verdict:  "3 of 3 voters answer, quorum is 2, server-1 leads; server-3 knows of no leader; no more may fail.",
			problems: []string{"critical ConsulServerWithoutLeader server-3", "warning ConsulQuorumAtRisk"},
		},
		{
			name: "a lagging server", facts: statusOf(reporttest.Says(one, 1, 3, 1200), reporttest.Says(two, 1, 3, 1200), lagging), level: LevelDegraded,
			verdict:  "3 of 3 voters answer, quorum is 2, server-1 leads; one more may fail; there is 1 problem.",
			problems: []string{"warning ConsulRaftLogLag server-3"},
			text:     "1199 entries behind, more than 1000",
		},
		{
			name: "a server that lags more than autopilot allows", facts: statusOf(reporttest.Says(one, 1, 3, 301), reporttest.Says(two, 1, 3, 301), lagging), level: LevelHealthy,
			change:   func(f *Facts) { f.AutopilotConfig = &cluster.AutopilotConfig{MaxTrailingLogs: 250} },
			verdict:  "3 of 3 voters answer, quorum is 2, server-1 leads; one more may fail.",
			problems: []string{"info ConsulRaftLogLag server-3"},
		},
		{
			name: "a server that hears of the leader late, and does not apply", facts: statusOf(reporttest.Says(one, 1, 3, 1000), reporttest.Says(two, 1, 3, 1000), late), level: LevelDegraded,
			change: func(f *Facts) {
				f.ServerAgents = map[string]cluster.Agent{"server-3": {Raft: &cluster.RaftStats{State: cluster.RaftFollower, CommitIndex: 2001, AppliedIndex: 1000}}}
			},
			verdict:  "3 of 3 voters answer, quorum is 2, server-1 leads; one more may fail; there are 2 problems.",
			problems: []string{"critical ConsulRaftLastContact server-3", "warning ConsulRaftApplyLag server-3"},
			text:     "1.235s ago, more than 500ms",
		},
		{
			name: "the agent is dead, the servers are known", facts: statusOf(dead(one), reporttest.Says(two, 2, 3, 9), reporttest.Says(last, 2, 3, 9)), level: LevelDegraded,
			change: func(f *Facts) {
				f.Up, f.LAN = new(false), nil
				f.Missing = []Missing{{What: "agent", Reason: "connection refused"}, {What: "members", Reason: "connection refused"}}
			},
			verdict: "The agent at http://10.0.0.1:8500 does not answer; 2 of 3 voters answer, quorum is 2, server-2 leads; server-1 is down; no more may fail.",
			problems: []string{
				"critical ConsulAgentUnreachable server-1", "critical ConsulServerDown server-1", "warning ConsulQuorumAtRisk",
			},
		},
		{
			name: "the agent is dead, nothing is known", facts: statusOf(), level: LevelUnknown,
			change: func(f *Facts) {
				f.Up, f.Agent = new(false), nil
				f.Missing = []Missing{{What: "agent", Reason: "connection refused"}, {What: "servers", Reason: "connection refused"}}
			},
			verdict:  "The agent at http://10.0.0.1:8500 does not answer, and no server is known that could be asked instead.",
			problems: []string{"critical ConsulAgentUnreachable"},
		},
		{
			name: "the token may not read anything but the servers' addresses", facts: statusOf(three()...), level: LevelDegraded,
			change: func(f *Facts) {
				f.Agent = nil
				f.Missing = []Missing{denied("agent"), denied("Raft configuration"), denied("autopilot")}
			},
			verdict:  "3 of 3 voters answer, quorum is 2, server-1 leads; Consul refuses to tell a part of it; one more may fail.",
			problems: []string{"warning ConsulCollectorRefused"},
			text:     "agent, Raft configuration and autopilot",
		},
		{
			name: "the token may not read anything at all", facts: statusOf(), level: LevelUnknown,
			change: func(f *Facts) {
				f.Agent = nil
				f.Missing = []Missing{denied("agent"), {What: "servers", Reason: "no server"}}
			},
			verdict:  "The agent at http://10.0.0.1:8500 answers and names no server: the token is missing, was revoked, or has too few rights.",
			problems: []string{"warning ConsulCollectorRefused", "warning ConsulCollectorFails"},
		},
		{
			name: "only the agent is asked", facts: statusOf(), level: LevelUnknown,
			verdict: "The agent at http://10.0.0.1:8500 answers; only that is asked, and nothing about the cluster.",
		},
		{
			name: "a part that this version does not have, one that fails, and a filtered answer", facts: statusOf(three()...), level: LevelDegraded,
			change: func(f *Facts) {
				f.Missing = []Missing{{What: "autopilot", Refused: true}, {What: "catalog", Reason: "deadline"}}
				f.Filtered = []string{"/v1/agent/members"}
			},
			verdict:  "3 of 3 voters answer, quorum is 2, server-1 leads; one more may fail; there are 2 problems.",
			problems: []string{"warning ConsulCollectorFails", "warning ConsulResultsFiltered"},
			text:     "Nothing could be found out about: catalog.",
		},
		{
			name: "single ports", facts: statusOf(three()...), level: LevelDegraded,
			change: func(f *Facts) {
				f.Port("server-2", cluster.ProtocolRPC, cluster.TransportTCP).Result = down
				f.Port("server-3", cluster.ProtocolSerfLAN, cluster.TransportTCP).Result = down
				f.Port("server-3", cluster.ProtocolDNS, cluster.TransportUDP).Result = down
				f.Port("server-1", cluster.ProtocolSerfLAN, cluster.TransportTCP).Result.Duration = 1500 * time.Millisecond
			},
			verdict: "3 of 3 voters answer, quorum is 2, server-1 leads; server-2 does not answer on port 8300; one more may fail; there are 3 other problems.",
			problems: []string{
				"critical ConsulRPCPortDown server-2", "critical ConsulSerfLANPortDown server-3",
				"warning ConsulDNSPortDown server-3", "warning ConsulPortSlow server-1",
			},
			text: "Port 8301 (serf_lan) of server-1 takes 1.5s to answer, more than 1s.",
		},
		{
			name: "certificates", facts: statusOf(three()...), level: LevelDegraded,
			change: func(f *Facts) {
				for server, left := range map[string]time.Duration{"server-1": 13 * 24 * time.Hour, "server-2": 71 * time.Hour, "server-3": -time.Hour} {
					result := &f.Port(server, cluster.ProtocolRPC, cluster.TransportTCP).Result
					result.CertExpiry, result.CertLifetime = noon.Add(left), 365*24*time.Hour
				}
			},
			verdict: "3 of 3 voters answer, quorum is 2, server-1 leads; one more may fail; there are 3 problems.",
			problems: []string{
				"critical ConsulCertificateExpires server-2", "critical ConsulCertificateExpires server-3", "warning ConsulCertificateExpires server-1",
			},
			text: "shows a certificate that has expired",
		},
		{
			name: "certificates that Consul renews by itself", facts: statusOf(three()...), level: LevelDegraded,
			change: func(f *Facts) {
				for server, left := range map[string]time.Duration{"server-1": 8 * time.Hour, "server-2": 7 * time.Hour, "server-3": -time.Minute} {
					result := &f.Port(server, cluster.ProtocolRPC, cluster.TransportTCP).Result
					result.CertExpiry, result.CertLifetime = noon.Add(left), 72*time.Hour
				}
			},
			verdict:  "3 of 3 voters answer, quorum is 2, server-1 leads; one more may fail; there are 2 problems.",
			problems: []string{"critical ConsulCertificateExpires server-2", "critical ConsulCertificateExpires server-3"},
			text:     "shows a certificate that expires in 7 hours",
		},
		{
			name: "a server that refuses TLS is not down", facts: statusOf(three()...), level: LevelDegraded,
			change: func(f *Facts) {
				for _, p := range []*cluster.PortReport{
					f.Port("server-3", cluster.ProtocolRPC, cluster.TransportTCP), f.Port("server-3", cluster.ProtocolSerfLAN, cluster.TransportTCP), f.Port("server-3", cluster.ProtocolDNS, cluster.TransportUDP),
				} {
					p.Result = probe.Result{Reason: probe.ReasonTLS, Phases: []probe.PhaseDuration{{Phase: probe.PhaseConnect}, {Phase: probe.PhaseTLS}}}
				}
			},
			verdict:  "3 of 3 voters answer, quorum is 2, server-1 leads; server-3 does not answer on port 8300; one more may fail; there are 2 other problems.",
			problems: []string{"critical ConsulRPCPortDown server-3", "critical ConsulSerfLANPortDown server-3", "warning ConsulDNSPortDown server-3"},
		},
		{
			name: "members, a left-over peer and an even number of voters", level: LevelDegraded,
			facts: statusOf(reporttest.Says(one, 1, 4, 9), reporttest.Says(two, 1, 4, 9), reporttest.Says(last, 1, 4, 9), reporttest.Silent(reporttest.Strange(reporttest.Server(4)))),
			change: func(f *Facts) {
				f.Ports = f.Ports[:9] // The stranger's port 8300 is known all the same.
				f.LAN = append(f.LAN[:3], cluster.Member{Name: "client-1", Role: "node", Status: cluster.StatusFailed}, cluster.Member{Name: "client-2", Role: "node", Status: cluster.StatusFailed})
				f.LAN[1].Status = cluster.StatusFailed
				f.WAN = []cluster.Member{{Name: "server-2.dc1", Status: cluster.StatusFailed}, {Name: "server-1.dc2", Status: cluster.StatusFailed}}
			},
			verdict: "3 of 4 voters answer, quorum is 3, server-1 leads; no more may fail; there are 5 other problems.",
			problems: []string{
				"warning ConsulQuorumAtRisk", "warning ConsulStaleRaftPeer", "warning ConsulSerfMemberFailed server-2", "warning ConsulSerfMemberFailed",
				"warning ConsulSerfWANMemberFailed server-2", "warning ConsulSerfWANMemberFailed", "info ConsulEvenVoters",
			},
			text: "2 client agents are taken for failed, and their services count as critical: client-1 and client-2.",
		},
		{
			name: "services", facts: statusOf(three()...), level: LevelDegraded,
			change: func(f *Facts) {
				instance := func(service string, status cluster.HealthStatus) cluster.Instance {
					return cluster.Instance{Service: service, Status: status}
				}
				f.Catalog = &cluster.Catalog{Nodes: []cluster.CatalogNode{
					{Name: "node-1", Instances: []cluster.Instance{
						instance("web", cluster.HealthPassing), instance("db", cluster.HealthCritical), instance("db", cluster.HealthMaintenance), instance("consul", cluster.HealthCritical),
					}, Checks: []cluster.Check{{ID: "disk", Status: cluster.HealthCritical}}},
					{Name: "node-2", Instances: []cluster.Instance{instance("web", cluster.HealthCritical)}, Checks: []cluster.Check{{ID: "serfHealth", Status: cluster.HealthCritical}}},
					{Name: "node-3", Checks: []cluster.Check{{ID: "disk", Status: cluster.HealthCritical}, {ID: "_node_maintenance", Status: cluster.HealthCritical}}},
				}}
			},
			verdict:  "3 of 3 voters answer, quorum is 2, server-1 leads; one more may fail; there are 3 problems.",
			problems: []string{"critical ConsulServiceDown", "warning ConsulServiceInstancesCritical", "warning ConsulNodeCheckCritical"},
			text:     "1 service is critical on some instances: web (1 of 2).",
		},
		{
			name: "DNS and gossip", facts: statusOf(three()...), level: LevelDegraded,
			change: func(f *Facts) {
				f.Topology.ServerStates[cluster.StatusAlive] = 3
				f.Ports = append(f.Ports, cluster.PortReport{
					Port:   cluster.Port{Server: "server-2", Protocol: cluster.ProtocolDNS, Transport: cluster.TransportTCP, Address: "10.0.0.2:8600"},
					Result: probe.Result{Up: true}, DNS: &cluster.DNSAnswer{Answers: 2},
				})
				f.Pools = []cluster.SerfPool{{Name: "lan", HealthScore: new(uint64(5))}, {Name: "wan", HealthScore: new(uint64(3))}}
				// Its agent's token may not read them.
				f.Ports = append(f.Ports, cluster.PortReport{
					Port:   cluster.Port{Server: "server-3", Protocol: cluster.ProtocolDNS, Transport: cluster.TransportTCP, Address: "10.0.0.3:8600"},
					Result: probe.Result{Up: true}, DNS: &cluster.DNSAnswer{},
				})
			},
			verdict: "3 of 3 voters answer, quorum is 2, server-1 leads; one more may fail; there are 3 problems.",
			problems: []string{
				"critical ConsulGossipHealthPoor server-1", "warning ConsulDNSFewerServers server-2", "warning ConsulGossipHealthPoor server-1",
			},
			text: "DNS of server-2 names 2 servers for consul.service, and 3 are alive.",
		},
		{
			name: "gossip that suffers from a server that failed", facts: statusOf(three()...), level: LevelDegraded,
			change: func(f *Facts) {
				f.LAN[2].Status = cluster.StatusFailed
				f.Pools = []cluster.SerfPool{{Name: "lan", HealthScore: new(uint64(5))}}
			},
			verdict:  "3 of 3 voters answer, quorum is 2, server-1 leads; one more may fail; there is 1 problem.",
			problems: []string{"warning ConsulSerfMemberFailed server-3"},
		},
		{
			name: "gossip, and a client agent that failed", facts: statusOf(three()...), level: LevelDegraded,
			change: func(f *Facts) {
				f.LAN = append(f.LAN, cluster.Member{Name: "client-1", Role: "node", Status: cluster.StatusFailed})
				f.Pools = []cluster.SerfPool{{Name: "lan", HealthScore: new(uint64(5))}}
			},
			verdict:  "3 of 3 voters answer, quorum is 2, server-1 leads; one more may fail; there are 2 problems.",
			problems: []string{"critical ConsulGossipHealthPoor server-1", "warning ConsulSerfMemberFailed"},
		},
		{
			name: "a name in any characters", facts: statusOf(reporttest.Says(one, 1, 3, 1000), reporttest.Says(two, 1, 3, 1000), hung(oddServer)), level: LevelDegraded,
			verdict:  "2 of 3 voters answer, quorum is 2, server-1 leads; " + odd + " hangs; no more may fail.",
			problems: []string{"critical ConsulServerHung " + odd, "warning ConsulQuorumAtRisk"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.change != nil {
				tc.change(tc.facts)
			}
			st := newView(tc.facts)
			if st.Level != tc.level || st.Verdict != tc.verdict {
				t.Errorf("got %s: %s\nwant %s: %s", st.Level, st.Verdict, tc.level, tc.verdict)
			}
			var problems, texts []string
			for _, p := range st.Problems {
				problems = append(problems, strings.TrimSpace(fmt.Sprintf("%s %s %s", p.Severity, p.Alert, p.Server)))
				texts = append(texts, p.Text)
			}
			if diff := cmp.Diff(tc.problems, problems); diff != "" {
				t.Errorf("problems differ (-want +got):\n%s", diff)
			}
			if text := strings.Join(texts, "\n"); !strings.Contains(text, tc.text) {
				t.Errorf("texts of the problems are\n%s\nwant %q among them", text, tc.text)
			}
		})
	}
}

// What is shown of servers and members.
func TestStatus_Data(t *testing.T) {
	t.Parallel()
	f := statusOf(reporttest.Says(reporttest.Server(1), 1, 3, 1000), reporttest.Says(reporttest.Server(2), 1, 3, 990), hung(reporttest.Server(3)))
	f.Reports[1].RPC.Raft.LastContactKnown, f.Reports[1].RPC.Raft.LastContact = true, 20*time.Millisecond
	f.ServerAgents = map[string]cluster.Agent{"server-1": {Raft: &cluster.RaftStats{State: cluster.RaftLeader, Term: 7}}}
	f.Autopilot = &cluster.AutopilotState{FailureTolerance: 1, Servers: []cluster.AutopilotServer{{Name: "server-1", Healthy: true}}}
	f.Consistent = &cluster.ConsistentRead{OK: true, Duration: 2 * time.Millisecond}
	f.Ports = append(f.Ports, cluster.PortReport{
		Port: cluster.Port{Server: "client-1", Protocol: cluster.ProtocolHTTP, Transport: cluster.TransportTCP, Address: "127.0.0.1:8500"}, Result: probe.Result{Up: true, Verified: true},
	})
	f.Agent = &cluster.Agent{Name: "client-1"}
	f.LAN = nil
	for i := range 150 {
		f.LAN = append(f.LAN, cluster.Member{Name: "client-" + strconv.Itoa(1000+i), Status: cluster.StatusLeft})
	}
	f.LAN = append(f.LAN, cluster.Member{Name: "server-3", Role: "consul", Status: cluster.StatusFailed}, cluster.Member{Name: "server-1", Role: "consul", Status: cluster.StatusAlive})
	st := newView(f)

	if want := []ServerStatus{
		{
			Name: "server-1", ID: "id-1", Address: "10.0.0.1:8300", Voter: true, Serf: "alive", RaftState: cluster.RaftLeader, HasLeader: new(true), Leader: "server-1",
			Term: new(uint64(7)), LastLogIndex: new(uint64(1000)), LogLag: new(uint64(0)), AutopilotHealthy: new(true), Ports: st.Servers[0].Ports,
		},
		{
			Name: "server-2", ID: "id-2", Address: "10.0.0.2:8300", Voter: true, Serf: "alive", RaftState: cluster.RaftFollower, HasLeader: new(true), Leader: "server-1",
			Term: new(uint64(2)), LastLogIndex: new(uint64(990)), LogLag: new(uint64(10)), LastContactSeconds: new(0.02), Ports: st.Servers[1].Ports,
		},
		{
			Name: "server-3", ID: "id-3", Address: "10.0.0.3:8300", Voter: true, Serf: "alive",
			Ports: []PortStatus{
				{Port: 8300, Protocol: cluster.ProtocolRPC, Transport: "tcp", State: PortHangs, Up: new(false), Verified: true, Hung: true, Reason: "timeout", Error: "no answer to a request on the open connection: i/o timeout"},
				{Port: 8301, Protocol: cluster.ProtocolSerfLAN, Transport: "tcp", State: PortHangs, Up: new(false), Verified: true, Hung: true, Reason: "timeout", Error: "no answer to a request on the open connection: i/o timeout"},
				{Port: 8600, Protocol: cluster.ProtocolDNS, Transport: "udp", State: PortDown, Up: new(false), Verified: true, Reason: "timeout", Error: "no answer to a request on the open connection: i/o timeout"},
			},
		},
	}; !cmp.Equal(st.Servers, want) {
		t.Errorf("servers differ (-want +got):\n%s", cmp.Diff(want, st.Servers))
	}
	if got := st.Agent.Ports; len(got) != 1 || got[0].Protocol != cluster.ProtocolHTTP {
		t.Errorf("ports of the agent are %+v; want its HTTP port", got)
	}
	lan := st.Members[0]
	if lan.Count != 152 || lan.ByStatus["left"] != 150 || lan.ByStatus["leaving"] != 0 || len(lan.NotAlive) != 100 || lan.NotAliveOmitted != 51 ||
		lan.NotAlive[0] != (MemberEntry{"server-3", "failed", true}) || lan.NotAlive[1].Name != "client-1000" {
		t.Errorf("pool is %+v", lan)
	}
	if *st.ConsistentRead.Seconds != 0.002 || st.Autopilot.FailureTolerance != 1 || *st.Leadership.UnknownPeers != 0 || *st.Quorum.Margin != 0 {
		t.Errorf("got %+v, %+v, %+v, %+v", st.ConsistentRead, st.Autopilot, st.Leadership, st.Quorum)
	}
}

// The lists of thousands of services stay short.
func TestStatus_ManyServices(t *testing.T) {
	t.Parallel()
	f := statusOf(three()...)
	f.Catalog = &cluster.Catalog{Nodes: make([]cluster.CatalogNode, 1)}
	for i := range 250 {
		in := cluster.Instance{Service: fmt.Sprintf("service-%03d", i), Status: cluster.HealthCritical}
		f.Catalog.Nodes[0].Instances = append(f.Catalog.Nodes[0].Instances, in)
		if i%2 == 1 {
			in.Status = cluster.HealthPassing
			f.Catalog.Nodes[0].Instances = append(f.Catalog.Nodes[0].Instances, in)
		}
	}
	st := newView(f)
	if c := st.Catalog; c.Services != 250 || c.Instances["critical"] != 250 || c.Instances["passing"] != 125 || c.Down != 125 || len(c.Failing) != 100 || c.FailingOmitted != 150 {
		t.Errorf("catalog is %+v", c)
	}
	want := []Problem{
		{SeverityCritical, "ConsulServiceDown", "", "125 services are critical on all instances: service-000, service-002, service-004, service-006, service-008, service-010, service-012, service-014 and 117 more.", alerts.Runbook("ConsulServiceDown")},
		{SeverityWarning, "ConsulServiceInstancesCritical", "", "125 services are critical on some instances.", alerts.Runbook("ConsulServiceInstancesCritical")},
	}
	if diff := cmp.Diff(want, st.Problems); diff != "" {
		t.Errorf("problems differ (-want +got):\n%s", diff)
	}
}

// The shape of the JSON is public.
func TestStatus_JSON(t *testing.T) {
	t.Parallel()
	f := statusOf(reporttest.Says(reporttest.Server(1), 1, 1, 1000))
	f.LeaderSince = noon.Add(-time.Hour)
	f.Ports[2].Result = probe.Result{Up: true, Verified: true, Duration: 1500 * time.Microsecond, CertExpiry: noon.AddDate(1, 0, 0), CertLifetime: 365 * 24 * time.Hour}
	f.Ports[1].Result = probe.Result{Skipped: true}
	f.Ports = f.Ports[1:]
	f.Catalog = &cluster.Catalog{Nodes: []cluster.CatalogNode{{Instances: []cluster.Instance{{Service: "db", Status: cluster.HealthCritical}}}}}
	f.Missing = []Missing{{What: "autopilot", Reason: "403", Denied: true, Refused: true}}
	got, err := json.MarshalIndent(newView(f), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
 "time": "2026-03-04T12:00:00Z",
 "seconds": 0.04,
 "level": "degraded",
 "verdict": "1 of 1 voter answers, quorum is 1, server-1 leads since 11:00 UTC; Consul refuses to tell a part of it; no more may fail; there is 1 other problem.",
 "problems": [
  {
   "severity": "critical",
   "alert": "ConsulServiceDown",
   "text": "1 service is critical on all instances: db.",
   "runbook": "https://github.com/zervigo/consul_cluster_exporter/blob/main/docs/runbooks/ConsulServiceDown.md"
  },
  {
   "severity": "warning",
   "alert": "ConsulCollectorRefused",
   "text": "Consul refuses to tell about: autopilot. The token is missing, was revoked, or has too few rights.",
   "runbook": "https://github.com/zervigo/consul_cluster_exporter/blob/main/docs/runbooks/ConsulCollectorRefused.md"
  }
 ],
 "agent": {
  "address": "http://10.0.0.1:8500",
  "up": true,
  "name": "server-1",
  "datacenter": "dc1",
  "is_server": true,
  "ports": []
 },
 "quorum": {
  "voters": 1,
  "needed": 1,
  "reachable": 1,
  "unknown": 0,
  "following": 1,
  "margin": 0
 },
 "leadership": {
  "leaders": [
   "server-1"
  ],
  "since": "2026-03-04T11:00:00Z",
  "unknown": 0,
  "reported": [
   "server-1"
  ],
  "without_leader": 0,
  "configurations": 1,
  "unknown_peers": 0
 },
 "servers": [
  {
   "name": "server-1",
   "id": "id-1",
   "address": "10.0.0.1:8300",
   "voter": true,
   "serf": "alive",
   "raft_state": "leader",
   "has_leader": true,
   "leader": "server-1",
   "term": 2,
   "last_log_index": 1000,
   "log_lag": 0,
   "ports": [
    {
     "port": 8300,
     "protocol": "rpc",
     "transport": "tcp",
     "state": "up",
     "up": true,
     "verified": true,
     "seconds": 0.0015,
     "certificate_expiry": "2027-03-04T12:00:00Z",
     "certificate_lifetime_seconds": 31536000
    },
    {
     "port": 8301,
     "protocol": "serf_lan",
     "transport": "tcp",
     "state": "unknown",
     "verified": true,
     "seconds": 0
    }
   ]
  }
 ],
 "members": [
  {
   "pool": "lan",
   "count": 1,
   "by_status": {
    "alive": 1,
    "failed": 0,
    "leaving": 0,
    "left": 0
   },
   "not_alive": []
  }
 ],
 "catalog": {
  "nodes": 1,
  "services": 1,
  "instances": {
   "critical": 1,
   "maintenance": 0,
   "passing": 0,
   "warning": 0
  },
  "failing": [
   {
    "name": "db",
    "passing": 0,
    "warning": 0,
    "critical": 1,
    "maintenance": 0
   }
  ],
  "down": 1
 },
 "missing": [
  {
   "what": "autopilot",
   "reason": "403",
   "denied": true
  }
 ]
}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("JSON differs (-want +got):\n%s", diff)
	}
}

// Services that could not be read are counted by Consul's summary, and so are all if there is no catalog.
func TestCatalogStatus_Overview(t *testing.T) {
	t.Parallel()
	overview := &cluster.CatalogOverview{
		Nodes: cluster.OverviewCounts{Total: 7},
		Services: []cluster.ServiceOverview{
			{Name: "consul", OverviewCounts: cluster.OverviewCounts{Total: 3, Passing: 3}},
			{Name: "db", OverviewCounts: cluster.OverviewCounts{Total: 3, Critical: 2, Maintenance: 1}},
			{Name: "off", OverviewCounts: cluster.OverviewCounts{Total: 1, Maintenance: 1}},
			{Name: "web", OverviewCounts: cluster.OverviewCounts{Total: 5, Passing: 1, Warning: 1, Critical: 3}},
		},
	}
	catalog := &cluster.Catalog{
		Nodes: []cluster.CatalogNode{{Instances: []cluster.Instance{
			{Service: "web", Status: cluster.HealthPassing}, {Service: "db", Status: cluster.HealthPassing}, {Service: "api", Status: cluster.HealthCritical},
		}}},
		Missing: []string{"db"},
	}
	db, web := ServiceStatus{Name: "db", Critical: 2, Maintenance: 1}, ServiceStatus{Name: "web", Critical: 3, Warning: 1, Passing: 1}
	for _, tc := range []struct {
		name     string
		catalog  *cluster.Catalog
		overview *cluster.CatalogOverview
		want     *CatalogStatus
	}{
		{"neither", nil, nil, nil},
		{"no catalog", nil, overview, &CatalogStatus{
			Summary: true, Nodes: 7, Services: 4, Down: 1, Failing: []ServiceStatus{db, web},
			Instances: map[string]int{"passing": 4, "warning": 1, "critical": 5, "maintenance": 2},
		}},
		{"a service is missing", catalog, overview, &CatalogStatus{
			Nodes: 1, Services: 3, Down: 2, Failing: []ServiceStatus{db, {Name: "api", Critical: 1}},
			Instances: map[string]int{"passing": 1, "warning": 0, "critical": 3, "maintenance": 1},
		}},
		{"a service is missing, and there is no summary", catalog, nil, &CatalogStatus{
			Nodes: 1, Services: 3, Down: 1, Failing: []ServiceStatus{{Name: "api", Critical: 1}},
			Instances: map[string]int{"passing": 1, "warning": 0, "critical": 1, "maintenance": 0},
		}},
	} {
		if diff := cmp.Diff(tc.want, newCatalogStatus(tc.catalog, tc.overview)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}
