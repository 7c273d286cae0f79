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
	// silentPeerTimeout is how soon a connection is given up whose peer's kernel stops acknowledging.
	silentPeerTimeout = 15 * time.Second
)

// silentConns keeps, by address, the connections on which a probe asked and got no answer in time.
//
// A server that hangs (SIGSTOP, a full disk, a deadlock) answers when it wakes up. If the probe had closed its
// connection by then, the kernel would reset it, and Consul would log "RPC error ... connection reset by peer" at
// ERROR for each probe in the meantime; beyond 100 connections in its accept queue (limits.rpc_max_conns_per_client)
// also one line for each. So the connection of the first such probe is kept, its sending side closed, until the
// server has answered and closed it. Meanwhile the probes of this address wait for that answer instead of asking
// again: one connection for each hung port, however long it hangs. An address has a port, and a port one protocol, so
// the address is key enough.
//
// A killed process ends the connection at once (its kernel resets it); a lost host does so when its kernel has not
// acknowledged anything for silentPeerTimeout.
type silentConns struct {
	mu sync.Mutex
	// byAddr has one connection for each address, or as many as probes were running when the server stopped answering.
	// Guarded by mu.
	byAddr map[string][]*silentConn
	// closed is whether no more are kept. Guarded by mu.
	closed bool
}

type silentConn struct {
	conn net.Conn
	// phases are those of the probe that got no answer, for the results of the probes that wait for it. The last one is
	// where it waited.
	phases []PhaseDuration
	// done is closed when the server has answered and closed the connection, or it broke.
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

// keep takes over a connection on which not everything was answered.
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

// wait returns nil as soon as the server has answered.
func (c *silentConn) wait(ctx context.Context) error {
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retain closes the connections to all other addresses, and waits until they are gone.
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

// tcpConn is what is needed of a *net.TCPConn; those of package descriptors wrap one.
type tcpConn interface {
	syscall.Conn
	SetKeepAliveConfig(config net.KeepAliveConfig) error
}

// detectDeadPeer makes the kernel end the connection when the peer's kernel is gone.
func detectDeadPeer(conn tcpConn) {
	_ = conn.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: true, Idle: silentPeerTimeout / 3, Interval: silentPeerTimeout / 3, Count: 2,
	})
	setUserTimeout(conn, silentPeerTimeout)
}
