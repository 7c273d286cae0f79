// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/zervigo/consul_cluster_exporter/internal/descriptors"
)

// Reason says in one word why a probe failed or was not made. There are few, so that it can be a label: those below,
// and those of package cluster for ports that it knows better than to ask.
type Reason string

// The reasons.
const (
	// ReasonRefused: nothing listens there.
	ReasonRefused Reason = "refused"
	// ReasonTimeout: no answer in time; with a connection this is a server that hangs.
	ReasonTimeout Reason = "timeout"
	// ReasonReset: the connection broke before the answer was complete.
	ReasonReset Reason = "reset"
	// ReasonUnreachable: the network says that there is no way to the host.
	ReasonUnreachable Reason = "unreachable"
	// ReasonResolve: the host name has no address.
	ReasonResolve Reason = "resolve"
	// ReasonTLS: the handshake failed or the server's certificate does not verify.
	ReasonTLS Reason = "tls"
	// ReasonCertificate: the server wants a client certificate and there is none, or it rejects the one that it got.
	ReasonCertificate Reason = "client_certificate"
	// ReasonName: the server's certificate is for another name.
	ReasonName Reason = "name"
	// ReasonAuth: the server answered that this client may not ask.
	ReasonAuth Reason = "auth"
	// ReasonProtocol: something answered, but not in the protocol of this port.
	ReasonProtocol Reason = "protocol"
	// ReasonLimit: the server turned the client away for asking too much.
	ReasonLimit Reason = "limit"
	// ReasonOwnFault: nothing could be sent, because this process or its host lacks descriptors, buffers, memory,
	// permission or a local address. It says nothing about the port.
	ReasonOwnFault Reason = "own_fault"
	// ReasonNoKey: nothing was sent, because gossip is encrypted, there is no key, and the server would log it.
	ReasonNoKey Reason = "no_key"
	// ReasonNotAllowed: the host may not be contacted.
	ReasonNotAllowed Reason = "not_allowed"
	// ReasonHeldBack: the server refused the same question recently, and logs each refusal.
	ReasonHeldBack Reason = "held_back"
)

// SkipReasons returns the reasons why a probe asks nothing.
func SkipReasons() []Reason {
	return []Reason{ReasonOwnFault, ReasonNoKey, ReasonNotAllowed, ReasonHeldBack}
}

// Reasons returns the reasons why a probe fails that was made, so that a counter for each can start at 0.
func Reasons() []Reason {
	return []Reason{
		ReasonRefused, ReasonTimeout, ReasonReset, ReasonUnreachable, ReasonResolve,
		ReasonTLS, ReasonCertificate, ReasonName, ReasonAuth, ReasonProtocol, ReasonLimit,
	}
}

var (
	// errTurnedAway: the server accepted the connection and closed it without a byte, as Consul does with a client above
	// its connection limit (limits.rpc_max_conns_per_client).
	errTurnedAway = errors.New("connection closed without an answer (is the server's connection limit reached?)")
	// errTooLong: the answer is longer than any server's.
	errTooLong = errors.New("answer is too long")
	// ErrNoTurn means that the time for a probe was over before it was its turn.
	ErrNoTurn = errors.New("the probe was not made: others took up all the time (see --probe.concurrency)")
	// ErrNotAllowed means that the host may not be contacted.
	ErrNotAllowed = errors.New("the list of targets does not have this host")
	// ErrHeldBack means that the server refused the same question recently.
	ErrHeldBack = errors.New("not asked again yet, because Consul logs each refusal")
)

// ownFault marks an error of this process that has no type of its own.
type ownFault struct{ error }

func (e *ownFault) Unwrap() error { return e.error }

// Error numbers of Windows' sockets; no other system has numbers as high.
const (
	wsaEacces        = syscall.Errno(10013)
	wsaEmfile        = syscall.Errno(10024)
	wsaEafNoSupport  = syscall.Errno(10047)
	wsaEaddrNotAvail = syscall.Errno(10049)
	wsaEnetUnreach   = syscall.Errno(10051)
	wsaEconnAborted  = syscall.Errno(10053)
	wsaEconnReset    = syscall.Errno(10054)
	wsaEnobufs       = syscall.Errno(10055)
	wsaEconnRefused  = syscall.Errno(10061)
	wsaEhostUnreach  = syscall.Errno(10065)
)

var errnoReasons = []struct {
	reason Reason
	errnos []syscall.Errno
}{
	{ReasonRefused, []syscall.Errno{syscall.ECONNREFUSED, wsaEconnRefused}},
	{ReasonTimeout, []syscall.Errno{syscall.ETIMEDOUT}},
	{ReasonReset, []syscall.Errno{
		syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED, wsaEconnReset, wsaEconnAborted,
	}},
	{ReasonUnreachable, []syscall.Errno{
		syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EINVAL, wsaEnetUnreach, wsaEhostUnreach,
	}},
	{ReasonOwnFault, ownErrnos},
}

