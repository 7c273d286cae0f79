// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"strconv"

	"github.com/zervigo/consul_cluster_exporter/probe"
)

// server returns the i-th server of a test cluster: a voter that Serf calls alive.
func server(i int) Server {
	n := strconv.Itoa(i)
	return Server{
		Name: "server-" + n, ID: "id-" + n, Host: "10.0.0." + n, RPCAddress: "10.0.0." + n + ":8300",
		Status: StatusAlive, Voter: true,
	}
}

// says returns a report of a server that answered: it names server leader (0: none) and has the peers 1 to n.
func says(s Server, leader, peers int, lastIndex uint64) Report {
	view := probe.RaftView{LeaderKnown: true, PeersKnown: true, StatsKnown: true, LastLogIndex: lastIndex, LastLogTerm: 2}
	if leader > 0 {
		view.Leader = server(leader).RPCAddress
	}
	for i := peers; i > 0; i-- { // Not in order: servers differ in that.
		view.Peers = append(view.Peers, server(i).RPCAddress)
	}
	return Report{Server: s, RPC: probe.RPCResult{Result: probe.Result{Up: true}, Raft: view}}
}

// silent returns a report of a server that did not answer.
func silent(s Server) Report {
	return Report{Server: s, RPC: probe.RPCResult{Result: probe.Result{Reason: probe.ReasonTimeout}}}
}

func notAsked(s Server) Report {
	return Report{Server: s, RPC: probe.RPCResult{Result: probe.NotMade(probe.ErrNoTurn)}}
}

func nonVoter(s Server) Server {
	s.Voter = false
	return s
}

// strange returns the server as a Raft peer that no Serf member matches.
func strange(s Server) Server {
	s.Status = StatusNone
	return s
}
