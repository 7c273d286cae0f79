// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// A cluster of a hundred servers, of which every tenth accepts connections and answers nothing.
const (
	manyServers = 100
	silentEvery = 10
)

// startMany starts the fakes of port 8300 and of gossip over TCP and UDP for each server.
func startMany(tb testing.TB) *fakeConsul {
	tb.Helper()
	var servers []*fakeServer
	for i := range manyServers {
		name := fmt.Sprintf("server-%03d", i)
		var s *fakeServer
		if i%silentEvery == silentEvery-1 {
			s = &fakeServer{name: name, address: listenSilently(tb), status: &fakeStatus{}}
			s.serfPort = portOf(listenSilently(tb)) // UDP to it is answered by nobody.
		} else {
			s = startFakeServer(tb, name)
			s.serfPort = startFakeGossip(tb)
		}
		servers = append(servers, s)
	}
	return startFakeAgent(tb, servers)
}

func portOf(address string) int { return int(netip.MustParseAddrPort(address).Port()) }

// listenSilently accepts as the kernel does for a process that hangs. On UDP it takes datagrams and answers none.
func listenSilently(tb testing.TB) (address string) {
	tb.Helper()
	tcp, _ := listenBoth(tb)
	return tcp.Addr().String()
}

// listenBoth listens on one port number over TCP and UDP, until the end of the test.
func listenBoth(tb testing.TB) (net.Listener, net.PacketConn) {
	tb.Helper()
	for range 50 {
		tcp := must.Get(net.Listen("tcp", "127.0.0.1:0"))(tb)
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err == nil {
			tb.Cleanup(func() {
				tcp.Close()
				udp.Close()
			})
			return tcp, udp
		}
		tcp.Close() // Somebody else has the same number on UDP.
	}
	tb.Fatal("there is no port that is free on TCP and UDP")
	return nil, nil
}

// startFakeGossip acknowledges pings as memberlist does (net.go), on one port over TCP and UDP.
func startFakeGossip(tb testing.TB) (port int) {
	tb.Helper()
	var wg sync.WaitGroup
	tb.Cleanup(wg.Wait)
	tcp, udp := listenBoth(tb)
	serveEach(tb, tcp, func(conn net.Conn) {
		ping := make([]byte, len(fakePing))
		if _, err := io.ReadFull(conn, ping); err == nil {
			_, _ = conn.Write(acknowledge(ping))
		}
		_, _ = io.Copy(io.Discard, conn)
	})
	wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			if n == len(fakePing) {
				_, _ = udp.WriteTo(acknowledge(buf[:n]), from)
			}
		}
	})
	return portOf(tcp.Addr().String())
}

// fakePing is a ping with the number 0, which is at the same place in each.
const fakePing = "\x00\x82\xa5SeqNo\xce\x00\x00\x00\x00\xa4Node\xa0"

// acknowledge returns the answer to a ping.
func acknowledge(ping []byte) []byte {
	return slices.Concat([]byte("\x02\x82\xa5SeqNo\xce"), ping[9:13], []byte("\xa7Payload\xc0"))
}

// manyExporter probes with the timeout, and with the defaults otherwise.
func manyExporter(tb testing.TB, f *fakeConsul, timeout time.Duration) *Exporter {
	tb.Helper()
	return f.exporterWith(func(opts *cluster.Options, _ *Options) {
		opts.Client.Timeout, opts.Ports.Timeout, opts.Ports.Concurrency = timeout, timeout, 64
	})
}

// However many servers hang, a scrape costs one timeout.
func TestHundredServers(t *testing.T) {
	const timeout = 2 * time.Second
	f := startMany(t)
	e := manyExporter(t, f, timeout)
	fastest := time.Hour // Of several, as the machine may be busy with something else.
	for range 3 {
		start := time.Now()
		all := gatherWithin(t, e, 10*time.Second)
		fastest = min(fastest, time.Since(start))
		expectValue(t, all, manyServers, "consul_cluster_voters")
		expectValue(t, all, manyServers-manyServers/silentEvery, "consul_cluster_voters_state", "state", "answering")
		expectValue(t, all, 1, "consul_cluster_leaders")
		for i := range manyServers {
			want, name := binary(i%silentEvery != silentEvery-1), fmt.Sprintf("server-%03d", i)
			expectValue(t, all, want, "consul_port_up", "server", name, "protocol", "rpc")
			expectValue(t, all, want, "consul_port_up", "server", name, "protocol", "serf_lan", "transport", "tcp")
			expectValue(t, all, want, "consul_port_up", "server", name, "protocol", "serf_lan", "transport", "udp")
		}
	}
	if fastest > 2*timeout {
		t.Errorf("the fastest scrape took %s; want less than two of the probe's timeouts: nothing waits twice", fastest)
	}
}
