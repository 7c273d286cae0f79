// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/catalog"
	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
	"github.com/zervigo/consul_cluster_exporter/memory"
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
		Start: noon, Took: 40 * time.Millisecond, Address: consul.Address{Scheme: "http", Host: "10.0.0.1:8500"},
		Up: new(true), Agent: &cluster.Agent{Name: "server-1", ID: "id-1", Datacenter: "dc1", Server: true}, Reports: reports,
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

// missingAs are the facts about three servers of which one is missing since three minutes.
func missingAs(how cluster.Departure, report func(cluster.Server) cluster.Report) *status.Facts {
	gone := reporttest.NonVoter(reporttest.Strange(three))
	gone.Absence = &cluster.Absence{How: how, Since: noon.Add(-3 * time.Minute), Voter: true}
	f := factsOf(reporttest.Says(one, 1, 2, 1000), reporttest.Says(two, 1, 2, 1000), report(gone))
	f.Topology.Peers, f.LAN, f.Shortage = f.Topology.Peers[:2], f.LAN[:2], memory.Shortage{Expected: 3, Missing: 1}
	for i := range f.Ports {
		if f.Ports[i].Result.Skipped {
			f.Ports[i].Note = "the server left the cluster in order"
		}
	}
	return f
}

// unasked returns a report of a server that is not asked on purpose.
func unasked(s cluster.Server) cluster.Report {
	return cluster.Report{Server: s, RPC: probe.RPCResult{Result: probe.Result{Skipped: true}}}
}

// says returns a report of one of three servers: it names this leader (0: none).
func says(s cluster.Server, leader int) cluster.Report { return reporttest.Says(s, leader, 3, 1000) }

// agents are configured agents that answered in this way, the last of which is in use.
func agents(errs ...error) []cluster.AgentState {
	var all []cluster.AgentState
	for i, err := range errs {
		address := consul.Address{Scheme: "http", Host: fmt.Sprintf("10.0.0.%d:8500", len(errs)-i)}
		all = append(all, cluster.AgentState{Address: address, Used: i == len(errs)-1, Err: err})
	}
	return all
}

// hung returns a report of a server whose port 8300 accepts connections and does not answer.
func hung(s cluster.Server) cluster.Report {
	r := reporttest.Silent(s)
	r.RPC.Err = errors.New("no answer to a request on the open connection: i/o timeout")
	r.RPC.Phases = slices.Concat(connecting, []probe.PhaseDuration{{Phase: probe.PhaseRequest, Duration: 3 * time.Second}})
	return r
}

// dead returns a report of a server on whose host nothing listens any more.
func dead(s cluster.Server) cluster.Report {
	r := reporttest.Silent(s)
	r.RPC.Result = refused
	return r
}

// failed is a server that gossip has as failed.
func failed(s cluster.Server) cluster.Server {
	s.Status = cluster.StatusFailed
	return s
}

// port returns the report of a port of a server, over the transport that it has first.
func port(f *status.Facts, server string, protocol cluster.Protocol) *cluster.PortReport {
	i := slices.IndexFunc(f.Ports, func(p cluster.PortReport) bool { return p.Server == server && p.Protocol == protocol })
	return &f.Ports[i]
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
	return string(alerts.Join(must.Get(alerts.Pack(nil))(t)))
}

// certificates has port 8300 of each server show a certificate that is valid for so long in all, and for so long still.
func certificates(lifetime time.Duration, left ...time.Duration) func(*status.Facts) {
	return func(f *status.Facts) {
		for i, s := range []string{"server-1", "server-2", "server-3"} {
			r := &port(f, s, cluster.ProtocolRPC).Result
			r.CertExpiry, r.CertLifetime = noon.Add(left[i]), lifetime
		}
	}
}

var update = flag.Bool("update", false, "write the golden files instead of comparing them")

// golden compares a text with that of a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must.Do(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want := must.Get(os.ReadFile(path))(t)
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

// ascii writes other characters as a string of Go does.
func ascii(text string) string {
	quoted := strconv.QuoteToASCII(text)
	return quoted[1 : len(quoted)-1]
}

