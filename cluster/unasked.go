// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/probe"
)

// unasked is why a port is not probed on purpose: in a word, for consul_port_probe_skipped, and for a person.
type unasked struct {
	reason probe.Reason
	note   string
}

// departed is the reason for a missing server whose ports are not probed, see Server.unprobed.
const departed probe.Reason = "departed"

// The table of them.
var (
	throughGateways = unasked{
		"mesh_gateways",
		"datacenters are federated through mesh gateways, where Consul answers UDP pings of servers only",
	}
	withoutCertificate = unasked{
		"no_certificate",
		"without a certificate of its own (tls.grpc), the port needs one of the service mesh, for cluster peering, " +
			"and one of the two is off",
	}
	withoutMeshCertificate = unasked{
		"no_certificate",
		"without a certificate of its own (tls.grpc), the port gets one from the service mesh once there is a leader, and " +
			"has none yet",
	}
	unknownEncryption = unasked{
		"unknown_encryption", "no agent has answered since the start, so whether gossip is encrypted is unknown",
	}
	withoutAuthority = unasked{
		"unknown_authority",
		"the authority of the service mesh, which signs the port's certificate, cannot be read from the agent",
	}
	onLoopback = unasked{"loopback_only", "the port listens on the loopback address of its own host only"}
	ofProxy    = unasked{
		"behind_proxy",
		"the host of --consul.server is not one of the agent's own addresses (a proxy, a load balancer, a published port), " +
			"so the agent's other ports are not looked for there",
	}
	withoutSettings = unasked{
		"unknown_address",
		"the server's own configuration cannot be read from here, and by default this port listens on loopback only",
	}
	withoutWANAddress = unasked{"unknown_address", "the server's address in the WAN pool is not known from here"}
	guessedWrong      = unasked{
		"unknown_address",
		"nothing has ever answered at the address where other agents have this port, and the server's own configuration " +
			"cannot be read from here",
	}
	notAllowed = unasked{probe.ReasonNotAllowed, probe.ErrNotAllowed.Error()}
)

// UnaskedReasons returns the reasons why a port is not probed on purpose, in order.
func UnaskedReasons() []probe.Reason {
	all := []probe.Reason{departed}
	for _, u := range []unasked{
		throughGateways, withoutCertificate, withoutMeshCertificate, withoutAuthority, unknownEncryption, onLoopback, ofProxy,
		withoutSettings, withoutWANAddress, guessedWrong, notAllowed,
	} {
		all = append(all, u.reason)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// leaveOut notes why nothing is asked of the port.
func (p *Port) leaveOut(why unasked) { p.Note, p.skip, p.tentative = why.note, why.reason, false }

// unaskedReport is the report of a port of which nothing is asked.
func unaskedReport(port Port) PortReport {
	res := probe.Result{Skipped: true, Reason: port.skip}
	if port.skip == probe.ReasonNotAllowed {
		res.Err = probe.ErrNotAllowed
	}
	return PortReport{Port: port, Result: res}
}

// errGuessedWrong is what is remembered about a tentative port that nothing answers on.
var errGuessedWrong = errors.New(guessedWrong.note)

// judgeGuess turns a tentative port that has never answered, and is not there now, into one whose address is unknown:
// that is no finding about the server. Until the server or its configuration changes, it is seldom asked again.
func (c *Cluster) judgeGuess(report *PortReport) {
	if !report.tentative || c.answered.ever(report.Port) {
		return
	}
	res := &report.Result
	if !errors.Is(res.Err, errGuessedWrong) {
		if res.Skipped || !nothingThere(report) {
			return
		}
		_ = c.refusals.Add(report.subject(), report.credentials(), fmt.Errorf("%w: %w", errGuessedWrong, res.Err))
	}
	report.leaveOut(guessedWrong)
	*report = unaskedReport(report.Port)
}

// judgeCertificate turns a port that waits for its first certificate from the service mesh into one that is not asked.
func (r *PortReport) judgeCertificate() {
	if r.OfMesh && probe.WithoutCertificate(r.Result.Err) {
		r.leaveOut(withoutMeshCertificate)
		*r = unaskedReport(r.Port)
	}
}

// nothingThere reports whether a probe found nothing that listens.
func nothingThere(report *PortReport) bool {
	res := &report.Result
	missing := []probe.Reason{probe.ReasonRefused, probe.ReasonTimeout, probe.ReasonUnreachable}
	return slices.Contains(missing, res.Reason) && (report.Transport == TransportUDP || !res.Connected())
}
