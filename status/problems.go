// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// kind is a row of the table: a problem that can be seen in a single scrape. An alert with two severities has two rows.
type kind struct {
	// alert is the alert of the pack about it, which fires when the problem lasts.
	alert    string
	severity Severity
	// place is where the sentence has the problem, and whose problem it is.
	place place
	// find reports each of these problems.
	find func(e *evidence, report report)
	// clause is the part of the sentence about it, given the servers that have it; nil if the sentence only counts it.
	clause func(e *evidence, servers []string) string
}

// place is a place in the sentence.
type place int

const (
	// counted is for problems that the sentence only counts.
	counted place = iota
	// headline is for what keeps the cluster from serving as it should. The sentence has only the first of them.
	headline
	beforeVoters
	afterVoters
	// tenants is for problems of what is registered with Consul, and of the nodes that this is on. They are no problems of
	// Consul's: the view has them, and a sentence about them, in a part of its own.
	tenants
)

// kinds is the table of problems. Within a severity, problems are shown in its order.
var kinds = []kind{
	{"ConsulSplitBrain", Critical, headline, ofCluster(splitBrain), func(e *evidence, _ []string) string {
		return fmt.Sprintf("split brain: %s call themselves leader", wording.List(e.Leadership.Leaders))
	}},
	{"ConsulQuorumLost", Critical, headline, ofCluster(quorumLost), says("the quorum is lost")},
	{"ConsulNoLeader", Critical, headline, ofCluster(noLeader), noLeaderClause},
	{"ConsulServersDisagree", Critical, headline, serversDisagree, disagreement},
	{"ConsulWritesStalled", Critical, headline, ofCluster(writesStalled), says("writes do not commit")},
	{"ConsulConsistentReadsFail", Critical, headline, ofCluster(consistentReadsFail), says("consistent reads fail")},
	{
		"ConsulQuorumUnknown", Critical, beforeVoters, ofCluster(quorumUnknown),
		func(e *evidence, _ []string) string { return "whether there is a quorum is unknown: " + e.Quorum.Lacks },
	},
	{"ConsulExporterBlind", Warning, beforeVoters, ofCluster(exporterBlind), blindness},
	{
		"ConsulExporterImpaired", Warning, beforeVoters, ofCluster(exporterImpaired),
		says("the exporter itself has a problem"),
	},
	{
		"ConsulExporterCertificateExpires", Warning, beforeVoters, exporterCertificateExpires,
		says("a certificate of the exporter itself is at its end"),
	},
	{"ConsulAgentUnreachable", Critical, beforeVoters, agentUnreachable, func(e *evidence, _ []string) string {
		return e.noAnswer()
	}},

	{"ConsulServerHung", Warning, afterVoters, ofServers(serverHung), serverClause("hangs", "hang")},
	{"ConsulServerDown", Warning, afterVoters, ofServers(serverDown), serverClause("is down", "are down")},
	{
		"ConsulPortDown", Warning, afterVoters, ofPorts(inSight(portDown(true))),
		serverClause("does not answer on port 8300", "do not answer on port 8300"),
	},
	{
		"ConsulServerWithoutLeader", Warning, afterVoters, ofServers(serverWithoutLeader),
		serverClause("knows of no leader", "know of no leader"),
	},
	{
		"ConsulCollectorFails", Warning, afterVoters, ofCluster(collectorRefused(aboutConsul)),
		says("the token cannot read everything"),
	},
	{"ConsulQuorumAtRisk", Critical, afterVoters, ofCluster(quorumAtRisk), says("")}, // The outlook has it.

	{
		"ConsulClustersMixed", Warning, afterVoters, ofCluster(clustersMixed),
		says("servers of another cluster are in its gossip pool"),
	},
	{"ConsulVotersMissing", Warning, afterVoters, ofCluster(votersMissing), votersMissingClause},

	{"ConsulStaleRaftPeer", Warning, counted, ofCluster(staleRaftPeer), nil},
	{"ConsulAutopilotUnhealthy", Warning, counted, ofCluster(autopilotUnhealthy), nil},
	{"ConsulServerCandidate", Warning, counted, ofServers(serverCandidate), nil},
	{"ConsulRaftLogLag", Warning, counted, ofServers(raftLogLag), nil},
	{"ConsulRaftLogLag", Info, counted, ofServers(raftLogLagOfAutopilot), nil},
	{"ConsulRaftApplyLag", Warning, counted, ofServers(raftApplyLag), nil},
	{"ConsulRaftLastContact", Warning, counted, ofServers(raftLastContact), nil},
	{"ConsulEvenVoters", Info, counted, ofCluster(evenVoters), nil},

	{"ConsulPortDown", Warning, counted, ofPorts(inSight(portDown(false))), nil},
	{"ConsulGossipUDPBlocked", Warning, counted, ofPorts(gossipUDPBlocked), nil},
	{"ConsulDNSErrors", Warning, counted, dnsErrors, nil},
	{"ConsulDNSFewerServers", Warning, counted, dnsFewerServers, nil},
	{"ConsulPortSlow", Warning, counted, ofPorts(portSlow), nil},
	{"ConsulCertificateExpires", Critical, counted, certificateExpires(Critical, "hour", time.Hour), nil},
	{"ConsulCertificateExpires", Warning, counted, certificateExpires(Warning, "day", 24*time.Hour), nil},

	{"ConsulSerfMemberFailed", Warning, counted, serversFailed, nil},
	{"ConsulSerfWANMemberFailed", Warning, counted, serfWANMemberFailed, nil},
	{"ConsulDatacenterGone", Warning, counted, datacenterGone, nil},
	{"ConsulServerWANMissing", Warning, counted, ofServers(serverWANMissing), nil},
	{"ConsulGossipHealthPoor", Warning, counted, gossipHealthPoor, nil},
	{"ConsulCollectorFails", Warning, counted, ofCluster(collectorFails(aboutConsul)), nil},
	{"ConsulResultsFiltered", Warning, counted, ofCluster(resultsFiltered(aboutConsul)), nil},
	{"ConsulAgentUnreachable", Warning, counted, oneAgentUnreachable, nil},

	{"ConsulPeeringDown", Warning, counted, peeringDown, nil},

	{"ConsulServiceDown", Warning, tenants, ofCluster(serviceDown), nil},
	{"ConsulServiceInstancesCritical", Warning, tenants, ofCluster(serviceInstancesCritical), nil},
	{"ConsulNodeCheckCritical", Warning, tenants, ofCluster(nodeCheckCritical), nil},
	{"ConsulManyMembersFailed", Critical, tenants, ofCluster(manyMembersFailed(Critical)), nil},
	{"ConsulManyMembersFailed", Warning, tenants, ofCluster(manyMembersFailed(Warning)), nil},
	{"ConsulCollectorFails", Warning, tenants, ofCluster(collectorRefused(aboutTenants)), nil},
	{"ConsulCollectorFails", Warning, tenants, ofCluster(collectorFails(aboutTenants)), nil},
	{"ConsulResultsFiltered", Warning, tenants, ofCluster(resultsFiltered(aboutTenants)), nil},
	{"ConsulNodeGone", Info, tenants, nodeGone, nil},
}

