// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/contact"
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

// exporterCertificateExpires finds those of the exporter's own certificates that expire soon, or have expired. As for
// those of ports, the ones that are good for a short time are a problem only in their last tenth.
func exporterCertificateExpires(e *evidence, report report) {
	soon := threshold("exporter-certificate", time.Second)
	for _, c := range e.Certificates {
		kind := "client certificate"
		if c.Authority {
			kind = "certificate authority"
		}
		left := c.Expiry.Sub(e.Start)
		state, when := "expiring", "expires in "+wording.Plural(int(left/(24*time.Hour)), "day", "days")
		switch {
		case left >= soon || left > c.Lifetime/10:
			continue
		case left < 0:
			state, when = "expired", "has expired"
		case left < 48*time.Hour:
			when = "expires in " + wording.Plural(int(left/time.Hour), "hour", "hours")
		}
		report(labels{"use": c.Use(), "file": filepath.Base(c.File), "subject": c.Subject, "state": state},
			fmt.Sprintf("The exporter's own %s %s %s. Renew the file %s: it is then used without a restart.",
				kind, c.Subject, when, c.File))
	}
}

func agentUnreachable(e *evidence, report report) {
	if !e.agentDown() {
		return
	}
	report(labels{"agent": e.agent.Name}, wording.Join(" ", wording.Capital(e.noAnswer())+".",
		"The catalog and the members cannot be read.", e.trouble().Do))
}

// oneAgentUnreachable finds each agent that does not answer while another one does.
func oneAgentUnreachable(e *evidence, report report) {
	for _, a := range e.Agents {
		if a.Err != nil && !a.Used && !e.agentDown() && !probe.IsOwnFault(a.Err) {
			trouble := contact.OfAgent(a.Address, a.Err)
			report(labels{"agent": a.Address.String()}, fmt.Sprintf("%s; the one at %s is queried instead. %s",
				wording.Capital(trouble.What), e.Address, trouble.Do))
		}
	}
}

// gossipHealthPoor finds pools in which the agent's score is too high.
func gossipHealthPoor(e *evidence, report report) {
	if e.agentDown() {
		return // The score is the last one that it reported.
	}
	for _, pool := range e.Pools {
		if pool.HealthScore != nil && *pool.HealthScore > threshold("gossip-score", uint64(1)) {
			report(labels{"agent": e.agent.Name, "pool": pool.Name}, fmt.Sprintf(
				"%s does not keep up with gossip: its health score in the pool %s is %d, where 0 is best and 7 worst.",
				e.agent.Name, pool.Name, *pool.HealthScore))
		}
	}
}

// collectorRefused is about what the token may not read, and what the agent's configuration lets nobody read.
func collectorRefused(about func(what string) bool) func(*evidence) string {
	return func(e *evidence) string {
		denied := e.missing(func(m Missing) bool { return m.Denied && about(m.What) })
		blocked := e.missing(func(m Missing) bool { return m.Blocked && about(m.What) })
		why := ""
		if consul.IsDenied(e.AgentErr) {
			why = wording.Capital(e.trouble().What) + "."
		}
		return wording.Join(" ", wording.If(len(denied) > 0, "%s", wording.Join(" ", why,
			fmt.Sprintf("The token cannot read everything; unavailable: %s.", wording.List(denied)), contact.GiveToken)),
			wording.If(len(blocked) > 0,
				"The agent's own configuration (http_config.block_endpoints) lets nobody ask about: %s.", wording.List(blocked)))
	}
}

// collectorFails leaves out what an agent that does not answer cannot tell.
func collectorFails(about func(what string) bool) func(*evidence) string {
	return func(e *evidence) string {
		failed := e.missing(func(m Missing) bool { return !m.Denied && !m.Refused && !m.Own && about(m.What) })
		return wording.If(len(failed) > 0 && !e.agentDown(), "Unavailable: %s.%s", wording.List(failed),
			wording.Prefixed(" ", wording.If(e.enterpriseAsked(about), contact.LeaveOutNamespace)))
	}
}

// enterpriseAsked is whether something is missing because the flags ask for what only Consul Enterprise has.
func (f *Facts) enterpriseAsked(about func(what string) bool) bool {
	return len(f.missing(func(m Missing) bool { return m.Enterprise && about(m.What) })) > 0
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

// manyMembersFailed is about client agents if many of them failed. A few may be machines that somebody has switched
// off.
func manyMembersFailed(severity Severity) func(*evidence) string {
	most := alerts.Default("members-failed-" + string(severity))
	return func(e *evidence) string {
		clients := 0
		failed := wording.Names(e.LAN, func(m cluster.Member) (string, bool) {
			if !m.Server() && (m.Status == cluster.StatusAlive || m.Status == cluster.StatusFailed) {
				clients++
			}
			return m.Name, m.Status == cluster.StatusFailed && !m.Server()
		})
		return wording.If(len(failed) > 4 && float64(len(failed)) > most*float64(clients),
			"%d of %d client agents are taken for failed, and their services count as critical: %s.",
			len(failed), clients, wording.List(failed))
	}
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

// nodeGone finds each node whose agent failed, with the services there, which are no problems of their own.
func nodeGone(e *evidence, report report) {
	if e.catalog == nil {
		return
	}
	for _, n := range e.catalog.Gone {
		report(labels{"node": n.Node}, fmt.Sprintf("The agent of the node %s failed, so its services are critical: %s.",
			n.Node, wording.List(n.Services)))
	}
}

// nodeCheckCritical needs the catalog: Consul's summary names no nodes.
func nodeCheckCritical(e *evidence) string {
	nodes := verdict.CriticalNodes(e.Catalog)
	return wording.If(len(nodes) > 0, "%s, and with them all services there: %s.",
		wording.Plural(len(nodes), "node has checks that are critical", "nodes have checks that are critical"),
		wording.List(nodes))
}
