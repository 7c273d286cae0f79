// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package netns_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// A soakFault is something that happens to a cluster or to its exporter.
type soakFault struct {
	name string
	// shows says in words what the exporter must tell then.
	shows string
	// strike brings it about on a healthy cluster. It returns whether a scrape shows it, and how to mend it.
	strike func(t *testing.T, s *soak) (shown func(harness.Samples) bool, mend func())
}

// soakFaults are in the order in which they are tried: a short soak tries the first of them. The exporter asks server-1 throughout, so
// in some of them it is its own agent that is gone.
var soakFaults = []soakFault{
	{"the leader is killed", "another leader, 2 of 3 voters, the port closed", func(t *testing.T, s *soak) (func(harness.Samples) bool, func()) {
		leader, _ := s.roles(t)
		harness.Must(t, leader.Kill())
		return oneLess(leader), s.restart(t, leader)
	}},
	{"a follower hangs (SIGSTOP)", "2 of 3 voters, no answer on its port", func(t *testing.T, s *soak) (func(harness.Samples) bool, func()) {
		_, followers := s.roles(t)
		harness.Must(t, followers[1].Stop())
		return oneLess(followers[1]), func() { harness.Must(t, followers[1].Continue()) }
	}},
	{"two of three servers are killed", "no leader, the quorum is lost", func(t *testing.T, s *soak) (func(harness.Samples) bool, func()) {
		leader, followers := s.roles(t)
		harness.Must(t, leader.Kill())
		harness.Must(t, followers[1].Kill())
		return noQuorum(1), s.restart(t, leader, followers[1])
	}},
	{"the leader is cut off from its peers, not from the exporter", "another leader; the old one knows of none", func(t *testing.T, s *soak) (func(harness.Samples) bool, func()) {
		leader, _ := s.roles(t)
		cut := cutOff(t, leader)
		return func(m harness.Samples) bool {
			return has(m, harness.Samples{
				"consul_cluster_leaders": 1, "consul_cluster_servers_without_leader": 1, "consul_cluster_reachable_voters": 3,
				harness.ServerSeries("is_leader", leader): 0,
			})
		}, func() { cut.Lift(t) }
	}},
	{"the exporter's token is replaced, and the old one deleted", "all collectors complete, without a restart", replaceToken},
	{"200 services are registered", "their number", registerMany},
	{"the agent that the exporter asks is killed", "`consul_up` 0, 2 of 3 voters, a leader", func(t *testing.T, s *soak) (func(harness.Samples) bool, func()) {
		asked := s.cluster.Servers[0]
		harness.Must(t, asked.Kill())
		return func(m harness.Samples) bool { return has(m, harness.Samples{"consul_up": 0}) && oneLess(asked)(m) }, s.restart(t, asked)
	}},
	{"the exporter's configuration is broken, and read again", "the reload has failed", breakConfig},
	{"the leader hangs (SIGSTOP)", "another leader, 2 of 3 voters, no answer on its port", func(t *testing.T, s *soak) (func(harness.Samples) bool, func()) {
		leader, _ := s.roles(t)
		harness.Must(t, leader.Stop())
		return oneLess(leader), func() { harness.Must(t, leader.Continue()) }
	}},
	{"two of three servers hang (SIGSTOP)", "no leader, the quorum is lost", func(t *testing.T, s *soak) (func(harness.Samples) bool, func()) {
		leader, followers := s.roles(t)
		harness.Must(t, leader.Stop())
		harness.Must(t, followers[0].Stop())
		return noQuorum(1), func() {
			harness.Must(t, leader.Continue())
			harness.Must(t, followers[0].Continue())
		}
	}},
	{"all servers are killed", "`consul_up` 0, no voter answers", func(t *testing.T, s *soak) (func(harness.Samples) bool, func()) {
		for _, a := range s.cluster.Servers {
			harness.Must(t, a.Kill())
		}
		return func(m harness.Samples) bool { return has(m, harness.Samples{"consul_up": 0}) && noQuorum(0)(m) }, s.restart(t, s.cluster.Servers...)
	}},
	{"a follower is cut off from its peers, not from the exporter", "it knows of no leader", func(t *testing.T, s *soak) (func(harness.Samples) bool, func()) {
		_, followers := s.roles(t)
		cut := cutOff(t, followers[0])
		return func(m harness.Samples) bool {
			return has(m, harness.Samples{"consul_cluster_leaders": 1, "consul_cluster_servers_without_leader": 1, "consul_cluster_reachable_voters": 3})
		}, func() { cut.Lift(t) }
	}},
	{"a firewall drops what the exporter sends to a follower's port 8300", "that port does not answer; all servers are alive", func(t *testing.T, s *soak) (func(harness.Samples) bool, func()) {
		_, followers := s.roles(t)
		filter := filterPackets(t, followers[0], "tcp dport 8300", "drop")
		return func(m harness.Samples) bool {
			return oneLess(followers[0])(m) && has(m, harness.Samples{`consul_cluster_servers{state="alive"}`: 3})
		}, func() { filter.Lift(t) }
	}},
	{"a follower leaves in good order", "2 voters", func(t *testing.T, s *soak) (func(harness.Samples) bool, func()) {
		_, followers := s.roles(t)
		harness.Must(t, followers[1].Leave(t.Context()))
		return func(m harness.Samples) bool {
			return has(m, harness.Samples{"consul_cluster_voters": 2, "consul_cluster_leaders": 1})
		}, s.restart(t, followers[1])
	}},
	{"the exporter's token is deleted", "the catalog is refused", deleteToken},
}