// aboutTenants and aboutConsul tell apart what the catalog is made from and everything else: parts of a view that are
// missing, or endpoints.
func aboutTenants(what string) bool {
	return what == missingCatalog || slices.ContainsFunc([]string{"/v1/catalog/", "/v1/health/", "/v1/internal/ui/"},
		func(path string) bool { return strings.HasPrefix(what, path) })
}

func aboutConsul(what string) bool { return !aboutTenants(what) }

// says is a clause that never changes.
func says(clause string) func(*evidence, []string) string {
	return func(*evidence, []string) string { return clause }
}

// serverClause is a clause about one server or several.
func serverClause(one, many string) func(*evidence, []string) string {
	return func(_ *evidence, servers []string) string {
		return wording.List(servers) + " " + wording.Word(len(servers), one, many)
	}
}

// report notes a problem. An empty text means that there is none.
type report func(about labels, text string)

// labels are those that the alert about a problem has, except its severity; nil for a problem of the whole cluster. For
// a problem of the agent that was asked, which alerts do not name, there is "agent".
type labels map[string]string

func aboutServer(name string) labels { return labels{"server": name} }

func aboutPort(p *cluster.PortReport) labels {
	return labels{"server": p.Server, "port": strconv.Itoa(p.Number()), "protocol": string(p.Protocol)}
}

