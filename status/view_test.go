// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
	"github.com/zervigo/consul_cluster_exporter/probe"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

var (
	noon            = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	one, two, three = reporttest.Server(1), reporttest.Server(2), reporttest.Server(3)
	connecting      = []probe.PhaseDuration{{Phase: probe.PhaseConnect}}
	refused         = probe.Result{
		Reason: probe.ReasonRefused, Err: errors.New("connection refused"), Phases: connecting,
	}
)

// factsOf are the facts about a cluster with these reports, asked through the agent of server-1. Each server has the
// ports rpc, serf_lan and dns, which answer as port 8300 does.
func factsOf(reports ...cluster.Report) *status.Facts {
	f := &status.Facts{
		Start: noon, Took: 40 * time.Millisecond, Address: cluster.Address{Scheme: "http", Host: "10.0.0.1:8500"},
		Up: new(true), Agent: &cluster.Agent{Name: "server-1", Datacenter: "dc1", Server: true}, Reports: reports,
		Topology: cluster.Topology{
			MembersKnown: true, RaftKnown: true, ServerStates: map[cluster.MemberStatus]int{cluster.StatusAlive: len(reports)},
		},
	}
	for _, r := range reports {
		s := r.Server
		f.Topology.Servers = append(f.Topology.Servers, s)
		f.Topology.Peers = append(f.Topology.Peers, cluster.RaftPeer{ID: s.ID, Address: s.RPCAddress, Voter: s.Voter})
		f.LAN = append(f.LAN, cluster.Member{Name: s.Name, Role: "consul", Status: cluster.StatusAlive})
		for _, p := range []cluster.Port{
			{Protocol: cluster.ProtocolDNS, Transport: cluster.TransportUDP, Address: s.Host + ":8600"},
			{Protocol: cluster.ProtocolSerfLAN, Transport: cluster.TransportTCP, Address: s.Host + ":8301"},
			{Protocol: cluster.ProtocolRPC, Transport: cluster.TransportTCP, Address: s.RPCAddress},
		} {
			p.Server = s.Name
			f.Ports = append(f.Ports, cluster.PortReport{Port: p, Result: r.RPC.Result})
		}
	}
	return f
}

// healthy are the facts about three servers led by server-1, except what some of them report.
func healthy(instead ...cluster.Report) *status.Facts {
	reports := []cluster.Report{says(one, 1), says(two, 1), says(three, 1)}
	for _, r := range instead {
		i := slices.IndexFunc([]cluster.Server{one, two, three}, func(s cluster.Server) bool { return s.ID == r.Server.ID })
		reports[i] = r
	}
	return factsOf(reports...)
}

// says returns a report of one of three servers: it names this leader (0: none).
func says(s cluster.Server, leader int) cluster.Report { return reporttest.Says(s, leader, 3, 1000) }

// hung returns a report of a server whose port 8300 accepts connections and does not answer.
func hung(s cluster.Server) cluster.Report {
	r := reporttest.Silent(s)
	r.RPC.Err = errors.New("no answer to a request on the open connection: i/o timeout")
	r.RPC.Phases = append(connecting[:1:1], probe.PhaseDuration{Phase: probe.PhaseRequest, Duration: 3 * time.Second})
	return r
}

// dead returns a report of a server on whose host nothing listens any more.
func dead(s cluster.Server) cluster.Report {
	r := reporttest.Silent(s)
	r.RPC.Result = refused
	return r
}

// result returns the result of a port of a server, over the transport that it has first.
func result(f *status.Facts, server string, protocol cluster.Protocol) *probe.Result {
	i := slices.IndexFunc(f.Ports, func(p cluster.PortReport) bool { return p.Server == server && p.Protocol == protocol })
	return &f.Ports[i].Result
}

// dns returns the report of a port that answers with so many servers.
func dns(s cluster.Server, answers int) cluster.PortReport {
	return cluster.PortReport{
		Port: cluster.Port{
			Server: s.Name, Protocol: cluster.ProtocolDNS, Transport: cluster.TransportTCP, Address: s.Host + ":8600",
		},
		Result: probe.Result{Up: true}, DNS: &cluster.DNSAnswer{Answers: answers},
	}
}

func denied(what string) status.Missing {
	return status.Missing{What: what, Reason: "Permission denied", Denied: true, Refused: true}
}

