// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package reporttest makes reports of servers, for tests of what is concluded from them.
package reporttest

import (
	"strconv"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// Server returns the i-th server of a test cluster: a voter that Serf calls alive.
func Server(i int) cluster.Server {
	n := strconv.Itoa(i)
	return cluster.Server{
		Name: "server-" + n, ID: "id-" + n, Host: "10.0.0." + n, RPCAddress: "10.0.0." + n + ":8300",
		Status: cluster.StatusAlive, Voter: true,
	}
}

// Says returns a report of a server that answered: it names server leader (0: none) and has the peers 1 to n.
func Says(s cluster.Server, leader, peers int, lastIndex uint64) cluster.Report {
	view := probe.RaftView{LeaderKnown: true, PeersKnown: true, StatsKnown: true, LastLogIndex: lastIndex, LastLogTerm: 2}
	if leader > 0 {
		view.Leader = Server(leader).RPCAddress
	}
	for i := peers; i > 0; i-- { // Not in order: servers differ in that.
		view.Peers = append(view.Peers, Server(i).RPCAddress)
	}
	return cluster.Report{Server: s, RPC: probe.RPCResult{Result: probe.Result{Up: true}, Raft: view}}
}

// Silent returns a report of a server that did not answer.
func Silent(s cluster.Server) cluster.Report {
	return cluster.Report{Server: s, RPC: probe.RPCResult{Result: probe.Result{Reason: probe.ReasonTimeout}}}
}

// NotAsked returns a report of a server that could not be asked.
func NotAsked(s cluster.Server) cluster.Report {
	return cluster.Report{Server: s, RPC: probe.RPCResult{Result: probe.NotMade(probe.ErrNoTurn)}}
}

// NonVoter returns the server without a vote.
func NonVoter(s cluster.Server) cluster.Server {
	s.Voter = false
	return s
}

// Strange returns the server as a Raft peer that no Serf member matches.
func Strange(s cluster.Server) cluster.Server {
	s.Status = cluster.StatusNone
	return s
}
