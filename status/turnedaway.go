// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// exporterBlind is about servers that this exporter cannot see although they may be well: ports that turn it away, and
// voters that are silent here while the leader has contact with them, or a read proves that they are there. It is one
// problem, however many ports that are: none of it is Consul's.
func exporterBlind(e *evidence) string {
	var parts []string
	ports := make(map[string][]verdict.Port) // By remedy.
	for _, p := range e.ports {
		if p.State == verdict.PortTurnedAway {
			text := verdict.RemedyAt(p.PortReport)
			if ports[text] == nil {
				parts = append(parts, text)
			}
			ports[text] = append(ports[text], p)
		}
	}
	for i, text := range parts {
		parts[i] = fmt.Sprintf("%s turned it away: %s.", portsOfServers(ports[text]), text)
	}
	cutOff := wording.Names(e.servers, func(s *verdict.Server) (string, bool) {
		taken, ok := errors.AsType[cluster.TakenError](s.RPC.Err)
		unseen := e.Voters[s.Server.Name] == verdict.VoterUnknown && !s.RPC.Outcome().Unknown()
		if unseen && ok {
			parts = append(parts, fmt.Sprintf("Another server, %s, is at the address of the voter %s, so whether that one "+
				"votes cannot be seen.", taken.By, s.Server.Name))
		}
		return s.Server.Name, unseen && !ok
	})
	if len(cutOff) > 0 {
		parts = append(parts, fmt.Sprintf("Port 8300 of %s is silent for this exporter, but not for the cluster: "+
			"is there a firewall in between?", wording.List(cutOff)))
	}
	return wording.If(len(parts) > 0, "The exporter cannot see all servers. %s", strings.Join(parts, " "))
}

// portsOfServers lists ports by the servers that have them: "Port 8300 of a and ports 8501 and 8503 of a and b".
func portsOfServers(ports []verdict.Port) string {
	servers := make(map[int][]string) // By number, which both TCP and UDP may have.
	for _, p := range ports {
		if n := p.Number(); !slices.Contains(servers[n], p.Server) {
			servers[n] = append(servers[n], p.Server)
		}
	}
	var groups []string
	numbers := make(map[string][]string) // By group.
	for _, n := range slices.Sorted(maps.Keys(servers)) {
		group := wording.List(servers[n])
		if numbers[group] == nil {
			groups = append(groups, group)
		}
		numbers[group] = append(numbers[group], strconv.Itoa(n))
	}
	for i, group := range groups {
		of := numbers[group]
		groups[i] = fmt.Sprintf("%s %s of %s", wording.Word(len(of), "port", "ports"), wording.List(of), group)
	}
	return wording.Capital(strings.Join(groups, " and "))
}

// blindness is the clause about it, with the first thing to do.
func blindness(e *evidence, _ []string) string {
	for _, p := range e.ports {
		if p.State == verdict.PortTurnedAway {
			return fmt.Sprintf("port %d of %s turns the exporter away: %s", p.Number(), p.Server, verdict.RemedyAt(p.PortReport))
		}
	}
	return "servers are out of the exporter's reach"
}
