// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
)

// Reason says in one word why a probe failed. The set is fixed, so that it can be a label.
type Reason string

// The reasons.
const (
	// ReasonRefused: nothing listens there.
	ReasonRefused Reason = "refused"
	// ReasonTimeout: no answer in time; with a connection this is a server that hangs.
	ReasonTimeout Reason = "timeout"
	// ReasonReset: the connection broke before the answer was complete.
	ReasonReset Reason = "reset"
	// ReasonUnreachable: no route, or no local address to dial from.
	ReasonUnreachable Reason = "unreachable"
	// ReasonResolve: the host name has no address.
	ReasonResolve Reason = "resolve"
	// ReasonTLS: the handshake failed or the certificate does not verify.
	ReasonTLS Reason = "tls"
	// ReasonAuth: the server answered that this client may not ask.
	ReasonAuth Reason = "auth"
	// ReasonProtocol: something answered, but not in the protocol of this port.
	ReasonProtocol Reason = "protocol"
	// ReasonLimit: the server turned the client away for asking too much.
	ReasonLimit Reason = "limit"
)

// Reasons returns all reasons, so that a counter for each can start at 0.
func Reasons() []Reason {
	return []Reason{
		ReasonRefused, ReasonTimeout, ReasonReset, ReasonUnreachable, ReasonResolve,
		ReasonTLS, ReasonAuth, ReasonProtocol, ReasonLimit,
	}
}

var (
	// errTurnedAway: the server accepted the connection and closed it without a byte, as Consul does with a client
	// above its connection limit (limits.rpc_max_conns_per_client).
	errTurnedAway = errors.New("connection closed without an answer (is the server's connection limit reached?)")
	// errTooLong: the answer is longer than any server's.
	errTooLong = errors.New("answer is too long")
)

// Error numbers of Windows' sockets; no other system has numbers as high.
const (
	wsaEnetUnreach  = syscall.Errno(10051)
	wsaEconnAborted = syscall.Errno(10053)
	wsaEconnReset   = syscall.Errno(10054)
	wsaEconnRefused = syscall.Errno(10061)
	wsaEhostUnreach = syscall.Errno(10065)
)

var errnoReasons = []struct {
	reason Reason
	errnos []syscall.Errno
}{
	{ReasonRefused, []syscall.Errno{syscall.ECONNREFUSED, wsaEconnRefused}},
	{ReasonTimeout, []syscall.Errno{syscall.ETIMEDOUT}},
	{ReasonReset, []syscall.Errno{
		syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED,
		wsaEconnReset, wsaEconnAborted,
	}},
	{ReasonUnreachable, []syscall.Errno{
		syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN,
		syscall.EADDRNOTAVAIL, syscall.EINVAL, syscall.EACCES, syscall.EPERM, wsaEnetUnreach, wsaEhostUnreach,
	}},
}

// ReasonOf maps any error of a probe to a reason; no error has no reason.
func ReasonOf(err error) Reason {
	var (
		answered *answeredError
		refused  *serfRefusal
	)
	switch {
	case err == nil:
		return ""
	case errors.As(err, &answered):
		return answered.reason
	case errors.Is(err, errTurnedAway):
		return ReasonLimit
	case errors.Is(err, errSerfOtherKey), errors.As(err, &refused) && refused.aboutKeys():
		return ReasonAuth
	case isTimeout(err):
		return ReasonTimeout
	case isA[*net.DNSError](err), isA[*net.AddrError](err):
		return ReasonResolve
	case isTLS(err):
		return ReasonTLS
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return ReasonReset
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		for _, r := range errnoReasons {
			if slices.Contains(r.errnos, errno) {
				return r.reason
			}
		}
		return ReasonUnreachable
	}
	return ReasonProtocol
}

// isTimeout reports whether the time was up. A name server that does not answer is a timeout too: the name may be fine.
func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

func isTLS(err error) bool {
	return isA[*tls.CertificateVerificationError](err) || isA[tls.RecordHeaderError](err) || isA[tls.AlertError](err) ||
		isA[x509.UnknownAuthorityError](err) || isA[x509.HostnameError](err) || isA[x509.CertificateInvalidError](err) ||
		isA[*tlsError](err) || isAlert(err)
}

// isAlert reports whether one side ended TLS with an alert. With TLS 1.3 the server's verdict on the client's certificate
// comes after the client's side of the handshake, with the first read. The type of the alert is hidden in crypto/tls
// (tls.AlertError is for QUIC only); the operation of the net.OpError around it is a word of crypto/tls alone.
func isAlert(err error) bool {
	var opErr *net.OpError
	return errors.As(err, &opErr) && (opErr.Op == "remote error" || opErr.Op == "local error")
}

func isA[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}
