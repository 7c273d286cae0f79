// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"text/template"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/terminal"
)

// prometheusVar is the environment variable that names another Prometheus than the one that "make tools" builds.
const prometheusVar = "CONSUL_CLUSTER_EXPORTER_TOOL_PROMETHEUS"

const tips = `
What to break, in another terminal, and the alert that follows
  Hang the leader, {{.Leader}}: it accepts connections but does not respond. {{fires "ConsulServerHung"}}.
    kill -STOP {{.Leader.Pid}}
    kill -CONT {{.Leader.Pid}}  # fixes it
  Hang two servers: the quorum is lost, and no server leads. {{fires "ConsulQuorumLost"}}.
    kill -STOP {{.Leader.Pid}} {{.Follower.Pid}}
    kill -CONT {{.Leader.Pid}} {{.Follower.Pid}}  # fixes it
  Crash the leader, {{.Leader}}, for good: another server is elected. {{fires "ConsulServerDown"}}.
  Consul forgets the dead server within a minute; the exporter does not.
    kill -9 {{.Leader.Pid}}
  Let the only instance of db fail its check. {{fires "ConsulServiceDown"}}.
    curl -X PUT {{.Client.URL}}/v1/agent/check/fail/db-1-check
    curl -X PUT {{.Client.URL}}/v1/agent/check/pass/db-1-check  # fixes it
  Put the node of all services into maintenance. {{fires "ConsulNodeMaintenanceLong"}}.
    curl -X PUT '{{.Client.URL}}/v1/agent/maintenance?enable=true'
    curl -X PUT '{{.Client.URL}}/v1/agent/maintenance?enable=false'  # fixes it

What to look at
  The status page, which refreshes itself: {{.Exporter}}/
  The same for terminals and scripts, and the dashboards for Grafana (docs/dashboards.md):
    EXPORTER={{.Binary}}
    $EXPORTER check --consul.server={{.Server.URL}} --exporter={{.Exporter}}
    $EXPORTER dashboards --output-dir=dashboards-of-consul
  The alerts, pending or firing, and those that Alertmanager does not hold back:
    PROMTOOL={{.Tools.promtool}}
    AMTOOL={{.Tools.amtool}}
    $PROMTOOL query instant {{.Prometheus}} ALERTS
    $AMTOOL alert query --alertmanager.url={{.Alertmanager}}
  More to query Prometheus for, which scrapes the exporter every 5 s:
    consul_port_up == 0                                ports that do not respond
    consul_cluster_failure_margin                      how many more voters can fail
    consul_server_raft_log_lag_entries                 how far behind each log is
    increase(consul_cluster_leader_changes_total[5m])  elections

{{with .Duration}}The demo ends in {{.}} (DEMO_SECONDS); {{end}}Ctrl-C stops and removes everything.
A line follows whenever the verdict changes or an alert is sent:`

// describe prints what runs where, how the cluster is, what to break and what to look at.
func (d *demo) describe(ctx context.Context, duration time.Duration) error {
	d.print("\nWhat runs")
	d.printPrograms()
	d.print("\nWhat the exporter's command check says\n")
	err := d.check(ctx, os.Stdout, "--exporter="+d.exporter.url())
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		return fmt.Errorf("run the exporter's command check: %w", err)
	}
	leader, err := d.cluster.WaitLeader(ctx)
	if err != nil {
		return fmt.Errorf("find the leader: %w", err)
	}
	follower := d.cluster.Servers[2] // Not the one that the exporter queries, if possible.
	if follower == leader {
		follower = d.cluster.Servers[1]
	}
	text := template.New("tips").Funcs(template.FuncMap{"fires": func(alert string) (string, error) {
		hold, err := d.hold(alert)
		return alert + " after " + hold, err
	}})
	var b strings.Builder
	err = template.Must(text.Parse(tips)).Execute(&b, map[string]any{
		"Leader": leader, "Follower": follower, "Server": d.cluster.Servers[0], "Client": d.cluster.Clients[0],
		"Exporter": d.exporter.url(), "Prometheus": d.prometheus.url(), "Alertmanager": d.alertmanager.url(),
		"Binary": d.binary, "Tools": d.tools, "Duration": duration,
	})
	d.print(b.String())
	return err
}

func (d *demo) printPrograms() {
	var rows [][]terminal.Cell
	add := func(name string, pid int, address, url string) {
		rows = append(rows, []terminal.Cell{plain(name), plain(fmt.Sprint("pid ", pid)), plain(address), plain(url)})
	}
	for _, agent := range d.cluster.Agents() {
		add(agent.Name, agent.Pid(), agent.Addr, agent.URL()+"/ui")
	}
	for _, p := range d.programs {
		add(p.name, p.cmd.Process.Pid, "127.0.0.1", p.url())
	}
	d.out.Table("  ", rows)
	if os.Getenv(prometheusVar) == "" {
		d.print("  This Prometheus has no web pages. A released one does:\n  set " + prometheusVar + " to its path.")
	}
}

// print prints lines as they are. Only the last cell of a line is wrapped, and commands are to be copied.
func (d *demo) print(text string) {
	for line := range strings.SplitSeq(text, "\n") {
		d.out.Line(plain(line), plain(""))
	}
}

func plain(text string) terminal.Cell { return terminal.Cell{Text: text} }
