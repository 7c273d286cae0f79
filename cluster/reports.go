// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import "github.com/zervigo/consul_cluster_exporter/probe"

// Report is what one server said in this scrape.
type Report struct {
	Server Server
	// RPC is the result of asking its port 8300.
	RPC probe.RPCResult
}

// LeadsItself reports whether the server calls itself leader.
func (r Report) LeadsItself() bool {
	return r.RPC.Raft.LeaderKnown && r.RPC.Raft.Leader != "" && r.RPC.Raft.Leader == r.Server.RPCAddress
}
