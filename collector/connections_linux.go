// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	wire "encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"

	"github.com/mdlayher/netlink"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// What is asked of the kernel, and what it answers (sock_diag(7), linux/inet_diag.h).
const (
	netlinkSockDiag   = 4  // The protocol of the netlink socket.
	sockDiagByFamily  = 20 // The type of the request.
	diagRequestLength = 56 // struct inet_diag_req_v2.
	diagMessageLength = 72 // struct inet_diag_msg, of which the address has 16 bytes.
	diagSourcePort    = 4
	diagSourceAddress = 8
	diagBytecode      = 1 // The attribute INET_DIAG_REQ_BYTECODE.
	diagSourceGE      = 2 // INET_DIAG_BC_S_GE and _LE.
	diagSourceLE      = 3
)

// hostSockets lists the TCP sockets of this host, of IPv4 and IPv6, whose own port is in a range. It asks the kernel
// by netlink, which takes a fraction of the time that the kernel needs to write all sockets into /proc/net/tcp. Where
// the kernel or a sandbox does not allow that, the error is an ErrRefused.
func hostSockets(first, last uint16) ([]socket, error) {
	conn, err := netlink.Dial(netlinkSockDiag, nil)
	if err != nil {
		return nil, diagError(err)
	}
	defer func() { _ = conn.Close() }()
	var sockets []socket
	for _, family := range []byte{syscall.AF_INET, syscall.AF_INET6} {
		messages, err := conn.Execute(netlink.Message{
			Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request | netlink.Dump},
			Data:   diagRequest(family, first, last),
		})
		if err != nil {
			return nil, diagError(err)
		}
		for _, m := range messages {
			s, err := diagSocket(m.Data)
			if err != nil {
				return nil, err
			}
			sockets = append(sockets, s)
		}
	}
	return sockets, nil
}

// diagRequest asks for the TCP sockets of an address family, whatever their state, with a filter of two operations.
// Each operation has the distances to go to when it holds and when it does not, which is behind the end to reject the
// socket, and then its port.
func diagRequest(family byte, first, last uint16) []byte {
	req := make([]byte, diagRequestLength, diagRequestLength+20)
	req[0], req[1] = family, syscall.IPPROTO_TCP
	native.PutUint32(req[4:], 1<<32-1)
	req = native.AppendUint16(req, 20) // The attribute's own length.
	req = native.AppendUint16(req, diagBytecode)
	for _, op := range []struct {
		code     byte
		no, port uint16
	}{{diagSourceGE, 20, first}, {diagSourceLE, 12, last}} {
		req = append(req, op.code, 8)
		req = native.AppendUint16(req, op.no)
		req = append(req, 0, 0)
		req = native.AppendUint16(req, op.port)
	}
	return req
}

var native = wire.NativeEndian

func diagSocket(message []byte) (socket, error) {
	if len(message) < diagMessageLength {
		return socket{}, fmt.Errorf("list TCP sockets: the kernel's answer has %d bytes; want %d",
			len(message), diagMessageLength)
	}
	length := net.IPv6len
	if message[0] == syscall.AF_INET {
		length = net.IPv4len
	}
	return socket{
		addr:  slices.Clone(message[diagSourceAddress : diagSourceAddress+length]),
		port:  uint64(wire.BigEndian.Uint16(message[diagSourcePort:])),
		state: uint64(message[1]),
	}, nil
}

// diagError distinguishes what is not allowed from what failed.
func diagError(err error) error {
	for _, no := range []syscall.Errno{
		syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT, syscall.ENOENT, syscall.EPERM, syscall.EACCES, syscall.EOPNOTSUPP,
	} {
		if errors.Is(err, no) {
			return fmt.Errorf("list TCP sockets by netlink: %w: %w "+
				"(AF_NETLINK must be allowed, and the kernel's tcp_diag be there)", consul.ErrRefused, err)
		}
	}
	return fmt.Errorf("list TCP sockets by netlink: %w", err)
}
