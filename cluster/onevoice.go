// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/probe"
)

// oneVoice lets the answer of each port count for one server. Servers may share an address with different ports, but
// what several of them are expected at belongs to one: the others are not there, because another server took their
// place, or were given the asked agent's port numbers wrongly, and then the port is left out.
func (pl *planner) oneVoice(ports []Port) []Port {
	servers, by := make(map[string]Server, len(pl.topology.Servers)), make(map[portKey][]Server, len(ports))
	for _, s := range pl.topology.Servers {
		servers[s.Name] = s
	}
	for _, p := range ports {
		if s, ok := servers[p.Server]; ok && !p.Unasked() {
			by[p.key()] = append(by[p.key()], s)
		}
	}
	heard := ports[:0:0]
	for _, p := range ports {
		s, known := servers[p.Server]
		at := by[p.key()]
		if !known || len(at) < 2 || p.Unasked() {
			heard = append(heard, p)
			continue
		}
		holder := pl.holder(at)
		guessed := s.alive() && p.Protocol.row().listens != nil
		switch {
		case guessed && !pl.asked(s): // Whose port it is only that server can say.
		case holder.Name == s.Name:
			heard = append(heard, p)
		default:
			p.heldBy = holder.Name
			heard = append(heard, p)
		}
	}
	return heard
}

// holder returns which of the servers at one address an answer counts for. That is one that is alive. A peer in the
// Raft configuration is not there if a member with another ID is alive there: counting the answer as the peer's would
// add a vote that it cannot give. If none is alive, the Raft configuration knows best where its peers are.
func (pl *planner) holder(at []Server) Server {
	alive := slices.DeleteFunc(slices.Clone(at), func(s Server) bool { return !s.alive() })
	if len(alive) == 0 {
		return slices.MaxFunc(at, func(a, b Server) int {
			return cmp.Or(cmp.Compare(ofBool(a.Voter), ofBool(b.Voter)), strings.Compare(b.Name, a.Name))
		})
	}
	return slices.MaxFunc(alive, func(a, b Server) int {
		return cmp.Or(cmp.Compare(ofBool(pl.asked(a)), ofBool(pl.asked(b))),
			cmp.Compare(ofBool(b.Voter), ofBool(a.Voter)), strings.Compare(b.Name, a.Name))
	})
}

// asked reports whether a server is the configured agent, which answered itself and so is there.
func (pl *planner) asked(s Server) bool { return pl.agent != nil && pl.agent.is(s) }

func ofBool(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TakenError means that another server is at the address of the one that was to be asked.
type TakenError struct{ By string }

func (e TakenError) Error() string {
	return fmt.Sprintf("another server, %s, is at this address", e.By)
}

// notThere is the report of a port at whose address another server is. Nothing of this server listens there.
func (p Port) notThere() PortReport {
	return PortReport{Port: p, Result: probe.Result{
		Reason: probe.ReasonRefused, Start: time.Now(),
		Err: TakenError{p.heldBy},
	}}
}
