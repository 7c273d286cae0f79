// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"fmt"
	"time"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// at is a time of a day of the week, the first of which is 0.
func at(weekday, hour, minute int) time.Duration {
	return time.Duration(weekday)*day + time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
}

// autoscaled is how many nodes are there by day only.
const autoscaled = 20

// ordinary is a week in which nothing happens that anybody needs to know. Steps are long, or it would take minutes:
// what is over sooner lasts a step.
func ordinary() history {
	h := history{length: week, step: 5 * time.Minute, of: large, cluster: "production"}
	h.events = append(h.events, deadVM(at(1, 18, 0))...)
	h.events = append(h.events, rollingRestart(at(2, 11, 0), h.step, 2*h.step, h.step)...)
	for weekday := range 7 {
		// Exporters are restarted, one at a time.
		h.events = append(h.events, away("a", at(weekday, 4, 0), h.step), away("b", at(weekday, 4, 30), h.step))
		for i := range autoscaled {
			h.events = append(h.events, autoscale(weekday, i)...)
		}
		// Services with one instance are deployed, and their checks are critical at first.
		for i, hour := range []int{9, 10, 12, 14, 15, 17} {
			h.events = append(h.events, deploy(service((6*weekday+i)%9), at(weekday, hour, 10*i), h.step))
		}
		// One is deregistered, and comes back under the same name.
		h.events = append(h.events, reregister(service(9), at(weekday, 13, 0), h.step))
		// Others have several instances, which are deployed one after another.
		for i := range 3 {
			h.events = append(h.events, deploy(service(10+3*weekday+i), at(weekday, 16, 20*i), 2*h.step))
		}
	}
	return h
}

// busy is the busiest hour of that week, as it is.
func busy() history {
	h := history{length: 90 * time.Minute, step: 15 * time.Second, of: small, cluster: "busy"}
	minute := time.Minute
	h.events = append(h.events, deadVM(30*minute)...)
	h.events = append(h.events, rollingRestart(40*minute, 90*time.Second, 3*minute, h.step)...)
	h.events = append(h.events,
		deploy(service(0), 35*minute, 3*minute), deploy(service(1), 41*minute, 3*minute),
		deploy(service(0), 60*minute, 3*minute), reregister(service(2), 52*minute, minute),
		away("a", 65*minute, 2*minute), away("b", 70*minute, 2*minute),
	)
	return h
}

func deploy(name string, at, length time.Duration) event {
	return event{from: at, to: at + length, change: func(p page) { p.instancesBecome(name, 1, "passing", "critical") }}
}

func reregister(name string, at, length time.Duration) event {
	return event{from: at, to: at + length, change: func(p page) { p.deregister(name) }}
}

// away has Prometheus get nothing from an exporter.
func away(exporter string, at, length time.Duration) event {
	return event{from: at, to: at + length, exporter: exporter}
}

// autoscale has a node leave in order for the night, and another one join in the morning.
func autoscale(weekday, i int) []event {
	leaves, joins := at(weekday, 1, 5*(i/4)), at(weekday, 5, 5*(i/4))
	old := node(large.nodes - autoscaled + i)
	fresh := fmt.Sprintf("%s-day-%d", old, weekday+1)
	if weekday > 0 {
		old = fmt.Sprintf("%s-day-%d", old, weekday)
	}
	gone := event{from: leaves, to: joins, change: func(p page) { p.nodeGoes(old) }}
	left := event{from: leaves, to: leaves + day, change: func(p page) {
		p.memberBecomes(old, 3)
	}}
	reaped := event{from: leaves + day, to: week, change: func(p page) {
		p.add("consul_serf_members", `pool="lan",status="alive"`, -1)
		p.forget(old)
	}}
	replaced := event{from: joins, to: week, change: func(p page) {
		p.drop("consul_health_node_status", fmt.Sprintf("node=%q", old))
		p.member(fresh, "node")
		p.add("consul_serf_members", `pool="lan",status="alive"`, 1)
		p.add("consul_serf_lan_members", "", 1)
	}}
	return []event{gone, left, reaped, replaced}
}

// deadVM is a developer's machine with a service and its sidecar. It is switched off, and Consul forgets it after three
// days.
func deadVM(off time.Duration) []event {
	const vm = "dev-alice-vm"
	names := []string{"dev-alice", "dev-alice-sidecar-proxy"}
	return []event{
		{from: 0, to: off + 3*day, change: func(p page) {
			p.member(vm, "node")
			p.add("consul_serf_members", `pool="lan",status="alive"`, 1)
			p.add("consul_serf_lan_members", "", 1)
			p.add("consul_serf_version_members", "", 1)
			p.add("consul_catalog_nodes", "", 1)
			p.add("consul_catalog_services", "", 2)
			for _, name := range names {
				p.addService(name, 1)
				p.addInstance(name, vm)
			}
		}},
		{from: off, to: off + 3*day, change: func(p page) {
			p.memberBecomes(vm, 4)
			p.nodeStatus(vm, "critical")
			for _, name := range names {
				p.instancesBecome(name, 1, "passing", "critical")
				p.set("consul_catalog_service_node_healthy", fmt.Sprintf("service_name=%q", name), 0)
				p.put("consul_catalog_failed_node_instances", fmt.Sprintf("node=%q,service_name=%q", vm, name), 1)
			}
		}},
	}
}

// rollingRestart restarts the servers one after another, the leader last.
func rollingRestart(begin, length, pause, election time.Duration) (events []event) {
	restart := func(i int, server string) time.Duration {
		from := begin + time.Duration(i)*(length+pause)
		events = append(events, event{from: from, to: from + length, change: func(p page) {
			p.serverDown(server)
			p.quorum("held", 2, 1, 0)
			p.serverFailed(server)
			p.instancesBecome("consul", 1, "passing", "critical")
		}})
		for exporter, agent := range agents {
			if agent == server {
				events = append(events, event{from: from, to: from + length, exporter: exporter, change: page.agentDown})
			}
		}
		return from
	}
	restart(0, "server-3")
	restart(1, "server-2")
	last := restart(2, leader)
	return append(events,
		event{from: last, to: last + election, change: func(p page) {
			p.quorum("unknown", 2, 1, 0)
			p.leaderless(nil)
			p.set("consul_cluster_servers_without_leader", "", 0)
		}},
		event{from: last + election, to: week, change: func(p page) {
			p.set("consul_cluster_leader_changes_total", "", 1)
			p.leads("server-2")
		}},
	)
}
