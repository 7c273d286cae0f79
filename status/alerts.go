// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"slices"
	"time"
)

// alert is one of the alert pack that a single scrape can tell about. An alert of which there are two severities is here twice.
type alert struct {
	name     string
	severity Severity
}

// The alerts. That each is in the pack, with its severity, is tested.
var (
	alertSplitBrain          = alert{"ConsulSplitBrain", SeverityCritical}
	alertQuorumLost          = alert{"ConsulQuorumLost", SeverityCritical}
	alertNoLeader            = alert{"ConsulNoLeader", SeverityCritical}
	alertServersDisagree     = alert{"ConsulServersDisagree", SeverityCritical}
	alertConsistentReadsFail = alert{"ConsulConsistentReadsFail", SeverityCritical}
	alertServerHung          = alert{"ConsulServerHung", SeverityCritical}
	alertServerDown          = alert{"ConsulServerDown", SeverityCritical}
	alertRPCPortDown         = alert{"ConsulRPCPortDown", SeverityCritical}
	alertServerWithoutLeader = alert{"ConsulServerWithoutLeader", SeverityCritical}
	alertAgentUnreachable    = alert{"ConsulAgentUnreachable", SeverityCritical}
	alertSerfLANPortDown     = alert{"ConsulSerfLANPortDown", SeverityCritical}
	alertRaftLastContact     = alert{"ConsulRaftLastContact", SeverityCritical}
	alertGossipHealthPoor    = alert{"ConsulGossipHealthPoor", SeverityCritical}
	alertCertificateExpires  = alert{"ConsulCertificateExpires", SeverityCritical}
	alertServiceDown         = alert{"ConsulServiceDown", SeverityCritical}

	alertQuorumAtRisk             = alert{"ConsulQuorumAtRisk", SeverityWarning}
	alertServerCandidate          = alert{"ConsulServerCandidate", SeverityWarning}
	alertRaftLogLag               = alert{"ConsulRaftLogLag", SeverityWarning}
	alertRaftApplyLag             = alert{"ConsulRaftApplyLag", SeverityWarning}
	alertRaftLastContactWarning   = alert{"ConsulRaftLastContact", SeverityWarning}
	alertExporterImpaired         = alert{"ConsulExporterImpaired", SeverityWarning}
	alertAutopilotUnhealthy       = alert{"ConsulAutopilotUnhealthy", SeverityWarning}
	alertStaleRaftPeer            = alert{"ConsulStaleRaftPeer", SeverityWarning}
	alertSerfMemberFailed         = alert{"ConsulSerfMemberFailed", SeverityWarning}
	alertSerfWANMemberFailed      = alert{"ConsulSerfWANMemberFailed", SeverityWarning}
	alertGossipHealthPoorWarning  = alert{"ConsulGossipHealthPoor", SeverityWarning}
	alertGossipUDPBlocked         = alert{"ConsulGossipUDPBlocked", SeverityWarning}
	alertSerfWANPortDown          = alert{"ConsulSerfWANPortDown", SeverityWarning}
	alertHTTPPortDown             = alert{"ConsulHTTPPortDown", SeverityWarning}
	alertGRPCPortDown             = alert{"ConsulGRPCPortDown", SeverityWarning}
	alertDNSPortDown              = alert{"ConsulDNSPortDown", SeverityWarning}
	alertDNSFewerServers          = alert{"ConsulDNSFewerServers", SeverityWarning}
	alertPortSlow                 = alert{"ConsulPortSlow", SeverityWarning}
	alertCertificateExpiresLater  = alert{"ConsulCertificateExpires", SeverityWarning}
	alertCollectorRefused         = alert{"ConsulCollectorRefused", SeverityWarning}
	alertResultsFiltered          = alert{"ConsulResultsFiltered", SeverityWarning}
	alertCollectorFails           = alert{"ConsulCollectorFails", SeverityWarning}
	alertNodeCheckCritical        = alert{"ConsulNodeCheckCritical", SeverityWarning}
	alertServiceInstancesCritical = alert{"ConsulServiceInstancesCritical", SeverityWarning}

	alertRaftLogLagInfo = alert{"ConsulRaftLogLag", SeverityInfo}
	alertEvenVoters     = alert{"ConsulEvenVoters", SeverityInfo}
)

