// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

func probeRPC(t *testing.T, p *probe.Prober, address string, timeout time.Duration) probe.Result {
	t.Helper()
	return port{name: "rpc"}.within(t, timeout, p, address, how{})
}

func TestRPC_NoConnection(t *testing.T) {
	t.Parallel()
	l := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
	closed := l.Addr().String()
	l.Close()
	for address, want := range map[string]probe.Reason{
		closed: probe.ReasonRefused, "no-such-host.invalid:8300": probe.ReasonResolve, "127.0.0.1": probe.ReasonResolve,
	} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			res := ask(t, patience, "rpc", address, how{})
			wantReason(t, address, res, want)
			if len(res.Phases) != 1 || res.Phases[0].Phase != probe.PhaseConnect {
				t.Errorf("phases are %v; want connect only", res.Phases)
			}
		})
	}
}

// A server that hangs gets one connection, whatever the number of probes, and is queried again when it wakes up.
func TestRPC_SilentServer(t *testing.T) {
	t.Parallel()
	wake := make(chan struct{})
	connections := make(chan struct{}, 100)
	address := listen(t, func(conn *net.TCPConn, _ <-chan struct{}) {
		connections <- struct{}{}
		<-wake
		request(conn)
		_, _ = io.WriteString(conn, raftAnswer("\x90"))
		_, _ = io.Copy(io.Discard, conn) // Until the prober closes.
	})
	p := newProber(t)
	for range 3 {
		res := probeRPC(t, p, address, 500*time.Millisecond)
		if res.Reason != probe.ReasonTimeout || len(res.Phases) != 2 || res.Phases[1].Phase != probe.PhaseRequest {
			t.Fatalf("reason %q, phases %v; want a timeout of the request", res.Reason, res.Phases)
		}
	}
	if !p.Silent(address) {
		t.Error("the prober does not remember the silent server")
	}
	if n := len(connections); n != 1 {
		t.Errorf("the silent server has %d connections; want 1", n)
	}
	close(wake)
	wantReason(t, "after it woke up", probeRPC(t, p, address, 5*time.Second), "")
	if p.Silent(address) {
		t.Error("the prober still takes the server for silent")
	}
	if n := len(connections); n != 2 {
		t.Errorf("the server has seen %d connections; want 2", n)
	}
}

func TestRetain(t *testing.T) {
	t.Parallel()
	address := listen(t, sendAndHold(""))
	p := newProber(t)
	probeRPC(t, p, address, 50*time.Millisecond)
	p.Retain(func(a string) bool { return a == address })
	if !p.Silent(address) {
		t.Error("the connection to a known server is gone")
	}
	p.Retain(func(string) bool { return false })
	if p.Silent(address) {
		t.Error("the connection to an unknown server is still there")
	}
}

// A probe that ends after Close keeps nothing; goleak would see the connection's reader.
func TestClose_DuringProbe(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	address := listen(t, func(_ *net.TCPConn, done <-chan struct{}) { close(asked); <-done })
	p := probe.New(probe.Options{})
	result := make(chan probe.Result)
	go func() { result <- probeRPC(t, p, address, 2*time.Second) }()
	<-asked
	p.Close()
	if res := <-result; res.Reason != probe.ReasonTimeout || p.Silent(address) {
		t.Errorf("reason %q, kept: %v; want a timeout and nothing kept", res.Reason, p.Silent(address))
	}
}
