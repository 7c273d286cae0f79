// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/probe"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// exporterImpaired is what this program could not do for reasons of its own. It is one problem, however much that is:
// none of it is Consul's.
func exporterImpaired(e *evidence) string {
	var err error
	ports := wording.Names(e.Ports, func(p cluster.PortReport) (string, bool) {
		if p.Result.Reason != probe.ReasonOwnFault {
			return "", false
		}
		err = p.Result.Err
		return p.Address, true
	})
	reason := ""
	unread := e.missing(func(m Missing) bool {
		if !m.Own || m.What == "ports" {
			return false
		}
		reason = m.Reason
		return true
	})
	clauses := wording.Join("; it ",
		wording.If(len(ports) > 0, "could not probe %s (%v)", wording.Plural(len(ports), "port", "ports"), err),
		wording.If(len(unread) > 0, "could not query: %s (%s)", wording.List(unread), reason),
		wording.Prefixed("could not reload files and still uses their last good content: ",
			strings.Join(e.FailingFiles, "; ")))
	return wording.If(clauses != "", "The exporter itself has a problem. It %s.", clauses)
}

func agentUnreachable(e *evidence, report report) {
	report(labels{"agent": e.agent.Name}, wording.If(e.agentDown(),
		"%s. The catalog and the members cannot be read.", wording.Capital(e.noAnswer())))
}

// oneAgentUnreachable finds each agent that does not answer while another one does.
func oneAgentUnreachable(e *evidence, report report) {
	for _, a := range e.Agents {
		if a.Err != nil && !a.Used && !e.agentDown() && !probe.IsOwnFault(a.Err) {
			report(labels{"agent": a.Address.String()}, fmt.Sprintf(
				"The agent at %s does not answer as it should (%s); the one at %s is queried instead.",
				a.Address, strings.ReplaceAll(a.Err.Error(), "\n", "; "), e.Address))
		}
	}
}

// gossipHealthPoor finds pools in which the agent's score is above a threshold.
func gossipHealthPoor(severity Severity, how string) func(*evidence, report) {
	most := threshold("gossip-score-"+string(severity), uint64(1))
	return func(e *evidence, report report) {
		if e.agentDown() {
			return // The score is the last one that it reported.
		}
		for _, pool := range e.Pools {
			if pool.HealthScore != nil && *pool.HealthScore > most {
				report(labels{"agent": e.agent.Name, "pool": pool.Name}, fmt.Sprintf(
					"%s %s with gossip: its health score in the pool %s is %d, where 0 is best and 7 worst.",
					e.agent.Name, how, pool.Name, *pool.HealthScore))
			}
		}
	}
}

// collectorRefused is about what the token may not read, and what the agent's configuration lets nobody read.
func collectorRefused(about func(what string) bool) func(*evidence) string {
	return func(e *evidence) string {
		denied := e.missing(func(m Missing) bool { return m.Denied && about(m.What) })
		blocked := e.missing(func(m Missing) bool { return m.Blocked && about(m.What) })
		parts := []string{
			wording.If(len(denied) > 0,
				"The token cannot read: %s. It is missing, was revoked, or has too few rights.", wording.List(denied)),
			wording.If(len(blocked) > 0,
				"The agent's own configuration (http_config.block_endpoints) lets nobody ask about: %s.", wording.List(blocked)),
		}
		return strings.TrimSpace(strings.Join(parts, " "))
	}
}

// collectorFails leaves out what an agent that does not answer cannot tell.
func collectorFails(about func(what string) bool) func(*evidence) string {
	return func(e *evidence) string {
		failed := e.missing(func(m Missing) bool { return !m.Denied && !m.Refused && !m.Own && about(m.What) })
		return wording.If(len(failed) > 0 && !e.agentDown(), "Unavailable: %s.", wording.List(failed))
	}
}

// missing names what could not be found out in this way.
func (f *Facts) missing(in func(Missing) bool) []string {
	return wording.Names(f.Missing, func(m Missing) (string, bool) { return m.What, in(m) })
}

