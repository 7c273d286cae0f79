// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/proto-public/pbdataplane"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

const (
	// grpcBytes bounds what is read from one server, and grpcWindow what it may send ahead.
	grpcBytes  = 256 << 10
	grpcWindow = 64 << 10
)

// GRPC asks a server, on 8502 or 8503 with TLS, which features for dataplanes it supports, without a token. Up means
// that it answered with any gRPC status: Unauthenticated or PermissionDenied are answers. Timed are connect, tls on a
// port with TLS, and request. It leaves nothing behind: one connection, closed with the answer.
//
// Consul serves the method to anyone (agent/grpc-external/services/dataplane). It does not serve grpc.health.v1, and
// logs a warning when asked for it.
func (p *Prober) GRPC(ctx context.Context, target Target) Result {
	return p.exchange(ctx, &exchange{Target: target, alpn: []string{"h2"}, talk: askGRPC})
}

// askGRPC makes one call on conn, and leaves conn open.
func askGRPC(ctx context.Context, conn net.Conn) error {
	lent := &lentConn{Conn: conn, answer: answerReader{r: conn, left: grpcBytes}}
	var seen statusWatch
	client, err := grpc.NewClient("passthrough:///consul",
		grpc.WithContextDialer(lent.dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // The connection has TLS already.
		grpc.WithStatsHandler(&seen),
		grpc.WithNoProxy(),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableHealthCheck(),
		grpc.WithIdleTimeout(0),
		// Windows of a fixed size keep the client from sending pings to measure the bandwidth.
		grpc.WithStaticStreamWindowSize(grpcWindow),
		grpc.WithStaticConnWindowSize(grpcWindow),
		grpc.WithMaxHeaderListSize(16<<10),
		grpc.WithUserAgent("consul_cluster_exporter"),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(grpcWindow)),
	)
	if err != nil {
		return fmt.Errorf("make a gRPC client: %w", err)
	}
	request := &pbdataplane.GetSupportedDataplaneFeaturesRequest{}
	_, err = pbdataplane.NewDataplaneServiceClient(client).GetSupportedDataplaneFeatures(ctx, request)
	_ = client.Close() // It fails only if it is closed already.
	broken := lent.takeBack()
	if seen.answered.Load() {
		return nil
	}
	return grpcError(err, broken)
}

// grpcError says why no status came from the server: broken is how the connection failed, if it did. The client
// library's error is a status as well, but one that it made up: Unavailable if the connection is to blame, others for
// what came over it.
func grpcError(err, broken error) error {
	made := status.Convert(err)
	late := made.Code() == codes.DeadlineExceeded || made.Code() == codes.Canceled
	switch {
	case broken != nil && (late || made.Code() == codes.Unavailable):
		return fmt.Errorf("read answer: %w", withoutAnswer(broken))
	case late:
		return fmt.Errorf("read answer: %w", context.DeadlineExceeded)
	default:
		return fmt.Errorf("read answer: %.300s", made.Message())
	}
}

// statusWatch notices a gRPC status from the server. The library reports the end of a stream (stats.InTrailer) only
// when a well-formed one came in (grpc: internal/transport, operateHeaders); neither the error nor its code can tell
// that from a failed connection.
type statusWatch struct{ answered atomic.Bool }

func (w *statusWatch) HandleRPC(_ context.Context, event stats.RPCStats) {
	if _, ok := event.(*stats.InTrailer); ok {
		w.answered.Store(true)
	}
}

// The rest of stats.Handler does nothing.
func (w *statusWatch) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (w *statusWatch) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (w *statusWatch) HandleConn(context.Context, stats.ConnStats)                       {}

// lentConn lends an open connection to the gRPC library: only once, with a bound on what is read. It remembers the
// first failure, and closing it ends the library's use but leaves the connection open.
type lentConn struct {
	net.Conn
	taken atomic.Bool

	close  sync.Once
	closed atomic.Bool

	// reading is held while a Read is under way.
	reading sync.Mutex
	// answer is used by the library's one reader. Guarded by reading.
	answer answerReader

	mu sync.Mutex
	// err is how reading or writing first failed before Close. Guarded by mu.
	err error
}

func (c *lentConn) dial(context.Context, string) (net.Conn, error) {
	if c.taken.Swap(true) {
		return nil, errors.New("there is no second connection")
	}
	return c, nil
}

func (c *lentConn) Read(b []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	n, err := c.answer.Read(b)
	if err != nil {
		c.note(c.answer.cause(err))
	}
	return n, err
}

func (c *lentConn) Write(b []byte) (int, error) {
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Write(b)
	if err != nil {
		c.note(err)
	}
	return n, err
}

func (c *lentConn) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && !c.closed.Load() {
		c.err = err
	}
}

// Close ends a Read under way and all later ones.
func (c *lentConn) Close() error {
	c.close.Do(func() {
		c.closed.Store(true)
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
	})
	return nil
}

// The deadlines are the probe's alone: those that the library would set might outlast its use of the connection.
func (c *lentConn) SetDeadline(time.Time) error      { return nil }
func (c *lentConn) SetReadDeadline(time.Time) error  { return nil }
func (c *lentConn) SetWriteDeadline(time.Time) error { return nil }

// takeBack ends the library's use of the connection, and returns what failed before.
func (c *lentConn) takeBack() error {
	_ = c.Close() // It cannot fail.
	c.reading.Lock()
	defer c.reading.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
