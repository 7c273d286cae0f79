// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

// describe prints what runs where, how the cluster is and what to try.
func (d *demo) describe(duration time.Duration) {
	d.out.printf("\nWhat runs\n%s", d.running())
	d.out.printf("\nWhat the exporter says at %s\n%s", time.Now().Format(time.TimeOnly), d.seen.state.describe())
	d.out.printf("\nWhat to try, in another terminal\n%s", d.tips())
	end := "Ctrl-C stops and removes everything."
	if duration > 0 {
		end = fmt.Sprintf("The demo ends by itself in %v (%s); ", duration, durationVar) + end
	}
	d.out.printf("\n%s\n", wrap(end+" A line follows whenever the verdict changes:", 0))
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

// tips says what to try.
func (d *demo) tips() string {
	leader, follower := d.leaderAndFollower()
	var b strings.Builder
	tip := func(what string, commands ...string) {
		fmt.Fprintf(&b, "%s%s\n", indent, what)
		for _, command := range commands {
			fmt.Fprintf(&b, "%s%s%s\n", indent, indent, command)
		}
	}
	tip(fmt.Sprintf("Hang the leader, %s: its ports still accept connections, but nothing answers. Then heal it.", leader),
		fmt.Sprintf("kill -STOP %d", leader.Pid()),
		fmt.Sprintf("kill -CONT %d", leader.Pid()))
	tip("Hang two servers: the quorum is lost, and nobody leads. Then heal them.",
		fmt.Sprintf("kill -STOP %d %d", leader.Pid(), follower.Pid()),
		fmt.Sprintf("kill -CONT %d %d", leader.Pid(), follower.Pid()))
	tip(fmt.Sprintf("Crash a server, %s, for good; with another one, the quorum is lost.", follower),
		fmt.Sprintf("kill -9 %d", follower.Pid()))
	tip("Read the metrics.",
		fmt.Sprintf("curl -s %s | grep -E '^consul_(cluster|port_up|server_raft)'", d.exporter.metricsURL()))
	tip("Ask Prometheus, which scrapes them every 5 s.", d.askPrometheus("consul_port_up")...)
	tip("Other queries to look at:", queryLines(d.seen.metrics)...)
	return b.String()
}

// askPrometheus returns the commands that print the result of a query.
func (d *demo) askPrometheus(expr string) []string {
	if promtool, err := toolbox.Path("promtool"); err == nil {
		return []string{
			"PROMTOOL=" + promtool,
			fmt.Sprintf("$PROMTOOL query instant %s '%s'", d.prometheus.url, expr),
		}
	}
	return []string{fmt.Sprintf("curl -s %s/api/v1/query --data-urlencode 'query=%s'", d.prometheus.url, expr)}
}

// leaderAndFollower returns the leader's agent, or the first if the scrape knows of none, and another one, which is not the
// one that the exporter asks if that can be helped.
func (d *demo) leaderAndFollower() (leader, follower *consultest.Agent) {
	servers := d.cluster.Servers
	leader = servers[0]
	names := d.seen.state.leaders()
	for _, agent := range servers {
		if len(names) == 1 && agent.Name == names[0] {
			leader = agent
		}
	}
	for _, agent := range servers {
		if agent != leader {
			follower = agent
		}
	}
	return leader, follower
}

// query is PromQL that is worth a look.
type query struct {
	// family is the one without which the query has no answer.
	family, expr, meaning string
}

var queries = []query{
	{"consul_port_up", "consul_port_up == 0", "ports that do not answer"},
	{"consul_cluster_failure_margin", "consul_cluster_failure_margin", "how many more voters may fail"},
	{"consul_server_raft_log_lag_entries", "consul_server_raft_log_lag_entries", "how far each log is behind"},
	{"consul_cluster_leader_changes_total", "increase(consul_cluster_leader_changes_total[5m])", "elections"},
	{"consul_health_service_status", `consul_health_service_status{status!="passing"} == 1`, "checks that fail"},
}

// queryLines lists the queries that this exporter can answer.
func queryLines(m metrics) []string {
	var rows [][]string
	for _, q := range queries {
		if len(m[q.family]) > 0 {
			rows = append(rows, []string{q.expr, q.meaning})
		}
	}
	var lines []string
	for line := range strings.Lines(table(rows)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}
