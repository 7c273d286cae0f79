// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package main

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
	for _, pair := range strings.Fields(labels) {
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
