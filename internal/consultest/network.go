// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Consul's default ports. A cluster uses them unchanged unless Options.Config says otherwise: each agent has an
// address of its own instead.
const (
	PortServer  = 8300 // server RPC and Raft, TCP; servers only
	PortSerfLAN = 8301 // gossip within the datacenter, TCP and UDP
	PortSerfWAN = 8302 // gossip between datacenters, TCP and UDP; servers only
	PortHTTP    = 8500 // HTTP API; off with Options.TLS
	PortHTTPS   = 8501 // HTTPS API; on with Options.TLS
	PortGRPC    = 8502 // gRPC without TLS; off with Options.TLS
	PortGRPCTLS = 8503 // gRPC with TLS; on for servers, and for clients with Options.TLS
	PortDNS     = 8600 // DNS, TCP and UDP
)

// A subnet is a network whose addresses differ in the last byte and which one cluster has for itself.
type subnet struct {
	first netip.Addr   // the address with the last byte 0
	claim net.Listener // on port 8300 of the last byte 254; holding it is holding the subnet
}

// claimSubnet takes the network with this first address or, if that is "", a free one 127.x.y.0/24 at random. Each
// cluster of each process listens on the last address of its subnet as long as it exists, so the operating system
// knows which subnets are taken.
func claimSubnet(ctx context.Context, first string) (*subnet, error) {
	addr, err := netip.ParseAddr(first)
	if err != nil && first != "" {
		return nil, err
	}
	for tries := 50; ; tries-- {
		if first == "" { // 127.0.y.z is left alone, because everything else listens there.
			addr = netip.AddrFrom4([4]byte{127, byte(1 + rand.IntN(254)), byte(rand.IntN(256)), 0})
		}
		s := &subnet{first: addr}
		s.claim, err = new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(s.address(254), strconv.Itoa(PortServer)))
		if err == nil {
			return s, nil
		}
		if first != "" || ctx.Err() != nil || tries == 0 {
			return nil, fmt.Errorf("claim the network of %s: %w", addr, err)
		}
	}
}

func (s *subnet) address(host int) string {
	bytes := s.first.AsSlice()
	bytes[len(bytes)-1] = byte(host)
	addr, _ := netip.AddrFromSlice(bytes) // It has the length of one.
	return addr.String()
}

// Connections returns how many connections to this port of the agent are established: those that it has accepted, and
// those that still wait for it to accept them. It works on Linux only.
func (a *Agent) Connections(port int) (int, error) {
	const established = "01"
	return countConnections(func(local, _ netip.AddrPort, state string) bool {
		return local.String() == a.HostPort(port) && state == established
	})
}

// ConnectionsFrom returns how many connections from this IP address to any port of the agent its host still holds, in
// any state except TIME_WAIT: both sides have closed those. It works on Linux only.
func (a *Agent) ConnectionsFrom(address string) (int, error) {
	const timeWait = "06"
	return countConnections(func(local, remote netip.AddrPort, state string) bool {
		return local.Addr().String() == a.Addr && remote.Addr().String() == address && state != timeWait
	})
}

// countConnections counts the rows of the kernel's table of IPv4 connections that are wanted.
func countConnections(wanted func(local, remote netip.AddrPort, state string) bool) (int, error) {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0, err
	}
	count := 0
	for line := range strings.Lines(string(table)) {
		// The columns are: sl local_address rem_address st ...
		fields := strings.Fields(line)
		if len(fields) > 3 && wanted(parseAddrPort(fields[1]), parseAddrPort(fields[2]), fields[3]) {
			count++
		}
	}
	return count, nil
}

// parseAddrPort reads an address as the kernel prints it: its four bytes as one number of the host's byte order, so
// that 127.0.0.1:80 is 0100007F:0050 on a little-endian host.
func parseAddrPort(text string) netip.AddrPort {
	addr, port, _ := strings.Cut(text, ":")
	a, _ := strconv.ParseUint(addr, 16, 32)
	p, _ := strconv.ParseUint(port, 16, 16)
	var ip [4]byte
	binary.NativeEndian.PutUint32(ip[:], uint32(a))
	return netip.AddrPortFrom(netip.AddrFrom4(ip), uint16(p))
}