// notServing are the alerts that make a cluster critical: it does not serve as it should.
var notServing = []string{
	alertSplitBrain.name, alertQuorumLost.name, alertNoLeader.name, alertServersDisagree.name, alertConsistentReadsFail.name,
}

// The thresholds are the defaults of the alert pack, whose settings are named here.
const (
	slowPort            = time.Second            // port-latency
	certificateWarning  = 14 * 24 * time.Hour    // certificate-warning
	certificateCritical = 3 * 24 * time.Hour     // certificate-critical
	farBehind           = 1000                   // raft-log-lag and raft-apply-lag
	lastContactWarning  = 200 * time.Millisecond // raft-last-contact-warning
	lastContactCritical = 500 * time.Millisecond // raft-last-contact-critical
	gossipScoreWarning  = 2                      // gossip-score-warning
	gossipScoreCritical = 4                      // gossip-score-critical
)

// inhibition says that problems with one of the targets follow from one with one of the sources, and are not worth a line.
type inhibition struct {
	sources []alert
	// targets are names: an alert follows at any severity.
	targets []string
	// ofServer is whether the source has to be about one server.
	ofServer bool
	// sameServer and samePort are whether only those of the same server, and of the same port, follow.
	sameServer, samePort bool
}

// inhibitions are those of the alert pack (alerts/alertmanager.example.yml), as far as they are about alerts that are here.
var inhibitions = []inhibition{
	{sources: []alert{alertAgentUnreachable}, targets: names(alertCollectorFails)},
	{sources: []alert{alertAgentUnreachable}, targets: names(alertHTTPPortDown), sameServer: true},
	{sources: []alert{alertQuorumLost}, targets: names(alertNoLeader)},
	{
		sources: []alert{alertQuorumLost, alertNoLeader},
		targets: names(alertServerWithoutLeader, alertServerCandidate, alertConsistentReadsFail, alertAutopilotUnhealthy, alertRaftLastContact,
			alertCollectorFails, alertDNSFewerServers),
	},
	{
		sources: []alert{alertSplitBrain},
		targets: names(alertServersDisagree, alertEvenVoters, alertStaleRaftPeer, alertAutopilotUnhealthy, alertRaftLogLag),
	},
	{
		sources: []alert{alertServerDown, alertServerHung},
		targets: names(alertRPCPortDown, alertSerfLANPortDown, alertSerfWANPortDown, alertHTTPPortDown, alertGRPCPortDown, alertDNSPortDown,
			alertGossipUDPBlocked, alertPortSlow, alertSerfMemberFailed, alertSerfWANMemberFailed, alertServerWithoutLeader,
			alertServerCandidate, alertRaftLogLag, alertRaftLastContact),
		sameServer: true,
	},
	{sources: []alert{alertServerDown, alertServerHung, alertServerWithoutLeader}, targets: names(alertAutopilotUnhealthy)},
	{sources: []alert{alertServerDown, alertServerHung, alertSerfMemberFailed}, targets: names(alertGossipHealthPoor), ofServer: true},
	{
		sources:    []alert{alertServerWithoutLeader},
		targets:    names(alertServerCandidate, alertRaftLogLag, alertRaftLastContact, alertSerfMemberFailed, alertSerfWANMemberFailed),
		sameServer: true,
	},
	{sources: []alert{alertCertificateExpires}, targets: names(alertHTTPPortDown, alertGRPCPortDown), sameServer: true, samePort: true},
}

func names(alerts ...alert) []string {
	var names []string
	for _, a := range alerts {
		names = append(names, a.name)
	}
	return names
}

// follows reports whether the target follows from the source.
func (i *inhibition) follows(source, target *finding) bool {
	return slices.Contains(i.sources, source.alert) && slices.Contains(i.targets, target.alert.name) &&
		(!i.ofServer || source.server != "") && (!i.sameServer || source.server == target.server) && (!i.samePort || source.port == target.port)
}
