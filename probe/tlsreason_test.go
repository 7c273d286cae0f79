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
)

func TestReasonOfNewErrors(t *testing.T) {
	t.Parallel()
	alert := func(op string) error { return &net.OpError{Op: op, Err: errors.New("tls: bad certificate")} }
	for _, tc := range []struct {
		name string
		err  error
		want Reason
	}{
		{"none", nil, ""},
		{"alert of the server", alert("remote error"), ReasonTLS},
		{"alert to the server", alert("local error"), ReasonTLS},
		{"broken connection", &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, ReasonReset},
		{"complaint of crypto/tls", asTLSError(errors.New("tls: server selected unsupported protocol version 301")), ReasonTLS},
		{"end of the connection in a handshake", asTLSError(io.EOF), ReasonReset},
		{"timeout in a handshake", asTLSError(context.DeadlineExceeded), ReasonTimeout},
		{"nothing in a handshake", asTLSError(nil), ""},
		{"no client certificate", asTLSError(errNoClientCertificate), ReasonTLS},
		{"certificate", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, ReasonTLS},
		{"answer: may not", &answeredError{ReasonAuth, "no"}, ReasonAuth},
		{"answer: too much", &answeredError{ReasonLimit, "no"}, ReasonLimit},
		{"another gossip key", errSerfOtherKey, ReasonAuth},
		{"refused by gossip for the key", &serfRefusal{"cannot decrypt"}, ReasonAuth},
		{"refused by gossip for something else", &serfRefusal{"no"}, ReasonProtocol},
		{"turned away", errTurnedAway, ReasonLimit},
		{"closed", withoutAnswer(errTurnedAway), ReasonReset},
	} {
		err := tc.err
		if err != nil {
			err = fmt.Errorf("do something: %w", err)
		}
		got := ReasonOf(err)
		if got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
		if got != "" && !slices.Contains(Reasons(), got) {
			t.Errorf("%s: %q is not one of the fixed reasons", tc.name, got)
		}
	}
}
