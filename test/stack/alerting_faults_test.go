// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"strings"
	"testing"
)

// alertFault is something that goes wrong, and what comes of it.
type alertFault struct {
	// name says what goes wrong. It is what docs/alerts-proven.md calls it.
	name string
	// alerts are those that arrive, and those that fire and are held back.
	alerts []wantAlert
}

// wantAlert is one alert that a fault leads to.
type wantAlert struct {
	name, severity string
	// labels are all but the name, the severity, and those that tell clusters apart; nil is any number of alerts with any labels.
	labels map[string]string
	// held is whether Alertmanager holds the alert back, because another one is its cause.
	held bool
}

// receivers are the receivers of the example by severity.
var receivers = map[string]string{"critical": "pager", "warning": "chat", "info": "mail"}

// alertFaults are all faults. What makes them is in TestStackAlerts. Where a server leads, it is server-1.
var alertFaults = []alertFault{
	{name: "two of three servers are killed", alerts: []wantAlert{
		critical("ConsulQuorumLost", ""),
		critical("ConsulServerDown", "server=server-1"),
		critical("ConsulServerDown", "server=server-2"),
		held(critical("ConsulNoLeader", "")),
		held(critical("ConsulServerWithoutLeader", "server=server-3")),
		held(warning("ConsulServerCandidate", "server=server-3")),
		held(critical("ConsulConsistentReadsFail", "")),
		held(critical("ConsulRPCPortDown", "server=server-1 port=8300 protocol=rpc transport=tcp")),
		held(critical("ConsulSerfLANPortDown", "server=server-1 port=8301 protocol=serf_lan transport=tcp")),
		held(warning("ConsulGossipHealthPoor", "pool=lan")),
	}},
	{name: "the leader hangs (SIGSTOP), watched by two exporters", alerts: []wantAlert{
		critical("ConsulServerHung", "server=server-1"),
		warning("ConsulQuorumAtRisk", ""),
		held(critical("ConsulRPCPortDown", "server=server-1 port=8300 protocol=rpc transport=tcp")),
		held(info("ConsulPortNotAnswering", "server=server-1 port=8300 protocol=rpc transport=tcp")),
		held(warning("ConsulHTTPPortDown", "server=server-1 port=8500 protocol=http transport=tcp")),
		held(warning("ConsulGRPCPortDown", "server=server-1 port=8502 protocol=grpc transport=tcp")),
		held(warning("ConsulDNSPortDown", "server=server-1 port=8600")),
	}},
	{name: "one of two instances of a service goes critical", alerts: []wantAlert{
		warning("ConsulServiceInstancesCritical", "service_name=web status=critical"),
	}},
	{name: "all instances of a service go critical", alerts: []wantAlert{
		critical("ConsulServiceDown", "service_name=db status=critical"),
	}},
	{name: "a check of a server's node goes critical", alerts: []wantAlert{
		warning("ConsulNodeCheckCritical", "node=server-3 check=disk"),
		warning("ConsulDNSFewerServers", "server=server-1 port=8600"),
		warning("ConsulDNSFewerServers", "server=server-2 port=8600"),
		warning("ConsulDNSFewerServers", "server=server-3 port=8600"),
	}},
	{name: "a node stays in maintenance, for longer than `--maintenance=2m`", alerts: []wantAlert{
		info("ConsulNodeMaintenanceLong", "node=client-2"),
	}},
	{name: "a service instance stays in maintenance, for longer than `--maintenance=2m`", alerts: []wantAlert{
		info("ConsulServiceMaintenanceLong", "node=client-1 service_id=api-1 service_name=api"),
	}},
	{name: "a client agent is killed", alerts: []wantAlert{
		warning("ConsulSerfMemberFailed", "member=client-3"),
	}},
	{name: "nothing, for ten minutes"},
	{name: "the exporter's token is revoked", alerts: []wantAlert{
		warning("ConsulCollectorRefused", "*"),
	}},
	{name: "the leader is killed", alerts: []wantAlert{
		critical("ConsulServerDown", "server=server-1"),
		warning("ConsulQuorumAtRisk", ""),
		held(critical("ConsulRPCPortDown", "server=server-1 port=8300 protocol=rpc transport=tcp")),
		held(warning("ConsulSerfWANPortDown", "server=server-1 port=8302 protocol=serf_wan transport=tcp")),
		held(warning("ConsulSerfMemberFailed", "member=server-1 server=server-1")),
		held(warning("ConsulSerfWANMemberFailed", "member=server-1.dc1 dc=dc1 server=server-1")),
		held(warning("ConsulAutopilotUnhealthy", "")),
	}},
	{name: "a follower hangs (SIGSTOP)", alerts: []wantAlert{
		critical("ConsulServerHung", "server=server-3"),
		warning("ConsulQuorumAtRisk", ""),
		held(critical("ConsulRPCPortDown", "server=server-3 port=8300 protocol=rpc transport=tcp")),
		held(warning("ConsulSerfMemberFailed", "member=server-3 server=server-3")),
		held(warning("ConsulAutopilotUnhealthy", "")),
	}},
	{name: "a follower is killed, in each of two clusters, one of which has two exporters", alerts: []wantAlert{
		critical("ConsulServerDown", "server=server-3"),
		warning("ConsulQuorumAtRisk", ""),
	}},
	{name: "two servers that each lead a cluster of their own are joined", alerts: []wantAlert{
		critical("ConsulSplitBrain", ""),
		held(critical("ConsulServersDisagree", "")),
		held(warning("ConsulGRPCPortDown", "server=server-2 port=8503 protocol=grpc_tls transport=tcp")),
	}},
	{name: "leadership is transferred five times in a row", alerts: []wantAlert{
		warning("ConsulLeaderChangesOften", ""),
	}},
	{name: "all servers leave and come back, one at a time"},
	{name: "all servers are killed and come back, one at a time"},
	{name: "a server's certificate expires in ten days", alerts: []wantAlert{
		warning("ConsulCertificateExpires", "server=server-2 port=8300 protocol=rpc"),
		warning("ConsulCertificateExpires", "server=server-2 port=8501 protocol=https"),
		warning("ConsulCertificateExpires", "server=server-2 port=8503 protocol=grpc_tls"),
	}},
	{name: "a server's certificate has expired", alerts: []wantAlert{
		critical("ConsulCertificateExpires", "server=server-3 port=8300 protocol=rpc"),
		critical("ConsulCertificateExpires", "server=server-3 port=8501 protocol=https"),
		critical("ConsulCertificateExpires", "server=server-3 port=8503 protocol=grpc_tls"),
		critical("ConsulRPCPortDown", "server=server-3 port=8300 protocol=rpc transport=tcp"),
		warning("ConsulQuorumAtRisk", ""),
		held(warning("ConsulCertificateExpires", "server=server-3 port=8300 protocol=rpc")),
		held(warning("ConsulCertificateExpires", "server=server-3 port=8501 protocol=https")),
		held(warning("ConsulCertificateExpires", "server=server-3 port=8503 protocol=grpc_tls")),
		held(warning("ConsulHTTPPortDown", "server=server-3 port=8501 protocol=https transport=tcp")),
		held(warning("ConsulGRPCPortDown", "server=server-3 port=8503 protocol=grpc_tls transport=tcp")),
	}},
	{name: "a server leaves and does not come back", alerts: []wantAlert{
		warning("ConsulVotersMissing", ""),
		warning("ConsulQuorumAtRisk", ""),
	}},
	{name: "the agent that the exporter asks is killed", alerts: []wantAlert{
		critical("ConsulAgentUnreachable", ""),
		held(warning("ConsulAgentUnreachable", "*")),
		held(warning("ConsulHTTPPortDown", "server=client-1 port=8500 protocol=http transport=tcp")),
		held(warning("ConsulGRPCPortDown", "server=client-1 port=8502 protocol=grpc transport=tcp")),
		held(warning("ConsulDNSPortDown", "server=client-1 port=8600")),
	}},
	{name: "the agent that the exporter asks hangs (SIGSTOP)", alerts: []wantAlert{
		critical("ConsulAgentUnreachable", ""),
		held(warning("ConsulAgentUnreachable", "*")),
		held(warning("ConsulHTTPPortDown", "server=client-1 port=8500 protocol=http transport=tcp")),
		held(warning("ConsulGRPCPortDown", "server=client-1 port=8502 protocol=grpc transport=tcp")),
		held(warning("ConsulDNSPortDown", "server=client-1 port=8600")),
	}},
	{name: "the agent that one of two exporters asks is killed", alerts: []wantAlert{
		warning("ConsulAgentUnreachable", "*"),
		warning("ConsulHTTPPortDown", "server=client-1 port=8500 protocol=http transport=tcp"),
		warning("ConsulGRPCPortDown", "server=client-1 port=8502 protocol=grpc transport=tcp"),
		warning("ConsulDNSPortDown", "server=client-1 port=8600"),
		warning("ConsulSerfMemberFailed", "member=client-1"),
	}},
	{name: "the exporter gets a token that may read half of the services", alerts: []wantAlert{
		warning("ConsulResultsFiltered", "endpoint=/v1/catalog/services"),
	}},
	{name: "one of two exporters is killed", alerts: []wantAlert{
		warning("ConsulExporterDown", "*"),
	}},
	{name: "the only exporter is killed", alerts: []wantAlert{
		critical("ConsulExporterMissing", ""),
		held(warning("ConsulExporterDown", "*")),
	}},
	{name: "service discovery drops the only exporter", alerts: []wantAlert{
		critical("ConsulExporterMissing", ""),
	}},
	{name: "the catalog outgrows `--collector.catalog.max-series`", alerts: []wantAlert{
		warning("ConsulCatalogTooLarge", ""),
	}},
	{name: "the exporter's configuration file is broken, and loaded", alerts: []wantAlert{
		warning("ConsulConfigReloadFailed", "*"),
	}},
	{name: "the exporter is told to read a datacenter that there is not", alerts: []wantAlert{
		warning("ConsulCollectorFails", "collector=catalog"),
		warning("ConsulCollectorFails", "collector=members"),
		warning("ConsulCollectorFails", "collector=overview"),
	}},
	{name: "the exporter's token file is gone", alerts: []wantAlert{
		warning("ConsulExporterImpaired", "*"),
	}},
	{name: "the root certificate of the service mesh expires in five hours", alerts: []wantAlert{
		critical("ConsulCARootExpires", "*"),
		held(warning("ConsulCARootExpires", "*")),
	}},
	{name: "encryption of gossip is turned on for one of two agents", alerts: []wantAlert{
		warning("ConsulGossipEncryptionDiffers", ""),
	}},
	{name: "the other cluster deletes a peering", alerts: []wantAlert{
		warning("ConsulPeeringDown", "peer=east state=terminated"),
	}},
	{name: "UDP 8301 is blocked between the exporter and a server", alerts: []wantAlert{
		warning("ConsulGossipUDPBlocked", "server=server-2 port=8301 protocol=serf_lan transport=udp"),
	}},
	{name: "TCP 8301 is blocked between the exporter and a server", alerts: []wantAlert{
		critical("ConsulSerfLANPortDown", "server=server-1 port=8301 protocol=serf_lan transport=tcp"),
	}},
	{name: "TCP 8300 is blocked between the exporter and a follower", alerts: []wantAlert{
		critical("ConsulRPCPortDown", "server=server-3 port=8300 protocol=rpc transport=tcp"),
		warning("ConsulQuorumAtRisk", ""),
	}},
	{name: "TCP 8302, 8500, 8502 and 8600 are blocked between the exporter and a server", alerts: []wantAlert{
		warning("ConsulSerfWANPortDown", "server=server-2 port=8302 protocol=serf_wan transport=tcp"),
		warning("ConsulHTTPPortDown", "server=server-2 port=8500 protocol=http transport=tcp"),
		warning("ConsulGRPCPortDown", "server=server-2 port=8502 protocol=grpc transport=tcp"),
		warning("ConsulDNSPortDown", "server=server-2 port=8600"),
	}},
	{name: "every other connection to port 8302 of a server is refused", alerts: []wantAlert{
		warning("ConsulPortErrors", "server=server-2 port=8302 protocol=serf_wan transport=tcp"),
	}},
	{name: "port 8502 of a server accepts connections, and what is sent there is lost", alerts: []wantAlert{
		info("ConsulPortNotAnswering", "server=server-3 port=8502 protocol=grpc transport=tcp"),
		warning("ConsulGRPCPortDown", "server=server-3 port=8502 protocol=grpc transport=tcp"),
	}},
	{name: "a server's port 8302 takes more than a second to answer, and the pack has `--scrape-duration=900ms`", alerts: []wantAlert{
		warning("ConsulPortSlow", "server=server-3 port=8302 protocol=serf_wan transport=tcp"),
		warning("ConsulScrapeSlow", "*"),
	}},
	{name: "one of three servers is cut off from the others", alerts: []wantAlert{
		critical("ConsulServerWithoutLeader", "server=server-3"),
		warning("ConsulQuorumAtRisk", ""),
		held(warning("ConsulSerfMemberFailed", "member=server-3 server=server-3")),
		held(critical("ConsulRaftLastContact", "server=server-3")),
		held(warning("ConsulAutopilotUnhealthy", "")),
	}},
	{name: "all servers are cut off from each other", alerts: []wantAlert{
		critical("ConsulNoLeader", ""),
		held(critical("ConsulServerWithoutLeader", "server=server-1")),
		held(critical("ConsulConsistentReadsFail", "")),
	}},
	{name: "one of two exporters is cut off from a server's port 8300", alerts: []wantAlert{
		warning("ConsulPortViewsDiffer", "server=server-3 port=8300 protocol=rpc transport=tcp"),
		held(warning("ConsulPortErrors", "server=server-3 port=8300 protocol=rpc transport=tcp")),
	}},
	{name: "a follower is kept behind while 5,000 keys are written (large packets to its port 8300 are lost)", alerts: []wantAlert{
		warning("ConsulRaftLogLag", "server=server-3"),
		warning("ConsulAutopilotUnhealthy", ""),
		held(info("ConsulRaftLogLag", "server=server-3")),
	}},
}

func critical(name, labels string) wantAlert { return newWantAlert(name, "critical", labels) }
func warning(name, labels string) wantAlert  { return newWantAlert(name, "warning", labels) }
func info(name, labels string) wantAlert     { return newWantAlert(name, "info", labels) }

// newWantAlert reads labels written as server=server-1 port=8300.
func newWantAlert(name, severity, labels string) wantAlert {
	a := wantAlert{name: name, severity: severity, labels: map[string]string{}}
	if labels == "*" {
		a.labels = nil
		return a
	}
	for pair := range strings.FieldsSeq(labels) {
		label, value, _ := strings.Cut(pair, "=")
		a.labels[label] = value
	}
	return a
}

func held(a wantAlert) wantAlert {
	a.held = true
	return a
}

// faultNamed finds a fault in the table.
func faultNamed(t *testing.T, name string) alertFault {
	t.Helper()
	for _, f := range alertFaults {
		if f.name == name {
			return f
		}
	}
	t.Fatalf("there is no fault %q in the table", name)
	return alertFault{}
}
