// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"slices"
	"sync"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// Behind the address of a balancer, each request may reach another agent. Most answers are about the cluster, so that
// does not matter, and /v1/agent/self has the ID of the agent that answers. /v1/agent/metrics has none: it belongs to
// the agent at the other end of the connection if that listens there, or else to the one whose ID all answers on the
// same connection have.

// errSeveralAgents means that it is not known which agent measured what.
var errSeveralAgents = errors.New("several agents answer at this address, and whose figures these are is not known; " +
	"name the agents themselves with --consul.server")

// connection is the connection that the last request with its context used.
type connection struct {
	mu   sync.Mutex
	conn net.Conn // Guarded by mu.
}

// trace returns a context whose requests are noted.
func (c *connection) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.conn = info.Conn
	}})
}

func (c *connection) get() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// remote is the address at the other end; nil if there was no request.
func (c *connection) remote() net.Addr {
	if conn := c.get(); conn != nil {
		return conn.RemoteAddr()
	}
	return nil
}

// key tells agents apart.
func (a *Agent) key() string { return cmp.Or(a.ID, a.Name) }

// listensAt reports whether the other end of a connection is this agent: by its own account its HTTP API listens there.
func (a *Agent) listensAt(remote net.Addr) bool {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return remote != nil // A unix socket.
	}
	for _, p := range []Protocol{ProtocolHTTP, ProtocolHTTPS} {
		if a.ports[p] != 0 && a.ports[p] == tcp.Port && a.isBoundTo(p, tcp.IP) {
			return true
		}
	}
	return false
}

func (a *Agent) isBoundTo(p Protocol, ip net.IP) bool {
	is := func(host string) bool { return ip.Equal(net.ParseIP(host)) }
	bound := a.boundTo(p)
	if !slices.ContainsFunc(bound, consul.IsUnspecified) {
		return slices.ContainsFunc(bound, is)
	}
	return ip.IsLoopback() || slices.ContainsFunc(a.addresses(), is)
}

// balanced reports whether more than one agent has answered at the address in use.
func (s *Snapshot) balanced() bool {
	u := s.used()
	agent, ok := u.self.Peek()
	return u.before.balanced || (ok && u.before.agent != nil && u.before.agent.key() != agent.key())
}

// telemetryOfOne reads the telemetry of whichever agent answers, over one connection, and makes sure that it was one:
// twice afterwards, because two agents behind a balancer may take turns.
func (s *Snapshot) telemetryOfOne(ctx context.Context) (Telemetry, error) {
	ctx, closeConnection := s.cluster.client.OnOneConnection(ctx)
	defer closeConnection()
	agent, conn, err := s.whoAnswers(ctx)
	if err != nil {
		return Telemetry{}, err
	}
	answer, _, err := s.telemetryAnswer(ctx, s.Address(), &agent)
	if err != nil {
		return Telemetry{}, err
	}
	for range 2 {
		again, other, err := s.whoAnswers(ctx)
		switch {
		case err != nil:
			return Telemetry{}, err
		case again.key() != agent.key() || other != conn:
			return Telemetry{}, errSeveralAgents
		}
	}
	return Telemetry{agent, answer.Figures(&agent.telemetry)}, nil
}

// whoAnswers reads who is at the other end of a connection.
func (s *Snapshot) whoAnswers(ctx context.Context) (Agent, net.Conn, error) {
	var self agentSelf
	var conn connection
	err := s.stream(conn.trace(ctx), endpointSelf, s.newBudget(), func(d *consul.JSONReader) error {
		return d.Element(&self)
	})
	if err != nil {
		return Agent{}, nil, err
	}
	agent, err := newAgent(&self)
	return agent, conn.get(), err
}
