// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// boundTo returns the IP addresses that an agent's port for clients is bound to: those of "addresses" in its
// configuration, which Consul gives as "tcp://127.0.0.1:8600", or else "client_addr". None means that it is only on a
// unix socket.
func (a *Agent) boundTo(p Protocol) []string {
	if hosts, ok := a.bound[p]; ok {
		return hosts
	}
	return a.ClientAddrs
}

// offers reports whether a port for clients is bound to the address that the agent advertises, so that other hosts
// reach it there.
func (a *Agent) offers(p Protocol) bool {
	hosts := a.boundTo(p)
	return slices.Contains(hosts, a.AdvertiseAddr) || slices.ContainsFunc(hosts, unspecified)
}

// withoutMeshCA reports whether a server gets no certificate from the service mesh's authority (Consul: Agent.Start,
// servercert).
func (a *Agent) withoutMeshCA() bool { return a.MeshOff || a.PeeringOff }

// state tells configurations of the agent apart, for Port.agent.
func (a *Agent) state() string { return a.Name + " " + strconv.FormatUint(a.fingerprint, 16) }

// wanApart reports whether the WAN pool has an address of its own, at which alone its port answers.
func (a *Agent) wanApart() bool {
	return !slices.Contains([]string{"", a.BindAddr, a.AdvertiseAddr}, a.WANBindAddr) && !unspecified(a.WANBindAddr)
}

// addresses returns all that its ports may be bound to.
func (a *Agent) addresses() []string {
	all := append(slices.Clone(a.ClientAddrs), a.AdvertiseAddr, a.BindAddr, a.WANBindAddr)
	for _, hosts := range a.bound {
		all = append(all, hosts...)
	}
	return all
}

// hostsOf returns the IP addresses of listeners, each of them once and without those on unix sockets.
func hostsOf(listeners []string) []string {
	hosts := []string{}
	for _, l := range listeners {
		if host := hostOf(l); host != "" && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// hostOf returns the host of "tcp://host:port", or "".
func hostOf(listener string) string {
	_, address, _ := strings.Cut(listener, "://")
	host, _, err := net.SplitHostPort(address)
	if err != nil { // A path.
		return ""
	}
	return host
}

func unspecified(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsUnspecified()
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && addr.IsLoopback())
}