// packAlerts are "severity alert" for all alerts of the pack.
func packAlerts(t *testing.T) map[string]bool {
	t.Helper()
	known := make(map[string]bool)
	rules := regexp.MustCompile(`(?s)- alert: (\w+)\n.*?severity: (\w+)\n`)
	for _, m := range rules.FindAllStringSubmatch(pack(t), -1) {
		known[m[2]+" "+m[1]] = true
	}
	return known
}

func pack(t *testing.T) string {
	t.Helper()
	files, err := alerts.Pack(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(alerts.Join(files))
}

// certificates has port 8300 of each server show a certificate that is valid for so long in all, and for so long still.
func certificates(lifetime time.Duration, left ...time.Duration) func(*status.Facts) {
	return func(f *status.Facts) {
		for i, s := range []string{"server-1", "server-2", "server-3"} {
			r := result(f, s, cluster.ProtocolRPC)
			r.CertExpiry, r.CertLifetime = noon.Add(left[i]), lifetime
		}
	}
}

// allAnswer begins the verdict on healthy servers.
const allAnswer = "3 of 3 voters answer, quorum is 2, server-1 leads; "

func TestFacts_View(t *testing.T) {
	t.Parallel()
	const odd = "\u202eевіл\x1b[31m"
	oddServer := three
	oddServer.Name = odd
	lagging, late := says(three, 1), says(three, 1)
	lagging.RPC.Raft.LastLogIndex = 1
	late.RPC.Raft.LastContactKnown, late.RPC.Raft.LastContact = true, 1234567*time.Microsecond
	otherPeers := reporttest.Says(three, 1, 2, 1000)
	client := cluster.Member{Name: "client-1", Role: "node", Status: cluster.StatusFailed}
	noRead := func(f *status.Facts) { f.Consistent = &cluster.ConsistentRead{} }
	known := packAlerts(t)

	for _, tc := range []struct {
		name     string
		facts    *status.Facts
		change   func(f *status.Facts)
		level    status.Level
		verdict  string
		problems string // "severity alert server", in order.
		text     string // Part of the text of one problem.
	}{
		{
			name: "healthy", facts: healthy(), level: status.LevelHealthy,
			verdict: allAnswer + "one more may fail.",
		},
		{
			name: "healthy, and the election was watched", facts: healthy(), level: status.LevelHealthy,
			change:  func(f *status.Facts) { f.LeaderSince = noon.Add(-2 * time.Hour) },
			verdict: "3 of 3 voters answer, quorum is 2, server-1 leads since 10:00 UTC; one more may fail.",
		},
		{
			name: "healthy, and the election was watched days ago", facts: healthy(), level: status.LevelHealthy,
			change:  func(f *status.Facts) { f.LeaderSince = noon.Add(-50 * time.Hour) },
			verdict: "3 of 3 voters answer, quorum is 2, server-1 leads since 2 March 10:00 UTC; one more may fail.",
		},
		{
			name: "one server", facts: factsOf(reporttest.Says(one, 1, 1, 10)), level: status.LevelHealthy,
			verdict: "1 of 1 voter answers, quorum is 1, server-1 leads; no more may fail.",
		},
		{
			name: "a hung server", facts: healthy(hung(three)), level: status.LevelDegraded,
			change: func(f *status.Facts) {
				f.LAN[2].Status = cluster.StatusFailed
				f.WAN = []cluster.Member{{Name: "server-3.dc1", Status: cluster.StatusFailed}}
				f.Autopilot = &cluster.AutopilotState{Servers: []cluster.AutopilotServer{{Name: "server-3"}}}
				// Gossip is encrypted and there is no key: that the port accepts connections is no sign of life.
				i := slices.IndexFunc(f.Ports, func(p cluster.PortReport) bool {
					return p.Server == "server-3" && p.Protocol == cluster.ProtocolSerfLAN
				})
				f.Ports[i].Serf.Encrypted, f.Ports[i].Result = true, probe.Result{Up: true}
			},
			verdict:  "2 of 3 voters answer, quorum is 2, server-1 leads; server-3 hangs; no more may fail.",
			problems: "critical ConsulServerHung server-3, warning ConsulQuorumAtRisk",
			text:     "server-3 accepts connections and answers none",
		},
		{
			name: "a dead server", facts: healthy(dead(three)), level: status.LevelDegraded,
			verdict:  "2 of 3 voters answer, quorum is 2, server-1 leads; server-3 is down; no more may fail.",
			problems: "critical ConsulServerDown server-3, warning ConsulQuorumAtRisk",
			text:     "server-3 answers on none of its ports (refused)",
		},
		{
			name: "quorum lost", facts: healthy(says(one, 0), dead(two), hung(three)), level: status.LevelCritical,
			change: func(f *status.Facts) { noRead(f); f.Autopilot = &cluster.AutopilotState{} },
			verdict: "The quorum is lost; 1 of 3 voters answers, quorum is 2; server-3 hangs; server-2 is down; " +
				"nothing can be written until 1 more voter answers again.",
			problems: "critical ConsulQuorumLost, critical ConsulServerHung server-3, critical ConsulServerDown server-2",
			text:     "1 of 3 voters answers on port 8300, and 2 must agree",
		},
		{
			name: "quorum lost, and the leader has not noticed", facts: healthy(hung(two), hung(three)),
			level: status.LevelCritical,
			verdict: "The quorum is lost; 1 of 3 voters answers, quorum is 2, server-1 calls itself leader still; " +
				"server-2 and server-3 hang; nothing can be written until 1 more voter answers again.",
			problems: "critical ConsulQuorumLost, critical ConsulServerHung server-2, critical ConsulServerHung server-3",
		},
		{
			name: "too many servers could not be probed to tell", level: status.LevelUnknown,
			facts: healthy(reporttest.NotAsked(two), reporttest.NotAsked(three)),
			verdict: "Whether there is a quorum is unknown; the exporter itself has a problem; 1 of 3 voters answers, " +
				"2 could not be probed, quorum is 2, server-1 leads; how many more failures can be tolerated is unknown.",
			problems: "warning ConsulExporterImpaired",
			text:     "It could not probe 6 ports (",
		},
		{
			name: "no leader", facts: healthy(says(one, 0), says(two, 0), says(three, 0)), level: status.LevelCritical,
			change:   noRead,
			verdict:  "No server leads; 3 of 3 voters answer, quorum is 2; nothing can be written until one is elected.",
			problems: "critical ConsulNoLeader",
		},
		{
			name: "split brain", facts: healthy(says(two, 2)), level: status.LevelCritical,
			verdict:  "Split brain: server-1 and server-2 call themselves leader; 3 of 3 voters answer, quorum is 2.",
			problems: "critical ConsulSplitBrain",
		},
		{
			name: "the servers disagree", facts: healthy(says(three, 2)), level: status.LevelCritical,
			verdict: "The servers disagree about who leads: server-1 and server-2 say server-1, server-3 says server-2; " +
				allAnswer + "no more may fail.",
			problems: "critical ConsulServersDisagree, warning ConsulQuorumAtRisk",
		},
		{
			name: "two configurations", facts: healthy(otherPeers), level: status.LevelCritical,
			verdict:  "The servers have 2 different Raft configurations; " + allAnswer + "one more may fail.",
			problems: "critical ConsulServersDisagree",
		},
		{
			name: "consistent reads fail", facts: healthy(), level: status.LevelCritical, change: noRead,
			verdict:  "Consistent reads fail; " + allAnswer + "one more may fail.",
			problems: "critical ConsulConsistentReadsFail",
		},
		{
			name: "a server knows of no leader", facts: healthy(says(three, 0)), level: status.LevelDegraded,
			verdict:  allAnswer + "server-3 knows of no leader; no more may fail.",
			problems: "critical ConsulServerWithoutLeader server-3, warning ConsulQuorumAtRisk",
		},
		{
			name: "a server that lags", facts: healthy(lagging), level: status.LevelDegraded,
			change:   func(f *status.Facts) { f.Reports[0].RPC.Raft.LastLogIndex = 1200 },
			verdict:  allAnswer + "one more may fail; there is 1 problem.",
			problems: "warning ConsulRaftLogLag server-3",
			text:     "1199 entries behind, more than 1000",
		},
		{
			name: "a server that lags more than autopilot allows", facts: healthy(lagging), level: status.LevelHealthy,
			change:   func(f *status.Facts) { f.AutopilotConfig = &cluster.AutopilotConfig{MaxTrailingLogs: 250} },
			verdict:  allAnswer + "one more may fail.",
			problems: "info ConsulRaftLogLag server-3",
			text:     "999 entries behind, more than autopilot allows (250)",
		},
		{
			name: "a server that hears of the leader late, and does not apply", facts: healthy(late),
			level: status.LevelDegraded,
			change: func(f *status.Facts) {
				stats := &cluster.RaftStats{State: cluster.RaftFollower, CommitIndex: 2001, AppliedIndex: 1000}
				f.ServerAgents = map[string]cluster.Agent{"server-3": {Raft: stats}}
			},
			verdict:  allAnswer + "one more may fail; there are 2 problems.",
			problems: "critical ConsulRaftLastContact server-3, warning ConsulRaftApplyLag server-3",
			text:     "1.235s ago, more than 500ms",
		},
		{
			name: "a server that stands for election", facts: healthy(), level: status.LevelDegraded,
			change: func(f *status.Facts) {
				f.ServerAgents = map[string]cluster.Agent{"server-3": {Raft: &cluster.RaftStats{State: cluster.RaftCandidate}}}
				f.Autopilot = &cluster.AutopilotState{Servers: []cluster.AutopilotServer{{Name: "server-3"}}}
			},
			verdict:  allAnswer + "one more may fail; there are 2 problems.",
			problems: "warning ConsulAutopilotUnhealthy, warning ConsulServerCandidate server-3",
			text:     "Autopilot calls the cluster unhealthy because of server-3.",
		},
		{
			name: "the agent is dead, the servers are known", facts: healthy(dead(one), says(two, 2), says(three, 2)),
			level: status.LevelDegraded,
			change: func(f *status.Facts) {
				f.Up, f.LAN = new(false), nil
				f.Missing = []status.Missing{
					{What: "agent", Reason: "connection refused"}, {What: "members", Reason: "connection refused"},
				}
			},
			verdict: "The agent at http://10.0.0.1:8500 does not answer; 2 of 3 voters answer, quorum is 2, " +
				"server-2 leads; server-1 is down; no more may fail.",
			problems: "critical ConsulAgentUnreachable server-1, critical ConsulServerDown server-1, " +
				"warning ConsulQuorumAtRisk",
		},
		{
			name: "the agent is dead, nothing is known", facts: factsOf(), level: status.LevelUnknown,
			change: func(f *status.Facts) {
				f.Up, f.Agent = new(false), nil
				f.Missing = []status.Missing{
					{What: "agent", Reason: "connection refused"}, {What: "servers", Reason: "connection refused"},
				}
			},
			verdict: "The agent at http://10.0.0.1:8500 does not answer, and no server is known that could be asked " +
				"instead.",
			problems: "critical ConsulAgentUnreachable",
		},
		{
			name: "the agent could not be asked", facts: factsOf(), level: status.LevelUnknown,
			change: func(f *status.Facts) {
				f.Up, f.Agent = nil, nil
				f.Missing = []status.Missing{{What: "agent", Reason: "no free descriptor", Own: true}}
				f.FailingFiles = []string{"ca.pem: no such file"}
			},
			verdict: "The agent at http://10.0.0.1:8500 could not be queried, and no server is known that could be " +
				"queried instead.",
			problems: "warning ConsulExporterImpaired",
			text: "It could not query: agent (no free descriptor); it could not reload files and still uses their last " +
				"good content: ca.pem: no such file.",
		},
		{
			name: "the token may read only the servers' addresses", facts: healthy(), level: status.LevelDegraded,
			change: func(f *status.Facts) {
				f.Agent = nil
				f.Missing = []status.Missing{denied("agent"), denied("Raft configuration"), denied("autopilot")}
			},
			verdict:  allAnswer + "Consul refuses to tell a part of it; one more may fail.",
			problems: "warning ConsulCollectorRefused",
			text:     "agent, Raft configuration and autopilot",
		},
		{
			name: "the token may not read anything at all", facts: factsOf(), level: status.LevelUnknown,
			change: func(f *status.Facts) {
				f.Agent = nil
				f.Missing = []status.Missing{denied("agent"), {What: "servers", Reason: "no server"}}
			},
			verdict: "The agent at http://10.0.0.1:8500 answers and names no server: the token is missing, was revoked, " +
				"or has too few rights.",
			problems: "warning ConsulCollectorRefused, warning ConsulCollectorFails",
		},
		{
			name: "the agent names no server", facts: factsOf(), level: status.LevelUnknown,
			change: func(f *status.Facts) {
				f.Missing = []status.Missing{{What: "servers", Reason: "no server", Refused: true}}
			},
			verdict: "The agent at http://10.0.0.1:8500 answers and names no server.",
		},
		{
			name: "only the agent is asked", facts: factsOf(), level: status.LevelUnknown,
			verdict: "The agent at http://10.0.0.1:8500 answers; only that is asked, and nothing about the cluster.",
		},
		{
			name: "a part that this version does not have, one that fails, and a filtered answer", facts: healthy(),
			level: status.LevelDegraded,
			change: func(f *status.Facts) {
				f.Missing = []status.Missing{{What: "autopilot", Refused: true}, {What: "catalog", Reason: "deadline"}}
				f.Filtered = []string{"/v1/agent/members"}
			},
			verdict:  allAnswer + "one more may fail; there are 2 problems.",
			problems: "warning ConsulCollectorFails, warning ConsulResultsFiltered",
			text:     "Nothing could be found out about: catalog.",
		},
		{
			name: "single ports", facts: healthy(), level: status.LevelDegraded,
			change: func(f *status.Facts) {
				*result(f, "server-2", cluster.ProtocolRPC) = refused
				*result(f, "server-3", cluster.ProtocolSerfLAN) = refused
				*result(f, "server-3", cluster.ProtocolDNS) = refused
				result(f, "server-1", cluster.ProtocolSerfLAN).Duration = 1500 * time.Millisecond
			},
			verdict: allAnswer + "server-2 does not answer on port 8300; one more may fail; there are 3 other problems.",
			problems: "critical ConsulRPCPortDown server-2, critical ConsulSerfLANPortDown server-3, " +
				"warning ConsulDNSPortDown server-3, warning ConsulPortSlow server-1",
			text: "Port 8301 (serf_lan) of server-1 takes 1.5s to answer, more than 1s.",
		},
		{
			name: "gossip over UDP", facts: healthy(), level: status.LevelDegraded,
			change: func(f *status.Facts) {
				for _, s := range []cluster.Server{one, two} {
					f.Ports = append(f.Ports, cluster.PortReport{Port: cluster.Port{
						Server: s.Name, Protocol: cluster.ProtocolSerfLAN, Transport: cluster.TransportUDP,
						Address: s.Host + ":8301",
					}, Result: probe.Result{Reason: probe.ReasonTimeout}})
				}
				*result(f, "server-2", cluster.ProtocolSerfLAN) = refused // Also over TCP.
			},
			verdict:  allAnswer + "one more may fail; there are 2 problems.",
			problems: "critical ConsulSerfLANPortDown server-2, warning ConsulGossipUDPBlocked server-1",
			text:     "Port 8301 (serf_lan over UDP) of server-1 does not answer (timeout), and does over TCP",
		},
		{
			name: "certificates", facts: healthy(), level: status.LevelDegraded,
			change:  certificates(365*24*time.Hour, 13*24*time.Hour, 71*time.Hour, -time.Hour),
			verdict: allAnswer + "one more may fail; there are 3 problems.",
			problems: "critical ConsulCertificateExpires server-2, critical ConsulCertificateExpires server-3, " +
				"warning ConsulCertificateExpires server-1",
			text: "shows a certificate that has expired",
		},
		{
			name: "certificates that Consul renews by itself", facts: healthy(), level: status.LevelDegraded,
			change:   certificates(72*time.Hour, 8*time.Hour, 7*time.Hour, -time.Minute),
			verdict:  allAnswer + "one more may fail; there are 2 problems.",
			problems: "critical ConsulCertificateExpires server-2, critical ConsulCertificateExpires server-3",
			text:     "shows a certificate that expires in 7 hours",
		},
		{
			name: "a server that refuses TLS is not down", facts: healthy(), level: status.LevelDegraded,
			change: func(f *status.Facts) {
				for _, protocol := range []cluster.Protocol{cluster.ProtocolRPC, cluster.ProtocolSerfLAN, cluster.ProtocolDNS} {
					*result(f, "server-3", protocol) = probe.Result{Reason: probe.ReasonTLS}
				}
			},
			verdict: allAnswer + "server-3 does not answer on port 8300; one more may fail; there are 2 other problems.",
			problems: "critical ConsulRPCPortDown server-3, critical ConsulSerfLANPortDown server-3, " +
				"warning ConsulDNSPortDown server-3",
		},
		{
			name: "members, a left-over peer and an even number of voters", level: status.LevelDegraded,
			facts: factsOf(reporttest.Says(one, 1, 4, 9), reporttest.Says(two, 1, 4, 9), reporttest.Says(three, 1, 4, 9),
				reporttest.Silent(reporttest.Strange(reporttest.Server(4)))),
			change: func(f *status.Facts) {
				f.Ports = f.Ports[:9] // The stranger's port 8300 is known all the same.
				client2 := client
				client2.Name = "client-2"
				f.LAN = append(f.LAN[:3], client, client2)
				f.LAN[1].Status = cluster.StatusFailed
				f.WAN = []cluster.Member{
					{Name: "server-2.dc1", Status: cluster.StatusFailed}, {Name: "server-1.dc2", Status: cluster.StatusFailed},
				}
			},
			verdict: "3 of 4 voters answer, quorum is 3, server-1 leads; no more may fail; there are 5 other problems.",
			problems: "warning ConsulQuorumAtRisk, warning ConsulStaleRaftPeer, " +
				"warning ConsulSerfMemberFailed server-2, warning ConsulSerfMemberFailed, " +
				"warning ConsulSerfWANMemberFailed server-2, warning ConsulSerfWANMemberFailed, info ConsulEvenVoters",
			text: "2 client agents are taken for failed, and their services count as critical: client-1 and client-2.",
		},
		{
			name: "services", facts: healthy(), level: status.LevelDegraded,
			change: func(f *status.Facts) {
				disk := cluster.Check{ID: "disk", Status: cluster.HealthCritical}
				f.Catalog = &cluster.Catalog{Nodes: []cluster.CatalogNode{
					{Name: "node-1", Checks: []cluster.Check{disk}, Instances: []cluster.Instance{
						{Service: "web", Status: cluster.HealthPassing},
						{Service: "db", Status: cluster.HealthCritical},
						{Service: "db", Status: cluster.HealthMaintenance},
						{Service: "consul", Status: cluster.HealthCritical},
					}},
					{
						Name: "node-2", Checks: []cluster.Check{{ID: "serfHealth", Status: cluster.HealthCritical}},
						Instances: []cluster.Instance{{Service: "web", Status: cluster.HealthCritical}},
					},
					{Name: "node-3", Checks: []cluster.Check{disk, {ID: "_node_maintenance", Status: cluster.HealthCritical}}},
				}}
			},
			verdict: allAnswer + "one more may fail; there are 3 problems.",
			problems: "critical ConsulServiceDown, warning ConsulServiceInstancesCritical, " +
				"warning ConsulNodeCheckCritical",
			text: "1 service is critical on some instances: web (1 of 2).",
		},
		{
			name: "DNS and gossip", facts: healthy(), level: status.LevelDegraded,
			change: func(f *status.Facts) {
				f.Ports = append(f.Ports, dns(two, 2), dns(three, 0)) // The latter's agent's token may not read them.
				f.Pools = []cluster.SerfPool{
					{Name: "lan", HealthScore: new(uint64(5))}, {Name: "wan", HealthScore: new(uint64(3))},
				}
			},
			verdict: allAnswer + "one more may fail; there are 3 problems.",
			problems: "critical ConsulGossipHealthPoor server-1, warning ConsulDNSFewerServers server-2, " +
				"warning ConsulGossipHealthPoor server-1",
			text: "DNS of server-2 names 2 servers for consul.service, and 3 are alive.",
		},
		{
			name: "gossip that suffers from a server that failed", facts: healthy(), level: status.LevelDegraded,
			change: func(f *status.Facts) {
				f.LAN[2].Status = cluster.StatusFailed
				f.Pools = []cluster.SerfPool{{Name: "lan", HealthScore: new(uint64(5))}}
			},
			verdict:  allAnswer + "one more may fail; there is 1 problem.",
			problems: "warning ConsulSerfMemberFailed server-3",
		},
		{
			name: "gossip, and a client agent that failed", facts: healthy(), level: status.LevelDegraded,
			change: func(f *status.Facts) {
				f.LAN = append(f.LAN, client)
				f.Pools = []cluster.SerfPool{{Name: "lan", HealthScore: new(uint64(5))}}
			},
			verdict:  allAnswer + "one more may fail; there are 2 problems.",
			problems: "critical ConsulGossipHealthPoor server-1, warning ConsulSerfMemberFailed",
			text:     "server-1 is far from keeping up with gossip: its health score in the pool lan is 5",
		},
		{
			name: "a name in any characters", facts: healthy(hung(oddServer)), level: status.LevelDegraded,
			verdict:  "2 of 3 voters answer, quorum is 2, server-1 leads; " + odd + " hangs; no more may fail.",
			problems: "critical ConsulServerHung " + odd + ", warning ConsulQuorumAtRisk",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.change != nil {
				tc.change(tc.facts)
			}
			v := tc.facts.View()
			if v.Level != tc.level || v.Verdict != tc.verdict {
				t.Errorf("got %s: %s\nwant %s: %s", v.Level, v.Verdict, tc.level, tc.verdict)
			}
			var problems, texts []string
			for _, p := range v.Problems {
				problems = append(problems, strings.TrimSpace(fmt.Sprintf("%s %s %s", p.Severity, p.Alert, p.Server)))
				texts = append(texts, p.Text)
				if key := string(p.Severity) + " " + p.Alert; !known[key] {
					t.Errorf("the pack has no alert %s", key)
				}
			}
			if got := strings.Join(problems, ", "); got != tc.problems {
				t.Errorf("problems are %s\nwant %s", got, tc.problems)
			}
			if text := strings.Join(texts, "\n"); !strings.Contains(text, tc.text) {
				t.Errorf("texts of the problems are\n%s\nwant %q among them", text, tc.text)
			}
		})
	}
}