// roles returns the leader and the others, as the last scrape has them: the test asks the servers nothing that they could complain about.
func (s *soak) roles(t *testing.T) (leader *consultest.Agent, followers []*consultest.Agent) {
	t.Helper()
	m := s.scraper.latest().samples
	for _, a := range s.cluster.Servers {
		if m[harness.ServerSeries("is_leader", a)] == 1 {
			return a, harness.Others(s.cluster, a)
		}
	}
	t.Fatalf("no server leads; the last scrape:\n%s", m)
	return nil, nil
}

// oneLess is what shows that a server does not answer on port 8300 and that the others have a leader.
func oneLess(lost *consultest.Agent) func(harness.Samples) bool {
	return func(m harness.Samples) bool {
		return has(m, harness.Samples{
			"consul_cluster_leaders": 1, "consul_cluster_reachable_voters": 2, "consul_cluster_failure_margin": 0, harness.PortSeries("up", lost): 0,
		})
	}
}

// noQuorum is what shows that so many voters answer, and that they have no leader.
func noQuorum(answer float64) func(harness.Samples) bool {
	return func(m harness.Samples) bool {
		return has(m, harness.Samples{
			"consul_cluster_leaders": 0, "consul_cluster_reachable_voters": answer, "consul_cluster_servers_without_leader": answer,
			"consul_cluster_failure_margin": answer - 2,
		})
	}
}

func (s *soak) restart(t *testing.T, agents ...*consultest.Agent) func() {
	t.Helper()
	return func() {
		for _, a := range agents {
			harness.Must(t, a.Restart(t.Context()))
		}
	}
}

// cutOff drops all packets between a server and its peers, but those of the TCP pings with which gossip finds its members alive when UDP
// fails: they come from 127.0.0.1, as those of the exporter do.
func cutOff(t *testing.T, a *consultest.Agent) *harness.PacketFilter {
	t.Helper()
	return harness.FilterIncoming(t,
		fmt.Sprintf("ip saddr %s ip daddr != { 127.0.0.1, %s } drop", a.Addr, a.Addr),
		fmt.Sprintf("ip daddr %s ip saddr != { 127.0.0.1, %s } drop", a.Addr, a.Addr),
	)
}

func replaceToken(t *testing.T, s *soak) (func(harness.Samples) bool, func()) {
	t.Helper()
	next, err := s.cluster.NewToken(t.Context(), harness.ReadmePolicy(t))
	harness.Must(t, err)
	last := s.token
	s.rewriteToken(t, next)
	s.deleteToken(t, last)
	const scrapes = "consul_exporter_scrapes_total"
	before := s.scraper.latest().samples[scrapes]
	return func(m harness.Samples) bool { // Not only in the first one, for which the old token may have been good.
		return m[scrapes] >= before+5 && m[`consul_exporter_collector_supported{collector="catalog"}`] == 1 && m[`consul_exporter_collector_success{collector="autopilot"}`] == 1
	}, func() {}
}

func deleteToken(t *testing.T, s *soak) (func(harness.Samples) bool, func()) {
	t.Helper()
	s.deleteToken(t, s.token)
	return func(m harness.Samples) bool {
			return has(m, harness.Samples{`consul_exporter_collector_supported{collector="catalog"}`: 0})
		}, func() {
			token, err := s.cluster.NewToken(t.Context(), harness.ReadmePolicy(t))
			harness.Must(t, err)
			s.rewriteToken(t, token)
		}
}

func (s *soak) deleteToken(t *testing.T, secretID string) {
	t.Helper()
	acl := s.cluster.Servers[0].Client().ACL()
	token, _, err := acl.TokenReadSelf(&api.QueryOptions{Token: secretID})
	harness.Must(t, err)
	_, err = acl.TokenDelete(token.AccessorID, nil)
	harness.Must(t, err)
}

func registerMany(t *testing.T, s *soak) (func(harness.Samples) bool, func()) {
	t.Helper()
	const services = 200
	before := s.scraper.latest().samples["consul_catalog_services"]
	var register, deregister api.TxnOps
	for i := range services {
		name := fmt.Sprintf("soak-%d", i)
		op := &api.ServiceTxnOp{Verb: api.ServiceSet, Node: "soak", Service: api.AgentService{ID: name, Service: name}}
		register = append(register, &api.TxnOp{Service: op})
	}
	register = append(api.TxnOps{{Node: &api.NodeTxnOp{Verb: api.NodeSet, Node: api.Node{Node: "soak", Address: "192.0.2.1"}}}}, register...)
	deregister = api.TxnOps{{Node: &api.NodeTxnOp{Verb: api.NodeDelete, Node: api.Node{Node: "soak"}}}}
	s.transact(t, register)
	return func(m harness.Samples) bool { return m["consul_catalog_services"] == before+services }, func() { s.transact(t, deregister) }
}

// transact sends operations in as many transactions as Consul's limit of 128 asks for.
func (s *soak) transact(t *testing.T, ops api.TxnOps) {
	t.Helper()
	const limit = 128
	for len(ops) > 0 {
		n := min(limit, len(ops))
		ok, answer, _, err := s.cluster.Servers[0].Client().Txn().Txn(ops[:n], nil)
		harness.Must(t, err)
		if !ok {
			t.Fatalf("the transaction failed: %+v", answer.Errors[0])
		}
		ops = ops[n:]
	}
}

func breakConfig(t *testing.T, s *soak) (func(harness.Samples) bool, func()) {
	t.Helper()
	load := func(content string) {
		harness.Must(t, os.WriteFile(s.configFile, []byte(content), 0o600))
		harness.Must(t, s.exporter.Cmd.Process.Signal(syscall.SIGHUP))
	}
	load("modules: [")
	return func(m harness.Samples) bool {
		return has(m, harness.Samples{"consul_exporter_config_last_reload_successful": 0})
	}, func() { load(soakConfig) }
}
