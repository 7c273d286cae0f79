// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
)

// SerfTarget is a gossip port of one server: 8301, or 8302 for gossip between datacenters.
type SerfTarget struct {
	// Address is "host:port".
	Address string
	// Encrypted says that the server accepts only encrypted gossip. It must be right: the server logs a question in the
	// wrong form as an error.
	Encrypted bool
	// Keys are the gossip keys, of 16, 24 or 32 bytes. The first one encrypts, if Encrypted; an answer may use any of
	// them, even the answer to a question in plain text.
	Keys [][]byte
}

// errSerfNoKey says why an encrypted port is not asked.
var errSerfNoKey = errors.New("gossip is encrypted and there is no key")

// SerfTCP pings a gossip port over TCP. Up means that it acknowledged this ping. Timed are connect and request. It
// leaves nothing behind, and gossip does not learn of the exporter: the ping names no sender (memberlist: net.go,
// handleConn and handlePing).
//
// Without the key of an encrypted cluster it only connects, closes its side and waits for the server to do the same,
// which shows that the process does not hang: Up, but not Verified.
func (p *Prober) SerfTCP(ctx context.Context, target SerfTarget) Result {
	wire, err := newSerfWire(target)
	connectOnly := errors.Is(err, errSerfNoKey)
	if err != nil && !connectOnly {
		return failed(err)
	}
	talk := func(_ context.Context, conn net.Conn) error {
		if connectOnly {
			return closeQuietly(conn)
		}
		return wire.pingStream(conn, rand.Uint32())
	}
	res := p.exchange(ctx, &exchange{Target: Target{Address: target.Address}, talk: talk})
	res.Verified = res.Up && !connectOnly
	return res
}

// SerfUDP pings a gossip port over UDP. Up means that it acknowledged this ping. Timed are connect, which sends
// nothing, and request, in which a lost ping is sent again once. It leaves nothing behind either.
//
// Without the key of an encrypted cluster nothing is sent, and the result is Skipped.
func (p *Prober) SerfUDP(ctx context.Context, target SerfTarget) Result {
	wire, err := newSerfWire(target)
	if err != nil {
		return failed(err)
	}
	seq := rand.Uint32()
	ping := wire.encodePacket(encodePing(seq))
	return overUDP(ctx, p.dialAnySource, target.Address, ping, func(answer []byte) error {
		acks, err := wire.decodePacket(answer)
		return checkAcks(acks, seq, err)
	})
}

// closeQuietly closes its side of a connection on which nothing was sent, and waits for the server to close the
// other. Memberlist does so silently (net.go: handleConn, io.EOF).
func closeQuietly(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return fmt.Errorf("close the sending side: %w", err)
		}
	}
	n, err := conn.Read(make([]byte, 1))
	switch {
	case n > 0:
		return errors.New("the server sent something without being asked")
	case errors.Is(err, io.EOF):
		return nil
	default:
		return fmt.Errorf("wait for the server to close the connection: %w", err)
	}
}

// pingStream sends a ping on a connection and reads the acknowledgement.
func (w *serfWire) pingStream(conn io.ReadWriter, seq uint32) error {
	if _, err := conn.Write(w.encodeStream(encodePing(seq))); err != nil {
		return fmt.Errorf("send ping: %w", err)
	}
	answer := &answerReader{r: conn, left: answerBytes}
	msg, err := w.decodeStream(bufio.NewReaderSize(answer, 1024))
	var refused *serfRefusal
	switch {
	case errors.As(err, &refused), errors.Is(err, errSerfOtherKey):
		return fmt.Errorf("read answer: %w", err)
	case err != nil:
		return fmt.Errorf("read answer: %w", withoutAnswer(answer.cause(err)))
	}
	return checkAcks([]uint32{msg}, seq, nil)
}

// checkAcks looks for the acknowledgement of a ping; err is what was wrong with the rest of the answer.
func checkAcks(acks []uint32, seq uint32, err error) error {
	switch {
	case slices.Contains(acks, seq):
		return nil
	case err != nil:
		return err
	case len(acks) > 0:
		return fmt.Errorf("this acknowledges ping %d, not %d", acks[0], seq)
	default:
		return errors.New("there is no acknowledgement in the answer")
	}
}

// serfRefusal is an error that the server sent instead of an acknowledgement (memberlist: errResp).
type serfRefusal struct{ text string }

func (e *serfRefusal) Error() string { return fmt.Sprintf("server refuses: %.200q", e.text) }

// aboutKeys reports whether the server cannot decrypt what it gets, or gets plain text where it must not.
func (e *serfRefusal) aboutKeys() bool { return strings.Contains(strings.ToLower(e.text), "crypt") }