// ofCluster finds a problem of the whole cluster.
func ofCluster(text func(*evidence) string) func(*evidence, report) {
	return func(e *evidence, report report) { report(nil, text(e)) }
}

// ofServers finds a problem of single servers.
func ofServers(text func(*evidence, *verdict.Server) string) func(*evidence, report) {
	return func(e *evidence, report report) {
		for _, s := range e.servers {
			if text := text(e, s); text != "" {
				report(aboutServer(s.Server.Name), text)
			}
		}
	}
}

// ofPorts finds a problem of single ports. The text continues after the name of the port.
func ofPorts(text func(*evidence, verdict.Port) string) func(*evidence, report) {
	return func(e *evidence, report report) {
		for _, p := range e.ports {
			if text := text(e, p); text != "" {
				report(aboutPort(p.PortReport), portName(p)+text)
			}
		}
	}
}

// threshold is the default of a setting of the alert pack that is a number of these units.
func threshold[T uint64 | time.Duration](setting string, unit T) T {
	return T(alerts.Default(setting) * float64(unit))
}

// finding is a problem, its row of the table, and the labels of its alert without the severity.
type finding struct {
	Problem

	kind  *kind
	about labels
}

// findProblems finds all problems, in the order of the table, and the alert of each.
func (e *evidence) findProblems() (found []finding, firing []alerts.Alert) {
	for i := range kinds {
		k := &kinds[i]
		k.find(e, func(about labels, text string) {
			if text == "" {
				return
			}
			server := cmp.Or(about["server"], about["agent"])
			found = append(found, finding{Problem{k.severity, k.alert, server, text, alerts.Runbook(k.alert)}, k, about})
			alert := alerts.Alert{Name: k.alert, Labels: map[string]string{"severity": string(k.severity)}}
			maps.Copy(alert.Labels, about)
			firing = append(firing, alert)
		})
	}
	return found, firing
}

// judgeProblems takes what findProblems found and returns the problems of Consul, and those of its tenants: worst
// first, and then in the order of the table. Those that follow from others are left out.
func judgeProblems(found []finding, firing []alerts.Alert) (consul, ofTenants []finding) {
	heldBack := alerts.HeldBack(firing)
	for _, severity := range []Severity{Critical, Warning, Info} {
		for i, f := range found {
			switch {
			case f.Severity != severity || heldBack(firing[i]):
			case f.kind.place == tenants:
				ofTenants = append(ofTenants, f)
			default:
				consul = append(consul, f)
			}
		}
	}
	return consul, ofTenants
}

// problemsOf are the problems without their rows; the list is never nil.
func problemsOf(found []finding) []Problem {
	problems := make([]Problem, 0, len(found))
	for _, f := range found {
		problems = append(problems, f.Problem)
	}
	return problems
}

// judgeLevel judges by the problems.
func (e *evidence) judgeLevel(problems []finding) Level {
	switch {
	case !e.known():
		return LevelUnknown
	case slices.ContainsFunc(problems, func(f finding) bool { return f.kind.place == headline }):
		return LevelCritical
	case e.Quorum.State == verdict.QuorumUnknown:
		return LevelUnknown
	case slices.ContainsFunc(problems, func(f finding) bool { return f.Severity != Info }):
		return LevelDegraded
	default:
		return LevelHealthy
	}
}
