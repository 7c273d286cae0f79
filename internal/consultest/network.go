// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Consul's default ports. A cluster uses them unchanged unless Options.Config
// says otherwise: each agent has an address of its own instead.
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

// A subnet is a loopback network 127.x.y.0/24, or one of IPv6, that one cluster has for itself.
type subnet struct {
	first netip.Addr   // the address with the last byte 0
	claim net.Listener // on port 8300 of the last byte 254; holding it is holding the subnet
}

// claimSubnet takes a free subnet, chosen at random. Every cluster of every process listens on the last address of
// its subnet for as long as it lives, which makes the operating system the judge of who has which.
func claimSubnet(ctx context.Context) (*subnet, error) {
	var err error
	for range 50 {
		// 127.0.y.z is left alone, for that is where everything else listens.
		s := &subnet{first: netip.AddrFrom4([4]byte{127, byte(1 + rand.IntN(254)), byte(rand.IntN(256)), 0})}
		if err = s.take(ctx); err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("find a free network 127.x.y.0/24: %w", err)
}

// take claims the subnet.
func (s *subnet) take(ctx context.Context) (err error) {
	var config net.ListenConfig
	s.claim, err = config.Listen(ctx, "tcp", net.JoinHostPort(s.address(254), strconv.Itoa(PortServer)))
	return err
}

// address returns the address with this last byte.
func (s *subnet) address(host int) string {
	bytes := s.first.AsSlice()
	bytes[len(bytes)-1] = byte(host)
	addr, _ := netip.AddrFromSlice(bytes) // It has the length of one.
	return addr.String()
}

// release gives the subnet back.
func (s *subnet) release() error {
	return s.claim.Close()
}

// established counts the established IPv4 connections in the text of
// /proc/net/tcp whose local end is this address and port.
func established(table []byte, local netip.AddrPort) int {
	const stateEstablished = "01"
	var port [2]byte
	binary.BigEndian.PutUint16(port[:], local.Port())
	want := hexAddr(local.Addr()) + ":" + strings.ToUpper(hex.EncodeToString(port[:]))
	return countConnections(table, func(local, _, state string) bool {
		return local == want && state == stateEstablished
	})
}

// connected counts those between these addresses, from the local end's side,
// that are not closed on both sides. What listens is connected to nobody.
func connected(table []byte, local, remote netip.Addr) int {
	const stateTimeWait = "06"
	localPrefix, remotePrefix := hexAddr(local)+":", hexAddr(remote)+":"
	return countConnections(table, func(local, remote, state string) bool {
		return strings.HasPrefix(local, localPrefix) && strings.HasPrefix(remote, remotePrefix) && state != stateTimeWait
	})
}

// countConnections counts the rows of the text of /proc/net/tcp that are wanted.
func countConnections(table []byte, wanted func(local, remote, state string) bool) int {
	count := 0
	for line := range strings.Lines(string(table)) {
		// sl local_address rem_address st ...
		fields := strings.Fields(line)
		if len(fields) > 3 && wanted(fields[1], fields[2], fields[3]) {
			count++
		}
	}
	return count
}

// hexAddr returns an IPv4 address as the kernel prints it: its four bytes as one
// number of the host's byte order; 127.0.0.1 is 0100007F on a little-endian host.
func hexAddr(addr netip.Addr) string {
	ip := addr.As4()
	var number [4]byte
	binary.BigEndian.PutUint32(number[:], binary.NativeEndian.Uint32(ip[:]))
	return strings.ToUpper(hex.EncodeToString(number[:]))
}
