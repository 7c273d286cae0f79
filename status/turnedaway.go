// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// exporterBlind is about servers that this exporter cannot see although they may be well: ports that turn it away, and
// voters that are silent here while the leader has contact with them, or a read proves that they are there. It is one
// problem, however many ports that are: none of it is Consul's.
func exporterBlind(e *evidence) string {
	var parts []string
	ports := make(map[string][]string) // By remedy.
	for _, p := range e.ports {
		if p.State == verdict.PortTurnedAway {
			text := verdict.Remedy(p.Protocol, &p.Result)
			if ports[text] == nil {
				parts = append(parts, text)
			}
			ports[text] = append(ports[text], fmt.Sprintf("%d of %s", p.Number(), p.Server))
		}
	}
	for i, text := range parts {
		parts[i] = fmt.Sprintf("Port %s turned it away: %s.", wording.List(slices.Compact(ports[text])), text)
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

// blindness is the clause about it, with the first thing to do.
func blindness(e *evidence, _ []string) string {
	for _, p := range e.ports {
		if p.State == verdict.PortTurnedAway {
			return fmt.Sprintf("port %d of %s turns the exporter away: %s", p.Number(), p.Server,
				verdict.Remedy(p.Protocol, &p.Result))
		}
	}
	return "servers are out of the exporter's reach"
}
