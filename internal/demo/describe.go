// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"
)

// describe prints what runs where, how the cluster is and what to try.
func (d *demo) describe(duration time.Duration) {
	d.out.printf("\nWhat runs\n%s", d.running())
	d.out.printf("\nWhat the exporter says at %s\n%s", time.Now().Format(time.TimeOnly), d.seen.state.describe())
	d.out.printf("\nWhat to break, in another terminal, and the alert that fires then and is sent\n%s", d.faults())
	d.out.printf("\nWhat to look at\n%s", d.sights())
	end := "Ctrl-C stops and removes everything."
	if duration > 0 {
		end = fmt.Sprintf("The demo ends by itself in %v (%s); ", duration, durationVar) + end
	}
	d.out.printf("\n%s\n", wrap(end+" A line follows whenever the verdict changes or an alert is sent:", 0))
}

// running says what runs where.
func (d *demo) running() string {
	var rows [][]string
	for _, agent := range d.cluster.Agents() {
		rows = append(rows, []string{agent.Name, fmt.Sprintf("pid %d", agent.Pid()), agent.Addr, agent.URL() + "/ui"})
	}
	rows = append(rows,
		[]string{"exporter", fmt.Sprintf("pid %d", d.exporter.process.pid), "127.0.0.1", d.exporter.metricsURL()},
		[]string{"Prometheus", fmt.Sprintf("pid %d", d.prometheus.process.pid), "127.0.0.1", d.prometheus.url},
		[]string{"Alertmanager", fmt.Sprintf("pid %d", d.alertmanager.process.pid), "127.0.0.1", d.alertmanager.url()},
	)
	text := table(rows)
	if d.prometheus.hasUI {
		return text + indent + "A graph: " + d.prometheus.graph("consul_port_up") + "\n"
	}
	return text + indent + "A query: " + d.prometheus.graph("consul_port_up") + "\n" +
		indent + "This Prometheus has no web pages; one of a release does: set\n" +
		indent + "CONSUL_CLUSTER_EXPORTER_TOOL_PROMETHEUS to its path and start the demo again.\n"
}

// describe shows all of a state.
func (s state) describe() string {
	return s.portTable() + "\n" + s.raftTable() + "\n" +
		indent + "Members  " + s.memberLine() + "\n" +
		indent + "Verdict  " + wrap(s.verdict(), len(indent+"Verdict  ")) + "\n"
}
