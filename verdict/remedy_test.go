// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

var (
	errServerExpired = &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}
	errOursExpired   = &net.OpError{Op: "remote error", Err: tls.AlertError(45)}
)

// A certificate that has expired is not a matter of flags, unless it is the exporter's own.
func TestRemedy_ExpiredCertificate(t *testing.T) {
	t.Parallel()
	const renew = "its certificate has expired or is not valid yet: renew it on the server, or set the clocks"
	for _, tc := range []struct {
		name     string
		protocol cluster.Protocol
		err      error
		want     string
	}{
		{"the server's", cluster.ProtocolRPC, errServerExpired, renew},
		{"the same, held back", cluster.ProtocolHTTPS, fmt.Errorf("%w: %w", probe.ErrHeldBack, errServerExpired), renew},
		{
			"the exporter's", cluster.ProtocolRPC, errOursExpired,
			"this exporter's client certificate has expired: --rpc.cert-file, --rpc.key-file",
		},
		{
			"the exporter's, over HTTPS", cluster.ProtocolHTTPS, errOursExpired,
			"this exporter's client certificate has expired: --consul.cert-file, --consul.key-file",
		},
		{
			"none, but of an authority that is unknown", cluster.ProtocolHTTPS,
			&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "TLS fails: --consul.ca-file",
		},
	} {
		res := probe.Result{Reason: probe.ReasonOf(tc.err), Err: tc.err}
		if got := Remedy(tc.protocol, &res); got != tc.want {
			t.Errorf("%s: %q; want %q", tc.name, got, tc.want)
		}
	}
}

// The flag that a remedy names is one that matters for that port.
func TestRemedyAt(t *testing.T) {
	t.Parallel()
	mesh := cluster.Port{Protocol: cluster.ProtocolGRPCTLS, OfMesh: true}
	for name, tc := range map[string]struct {
		port   cluster.Port
		reason probe.Reason
		want   string // What the remedy has; empty for none.
	}{
		"a certificate of the mesh":  {mesh, probe.ReasonTLS, "mesh"},
		"one of the operator":        {cluster.Port{Protocol: cluster.ProtocolGRPCTLS}, probe.ReasonTLS, "--consul.ca-file"},
		"port 8300":                  {cluster.Port{Protocol: cluster.ProtocolRPC}, probe.ReasonTLS, "--rpc.ca-file"},
		"a limit, whatever is shown": {mesh, probe.ReasonLimit, "limit"},
		"a port that is not there":   {mesh, probe.ReasonRefused, ""},
		"another gossip key": {
			cluster.Port{Protocol: cluster.ProtocolSerfLAN}, probe.ReasonAuth, "--serf.encrypt-key-file",
		},
	} {
		result := probe.Result{Reason: tc.reason, Err: errors.New("no")}
		got := RemedyAt(&cluster.PortReport{Port: tc.port, Result: result})
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: the remedy is %q; want %q in it", name, got, tc.want)
		}
	}
}
