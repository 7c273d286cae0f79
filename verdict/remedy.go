// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// The flags for client certificates.
const (
	rpcCertificate    = "--rpc.cert-file, --rpc.key-file"
	consulCertificate = "--consul.cert-file, --consul.key-file"
)

// remedies says what lets the exporter in, by protocol (none means all) and reason. The first one that applies counts.
var remedies = []struct {
	protocols []cluster.Protocol
	reason    probe.Reason
	text      string
}{
	{rpc, probe.ReasonCertificate, "it wants a client certificate of Consul's CA: " + rpcCertificate},
	{
		rpc, probe.ReasonName,
		"its certificate is for another name: --rpc.server-name (default: server.<datacenter>.<domain>)",
	},
	{rpc, probe.ReasonTLS, "TLS fails: --rpc.ca-file, --rpc.tls"},
	{
		rpc, probe.ReasonLimit, "it closes the connection: either it expects TLS (--rpc.tls=on, --rpc.ca-file), or " +
			"Consul's limits.rpc_max_conns_per_client is reached",
	},
	{gossip, probe.ReasonAuth, "the gossip key is not the pool's: --serf.encrypt-key-file"},
	{nil, probe.ReasonCertificate, "it wants a client certificate: " + consulCertificate},
	{nil, probe.ReasonName, "its certificate is for another name: --consul.server-name"},
	{nil, probe.ReasonTLS, "TLS fails: --consul.ca-file"},
	{nil, probe.ReasonLimit, "it closes the connection: a limit of Consul, or a proxy without a server behind it"},
	{nil, probe.ReasonReset, "the connection breaks before there is an answer: a limit, a firewall, or a proxy"},
	{nil, probe.ReasonProtocol, "something other than Consul's protocol answers: a proxy, or another program"},
}

var (
	rpc    = []cluster.Protocol{cluster.ProtocolRPC}
	gossip = []cluster.Protocol{cluster.ProtocolSerfLAN, cluster.ProtocolSerfWAN}
)

// RemedyAt says why a port turns the exporter away, and what lets it in; empty if it does not.
func RemedyAt(p *cluster.PortReport) string {
	if p.OfMesh && p.Result.TurnedAwayBy() == probe.ReasonTLS {
		return "its certificate is not one of the service mesh: a server that has just started has none yet"
	}
	return Remedy(p.Protocol, &p.Result)
}

// Remedy says why a port turns the exporter away, and what lets it in; empty if it does not.
func Remedy(protocol cluster.Protocol, r *probe.Result) string {
	reason := r.TurnedAwayBy()
	if reason == "" {
		return ""
	}
	if expired, ours := probe.CertificateExpired(r.Err); expired && !ours {
		return "its certificate has expired or is not valid yet: renew it on the server, or set the clocks"
	} else if expired {
		return "this exporter's client certificate has expired: " + certificateFlags(protocol)
	}
	for _, remedy := range remedies {
		if remedy.reason == reason && (remedy.protocols == nil || slices.Contains(remedy.protocols, protocol)) {
			return remedy.text
		}
	}
	return r.Err.Error()
}

func certificateFlags(protocol cluster.Protocol) string {
	if slices.Contains(rpc, protocol) {
		return rpcCertificate
	}
	return consulCertificate
}
