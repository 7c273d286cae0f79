// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/probe"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// remedies says by protocol and reason what lets the exporter in.
var remedies = []struct {
	protocols []cluster.Protocol
	reason    probe.Reason
	text      string
}{
	{rpcOnly, probe.ReasonCertificate, "the port wants a client certificate of Consul's CA: --rpc.cert-file, --rpc.key-file"},
	{rpcOnly, probe.ReasonName, "the certificate is for another name: --rpc.server-name (default server.<datacenter>.<domain>)"},
	{rpcOnly, probe.ReasonTLS, "TLS fails: --rpc.ca-file, --rpc.tls"},
	{rpcOnly, probe.ReasonLimit, "the server closes the connection: Consul's limits.rpc_max_conns_per_client, or --rpc.tls"},
	{gossip, probe.ReasonAuth, "the gossip key is not the pool's: --serf.encrypt-key-file"},
	{nil, probe.ReasonCertificate, "the port wants a client certificate: --consul.cert-file, --consul.key-file"},
	{nil, probe.ReasonName, "the certificate is for another name: --consul.server-name"},
	{nil, probe.ReasonTLS, "TLS fails: --consul.ca-file"},
	{nil, probe.ReasonLimit, "the server closes the connection: a limit of Consul, or a proxy without a server behind it"},
	{nil, probe.ReasonReset, "the connection breaks before there is an answer: a limit, a firewall, or a proxy in between"},
	{nil, probe.ReasonProtocol, "something else than Consul's protocol answers: a proxy, or another program"},
}

var (
	rpcOnly = []cluster.Protocol{cluster.ProtocolRPC}
	gossip  = []cluster.Protocol{cluster.ProtocolSerfLAN, cluster.ProtocolSerfWAN}
)

// remedy says what lets the exporter in to a port that turns it away.
func remedy(p verdict.Port) string {
	reason := p.Result.TurnedAwayBy()
	for _, r := range remedies {
		if r.reason == reason && (r.protocols == nil || slices.Contains(r.protocols, p.Protocol)) {
			return r.text
		}
	}
	return "see the error of the port"
}

// exporterBlind is about servers that this exporter cannot see although they may be well: ports that turn it away, and
// voters that are silent here while the leader has contact with them, or a read proves that they are there. It is one
// problem, however many ports that are: none of it is Consul's.
func exporterBlind(e *evidence) string {
	var parts []string
	ports := make(map[string][]string) // By remedy.
	for _, p := range e.ports {
		if p.State == verdict.PortTurnedAway {
			text := remedy(p)
			if ports[text] == nil {
				parts = append(parts, text)
			}
			ports[text] = append(ports[text], fmt.Sprintf("%d of %s", p.Number(), p.Server))
		}
	}
	for i, text := range parts {
		parts[i] = fmt.Sprintf("Port %s: %s.", wording.ListOf(slices.Compact(ports[text]), len(ports[text])), text)
	}
	cutOff := wording.Names(e.servers, func(s *verdict.Server) (string, bool) {
		return s.Server.Name, e.Voters[s.Server.Name] == verdict.VoterUnknown && !s.RPC.Outcome().Unknown()
	})
	if len(cutOff) > 0 {
		parts = append(parts, fmt.Sprintf("Port 8300 of %s is silent for this exporter, but not for the cluster: "+
			"is there a firewall in between?", wording.List(cutOff)))
	}
	return wording.If(len(parts) > 0, "The exporter cannot see all servers. %s", strings.Join(parts, " "))
}
