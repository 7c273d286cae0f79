// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"time"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
)

// The thresholds are the defaults of the alert pack.
var (
	slowPort            = defaultDuration("port-latency")
	certificateWarning  = defaultDuration("certificate-warning")
	certificateCritical = defaultDuration("certificate-critical")
	lastContactWarning  = defaultDuration("raft-last-contact-warning")
	lastContactCritical = defaultDuration("raft-last-contact-critical")
	maxLogLag           = uint64(alerts.Default("raft-log-lag"))
	maxApplyLag         = uint64(alerts.Default("raft-apply-lag"))
	gossipScoreWarning  = uint64(alerts.Default("gossip-score-warning"))
	gossipScoreCritical = uint64(alerts.Default("gossip-score-critical"))
)

func defaultDuration(setting string) time.Duration {
	return time.Duration(alerts.Default(setting) * float64(time.Second))
}

// kinds is the table of problems. Within a severity, problems are shown in its order.
var kinds = []kind{
	{alert: "ConsulSplitBrain", severity: SeverityCritical, stops: true, find: splitBrain, clause: func(e *evidence, _ []string) string {
		return fmt.Sprintf("split brain: %s call themselves leader", wording.List(e.Leadership.Leaders, maxNamed))
	}},
	{alert: "ConsulQuorumLost", severity: SeverityCritical, stops: true, find: quorumLost, clause: says("the quorum is lost")},
	{alert: "ConsulNoLeader", severity: SeverityCritical, stops: true, find: noLeader, clause: says("no server leads")},
	{alert: "ConsulServersDisagree", severity: SeverityCritical, stops: true, find: serversDisagree, clause: disagreement},
	{
		alert: "ConsulConsistentReadsFail", severity: SeverityCritical, stops: true, find: consistentReadsFail,
		clause: says("consistent reads fail"),
	},
	{
		alert: "ConsulExporterImpaired", severity: SeverityWarning, early: true, find: exporterImpaired,
		clause: says("the exporter itself has a problem"),
	},
	{
		alert: "ConsulAgentUnreachable", severity: SeverityCritical, early: true, find: agentUnreachable,
		clause: func(e *evidence, _ []string) string { return fmt.Sprintf("the agent at %s does not answer", e.Address) },
	},

	{alert: "ConsulServerHung", severity: SeverityCritical, find: silent(silenceHung), clause: ofServers("hangs", "hang")},
	{alert: "ConsulServerDown", severity: SeverityCritical, find: silent(silenceDown), clause: ofServers("is down", "are down")},
	{
		alert: "ConsulRPCPortDown", severity: SeverityCritical, find: tcpDown("ConsulRPCPortDown"),
		clause: ofServers("does not answer on port 8300", "do not answer on port 8300"),
	},
	{
		alert: "ConsulServerWithoutLeader", severity: SeverityCritical, find: serverWithoutLeader,
		clause: ofServers("knows of no leader", "know of no leader"),
	},
	{
		alert: "ConsulCollectorRefused", severity: SeverityWarning, find: collectorRefused,
		clause: says("Consul refuses to tell a part of it"),
	},
	{alert: "ConsulQuorumAtRisk", severity: SeverityWarning, find: quorumAtRisk, clause: says("")}, // Is in the outlook.

	{alert: "ConsulStaleRaftPeer", severity: SeverityWarning, find: staleRaftPeer},
	{alert: "ConsulAutopilotUnhealthy", severity: SeverityWarning, find: autopilotUnhealthy},
	{alert: "ConsulServerCandidate", severity: SeverityWarning, find: serverCandidate},
	{alert: "ConsulRaftLogLag", severity: SeverityWarning, find: raftLogLag},
	{alert: "ConsulRaftLogLag", severity: SeverityInfo, find: raftLogLagOfAutopilot},
	{alert: "ConsulRaftApplyLag", severity: SeverityWarning, find: raftApplyLag},
	{alert: "ConsulRaftLastContact", severity: SeverityCritical, find: raftLastContact(lastContactCritical)},
	{alert: "ConsulRaftLastContact", severity: SeverityWarning, find: raftLastContact(lastContactWarning)},
	{alert: "ConsulEvenVoters", severity: SeverityInfo, find: evenVoters},

	{alert: "ConsulSerfLANPortDown", severity: SeverityCritical, find: tcpDown("ConsulSerfLANPortDown")},
	{alert: "ConsulSerfWANPortDown", severity: SeverityWarning, find: tcpDown("ConsulSerfWANPortDown")},
	{alert: "ConsulGossipUDPBlocked", severity: SeverityWarning, find: udpBlocked},
	{alert: "ConsulHTTPPortDown", severity: SeverityWarning, find: tcpDown("ConsulHTTPPortDown")},
	{alert: "ConsulGRPCPortDown", severity: SeverityWarning, find: tcpDown("ConsulGRPCPortDown")},
	{alert: "ConsulDNSPortDown", severity: SeverityWarning, find: dnsDown},
	{alert: "ConsulDNSFewerServers", severity: SeverityWarning, find: dnsFewerServers},
	{alert: "ConsulPortSlow", severity: SeverityWarning, find: portSlow},
	{alert: "ConsulCertificateExpires", severity: SeverityCritical, find: certificateExpires(certificateCritical, "hour", time.Hour)},
	{alert: "ConsulCertificateExpires", severity: SeverityWarning, find: certificateExpires(certificateWarning, "day", 24*time.Hour)},

	{alert: "ConsulSerfMemberFailed", severity: SeverityWarning, find: serfMemberFailed},
	{alert: "ConsulSerfWANMemberFailed", severity: SeverityWarning, find: serfWANMemberFailed},
	{alert: "ConsulGossipHealthPoor", severity: SeverityCritical, find: gossipHealthPoor(gossipScoreCritical, "is far from keeping up with gossip")},
	{alert: "ConsulGossipHealthPoor", severity: SeverityWarning, find: gossipHealthPoor(gossipScoreWarning, "does not keep up with gossip")},
	{alert: "ConsulCollectorFails", severity: SeverityWarning, find: collectorFails},
	{alert: "ConsulResultsFiltered", severity: SeverityWarning, find: resultsFiltered},

	{alert: "ConsulServiceDown", severity: SeverityCritical, find: serviceDown},
	{alert: "ConsulServiceInstancesCritical", severity: SeverityWarning, find: serviceInstancesCritical},
	{alert: "ConsulNodeCheckCritical", severity: SeverityWarning, find: nodeCheckCritical},
}

// says is a clause that is the same for all.
func says(clause string) func(*evidence, []string) string {
	return func(*evidence, []string) string { return clause }
}

// ofServers is a clause that says the same of one server or of several.
func ofServers(one, many string) func(*evidence, []string) string {
	return func(_ *evidence, servers []string) string {
		if len(servers) == 1 {
			return servers[0] + " " + one
		}
		return wording.List(servers, maxNamed) + " " + many
	}
}
