// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package netns_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// A soakFault is something that happens to a cluster or to its exporter.
type soakFault struct {
	name string
	// shows says in words what the exporter must show then.
	shows string
	// breaks makes it happen to a healthy cluster.
	breaks breaker
}

// A breaker returns what a scrape shows once something is broken, and how to repair it.
type breaker func(t *testing.T, s *soak) (shown harness.Samples, repair func())

// rpcBlocked is the fault in which a connection may be made and what the exporter sends first be dropped.
const rpcBlocked = "a firewall drops what the exporter sends to a follower's port 8300"

// soakFaults are in the order in which they are tried: a short soak tries the first of them. The exporter asks server-1
// first, so in some of them it is its own agent that is gone, and it asks another.
var soakFaults = []soakFault{
	{"the leader is killed", "another leader, 2 of 3 voters, the port closed", lose(killed, leader)},
	{"a follower hangs (SIGSTOP)", "2 of 3 voters, no answer on its port", lose(hung, otherFollower)},
	{"two of three servers are killed", "no leader, the quorum is lost", lose(killed, leader, otherFollower)},
	{
		"the leader is cut off from its peers, not from the exporter",
		"another leader; the old one knows of none", cutOff(leader),
	},
	{
		"the exporter's token is replaced, and the old one deleted",
		"all collectors complete, without a restart", replaceToken,
	},
	{"200 services are registered", "their number", registerMany},
	{"the agent that the exporter asks is killed", "2 of 3 voters, a leader: it asks another", lose(killed, asked)},
	{"the exporter's configuration is broken, and read again", "the reload has failed", breakConfig},
	{"the leader hangs (SIGSTOP)", "another leader, 2 of 3 voters, no answer on its port", lose(hung, leader)},
	{"two of three servers hang (SIGSTOP)", "no leader, the quorum is lost", lose(hung, leader, follower)},
	{
		"all servers are killed", "`consul_up` 0, no voter answers, the quorum is unknown",
		lose(killed, leader, follower, otherFollower),
	},
	{"a follower is cut off from its peers, not from the exporter", "it knows of no leader", cutOff(follower)},
	{
		rpcBlocked,
		"that port does not answer; the voter is unknown, not lost, and the quorum held", blockRPC,
	},
	{"a follower leaves in good order", "2 voters", leaveOne},
	{"the exporter's token is deleted", "the catalog is refused", deleteToken},
}

// role is that of a server when something breaks.
type role int

const (
	leader role = iota
	follower
	otherFollower
	// asked is whichever of them the exporter asks first.
	asked
)

// server returns the server with this role, as the last scrape has it: the test sends servers no request that they
// could log a warning about.
func (s *soak) server(t *testing.T, r role) *consultest.Agent {
	t.Helper()
	if r == asked {
		return s.cluster.Servers[0]
	}
	m := s.scraper.latest().samples
	for _, a := range s.cluster.Servers {
		if m[harness.ServerSeries("is_leader", a)] == 1 {
			return append([]*consultest.Agent{a}, harness.Others(s.cluster, a)...)[r]
		}
	}
	t.Fatalf("no server leads; the last scrape:\n%s", m)
	return nil
}

// way is a way in which servers go and come back.
type way struct {
	goes  func(*consultest.Agent) error
	comes func(*consultest.Agent, context.Context) error
}

var (
	killed = way{(*consultest.Agent).Kill, (*consultest.Agent).Restart}
	hung   = way{(*consultest.Agent).Stop, func(a *consultest.Agent, _ context.Context) error { return a.Continue() }}
)

// lose makes servers go. Scrapes show how many voters answer, and whether they have a leader.
func lose(how way, roles ...role) breaker {
	return func(t *testing.T, s *soak) (harness.Samples, func()) {
		var lost []*consultest.Agent
		for _, r := range roles {
			lost = append(lost, s.server(t, r))
		}
		answer := float64(len(s.cluster.Servers) - len(lost))
		shown := harness.Samples{harness.AnsweringVoters: answer}
		switch answer {
		case 0: // What is not there is for nobody to say: the exporter may be cut off itself.
			shown["consul_up"], shown[`consul_cluster_quorum_state{state="unknown"}`] = 0, 1
		case 1:
			shown["consul_cluster_leaders"], shown["consul_cluster_servers_without_leader"] = 0, 1
			shown[`consul_cluster_quorum_state{state="lost"}`], shown["consul_cluster_failure_margin"] = 1, -1
		default:
			shown["consul_cluster_leaders"], shown["consul_cluster_failure_margin"] = 1, 0
			shown[`consul_cluster_quorum_state{state="held"}`] = 1
		}
		for _, a := range lost {
			must.Do(t, how.goes(a))
			shown[harness.PortSeries("up", a)] = 0
		}
		return shown, func() {
			for _, a := range lost {
				must.Do(t, how.comes(a, t.Context()))
			}
		}
	}
}

