// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// The kernel lists a listener and a connection to it, of both address families, if the port is in the range.
func TestHostSockets(t *testing.T) {
	t.Parallel()
	for _, network := range []struct{ name, address string }{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}} {
		t.Run(network.name, func(t *testing.T) {
			t.Parallel()
			listener := must.Get(net.Listen(network.name, network.address))(t)
			defer listener.Close()
			conn := must.Get(net.Dial(network.name, listener.Addr().String()))(t)
			defer conn.Close()
			server := listener.Addr().(*net.TCPAddr)
			port := uint16(server.Port)
			for _, r := range []struct {
				first, last uint16
				there       bool
			}{{port, port, true}, {0, 65535, true}, {port + 1, 65535, false}, {1, port - 1, false}} {
				sockets := must.Get(hostSockets(r.first, r.last))(t)
				for _, state := range []uint64{socketListens, 1} {
					there := slices.ContainsFunc(sockets, func(s socket) bool {
						return s.addr.Equal(server.IP) && s.port == uint64(port) && s.state == state
					})
					if there != r.there {
						t.Errorf("port %d in state %d is among those from %d to %d: %v", port, state, r.first, r.last, there)
					}
				}
			}
		})
	}
}

func TestDiagSocket_Short(t *testing.T) {
	t.Parallel()
	if s, err := diagSocket(make([]byte, diagMessageLength-1)); err == nil {
		t.Errorf("got %+v; want an error", s)
	}
}

func TestDiagError(t *testing.T) {
	t.Parallel()
	for err, refused := range map[error]bool{syscall.ENOENT: true, syscall.EPROTONOSUPPORT: true, syscall.ENOBUFS: false} {
		if got := diagError(fmt.Errorf("dial: %w", err)); errors.Is(got, consul.ErrRefused) != refused ||
			!errors.Is(got, err) {
			t.Errorf("%v became %v; want a refusal: %v", err, got, refused)
		}
	}
}
