// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"net"
	"syscall"
	"time"
)

// anySourceConn is a UDP socket that sends to one address and takes datagrams from all: a server with several addresses
// may answer from another one than it was asked at. Gossip allows that, as memberlist's sockets are not connected.
type anySourceConn struct {
	net.Conn // It is connected, and there for its addresses and to be counted.

	socket net.PacketConn
}

// fromAnySource returns such a socket in the place of a connected one, or that one if there is none to be had.
func fromAnySource(ctx context.Context, connected net.Conn) net.Conn {
	local, ok := connected.LocalAddr().(*net.UDPAddr)
	if !ok {
		return connected
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(reportUnreachable)
	}}
	own := net.UDPAddr{IP: local.IP, Zone: local.Zone}
	socket, err := config.ListenPacket(ctx, "udp", own.String())
	if err != nil {
		return connected
	}
	return &anySourceConn{connected, socket}
}

// Read implements net.Conn.
func (c *anySourceConn) Read(b []byte) (int, error) {
	n, _, err := c.socket.ReadFrom(b)
	return n, err
}

// Write implements net.Conn.
func (c *anySourceConn) Write(b []byte) (int, error) { return c.socket.WriteTo(b, c.RemoteAddr()) }

// SetDeadline implements net.Conn.
func (c *anySourceConn) SetDeadline(t time.Time) error { return c.socket.SetDeadline(t) }

// Close implements net.Conn.
func (c *anySourceConn) Close() error {
	err := c.socket.Close()
	if connected := c.Conn.Close(); err == nil {
		err = connected
	}
	return err
}