func resultsFiltered(about func(endpoint string) bool) func(*evidence) string {
	return func(e *evidence) string {
		filtered := wording.Names(e.Filtered, func(endpoint string) (string, bool) { return endpoint, about(endpoint) })
		return wording.If(len(filtered) > 0,
			"Consul leaves things out of its answers at %s, because the token may not read them.", wording.List(filtered))
	}
}

// serversFailed finds each server that failed.
func serversFailed(e *evidence, report report) {
	for _, m := range e.LAN {
		if m.Status == cluster.StatusFailed && m.Server() {
			report(aboutServer(m.Name), fmt.Sprintf("The other members take the server %s for failed.", m.Name))
		}
	}
}

// clientsFailed is about all clients that failed together.
func clientsFailed(e *evidence) string {
	clients := wording.Names(e.LAN, func(m cluster.Member) (string, bool) {
		return m.Name, m.Status == cluster.StatusFailed && !m.Server()
	})
	return wording.If(len(clients) > 0, "%s for failed, and their services count as critical: %s.",
		wording.Plural(len(clients), "client agent is taken", "client agents are taken"), wording.List(clients))
}

// peeringDown finds each peering that was active and is not any more.
func peeringDown(e *evidence, report report) {
	for i := range e.Peerings {
		p := &e.Peerings[i]
		if p.Health != verdict.PeeringDown {
			continue
		}
		how := "is " + string(p.State)
		switch p.State {
		case cluster.PeeringFailing, cluster.PeeringTerminated:
		case cluster.PeeringActive:
			how = fmt.Sprintf("has not been heard of for more than %.0f minutes", verdict.HeartbeatTimeout.Minutes())
		default:
			how += ", and was active at " + p.Active.UTC().Format("2006-01-02 15:04:05 MST")
		}
		report(labels{"peer": p.Name}, fmt.Sprintf(
			"The peering with %s %s: services of the one cluster are stale or unknown in the other.", p.Name, how))
	}
}

// datacenter is that of the agent, or of the servers if the agent may not tell about itself.
func (e *evidence) datacenter() string {
	local := e.agent.Datacenter
	for _, m := range e.LAN {
		local = cmp.Or(local, m.Datacenter)
	}
	return local
}

// serfWANMemberFailed finds each server of the agent's own datacenter that failed, and all others together.
func serfWANMemberFailed(e *evidence, report report) {
	local := e.datacenter()
	far := wording.Names(e.WAN, func(m cluster.Member) (string, bool) {
		failed := m.Status == cluster.StatusFailed
		own := m.Datacenter == local
		if failed && own {
			name := strings.TrimSuffix(m.Name, "."+m.Datacenter) // As the alert has it.
			report(aboutServer(name), fmt.Sprintf("The servers of all datacenters take %s for failed.", m.Name))
		}
		return m.Name, failed && !own
	})
	report(nil, wording.If(len(far) > 0, "%s for failed: %s.",
		wording.Plural(len(far), "server of another datacenter is taken", "servers of other datacenters are taken"),
		wording.List(far)))
}

func serviceDown(e *evidence) string {
	if e.catalog == nil {
		return ""
	}
	n := e.catalog.Down
	return wording.If(n > 0, "%s critical on all instances: %s.",
		wording.Plural(n, "service is", "services are"), wording.ListOf(e.catalog.DownNames(), n))
}

func serviceInstancesCritical(e *evidence) string {
	if e.catalog == nil {
		return ""
	}
	partly := wording.Names(e.catalog.Failing, func(s verdict.Service) (string, bool) {
		return fmt.Sprintf("%s (%d of %d)", s.Name, s.Critical, s.Total()), !s.Down()
	})
	n := len(e.catalog.Failing) + e.catalog.FailingOmitted - e.catalog.Down
	return wording.If(n > 0, "%s critical on some instances%s.",
		wording.Plural(n, "service is", "services are"), wording.Prefixed(": ", wording.ListOf(partly, n)))
}

// nodeCheckCritical needs the catalog: Consul's summary names no nodes.
func nodeCheckCritical(e *evidence) string {
	nodes := verdict.CriticalNodes(e.Catalog)
	return wording.If(len(nodes) > 0, "%s, and with them all services there: %s.",
		wording.Plural(len(nodes), "node has checks that are critical", "nodes have checks that are critical"),
		wording.List(nodes))
}
