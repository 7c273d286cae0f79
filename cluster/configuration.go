// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"slices"
)

// decided returns the topology with the Raft configuration that counts, by what the servers said on port 8300. The
// asked agent may be a server that was removed or cut off, and then has an old one.
func (t Topology) decided(reports []Report) Topology {
	own, _ := t.Split(reports)
	counts, ok := deciding(own)
	if !ok || (t.RaftKnown && sameAddresses(t.Peers, counts.RPC.Raft.Peers)) {
		return t
	}
	at := t.peersByAddress()
	peers := make([]RaftPeer, 0, len(counts.RPC.Raft.Peers))
	for _, address := range counts.RPC.Raft.Peers {
		p, known := at[address]
		if !known {
			p = RaftPeer{Address: address, Voter: true, VoterAssumed: true}
		}
		peers = append(peers, p)
	}
	return t.WithPeers(peers)
}

// Split tells the reports of this cluster from those of another one: of servers whose Raft configuration has no address
// in common with the topology's. Only the gossip pools of the two were merged. Nothing is another cluster's while the
// configuration is unknown.
func (t Topology) Split(reports []Report) (own, other []Report) {
	at := t.peersByAddress()
	for _, r := range reports {
		isPeer := func(address string) bool { _, ok := at[address]; return ok }
		if peers := r.RPC.Raft.Peers; len(at) > 0 && len(peers) > 0 && !slices.ContainsFunc(peers, isPeer) {
			other = append(other, r)
		} else {
			own = append(own, r)
		}
	}
	return own, other
}

// peersByAddress returns the peers by their addresses, in Raft and in Serf.
func (t Topology) peersByAddress() map[string]RaftPeer {
	byID, at := make(map[string]RaftPeer, len(t.Peers)), make(map[string]RaftPeer, len(t.Peers))
	for _, p := range t.Peers {
		byID[p.ID], at[p.Address] = p, p
	}
	for _, s := range t.Servers {
		if p, ok := byID[s.ID]; ok && s.ID != "" {
			at[s.RPCAddress] = p
		}
	}
	return at
}

// deciding returns the report of the server whose Raft configuration counts: of one that leads, or else that answered,
// the one with the highest term and index in its log. A server that was taken out of the cluster and knows no leader
// does not count.
func deciding(reports []Report) (counts Report, ok bool) {
	reports = slices.DeleteFunc(slices.Clone(reports), func(r Report) bool {
		return !r.RPC.Raft.StatsKnown || len(r.RPC.Raft.Peers) == 0 || (r.Server.Missing() && r.RPC.Raft.Leader == "")
	})
	if len(reports) == 0 {
		return Report{}, false
	}
	return slices.MaxFunc(reports, func(a, b Report) int {
		x, y := a.RPC.Raft, b.RPC.Raft
		return cmp.Or(
			cmp.Compare(ofBool(a.LeadsItself()), ofBool(b.LeadsItself())),
			cmp.Compare(x.LastLogTerm, y.LastLogTerm), cmp.Compare(x.LastLogIndex, y.LastLogIndex),
		)
	}), true
}

// sameAddresses reports whether the peers have these addresses.
func sameAddresses(peers []RaftPeer, addresses []string) bool {
	return len(peers) == len(addresses) && !slices.ContainsFunc(peers, func(p RaftPeer) bool {
		return !slices.Contains(addresses, p.Address)
	})
}