// The level, the sentence and all problems of a cluster, whatever is wrong with it.
func TestFacts_View(t *testing.T) {
	t.Parallel()
	oddServer := three
	oddServer.Name = "\u202eевіл\x1b[31m"
	lagging, late, taken := says(three, 1), says(three, 1), dead(three)
	taken.RPC.Err = cluster.TakenError{By: "server-9"}
	lagging.RPC.Raft.LastLogIndex = 1
	late.RPC.Raft.LastContactKnown, late.RPC.Raft.LastContact = true, 1234567*time.Microsecond
	// clients are this many client agents, of which some failed.
	clients := func(failed, alive int) (members []cluster.Member) {
		for i := range failed + alive {
			m := cluster.Member{Name: fmt.Sprintf("client-%d", i+1), Role: "node", Status: cluster.StatusFailed}
			if i >= failed {
				m.Status = cluster.StatusAlive
			}
			members = append(members, m)
		}
		return members
	}
	pools := func(lan, wan uint64) []cluster.SerfPool {
		return []cluster.SerfPool{{Name: "lan", HealthScore: &lan}, {Name: "wan", HealthScore: &wan}}
	}
	noRead := func(f *status.Facts) { f.Consistent = &cluster.ConsistentRead{} }
	raft := func(server string, stats cluster.RaftStats) map[string]cluster.Agent {
		return map[string]cluster.Agent{server: {Raft: &stats}}
	}
	unhealthy := &cluster.AutopilotState{Servers: []cluster.AutopilotServer{{ID: "id-3"}}}
	missing := func(what, reason string) status.Missing { return status.Missing{What: what, Reason: reason} }

	known := packAlerts(t)
	var got strings.Builder
	for _, scene := range []struct {
		name   string
		facts  *status.Facts
		change func(f *status.Facts)
	}{
		{"healthy", healthy(), nil},
		{"healthy, and the election was watched", healthy(), func(f *status.Facts) {
			f.LeaderSince = noon.Add(-2 * time.Hour)
		}},
		{"healthy, and the election was watched days ago", healthy(), func(f *status.Facts) {
			f.LeaderSince = noon.Add(-50 * time.Hour)
		}},
		{"one server", factsOf(reporttest.Says(one, 1, 1, 10)), nil},
		{"a hung server, and all that follows from it", healthy(hung(three)), func(f *status.Facts) {
			f.LAN[2].Status = cluster.StatusFailed
			f.WAN = []cluster.Member{{Name: "server-3.dc1", Datacenter: "dc1", Status: cluster.StatusFailed}}
			f.Autopilot = unhealthy
			// Gossip is encrypted and there is no key: that the port accepts connections is no sign of life.
			p := port(f, "server-3", cluster.ProtocolSerfLAN)
			p.Serf.Encrypted, p.Result = true, probe.Result{Up: true}
		}},
		{"a dead server", healthy(dead(three)), nil},
		{
			"a firewall between the exporter and all servers, of which one is dead as well",
			healthy(reporttest.Silent(one), reporttest.Silent(two), reporttest.Silent(failed(three))), func(f *status.Facts) {
				f.AgentLeader, f.Consistent = &one.RPCAddress, &cluster.ConsistentRead{OK: true}
				f.LAN[2].Status = cluster.StatusFailed
			},
		},
		{"quorum lost", healthy(says(one, 0), dead(two), hung(three)), func(f *status.Facts) {
			noRead(f)
			f.Autopilot = &cluster.AutopilotState{}
		}},
		{"quorum lost, and the leader has not noticed", healthy(hung(two), hung(three)), nil},
		{"too few servers could be probed to tell", healthy(reporttest.NotAsked(two), reporttest.NotAsked(three)), nil},
		{"no leader", healthy(says(one, 0), says(two, 0), says(three, 0)), noRead},
		{"the servers wait for the first election", factsOf(reporttest.Says(one, 0, 0, 0)), func(f *status.Facts) {
			f.Agent.BootstrapExpect, f.Agent.Raft, f.Topology.Peers = 3, &cluster.RaftStats{}, nil
			noRead(f)
		}},
		{"split brain", healthy(says(two, 2)), nil},
		{"the servers disagree", healthy(says(three, 2)), nil},
		{"two configurations", healthy(reporttest.Says(three, 1, 2, 1000)), nil},
		{"consistent reads fail", healthy(), noRead},
		{"a server knows of no leader", healthy(says(three, 0)), nil},
		{"a server that lags", healthy(lagging), func(f *status.Facts) { f.Reports[0].RPC.Raft.LastLogIndex = 1200 }},
		{"a server that lags more than autopilot allows", healthy(lagging), func(f *status.Facts) {
			f.AutopilotConfig = &cluster.AutopilotConfig{MaxTrailingLogs: 250}
		}},
		{"a server that hears of the leader late, and does not apply", healthy(late), func(f *status.Facts) {
			f.ServerAgents = raft("id-3", cluster.RaftStats{CommitIndex: 2001, AppliedIndex: 1000})
		}},
		{"a server that stands for election", healthy(), func(f *status.Facts) {
			f.ServerAgents = raft("id-3", cluster.RaftStats{State: cluster.RaftCandidate})
			f.Autopilot = unhealthy
		}},
		{"the agent is dead, the servers are known", healthy(dead(one), says(two, 2), says(three, 2)), func(f *status.Facts) {
			f.Up, f.LAN = new(false), nil
			f.Missing = []status.Missing{missing("agent", "connection refused"), missing("members", "connection refused")}
		}},
		{"the agent is dead, nothing is known", factsOf(), func(f *status.Facts) {
			f.Up, f.Agent = new(false), nil
			f.Missing = []status.Missing{missing("agent", "connection refused"), missing("servers", "connection refused")}
		}},
		{"the agent's certificate is for another name, nothing is known", factsOf(), func(f *status.Facts) {
			f.Up, f.AgentErr = new(false), &tls.CertificateVerificationError{Err: x509.HostnameError{}}
			f.Missing = []status.Missing{missing("agent", "another name"), missing("servers", "another name")}
		}},
		{"the agent could not be asked", factsOf(), func(f *status.Facts) {
			f.Up, f.Agent = nil, nil
			f.Missing = []status.Missing{{What: "agent", Reason: "no free descriptor", Own: true}}
			f.FailingFiles = []string{"ca.pem: no such file"}
		}},
		{"the token may read only the servers' addresses", healthy(), func(f *status.Facts) {
			f.Agent = nil
			f.Missing = []status.Missing{denied("agent"), denied("Raft configuration"), denied("autopilot")}
		}},
		{"the agent blocks endpoints, whatever the token", healthy(), func(f *status.Facts) {
			f.Agent = nil
			f.Missing = []status.Missing{
				{What: "agent", Reason: "Endpoint is blocked", Blocked: true, Refused: true}, denied("autopilot"),
			}
		}},
		{"the WAN pool, and the token may not read who the agent is", healthy(), func(f *status.Facts) {
			f.Agent = nil
			for i := range f.LAN {
				f.LAN[i].Datacenter = "dc1"
			}
			f.WAN = []cluster.Member{{Name: "server-3.dc1", Datacenter: "dc1", Status: cluster.StatusFailed}}
		}},
		{"gossip turns the exporter away over TCP, and is silent over UDP", healthy(), func(f *status.Facts) {
			tcp := port(f, "server-2", cluster.ProtocolSerfLAN)
			udp := *tcp
			tcp.Result = probe.Result{Reason: probe.ReasonAuth, Err: errors.New("none of the gossip keys decrypts the answer")}
			udp.Transport, udp.Result = cluster.TransportUDP, probe.Result{Reason: probe.ReasonTimeout}
			f.Ports = append(f.Ports, udp)
		}},
		{"a server without a certificate of the service mesh", healthy(), func(f *status.Facts) {
			p := *port(f, "server-2", cluster.ProtocolSerfLAN)
			p.Protocol, p.Address, p.OfMesh = cluster.ProtocolGRPCTLS, "10.0.0.2:8503", true
			p.Result = probe.Result{Reason: probe.ReasonTLS, Err: errors.New("remote error: tls: internal error")}
			f.Ports = append(f.Ports, p)
		}},
		{"a rebuilt server at the address of a voter", healthy(taken), func(f *status.Facts) {
			f.AgentLeader, f.Consistent = &one.RPCAddress, &cluster.ConsistentRead{OK: true}
			f.Reports[1] = dead(two)
		}},
		{"the token may not read anything at all", factsOf(), func(f *status.Facts) {
			f.Agent = nil
			f.AgentErr = consul.DeniedError{Missing: consul.AgentRead("")}
			f.Missing = []status.Missing{denied("agent"), missing("servers", "no server")}
		}},
		{"nothing listens where the agent should be", factsOf(), func(f *status.Facts) {
			f.Up, f.AgentErr = new(false), syscall.ECONNREFUSED
		}},
		{"a namespace without Consul Enterprise", healthy(), func(f *status.Facts) {
			f.Missing = []status.Missing{{What: "catalog", Enterprise: true}}
		}},
		{"one of two agents does not answer", healthy(), func(f *status.Facts) {
			f.Agents = agents(api.StatusError{Code: 429}, nil)
		}},
		{"no agent answers", healthy(), func(f *status.Facts) {
			f.Up, f.Agents = new(false), agents(api.StatusError{Code: 429}, syscall.ECONNREFUSED)
			f.AgentErr = syscall.ECONNREFUSED
		}},
		{"no agent answers, and no server is known", factsOf(), func(f *status.Facts) {
			f.Up, f.Agents = new(false), agents(api.StatusError{Code: 429}, syscall.ECONNREFUSED)
			f.AgentErr = syscall.ECONNREFUSED
			f.Missing = []status.Missing{missing("servers", "no server")}
		}},
		{"the agent names no server", factsOf(), func(f *status.Facts) {
			f.Missing = []status.Missing{{What: "servers", Reason: "no server", Refused: true}}
		}},
		{"only the agent is asked", factsOf(), nil},
		{"a part that this version does not have, one that fails, and a filtered answer", healthy(), func(f *status.Facts) {
			f.Missing = []status.Missing{{What: "autopilot", Refused: true}, missing("catalog", "deadline")}
			f.Filtered = []string{"/v1/agent/members"}
		}},
		{"single ports", healthy(), func(f *status.Facts) {
			port(f, "server-2", cluster.ProtocolRPC).Result = refused
			port(f, "server-3", cluster.ProtocolSerfLAN).Result = refused
			port(f, "server-3", cluster.ProtocolDNS).Result = refused
			port(f, "server-1", cluster.ProtocolSerfLAN).Result.Duration = 1500 * time.Millisecond
		}},
		{"gossip over UDP, on one server also over TCP", healthy(), func(f *status.Facts) {
			for _, server := range []string{"server-1", "server-2"} {
				udp := *port(f, server, cluster.ProtocolSerfLAN)
				udp.Transport, udp.Result = cluster.TransportUDP, probe.Result{Reason: probe.ReasonTimeout}
				f.Ports = append(f.Ports, udp)
			}
			port(f, "server-2", cluster.ProtocolSerfLAN).Result = refused
		}},
		{"certificates", healthy(), certificates(365*24*time.Hour, 13*24*time.Hour, 71*time.Hour, -time.Hour)},
		{
			"certificates that Consul renews by itself", healthy(),
			certificates(72*time.Hour, 8*time.Hour, 7*time.Hour, -time.Minute),
		},
		{"certificates of the exporter itself", healthy(), func(f *status.Facts) {
			own := func(protocol cluster.Protocol, authority bool, lifetime, left time.Duration) cluster.Certificate {
				return cluster.Certificate{Protocol: protocol, OwnCertificate: consul.OwnCertificate{
					File: "/etc/consul.d/tls/consul.pem", Subject: "exporter.example", Authority: authority,
					Expiry: noon.Add(left), Lifetime: lifetime,
				}}
			}
			const year, day = 365 * 24 * time.Hour, 24 * time.Hour
			f.Certificates = []cluster.Certificate{
				own(cluster.ProtocolHTTP, false, year, 47*time.Hour), own(cluster.ProtocolHTTP, true, year, 6*day),
				own(cluster.ProtocolRPC, false, year, -time.Second), own(cluster.ProtocolRPC, true, year, 7*day),
				own(cluster.ProtocolRPC, false, 3*day, 8*time.Hour),
			}
		}},
		{"a server that refuses TLS is not down", healthy(), func(f *status.Facts) {
			for _, protocol := range []cluster.Protocol{cluster.ProtocolRPC, cluster.ProtocolSerfLAN, cluster.ProtocolDNS} {
				port(f, "server-3", protocol).Result = probe.Result{Reason: probe.ReasonTLS}
			}
		}},
		{
			"members, a left-over peer and an even number of voters",
			factsOf(reporttest.Says(one, 1, 4, 9), reporttest.Says(two, 1, 4, 9), reporttest.Says(three, 1, 4, 9),
				reporttest.Silent(reporttest.Strange(reporttest.Server(4)))),
			func(f *status.Facts) {
				f.Ports = f.Ports[:9] // The stranger's port 8300 is known all the same.
				f.LAN = append(f.LAN[:3], clients(5, 20)...)
				f.LAN[1].Status = cluster.StatusFailed
				for _, m := range [][2]string{{"server-2.dc1", "dc1"}, {"server-1.dc2", "dc2"}, {"server-1.dc3", "dc3"}} {
					f.WAN = append(f.WAN, cluster.Member{Name: m[0], Datacenter: m[1], Status: cluster.StatusFailed})
				}
				f.WAN = append(f.WAN, cluster.Member{Name: "server-2.dc2", Datacenter: "dc2", Status: cluster.StatusAlive})
			},
		},
		{"services", healthy(), func(f *status.Facts) {
			instance := func(service string, status catalog.Status) catalog.Instance {
				return catalog.Instance{Service: service, Status: status}
			}
			disk := []catalog.Check{{ID: "disk", Status: catalog.Critical}}
			f.Catalog = &catalog.Catalog{Nodes: []catalog.Node{
				{Name: "node-1", Checks: disk, Instances: []catalog.Instance{
					instance("web", catalog.Passing), instance("db", catalog.Critical),
					instance("db", catalog.Maintenance), instance("consul", catalog.Critical),
				}},
				{Name: "node-2", Instances: []catalog.Instance{instance("web", catalog.Critical)}},
			}}
		}},
		{"services on a node whose agent failed", healthy(), func(f *status.Facts) {
			failed := []catalog.Check{{ID: "serfHealth", Status: catalog.Critical}}
			f.Catalog = &catalog.Catalog{Nodes: []catalog.Node{
				{Name: "spot-1", Checks: failed, Instances: []catalog.Instance{
					{Service: "dev", Status: catalog.Critical}, {Service: "dev-sidecar-proxy", Status: catalog.Critical},
				}},
				{Name: "node-1", Instances: []catalog.Instance{{Service: "web"}}},
			}}
		}},
		{"thousands of services", healthy(), func(f *status.Facts) {
			node := catalog.Node{}
			for i := range 250 {
				in := catalog.Instance{Service: fmt.Sprintf("service-%03d", i), Status: catalog.Critical}
				node.Instances = append(node.Instances, in)
				if i%2 == 1 {
					in.Status = catalog.Passing
					node.Instances = append(node.Instances, in)
				}
			}
			f.Catalog = &catalog.Catalog{Nodes: []catalog.Node{node}}
		}},
		{"DNS and gossip", healthy(), func(f *status.Facts) {
			// The token of the second one's agent may not read them, and the first one is told to name no more.
			f.Ports = append(f.Ports, dns(two, 2), dns(three, 0), dns(one, 1))
			f.ServerAgents = map[string]cluster.Agent{
				"server-1": {Name: "server-1", DNSLimit: 1}, "server-2": {Name: "server-2"}, "server-3": {Name: "server-3"},
			}
			f.Pools = pools(5, 3)
		}},
		{"gossip that suffers from a server that failed", healthy(), func(f *status.Facts) {
			f.LAN[2].Status = cluster.StatusFailed
			f.Pools = pools(5, 0)
		}},
		{"gossip, and most client agents failed", healthy(), func(f *status.Facts) {
			f.LAN = append(f.LAN, clients(5, 4)...)
			f.Pools = pools(5, 0)
		}},
		{"gossip, and some client agents failed", healthy(), func(f *status.Facts) {
			f.LAN = append(f.LAN, clients(4, 1)...)
			f.Pools = pools(5, 0)
		}},
		{"DNS errors", healthy(), func(f *status.Facts) {
			f.Ports = append(f.Ports, dns(one, 0), dns(two, 0), dns(three, 0))
			for i, code := range []int{2, 3, 5} {
				f.Ports[len(f.Ports)-3+i].DNS.Rcode = code
			}
		}},
		{"a hung server that Consul has removed", missingAs(cluster.DepartureRemoved, hung), nil},
		{"a dead server, nobody saw how it went", missingAs(cluster.DepartureGone, dead), nil},
		{"a server has left in order", missingAs(cluster.DepartureLeft, unasked), nil},
		{"a server left in order long ago", missingAs(cluster.DepartureLeft, unasked), func(f *status.Facts) {
			f.Reports[2].Server.Absence.Since = noon.Add(-2 * time.Hour)
		}},
		{
			"a server without a vote has left in order, and a voter is missing", missingAs(cluster.DepartureLeft, unasked),
			func(f *status.Facts) { f.Reports[2].Server.Absence.Voter = false },
		},
		{"fewer voters than expected, of which nobody knows", healthy(), func(f *status.Facts) {
			f.Shortage = memory.Shortage{Expected: 5, Missing: 2}
		}},
		{"a client agent that is asked and is dead", healthy(), func(f *status.Facts) {
			f.Up, f.LAN, f.Agent = new(false), nil, &cluster.Agent{Name: "client-1", Datacenter: "dc1"}
			f.Missing = []status.Missing{missing("agent", "connection refused"), missing("catalog", "connection refused")}
			for _, protocol := range []cluster.Protocol{cluster.ProtocolHTTP, cluster.ProtocolGRPC, cluster.ProtocolDNS} {
				f.Ports = append(f.Ports, cluster.PortReport{
					Port:   cluster.Port{Server: "client-1", Protocol: protocol, Transport: "tcp", Address: "127.0.0.1:1"},
					Result: refused,
				})
			}
		}},
		{"peerings", healthy(), func(f *status.Facts) {
			peering := func(name string, state cluster.PeeringState, health verdict.PeeringHealth) {
				f.Peerings = append(f.Peerings, status.Peering{
					Peering: cluster.Peering{Name: name, State: state}, Health: health, Active: noon.Add(-time.Minute),
				})
			}
			peering("new", cluster.PeeringPending, verdict.PeeringNew)
			peering("well", cluster.PeeringActive, verdict.PeeringUp)
			peering("failing", cluster.PeeringFailing, verdict.PeeringDown)
			peering("with a new leader here", cluster.PeeringEstablishing, verdict.PeeringDown)
			peering("silent", cluster.PeeringActive, verdict.PeeringDown)
		}},
		{"services of which all are well", healthy(), func(f *status.Facts) {
			f.Catalog = &catalog.Catalog{Nodes: []catalog.Node{{Instances: []catalog.Instance{
				{Service: "web"}, {Service: "web"}, {Service: "db"}, {Service: "consul", Status: catalog.Critical},
			}}}}
		}},
		{"no services", healthy(), func(f *status.Facts) {
			f.Catalog = &catalog.Catalog{Nodes: []catalog.Node{{Instances: []catalog.Instance{{Service: "consul"}}}}}
		}},
		{"services in all states, counted by Consul, as the catalog is too large", healthy(), func(f *status.Facts) {
			f.Overview = &catalog.Overview{Services: []catalog.ServiceOverview{
				{Name: "web", OverviewCounts: catalog.OverviewCounts{
					Total: 9, Passing: 2, Warning: 1, Critical: 1, Maintenance: 2,
				}},
			}}
			f.Missing = []status.Missing{missing("catalog", "too large")}
		}},
		{"a hung server that Consul has removed", missingAs(cluster.DepartureRemoved, hung), nil},
		{"a dead server, nobody saw how it went", missingAs(cluster.DepartureGone, dead), nil},
		{"a server has left in order", missingAs(cluster.DepartureLeft, unasked), nil},
		{"a server left in order long ago", missingAs(cluster.DepartureLeft, unasked), func(f *status.Facts) {
			f.Reports[2].Server.Absence.Since = noon.Add(-2 * time.Hour)
		}},
		{
			"a server without a vote has left in order, and a voter is missing", missingAs(cluster.DepartureLeft, unasked),
			func(f *status.Facts) { f.Reports[2].Server.Absence.Voter = false },
		},
		{"fewer voters than expected, of which nobody knows", healthy(), func(f *status.Facts) {
			f.Shortage = memory.Shortage{Expected: 5, Missing: 2}
		}},
		{"a name in any characters", healthy(hung(oddServer)), nil},
	} {
		if scene.change != nil {
			scene.change(scene.facts)
		}
		v := scene.facts.View()
		fmt.Fprintf(&got, "# %s\n%s: %s\n", scene.name, v.Level, ascii(v.Verdict))
		problems := v.Problems
		if scene.facts.Catalog != nil || len(v.Services.Problems) > 0 {
			fmt.Fprintf(&got, "services %s: %s\n", v.Services.Level, ascii(v.Services.Verdict))
			problems = slices.Concat(problems, v.Services.Problems)
		}
		for _, p := range problems {
			fmt.Fprintf(&got, "- %s %s %s: %s\n", p.Severity, p.Alert, cmp.Or(ascii(p.Server), "(cluster)"), ascii(p.Text))
			if key := string(p.Severity) + " " + p.Alert; !known[key] || p.Runbook != alerts.Runbook(p.Alert) {
				t.Errorf("%s: the pack has no alert %s with runbook %s", scene.name, key, p.Runbook)
			}
		}
		got.WriteByte('\n')
	}
	golden(t, "views.txt", strings.TrimSuffix(got.String(), "\n"))
}