// cutOff drops all packets between a server and its peers, except those of the TCP pings with which gossip finds its
// members alive when UDP fails: they come from 127.0.0.1, as those of the exporter do.
func cutOff(r role) breaker {
	return func(t *testing.T, s *soak) (harness.Samples, func()) {
		a := s.server(t, r)
		filter := harness.FilterIncoming(t,
			fmt.Sprintf("ip saddr %s ip daddr != { 127.0.0.1, %s } drop", a.Addr, a.Addr),
			fmt.Sprintf("ip daddr %s ip saddr != { 127.0.0.1, %s } drop", a.Addr, a.Addr),
		)
		return harness.Samples{
			"consul_cluster_leaders": 1, "consul_cluster_servers_without_leader": 1, harness.AnsweringVoters: 3,
			harness.ServerSeries("is_leader", a): 0,
		}, func() { filter.Lift(t) }
	}
}

func blockRPC(t *testing.T, s *soak) (harness.Samples, func()) {
	t.Helper()
	a := s.server(t, follower)
	filter := filterPackets(t, a, "tcp dport 8300", "drop")
	return harness.Samples{
		"consul_cluster_leaders": 1, harness.AnsweringVoters: 2, unknownVoters: 1, lostVoters: 0,
		`consul_cluster_quorum_state{state="held"}`: 1, harness.PortSeries("up", a): 0,
		`consul_cluster_servers{state="alive"}`: 3,
	}, func() { filter.Lift(t) }
}

func leaveOne(t *testing.T, s *soak) (harness.Samples, func()) {
	t.Helper()
	a := s.server(t, otherFollower)
	must.Do(t, a.Leave(t.Context()))
	return harness.Samples{"consul_cluster_voters": 2, "consul_cluster_leaders": 1}, func() {
		must.Do(t, a.Restart(t.Context()))
	}
}

func replaceToken(t *testing.T, s *soak) (harness.Samples, func()) {
	t.Helper()
	last := s.token
	s.renewToken(t)
	s.deleteToken(t, last)
	const scrapes = "consul_exporter_scrapes_total" // The old token may have been good for the first ones.
	before := s.scraper.latest().samples[scrapes]
	s.wait(t, showsWithin, time.Now(), "scrapes", func(m harness.Samples) bool { return m[scrapes] >= before+5 })
	return harness.Samples{
		`consul_exporter_collector_supported{collector="catalog"}`: 1,
		`consul_exporter_collector_success{collector="autopilot"}`: 1,
	}, func() {}
}

func deleteToken(t *testing.T, s *soak) (harness.Samples, func()) {
	t.Helper()
	s.deleteToken(t, s.token)
	return harness.Samples{`consul_exporter_collector_supported{collector="catalog"}`: 0}, func() { s.renewToken(t) }
}

// renewToken puts another token where the exporter reads it.
func (s *soak) renewToken(t *testing.T) {
	t.Helper()
	s.token = must.Get(s.cluster.NewToken(t.Context(), harness.ReadmePolicy(t)))(t)
	must.Do(t, os.WriteFile(s.tokenFile, []byte(s.token+"\n"), 0o600))
}

func (s *soak) deleteToken(t *testing.T, secretID string) {
	t.Helper()
	acl := s.cluster.Servers[0].Client().ACL()
	token, _, err := acl.TokenReadSelf(&api.QueryOptions{Token: secretID})
	must.Do(t, err)
	must.Get(acl.TokenDelete(token.AccessorID, nil))(t)
}

func registerMany(t *testing.T, s *soak) (harness.Samples, func()) {
	t.Helper()
	const services = 200
	before := s.scraper.latest().samples["consul_catalog_services"]
	node := api.Node{Node: "soak", Address: "192.0.2.1"}
	register := api.TxnOps{{Node: &api.NodeTxnOp{Verb: api.NodeSet, Node: node}}}
	deregister := api.TxnOps{{Node: &api.NodeTxnOp{Verb: api.NodeDelete, Node: node}}}
	for i := range services {
		name := fmt.Sprintf("soak-%d", i)
		op := &api.ServiceTxnOp{Verb: api.ServiceSet, Node: "soak", Service: api.AgentService{ID: name, Service: name}}
		register = append(register, &api.TxnOp{Service: op})
	}
	s.transact(t, register)
	return harness.Samples{"consul_catalog_services": before + services}, func() { s.transact(t, deregister) }
}

// transact sends operations in as many transactions as Consul's limit of 128 requires.
func (s *soak) transact(t *testing.T, ops api.TxnOps) {
	t.Helper()
	for some := range slices.Chunk(ops, 128) {
		ok, answer, _, err := s.cluster.Servers[0].Client().Txn().Txn(some, nil)
		must.Do(t, err)
		if !ok {
			t.Fatalf("the transaction failed: %+v", answer.Errors[0])
		}
	}
}

func breakConfig(t *testing.T, s *soak) (harness.Samples, func()) {
	t.Helper()
	load := func(content string) {
		must.Do(t, os.WriteFile(s.configFile, []byte(content), 0o600))
		must.Do(t, s.exporter.Cmd.Process.Signal(syscall.SIGHUP))
	}
	load("modules: [")
	return harness.Samples{"consul_exporter_config_last_reload_successful": 0}, func() { load(soakConfig) }
}
