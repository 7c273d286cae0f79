// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/descriptors"
)

func TestReasonOf(t *testing.T) {
	t.Parallel()
	dial := func(err error) error { return &net.OpError{Op: "dial", Err: err} }
	syscallErr := func(errno syscall.Errno) error { return dial(os.NewSyscallError("connect", errno)) }
	alert := func(op string) error { return &net.OpError{Op: op, Err: errors.New("tls: bad certificate")} }
	for _, tc := range []struct {
		name string
		err  error
		want Reason
	}{
		{"none", nil, ""},
		{"refused", syscallErr(syscall.ECONNREFUSED), ReasonRefused},
		{"refused on Windows", syscallErr(wsaEconnRefused), ReasonRefused},
		{"deadline of a context", fmt.Errorf("connect: %w", context.DeadlineExceeded), ReasonTimeout},
		{"deadline of a connection", fmt.Errorf("read: %w", os.ErrDeadlineExceeded), ReasonTimeout},
		{"cancelled", context.Canceled, ReasonTimeout},
		{"kernel gives up", syscallErr(syscall.ETIMEDOUT), ReasonTimeout},
		{"name server silent", &net.DNSError{IsTimeout: true}, ReasonTimeout},
		{"no such host", dial(&net.DNSError{IsNotFound: true}), ReasonResolve},
		{"address without port", dial(&net.AddrError{Err: "missing port in address"}), ReasonResolve},
		{"reset", syscallErr(syscall.ECONNRESET), ReasonReset},
		{"reset on Windows", syscallErr(wsaEconnReset), ReasonReset},
		{"broken pipe", syscallErr(syscall.EPIPE), ReasonReset},
		{"end of stream", fmt.Errorf("read: %w", io.ErrUnexpectedEOF), ReasonReset},
		{"no route", syscallErr(syscall.EHOSTUNREACH), ReasonUnreachable},
		{"no network", syscallErr(syscall.ENETUNREACH), ReasonUnreachable},
		{"no network interface", syscallErr(syscall.ENETDOWN), ReasonUnreachable},
		{"an error number that nobody knows", syscallErr(syscall.Errno(4711)), ReasonUnreachable},
		{"no local port", syscallErr(syscall.EADDRNOTAVAIL), ReasonOwnFault},
		{"local firewall", syscallErr(syscall.EPERM), ReasonOwnFault},
		{"prohibited by the routing table", syscallErr(syscall.EACCES), ReasonOwnFault},
		{"address family prohibited", syscallErr(syscall.EAFNOSUPPORT), ReasonOwnFault},
		{"no descriptor", syscallErr(syscall.EMFILE), ReasonOwnFault},
		{"no descriptor on the host", syscallErr(syscall.ENFILE), ReasonOwnFault},
		{"no buffer", syscallErr(syscall.ENOBUFS), ReasonOwnFault},
		{"no memory", syscallErr(syscall.ENOMEM), ReasonOwnFault},
		{"no descriptor on Windows", syscallErr(wsaEmfile), ReasonOwnFault},
		{
			"no descriptor to look up a name",
			dial(&net.DNSError{Err: "dial udp 10.0.0.1:53: socket: too many open files"}), ReasonOwnFault,
		},
		{"as many connections as may be", fmt.Errorf("connect: %w", descriptors.ErrShortage), ReasonOwnFault},
		{"not its turn", ErrNoTurn, ReasonOwnFault},
		{"client certificate cannot be read", fmt.Errorf("handshake: %w", &ownFault{errors.New("hangs")}), ReasonOwnFault},
		{"host not allowed", fmt.Errorf("connect: %w", ErrNotAllowed), ReasonNotAllowed},
		{"no gossip key", errSerfNoKey, ReasonNoKey},
		{"certificate", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, ReasonTLS},
		{
			"name of another", &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}}},
			ReasonName,
		},
		{"not TLS", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, ReasonTLS},
		{"remote alert", tls.AlertError(42), ReasonTLS},
		{"turned away", fmt.Errorf("read answer: %w", errTurnedAway), ReasonLimit},
		{"too long", errTooLong, ReasonProtocol},
		{"alert of the server", alert("remote error"), ReasonCertificate},
		{"alert to the server", alert("local error"), ReasonTLS},
		{"broken connection", &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, ReasonReset},
		{"complaint of crypto/tls", asTLSError(errors.New("tls: unsupported protocol version")), ReasonTLS},
		{"end of the connection in a handshake", asTLSError(io.EOF), ReasonReset},
		{"timeout in a handshake", asTLSError(context.DeadlineExceeded), ReasonTimeout},
		{"nothing in a handshake", asTLSError(nil), ""},
		{"no client certificate", asTLSError(errNoClientCertificate), ReasonCertificate},
		{"answer: may not", &answeredError{ReasonAuth, "no"}, ReasonAuth},
		{"answer: too much", &answeredError{ReasonLimit, "no"}, ReasonLimit},
		{"another gossip key", errSerfOtherKey, ReasonAuth},
		{"refused by gossip for the key", &serfRefusal{"cannot decrypt"}, ReasonAuth},
		{"refused by gossip for something else", &serfRefusal{"no"}, ReasonProtocol},
		{"closed", withoutAnswer(errTurnedAway), ReasonReset},
		{"anything else", errors.New("unexpected byte"), ReasonProtocol},
	} {
		err := tc.err
		if err != nil {
			err = fmt.Errorf("do something: %w", err)
		}
		got := ReasonOf(err)
		if got != tc.want {
			t.Errorf("%s: %v has reason %q; want %q", tc.name, err, got, tc.want)
		}
		if got != "" && !slices.Contains(slices.Concat(Reasons(), SkipReasons()), got) {
			t.Errorf("%s: %q is not one of the fixed reasons", tc.name, got)
		}
		if res := (Result{Reason: got, Up: got == ""}); res.Outcome() == "" {
			t.Errorf("%s: reason %q has no outcome", tc.name, got)
		}
	}
}
