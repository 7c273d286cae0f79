// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"
)

const (
	// goodbyeTimeout is how long a probe waits for the server to close the connection: one round trip is enough, and
	// Consul closes at once.
	goodbyeTimeout = time.Second
	// goodbyeBytes bounds what is read meanwhile. A TLS server sends session tickets and its own close_notify.
	goodbyeBytes = 64 << 10
	// answerBytes bounds what is read of an answer that should have some hundred bytes.
	answerBytes = 64 << 10
)

// exchange is one question to one TCP port, and all that can be said about the way there.
type exchange struct {
	Target
	// preamble is sent in plain text before the TLS handshake.
	preamble []byte
	// alpn is what the client offers to speak.
	alpn []string
	// talk asks and reads the answer. It ends, with an error that isTimeout knows, when ctx does. It must have asked
	// everything before it waits for an answer: the sending side is closed afterwards.
	talk func(ctx context.Context, conn net.Conn) error
	// closeAtOnce says that the server sends nothing after talk is done, so that closing the connection resets nothing
	// and there is no need to wait for the server to close its side.
	closeAtOnce bool
}

// exchange opens a connection and asks. The phases are connect, tls if there is TLS, and request. Then it closes its
// side of the connection, and the rest when the server has closed its own, so that the kernel resets nothing that
// Consul still sends. A connection to a server that hangs is kept instead: see silentConns.
func (p *Prober) exchange(ctx context.Context, x *exchange) Result {
	var w *wire
	res := timed(func(watch *stopwatch) (err error) {
		w, err = p.ask(ctx, x, watch)
		return err
	})
	switch {
	case w == nil:
	case x.closeAtOnce && w.tls == nil:
		w.raw.Close()
	default:
		w.goodbye(ctx)
	}
	return res
}

// ask does the phases of an exchange. It returns the connection to close now, if any.
func (p *Prober) ask(ctx context.Context, x *exchange, watch *stopwatch) (*wire, error) {
	if earlier := p.silent.get(x.Address); earlier != nil {
		if err := earlier.wait(ctx); err != nil {
			done := len(earlier.phases) - 1
			watch.res.Phases = append(watch.res.Phases, earlier.phases[:done]...)
			watch.lap(earlier.phases[done].Phase)
			return nil, fmt.Errorf("no answer yet to an earlier request: %w", err)
		}
		watch.phase = time.Now()
	}

	conn, err := p.dial(ctx, "tcp", x.Address)
	watch.lap(PhaseConnect)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	w := &wire{raw: conn}
	if x.TLS != nil {
		err = handshake(ctx, x, w, watch.res)
		watch.lap(PhaseTLS)
		if err != nil {
			return p.hangUp(x.Address, w, watch.res, fmt.Errorf("TLS handshake: %w", err))
		}
	}

	release := interruptible(ctx, conn)
	err = x.talk(ctx, w.conn())
	release()
	err = w.alertOr(ctx, err)
	watch.lap(PhaseRequest)
	return p.hangUp(x.Address, w, watch.res, err)
}

// hangUp returns the connection to close now; or none, when the server has not answered in time and the connection is
// kept until it has.
func (p *Prober) hangUp(address string, w *wire, res *Result, err error) (*wire, error) {
	if !isTimeout(err) {
		return w, err
	}
	p.silent.keep(address, w, slices.Clone(res.Phases))
	return nil, fmt.Errorf("no answer to a request on the open connection: %w", err)
}

// interruptible ends all reading and writing on conn when ctx is done, until release is called. After that the
// deadlines do not change, so that a connection that timed out can be kept.
func interruptible(ctx context.Context, conn net.Conn) (release func()) {
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = conn.SetDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

// wire is a connection with or without TLS on it.
type wire struct {
	raw net.Conn
	// tls is nil on a connection without TLS.
	tls *tls.Conn
	// handshaken is closed when the TLS handshake has ended, one way or the other.
	handshaken chan struct{}
}

// conn is what the protocol is spoken on.
func (w *wire) conn() net.Conn {
	if w.tls != nil {
		return w.tls
	}
	return w.raw
}

// closeWrite tells the server that nothing more will be asked. With TLS this waits for a handshake under way to end:
// to the server a connection that ends in a handshake is a failure, even if Consul does not log most of those today.
func (w *wire) closeWrite() {
	if w.tls != nil {
		<-w.handshaken
		_ = w.tls.CloseWrite() // On failure there is no TLS session that needs an end.
	}
	if half, ok := w.raw.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // On failure reading from the connection fails.
	}
}

// goodbye closes this side of the connection, and all of it when the server has closed its side: what the server
// sends until then would be answered with a reset, which several of Consul's ports log as an error.
func (w *wire) goodbye(ctx context.Context) {
	defer w.raw.Close()
	w.closeWrite()
	ctx, cancel := context.WithTimeout(ctx, goodbyeTimeout)
	defer cancel()
	defer interruptible(ctx, w.raw)()
	_, _ = io.Copy(io.Discard, io.LimitReader(w.raw, goodbyeBytes))
}

// withoutAnswer words the end of a connection on which no byte came. Only on port 8300 it means that the server turns
// the client away.
func withoutAnswer(err error) error {
	if errors.Is(err, errTurnedAway) {
		return fmt.Errorf("connection closed without an answer: %w", io.EOF)
	}
	return err
}
