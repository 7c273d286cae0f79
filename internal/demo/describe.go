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

const tips = `
What to break, in another terminal, and the alert that follows
  Hang the leader, {{.Leader}}, which goes on to accept connections. {{fires "ConsulQuorumAtRisk"}}.
    kill -STOP {{.Leader.Pid}}
    kill -CONT {{.Leader.Pid}}  # fixes it
  Hang two servers: the quorum is lost, and no server leads. {{fires "ConsulQuorumLost"}}.
    kill -STOP {{.Leader.Pid}} {{.Follower.Pid}}
    kill -CONT {{.Leader.Pid}} {{.Follower.Pid}}  # fixes it
  Crash the leader, {{.Leader}}, for good: another server is elected. {{fires "ConsulQuorumAtRisk"}}.
  Consul forgets the dead server within a minute; the exporter does not.
    kill -9 {{.Leader.Pid}}
  Let the only instance of db fail its check. ConsulServiceDown after 5m.
    curl -X PUT {{.Client.URL}}/v1/agent/check/fail/db-1-check
    curl -X PUT {{.Client.URL}}/v1/agent/check/pass/db-1-check  # fixes it
  Put the node of all services into maintenance. ConsulNodeMaintenanceLong after 1d.
    curl -X PUT '{{.Client.URL}}/v1/agent/maintenance?enable=true'
    curl -X PUT '{{.Client.URL}}/v1/agent/maintenance?enable=false'  # fixes it

What to look at
  The status page, which refreshes itself: {{.Exporter}}/
  The same for terminals and scripts, and the dashboards for Grafana (docs/dashboards.md):
    EXPORTER={{.Binary}}
    $EXPORTER check --consul.server={{.Server.URL}} --exporter={{.Exporter}}
    $EXPORTER dashboards --output-dir=dashboards-of-consul

{{with .Duration}}The demo ends {{.}} after Prometheus has joined (DEMO_SECONDS). {{end -}}
Ctrl-C stops and removes everything.
A line follows whenever the verdict changes or an alert is sent:`

const joined = `
What to ask them
  The alerts, pending or firing, and those that Alertmanager does not hold back, from this folder:
    go run ./tools promtool amtool  # once: builds them, which takes 2 minutes
    $(go run ./tools -path promtool) query instant {{.Prometheus}} ALERTS
    $(go run ./tools -path amtool) alert query --alertmanager.url={{.Alertmanager}}
  More to query Prometheus for, which scrapes the exporter every 5 s:
    consul_port_up == 0                                ports that do not respond
    consul_cluster_failure_margin                      how many more voters can fail
    consul_server_raft_log_lag_entries                 how far behind each log is
    increase(consul_cluster_leader_changes_total[5m])  elections
`

// describe prints what runs where, how the cluster is, what to break and what to look at.
func (d *demo) describe(ctx context.Context, duration time.Duration) error {
	if err := d.renderRules(); err != nil {
		return err
	}
	d.print("\nWhat runs")
	var rows [][]terminal.Cell
	for _, agent := range d.cluster.Agents() {
		rows = append(rows, process(agent.Name, agent.Pid(), agent.Addr, agent.URL()+"/ui"))
	}
	d.out.Table("  ", append(rows, d.exporter.describe()))
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
		"Exporter": d.exporter.url(), "Binary": d.binary, "Duration": duration,
	})
	d.print(b.String())
	return err
}

// describeJoined prints where Alertmanager and Prometheus run, and what to ask them.
func (d *demo) describeJoined(alertmanager, prometheus *program) error {
	d.print("\nWhat has joined")
	d.out.Table("  ", [][]terminal.Cell{alertmanager.describe(), prometheus.describe()})
	if !d.needs["prometheus"].pages {
		d.print("  This Prometheus has no web pages. A released one on PATH has.")
	}
	var b strings.Builder
	err := template.Must(template.New("joined").Parse(joined)).Execute(&b, map[string]any{
		"Prometheus": prometheus.url(), "Alertmanager": alertmanager.url(),
	})
	d.print(b.String())
	return err
}

func (p *program) describe() []terminal.Cell {
	return process(p.name, p.cmd.Process.Pid, "127.0.0.1", p.url())
}

// process is a row of a table of processes.
func process(name string, pid int, address, url string) []terminal.Cell {
	return []terminal.Cell{plain(name), plain(fmt.Sprint("pid ", pid)), plain(address), plain(url)}
}

// print prints lines as they are. Only the last cell of a line is wrapped, and commands are to be copied.
func (d *demo) print(text string) {
	for line := range strings.SplitSeq(text, "\n") {
		d.out.Line(plain(line), plain(""))
	}
}

func plain(text string) terminal.Cell { return terminal.Cell{Text: text} }