// A port of any protocol that is down is a problem, which the pack has an alert for.
func TestFacts_View_Protocols(t *testing.T) {
	t.Parallel()
	known := packAlerts(t)
	for _, p := range cluster.Protocols() {
		f := healthy()
		down := cluster.Port{Server: "server-3", Protocol: p, Transport: cluster.TransportTCP, Address: "10.0.0.3:1"}
		f.Ports = append(f.Ports, cluster.PortReport{Port: down, Result: refused})
		problems := f.View().Problems
		if len(problems) != 1 || !known[string(problems[0].Severity)+" "+problems[0].Alert] ||
			problems[0].Alert != "ConsulPortDown" {
			t.Errorf("%s: problems are %+v; want ConsulPortDown as in the pack", p, problems)
		}
	}
}

// The shape of the JSON is public, and so is what it has about servers of which one hangs and an agent that is none.
func TestFacts_View_JSON(t *testing.T) {
	t.Parallel()
	alone := factsOf(reporttest.Says(one, 1, 1, 1000))
	alone.LeaderSince = noon.Add(-time.Hour)
	port(alone, "server-1", cluster.ProtocolRPC).Result = probe.Result{
		Up: true, Verified: true, Duration: 1500 * time.Microsecond,
		CertExpiry: noon.AddDate(1, 0, 0), CertLifetime: 365 * 24 * time.Hour,
	}
	port(alone, "server-1", cluster.ProtocolSerfLAN).Result = probe.Result{Skipped: true}
	alone.Ports = alone.Ports[1:] // Without DNS.
	alone.Catalog = &catalog.Catalog{Nodes: []catalog.Node{
		{Instances: []catalog.Instance{{Service: "db", Status: catalog.Critical}}},
	}}
	alone.Missing = []status.Missing{{What: "autopilot", Reason: "403", Denied: true, Refused: true}}

	outage := healthy(hung(three))
	raft := &outage.Reports[1].RPC.Raft
	raft.LastLogIndex, raft.LastContactKnown, raft.LastContact = 990, true, 20*time.Millisecond
	outage.ServerAgents = map[string]cluster.Agent{
		"id-1": {Raft: &cluster.RaftStats{State: cluster.RaftLeader, Term: 7, CommitIndex: 990}},
	}
	outage.Autopilot = &cluster.AutopilotState{
		FailureTolerance: 1, Servers: []cluster.AutopilotServer{{ID: "id-1", Healthy: true}},
	}
	outage.Consistent = &cluster.ConsistentRead{OK: true, Duration: 2 * time.Millisecond}
	outage.Agent = &cluster.Agent{Name: "client-1"}
	outage.Ports = append(outage.Ports, cluster.PortReport{
		Port:   cluster.Port{Server: "client-1", Protocol: cluster.ProtocolHTTP, Transport: "tcp", Address: "127.0.0.1:8500"},
		Result: probe.Result{Up: true, Verified: true},
	})
	for name, f := range map[string]*status.Facts{"view.json": alone, "view_hung.json": outage} {
		golden(t, name, string(must.Get(json.MarshalIndent(f.View(), "", " "))(t))+"\n")
	}
}

// A list without elements is [] in JSON, never null.
func TestFacts_View_EmptyLists(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*status.Facts{"nothing is known": {}, "healthy": healthy()} {
		if got := string(must.Get(json.Marshal(f.View()))(t)); strings.Contains(got, ":null") {
			t.Errorf("%s: a list is null: %s", name, got)
		}
	}
}
