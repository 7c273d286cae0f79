// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// silentDrainBytes bounds what is read from a server that answers late.
	silentDrainBytes = 1 << 20
	// silentPeerTimeout is how soon a connection is given up whose peer's kernel does not acknowledge any more.
	silentPeerTimeout = 15 * time.Second
)

// silentConns keeps, per address, the connection on which a probe has asked and got no answer in time.
//
// A server that hangs (SIGSTOP, a full disk, a deadlock) answers what it was asked when it wakes up. Had the probe
// closed its connection by then, the kernel would reset it and Consul would log "RPC error ... connection reset by
// peer" at ERROR once for each probe in the meantime; and beyond 100 connections in its accept queue
// (limits.rpc_max_conns_per_client) one line more for each. So the connection of the first probe without an answer is
// kept, its sending side closed, until the server has answered and closed it, and as long as it is there the probes
// of this address wait for that answer instead of asking again: one connection per hung port, however long it hangs.
// All probes over TCP do this. An address has a port and a port speaks one protocol, so that the address is key
// enough.
//
// A killed process ends the connection at once (its kernel resets it); a lost host does so when its kernel has not
// acknowledged anything for silentPeerTimeout.
type silentConns struct {
	mu sync.Mutex
	// byAddr has one connection an address, or as many as probes ran at the same time when the server stopped answering.
	// Guarded by mu.
	byAddr map[string][]*silentConn
	// closed is whether no more are kept. Guarded by mu.
	closed bool
}

type silentConn struct {
	conn net.Conn
	// phases are those of the probe that got no answer, the one in which it waited in vain last; for the results of the
	// probes that wait on it.
	phases []PhaseDuration
	// done is closed when the server has answered and closed the connection, or the connection broke.
	done chan struct{}
}

func (s *silentConns) get(address string) *silentConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if conns := s.byAddr[address]; len(conns) > 0 {
		return conns[0]
	}
	return nil
}

// keep takes over a connection on which everything has been asked and not everything answered.
func (s *silentConns) keep(address string, w *wire, phases []PhaseDuration) {
	c := &silentConn{conn: w.raw, phases: phases, done: make(chan struct{})}
	s.mu.Lock()
	if s.closed { // The last probes end after those who wanted to know have gone.
		s.mu.Unlock()
		w.raw.Close()
		return
	}
	if s.byAddr == nil {
		s.byAddr = make(map[string][]*silentConn)
	}
	s.byAddr[address] = append(s.byAddr[address], c)
	s.mu.Unlock()

	if tcp, ok := w.raw.(tcpConn); ok {
		detectDeadPeer(tcp)
	}
	_ = w.raw.SetDeadline(time.Time{})
	if w.tls == nil {
		w.closeWrite()
	}
	go s.drain(address, c, w)
}

// drain reads until the server closes, then forgets the connection.
func (s *silentConns) drain(address string, c *silentConn, w *wire) {
	if w.tls != nil {
		w.closeWrite() // It ends with the handshake, or when the connection is closed by retain.
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(c.conn, silentDrainBytes))
	c.conn.Close()
	s.mu.Lock()
	s.byAddr[address] = slices.DeleteFunc(s.byAddr[address], func(other *silentConn) bool { return other == c })
	if len(s.byAddr[address]) == 0 {
		delete(s.byAddr, address)
	}
	s.mu.Unlock()
	close(c.done)
}

// wait returns nil as soon as the server has answered what it was asked before.
func (c *silentConn) wait(ctx context.Context) error {
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retain closes the connections to all addresses but those to keep, and waits until they are gone.
func (s *silentConns) retain(keep func(address string) bool) {
	s.mu.Lock()
	var drop []*silentConn
	for address, conns := range s.byAddr {
		if !keep(address) {
			drop = append(drop, conns...)
		}
	}
	s.mu.Unlock()
	for _, c := range drop {
		c.conn.Close()
		<-c.done
	}
}

// close closes all connections and keeps no more.
func (s *silentConns) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.retain(func(string) bool { return false })
}

// tcpConn is what a *net.TCPConn can do that this needs; those of package descriptors wrap one.
type tcpConn interface {
	syscall.Conn
	SetKeepAliveConfig(config net.KeepAliveConfig) error
}

// detectDeadPeer has the kernel end the connection when the peer's kernel is gone.
func detectDeadPeer(conn tcpConn) {
	_ = conn.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: true, Idle: silentPeerTimeout / 3, Interval: silentPeerTimeout / 3, Count: 2,
	})
	setUserTimeout(conn, silentPeerTimeout)
}
