// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	// datagramBytes is more than any answer has: memberlist sends 1400 bytes at most, and Consul's DNS what the request
	// allows.
	datagramBytes = 8 << 10
	// datagramsRead bounds how many datagrams a probe looks at.
	datagramsRead = 64
	// resendAfter is when a question is sent again if the probe has no deadline.
	resendAfter = time.Second
)

// overUDP sends a datagram, again after a third of the time if there is no answer by then, and gives what comes back
// to accept until it is satisfied. The phases are connect, which only resolves the name, and request. Nothing stays
// behind: a late answer meets a closed port, which Consul's sockets do not notice, as they are not connected.
func overUDP(
	ctx context.Context, dial dialer, address string, question []byte, accept func([]byte) error,
) Result {
	return timed(func(watch *stopwatch) error {
		conn, err := dial(ctx, "udp", address)
		watch.lap(PhaseConnect)
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		defer conn.Close()
		defer interruptible(ctx, conn)()

		err = askDatagram(conn, question, accept, third(ctx))
		watch.lap(PhaseRequest)
		return err
	})
}

// third returns a third of the time that ctx leaves.
func third(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline) / 3
	}
	return resendAfter
}

// askDatagram asks and reads until accept takes a datagram for the answer. One that it does not accept does not end
// the probe, as anyone can send a datagram; but if nothing better comes, that is the error.
func askDatagram(conn net.Conn, question []byte, accept func([]byte) error, again time.Duration) error {
	if _, err := conn.Write(question); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	resend := time.AfterFunc(again, func() { _, _ = conn.Write(question) }) // On failure the first one has to do.
	defer resend.Stop()

	buf := make([]byte, datagramBytes)
	var strange error
	for range datagramsRead {
		n, err := conn.Read(buf)
		switch {
		case err == nil:
		case isTimeout(err) && strange != nil:
			return strange
		default:
			return fmt.Errorf("read answer: %w", err)
		}
		if err = accept(buf[:n]); err == nil {
			return nil
		}
		// Of the error only the text is kept: what is wrong with a datagram is no error of the network.
		strange = errors.New("read answer: " + err.Error())
	}
	return strange
}
