// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package descriptors

import (
	"context"
	"errors"
	"math"
	"net"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

func TestNewShares(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		limit           uint64
		clients, consul int
	}{
		{0, minShare, minShare},
		{20, 4, 4},
		{64, 20, 20},
		{1024, 500, 500},
		{4096, maxClients, 4096 - reserved - maxClients},
		{math.MaxUint64, maxClients, maxConsul},
	} {
		if got := newShares(tc.limit); got.clients != tc.clients || cap(got.consul) != tc.consul {
			t.Errorf("of %d descriptors clients get %d and Consul %d; want %d and %d", tc.limit, got.clients, cap(got.consul),
				tc.clients, tc.consul)
		}
	}
}

// A connection counts from before it is opened until it is closed, once, and one too many waits for its turn.
func TestDial(t *testing.T) {
	t.Parallel()
	listener := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer listener.Close()
	s := shares{consul: make(chan struct{}, 2)}
	dial := func(ctx context.Context, network string, wait time.Duration) (net.Conn, error) {
		return s.dial(ctx, &net.Dialer{}, network, listener.Addr().String(), wait)
	}
	tcp := must.Get(dial(t.Context(), "tcp", 0))(t)
	udp := must.Get(dial(t.Context(), "udp", 0))(t)
	if _, err := dial(t.Context(), "tcp", 10*time.Millisecond); !errors.Is(err, ErrShortage) ||
		errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v; want %v", err, ErrShortage)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dial(ended, "tcp", time.Hour); !errors.Is(err, ErrShortage) {
		t.Errorf("error %v; want %v", err, ErrShortage)
	}
	tcp.Close()
	tcp.Close()
	third := must.Get(dial(t.Context(), "tcp", 0))(t)
	if len(s.consul) != 2 {
		t.Errorf("%d connections count; want 2: closing one twice counts once", len(s.consul))
	}
	third.Close()
	udp.Close()
	listener.Close()
	if _, err := dial(t.Context(), "tcp", 0); err == nil || len(s.consul) != 0 {
		t.Errorf("error %v, and %d connections count; want an error and none", err, len(s.consul))
	}
}
