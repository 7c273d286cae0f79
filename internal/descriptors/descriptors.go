// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package descriptors shares out the file descriptors that this process may have open (RLIMIT_NOFILE, which Go raises
// to the hard limit at the start), so that neither clients nor servers that hang leave none for the others: a probe
// that cannot be made says nothing about Consul.
package descriptors

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"
)

const (
	// reserved are for all that is not counted: listeners, clients that are turned away, the log, the runtime, files that
	// are read, netlink, and looking up names.
	reserved = 24
	// maxClients and maxConsul are as many connections as are of use, from clients and to Consul.
	maxClients = 512
	maxConsul  = 8192
	// minShare is what either gets at least; with so few descriptors, some probes will find none.
	minShare = 4
)

// ErrShortage means that a connection could not be opened because as many are open as may be.
var ErrShortage = errors.New("too many connections are open for the limit of open files (ulimit -n)")

var process = newShares(limit())

// Clients returns how many connections of clients may be open at one time.
func Clients() int { return process.clients }

// Dial opens a connection to Consul, by means of dialer, once there are fewer open than may be. For that it waits
// until ctx ends, or for no longer than wait if that is above 0, and then fails with ErrShortage. The connection must
// be closed, and counts until then.
func Dial(ctx context.Context, dialer *net.Dialer, network, address string, wait time.Duration) (net.Conn, error) {
	return process.dial(ctx, dialer, network, address, wait)
}

// shares are how many descriptors there are for what.
type shares struct {
	clients int
	// consul has a token for each connection to Consul that is open, or is being opened.
	consul chan struct{}
}

// newShares shares out a number of descriptors, between clients and Consul alike.
func newShares(descriptors uint64) shares {
	left := int(min(descriptors, math.MaxInt32)) - reserved
	clients := min(max(left/2, minShare), maxClients)
	return shares{clients, make(chan struct{}, min(max(left-clients, minShare), maxConsul))}
}

func (s *shares) dial(
	ctx context.Context, dialer *net.Dialer, network, address string, wait time.Duration,
) (net.Conn, error) {
	if err := s.acquire(ctx, wait); err != nil {
		return nil, fmt.Errorf("dial %s %s: %w", network, address, err)
	}
	release := sync.OnceFunc(func() { <-s.consul })
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		release()
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &tcpConn{tcp, release}, nil
	}
	return &otherConn{conn, release}, nil
}

func (s *shares) acquire(ctx context.Context, wait time.Duration) error {
	select {
	case s.consul <- struct{}{}:
		return nil
	default:
	}
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	select {
	case s.consul <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ErrShortage
	}
}

// The connections count until they are closed. Those over TCP have all methods of a net.TCPConn.

type tcpConn struct {
	*net.TCPConn

	release func()
}

// Close implements net.Conn.
func (c *tcpConn) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}

type otherConn struct {
	net.Conn

	release func()
}

// Close implements net.Conn.
func (c *otherConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