// ownErrnos are those of ReasonOwnFault. A rule of the local packet filter or routing table, or of the service manager
// (RestrictAddressFamilies), is EACCES, EPERM or EAFNOSUPPORT; what a remote one rejects is EHOSTUNREACH.
var ownErrnos = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EACCES, syscall.EPERM, syscall.EADDRNOTAVAIL,
	syscall.EAFNOSUPPORT, wsaEmfile, wsaEnobufs, wsaEacces, wsaEaddrNotAvail, wsaEafNoSupport,
}

// ReasonOf maps any error of a probe to a reason; no error has no reason.
func ReasonOf(err error) Reason {
	var answered *answeredError
	var refused *serfRefusal
	switch {
	case err == nil:
		return ""
	case errors.As(err, &answered):
		return answered.reason
	case errors.Is(err, errSerfNoKey):
		return ReasonNoKey
	case errors.Is(err, ErrNotAllowed):
		return ReasonNotAllowed
	case errors.Is(err, ErrHeldBack):
		return ReasonHeldBack
	case IsOwnFault(err):
		return ReasonOwnFault
	case errors.Is(err, errTurnedAway):
		return ReasonLimit
	case errors.Is(err, errSerfOtherKey), errors.As(err, &refused) && refused.aboutKeys():
		return ReasonAuth
	case isTimeout(err):
		return ReasonTimeout
	case isA[*net.DNSError](err), isA[*net.AddrError](err):
		return ReasonResolve
	case errors.Is(err, errNoClientCertificate), isAboutClientCertificate(err):
		return ReasonCertificate
	case isA[x509.HostnameError](err):
		return ReasonName
	case isTLS(err):
		return ReasonTLS
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return ReasonReset
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return reasonOfErrno(errno)
	}
	return ReasonProtocol
}

func reasonOfErrno(errno syscall.Errno) Reason {
	for _, r := range errnoReasons {
		if slices.Contains(r.errnos, errno) {
			return r.reason
		}
	}
	return ReasonUnreachable
}

// IsOwnFault reports whether an error, of a probe or of a request over HTTP, says that nothing could be sent because
// of this process or its host.
func IsOwnFault(err error) bool {
	if errors.Is(err, ErrNoTurn) || errors.Is(err, descriptors.ErrShortage) || errors.Is(err, fs.ErrPermission) ||
		isA[*ownFault](err) {
		return true
	}
	if dnsErr, ok := errors.AsType[*net.DNSError](err); ok {
		return isOwnLookup(dnsErr)
	}
	errno, ok := errors.AsType[syscall.Errno](err)
	return ok && slices.Contains(ownErrnos, errno)
}

// isOwnLookup reports whether a name could not be looked up for such a reason. Package net keeps only the text of a
// system call's error.
func isOwnLookup(err *net.DNSError) bool {
	return slices.ContainsFunc(ownErrnos, func(errno syscall.Errno) bool {
		return strings.HasSuffix(err.Err, ": "+errno.Error())
	})
}

// isTimeout reports whether time ran out. So does a name server that does not answer: the name may be fine.
func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, os.ErrDeadlineExceeded) {
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

// isAlert reports whether one side ended TLS with an alert. With TLS 1.3 the server's verdict on the client's
// certificate comes with the first read. The type of the alert is hidden in crypto/tls (tls.AlertError is for QUIC
// only); the operation of the net.OpError around it is used by crypto/tls alone.
func isAlert(err error) bool {
	var opErr *net.OpError
	return errors.As(err, &opErr) && (opErr.Op == "remote error" || opErr.Op == "local error")
}

// clientCertificateAlerts are those with which a server rejects the client's certificate, or the lack of one (RFC 8446,
// 6.2): bad, unsupported, revoked, expired, unknown, of an unknown authority, required.
var clientCertificateAlerts = []tls.AlertError{42, 43, 44, 45, 46, 48, 116}

// isAboutClientCertificate reports whether the server ended TLS because of the client's certificate.
func isAboutClientCertificate(err error) bool {
	var opErr *net.OpError
	return errors.As(err, &opErr) && opErr.Op == "remote error" &&
		slices.ContainsFunc(clientCertificateAlerts, func(a tls.AlertError) bool { return opErr.Err.Error() == a.Error() })
}

// CertificateExpired reports whether TLS failed because a certificate has expired or is not valid yet, and whether it
// is this client's, by what the server says.
func CertificateExpired(err error) (expired, ours bool) {
	const certificateExpired = tls.AlertError(45)
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return invalid.Reason == x509.Expired, false
	}
	var opErr *net.OpError
	ours = errors.As(err, &opErr) && opErr.Op == "remote error" && opErr.Err.Error() == certificateExpired.Error()
	return ours, ours
}

// WithoutCertificate reports whether the server ended TLS because it has no certificate, as Consul's gRPC until the
// service mesh has an authority (crypto/tls: errNoCertificates, and any other error of the server's own).
func WithoutCertificate(err error) bool {
	const unrecognizedName, internalError = tls.AlertError(112), tls.AlertError(80)
	var opErr *net.OpError
	return errors.As(err, &opErr) && opErr.Op == "remote error" &&
		(opErr.Err.Error() == unrecognizedName.Error() || opErr.Err.Error() == internalError.Error())
}

func isA[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}