// The alert that a protocol names is a problem of the status, and its rule selects the ports of the protocol.
func TestFacts_View_Protocols(t *testing.T) {
	t.Parallel()
	rules, known := pack(t), packAlerts(t)
	for _, p := range cluster.Protocols() {
		alert := p.Alert()
		if alert == "" {
			continue
		}
		f := healthy()
		port := cluster.Port{Server: "server-3", Protocol: p, Transport: cluster.TransportTCP, Address: "10.0.0.3:1"}
		f.Ports = append(f.Ports, cluster.PortReport{Port: port, Result: refused})
		problems := f.View().Problems
		if len(problems) != 1 || problems[0].Alert != alert || !known[string(problems[0].Severity)+" "+alert] {
			t.Errorf("%s: problems are %+v; want %s as in the pack", p, problems, alert)
		}
		rule := regexp.MustCompile(`(?s)- alert: ` + alert + `\n.*?protocol=~?"([a-z_|]+)"`).FindStringSubmatch(rules)
		if rule == nil || !slices.Contains(strings.Split(rule[1], "|"), string(p)) {
			t.Errorf("%s: the rule of %s does not select its ports", p, alert)
		}
	}
}

// What is shown of servers and members.
func TestFacts_View_Data(t *testing.T) {
	t.Parallel()
	f := healthy(hung(three))
	raft := &f.Reports[1].RPC.Raft
	raft.LastLogIndex, raft.LastContactKnown, raft.LastContact = 990, true, 20*time.Millisecond
	f.ServerAgents = map[string]cluster.Agent{"server-1": {Raft: &cluster.RaftStats{State: cluster.RaftLeader, Term: 7}}}
	f.Autopilot = &cluster.AutopilotState{
		FailureTolerance: 1, Servers: []cluster.AutopilotServer{{Name: "server-1", Healthy: true}},
	}
	f.Consistent = &cluster.ConsistentRead{OK: true, Duration: 2 * time.Millisecond}
	f.Agent = &cluster.Agent{Name: "client-1"}
	f.Ports = append(f.Ports, cluster.PortReport{
		Port:   cluster.Port{Server: "client-1", Protocol: cluster.ProtocolHTTP, Transport: "tcp", Address: "127.0.0.1:8500"},
		Result: probe.Result{Up: true, Verified: true},
	})
	v := f.View()

	const noAnswer = "no answer to a request on the open connection: i/o timeout"
	silent := func(port int, protocol cluster.Protocol, transport string, state verdict.PortState) status.PortStatus {
		return status.PortStatus{
			Port: port, Protocol: protocol, Transport: transport, State: state, Up: new(false), Verified: true,
			Hung: state == verdict.PortHangs, Reason: "timeout", Error: noAnswer,
		}
	}
	want := []status.ServerStatus{
		{
			Name: "server-1", ID: "id-1", Address: "10.0.0.1:8300", Voter: true, Serf: "alive",
			RaftState: cluster.RaftLeader, HasLeader: new(true), Leader: "server-1", Term: new(uint64(7)),
			LastLogIndex: new(uint64(1000)), LogLag: new(uint64(0)), AutopilotHealthy: new(true), Ports: v.Servers[0].Ports,
		},
		{
			Name: "server-2", ID: "id-2", Address: "10.0.0.2:8300", Voter: true, Serf: "alive",
			RaftState: cluster.RaftFollower, HasLeader: new(true), Leader: "server-1", Term: new(uint64(2)),
			LastLogIndex: new(uint64(990)), LogLag: new(uint64(10)), LastContactSeconds: new(0.02),
			Ports: v.Servers[1].Ports,
		},
		{
			Name: "server-3", ID: "id-3", Address: "10.0.0.3:8300", Voter: true, Serf: "alive",
			Ports: []status.PortStatus{
				silent(8300, cluster.ProtocolRPC, "tcp", verdict.PortHangs),
				silent(8301, cluster.ProtocolSerfLAN, "tcp", verdict.PortHangs),
				silent(8600, cluster.ProtocolDNS, "udp", verdict.PortDown),
			},
		},
	}
	if diff := cmp.Diff(want, v.Servers); diff != "" {
		t.Errorf("servers differ (-want +got):\n%s", diff)
	}
	if got := v.Agent.Ports; len(got) != 1 || got[0].Protocol != cluster.ProtocolHTTP {
		t.Errorf("ports of the agent are %+v; want its HTTP port", got)
	}
	if *v.ConsistentRead.Seconds != 0.002 || v.Autopilot.FailureTolerance != 1 || *v.Leadership.UnknownPeers != 0 ||
		*v.Quorum.Margin != 0 {
		t.Errorf("got %+v, %+v, %+v, %+v", v.ConsistentRead, v.Autopilot, v.Leadership, v.Quorum)
	}
}

