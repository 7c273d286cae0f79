// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

// fault is something to break.
type fault struct {
	what, alert     string
	breaks, healing string // Commands; nothing heals some faults.
}

// faults says what to break.
func (d *demo) faults() string {
	leader, follower := d.leaderAndFollower()
	agent := d.cluster.Clients[0].URL() + "/v1/agent"
	both := fmt.Sprintf("%d %d", leader.Pid(), follower.Pid())
	faults := []fault{
		{
			fmt.Sprintf("Hang the leader, %s: it accepts connections and answers none.", leader), "ConsulServerHung",
			fmt.Sprintf("kill -STOP %d", leader.Pid()), fmt.Sprintf("kill -CONT %d", leader.Pid()),
		},
		{"Hang two servers: the quorum is lost, and nobody leads.", "ConsulQuorumLost", "kill -STOP " + both, "kill -CONT " + both},
		{
			fmt.Sprintf("Crash the leader, %s, for good: another server is elected.", leader), "ConsulServerDown",
			fmt.Sprintf("kill -9 %d", leader.Pid()), "",
		},
		{
			"Let the only instance of db fail its check.", "ConsulServiceDown",
			fmt.Sprintf("curl -X PUT %s/check/fail/db-1-check", agent), fmt.Sprintf("curl -X PUT %s/check/pass/db-1-check", agent),
		},
		{
			"Put the node of all services into maintenance.", "ConsulNodeMaintenanceLong",
			fmt.Sprintf("curl -X PUT '%s/maintenance?enable=true'", agent), fmt.Sprintf("curl -X PUT '%s/maintenance?enable=false'", agent),
		},
	}
	var b strings.Builder
	for _, f := range faults {
		fmt.Fprintf(&b, "%s%s %s after %s.\n", indent, f.what, f.alert, d.prometheus.holds[f.alert])
		fmt.Fprintf(&b, "%s%s%s\n", indent, indent, f.breaks)
		if f.healing != "" {
			fmt.Fprintf(&b, "%s%s%s  # heals\n", indent, indent, f.healing)
		}
	}
	return b.String()
}

// sights says how to see the cluster and the alerts, and what else to ask Prometheus.
func (d *demo) sights() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%sThe status page, which loads itself anew: %s\n", indent, d.exporter.pageURL())
	b.WriteString(indent + "The same for terminals and scripts, and the dashboards for Grafana (docs/dashboards.md):\n")
	for _, command := range []string{
		"EXPORTER=" + d.exporter.binary,
		"$EXPORTER check --consul.server=" + d.cluster.Servers[0].URL(),
		"$EXPORTER dashboards --output-dir=dashboards-of-consul",
	} {
		b.WriteString(indent + indent + command + "\n")
	}
	b.WriteString(indent + "The alerts, pending or firing, and those that Alertmanager has and does not hold back:\n")
	for _, command := range d.askForAlerts() {
		b.WriteString(indent + indent + command + "\n")
	}
	b.WriteString(indent + "Queries for Prometheus, which scrapes the exporter every 5 s:\n")
	for line := range strings.Lines(table(queries)) {
		b.WriteString(indent + line)
	}
	return b.String()
}

// askForAlerts returns the commands that print the alerts.
func (d *demo) askForAlerts() []string {
	promtool, err := toolbox.Path("promtool")
	amtool, err2 := toolbox.Path("amtool")
	if err != nil || err2 != nil {
		return []string{
			fmt.Sprintf("curl -s '%s/api/v1/query?query=ALERTS'", d.prometheus.url),
			fmt.Sprintf("curl -s %s/api/v2/alerts", d.alertmanager.url()),
		}
	}
	return []string{
		"PROMTOOL=" + promtool,
		"AMTOOL=" + amtool,
		fmt.Sprintf("$PROMTOOL query instant %s ALERTS", d.prometheus.url),
		fmt.Sprintf("$AMTOOL alert query --alertmanager.url=%s", d.alertmanager.url()),
	}
}

// queries is PromQL that is worth a look, and what it means.
var queries = [][]string{
	{"consul_port_up == 0", "ports that do not answer"},
	{"consul_cluster_failure_margin", "how many more voters may fail"},
	{"consul_server_raft_log_lag_entries", "how far each log is behind"},
	{"increase(consul_cluster_leader_changes_total[5m])", "elections"},
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
