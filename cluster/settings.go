// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// findSettings adds what the servers say about themselves to a plan. It waits only if some server has not said
// anything earlier, and not for long: one that hangs is planned for as it was.
func (s *Snapshot) findSettings(ctx context.Context, pl *planner) {
	if !pl.wantsSettings() {
		return
	}
	agents := s.ServerAgents()
	said, ok := agents.Peek()
	if !ok && slices.ContainsFunc(pl.topology.Servers, func(s Server) bool { return pl.settings(s) == nil }) {
		ctx, cancel := context.WithTimeout(ctx, s.patience())
		defer cancel()
		said, _ = agents.Get(ctx)
	}
	pl.own = withSettings(pl.own, said, pl.topology)
}

// wantsSettings reports whether the plan depends on what each server says about itself.
func (pl *planner) wantsSettings() bool {
	return slices.ContainsFunc(protocols, func(p protocol) bool {
		return pl.wants(p.name) && (p.name == ProtocolSerfWAN || (p.listens != nil && pl.opts.ClientPorts != ClientPortsOff))
	})
}

// withSettings returns the settings of the servers of the topology, of which some have said something new.
func withSettings(before, said map[string]Agent, t Topology) map[string]Agent {
	all := make(map[string]Agent, len(before)+len(said))
	maps.Copy(all, before)
	maps.Copy(all, said)
	maps.DeleteFunc(all, func(id string, _ Agent) bool { return t.Called(id) == "" })
	return all
}

// findURLHosts adds the addresses of the host in the agent's URL to a plan, if it is a name. Without an answer, the
// last ones are used.
func (s *Snapshot) findURLHosts(ctx context.Context, pl *planner) {
	host := s.Address().Hostname()
	if _, err := netip.ParseAddr(host); err == nil || s.Address().Socket != "" || consul.IsLoopback(host) {
		return
	}
	hosts := s.lookUp(host)
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	if found, err := hosts.Get(ctx); err == nil {
		pl.urlHosts = found
	}
}

func (s *Snapshot) lookUp(host string) *Fact[[]string] {
	return s.urlHosts.Start(s.ctx, func(ctx context.Context) ([]string, error) {
		return net.DefaultResolver.LookupHost(ctx, host)
	})
}

// isLocal reports whether an IP address is one of this host.
func isLocal(host string) bool {
	addrs, err := net.InterfaceAddrs()
	return err != nil || consul.IsLoopback(host) || slices.ContainsFunc(addrs, func(addr net.Addr) bool {
		prefix, err := netip.ParsePrefix(addr.String())
		return err == nil && prefix.Addr().String() == host
	})
}

// MembersFiltered reports whether the token's rights left members out of the pools that were read.
func (s *Snapshot) MembersFiltered() bool { return s.Queries()[endpointMembers.Name()].Filtered }