// The texts about thousands of services stay short.
func TestFacts_View_ManyServices(t *testing.T) {
	t.Parallel()
	f := healthy()
	f.Catalog = &cluster.Catalog{Nodes: make([]cluster.CatalogNode, 1)}
	for i := range 250 {
		in := cluster.Instance{Service: fmt.Sprintf("service-%03d", i), Status: cluster.HealthCritical}
		f.Catalog.Nodes[0].Instances = append(f.Catalog.Nodes[0].Instances, in)
		if i%2 == 1 {
			in.Status = cluster.HealthPassing
			f.Catalog.Nodes[0].Instances = append(f.Catalog.Nodes[0].Instances, in)
		}
	}
	var texts []string
	for _, p := range f.View().Problems {
		texts = append(texts, p.Text)
	}
	want := []string{
		"125 services are critical on all instances: service-000, service-002, service-004, service-006, service-008, " +
			"service-010, service-012, service-014 and 117 more.",
		"125 services are critical on some instances.",
	}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Errorf("texts differ (-want +got):\n%s", diff)
	}
}

// The shape of the JSON is public.
func TestFacts_View_JSON(t *testing.T) {
	t.Parallel()
	f := factsOf(reporttest.Says(one, 1, 1, 1000))
	f.LeaderSince = noon.Add(-time.Hour)
	*result(f, "server-1", cluster.ProtocolRPC) = probe.Result{
		Up: true, Verified: true, Duration: 1500 * time.Microsecond,
		CertExpiry: noon.AddDate(1, 0, 0), CertLifetime: 365 * 24 * time.Hour,
	}
	*result(f, "server-1", cluster.ProtocolSerfLAN) = probe.Result{Skipped: true}
	f.Ports = f.Ports[1:] // Without DNS.
	f.Catalog = &cluster.Catalog{Nodes: []cluster.CatalogNode{
		{Instances: []cluster.Instance{{Service: "db", Status: cluster.HealthCritical}}},
	}}
	f.Missing = []status.Missing{{What: "autopilot", Reason: "403", Denied: true, Refused: true}}
	got, err := json.MarshalIndent(f.View(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/view.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Errorf("JSON differs (-want +got):\n%s", diff)
	}
}
