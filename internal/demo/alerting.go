// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/zervigo/consul_cluster_exporter/alerts"
)

// startAlertmanager starts Alertmanager, which sends its notifications to the demo.
func (d *demo) startAlertmanager(ctx context.Context) (*program, error) {
	content, err := alertmanagerConfig(d.inbox.url)
	if err != nil {
		return nil, fmt.Errorf("configure Alertmanager: %w", err)
	}
	config, err := d.write("alertmanager.yml", content)
	if err != nil {
		return nil, err
	}
	return d.startProgram(ctx, "Alertmanager", d.needs["alertmanager"].path, 9093,
		"--config.file="+config, "--storage.path="+filepath.Join(d.dir, "alertmanager"),
		"--cluster.listen-address=") // There is no other to gossip with.
}

// alertmanagerConfig is the example that comes with the rules, with all notifications going to one URL, and soon: the
// groups wait as long as Prometheus takes to evaluate all rules once, so that a cause is known before its symptoms
// are sent.
func alertmanagerConfig(webhook string) ([]byte, error) {
	example, err := alerts.Alertmanager(nil)
	config := example.Content
	for _, change := range [][2]string{
		{`(?m)^(  - name: \w+\n)(?:    .*\n)+`, "${1}    webhook_configs: [{url: " + webhook + "}]\n"},
		{`\n  group_wait: .*`, "\n  group_wait: 5s"},
		{`\n  group_interval: .*`, "\n  group_interval: 10s"},
	} {
		config = regexp.MustCompile(change[0]).ReplaceAll(config, []byte(change[1]))
	}
	return config, err
}

// prometheusConfig lacks the addresses of the exporter and of Alertmanager.
const prometheusConfig = `global: {scrape_interval: 5s, scrape_timeout: 4s, evaluation_interval: 5s}
rule_files: [rules.yml]
alerting:
  alertmanagers:
    - static_configs: [{targets: [%[2]q]}]
scrape_configs:
  - job_name: consul
    static_configs: [{targets: [%[1]q], labels: {cluster: demo}}]
`

// startPrometheus starts Prometheus with the rules. From then on it scrapes the exporter.
func (d *demo) startPrometheus(ctx context.Context, alertmanager *program) (*program, error) {
	if _, err := d.write("rules.yml", d.rules); err != nil {
		return nil, err
	}
	content := fmt.Appendf(nil, prometheusConfig, d.exporter.address, alertmanager.address)
	config, err := d.write("prometheus.yml", content)
	if err != nil {
		return nil, err
	}
	return d.startProgram(ctx, "Prometheus", d.needs["prometheus"].path, 9090,
		"--config.file="+config, "--storage.tsdb.path="+filepath.Join(d.dir, "prometheus"))
}

// renderRules makes the rules of Prometheus.
func (d *demo) renderRules() error {
	rules, err := alerts.Pack(nil)
	if err != nil {
		return fmt.Errorf("render the rules: %w", err)
	}
	d.rules = alerts.Join(rules)
	return nil
}

// hold returns how long the condition of an alert must hold before it fires.
func (d *demo) hold(alert string) (string, error) {
	match := regexp.MustCompile(`- alert: ` + alert + `\n(?s:.*?)\n +for: (\S+)\n`).FindSubmatch(d.rules)
	if match == nil {
		return "", fmt.Errorf("there is no alert %s in the rules", alert)
	}
	return string(match[1]), nil
}

func (d *demo) write(name string, content []byte) (path string, err error) {
	path = filepath.Join(d.dir, name)
	return path, os.WriteFile(path, content, 0o600)
}

type inbox struct {
	http.Server

	url string
	// received has each notification until someone reads it; Alertmanager waits in the meantime.
	received chan notification
}

func openInbox(ctx context.Context) (*inbox, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for notifications: %w", err)
	}
	box := &inbox{url: "http://" + listener.Addr().String(), received: make(chan notification)}
	box.Handler, box.ReadHeaderTimeout = http.HandlerFunc(box.receive), 5*time.Second
	go func() { _ = box.Serve(listener) }() // Until Close.
	return box, nil
}

// receive takes a notification. If nobody reads it, Alertmanager is to send it again.
func (b *inbox) receive(w http.ResponseWriter, r *http.Request) {
	var n notification
	if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case b.received <- n:
	case <-r.Context().Done():
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// notification is what Alertmanager sends to a webhook, version 4: all alerts of a group, at least one of which is
// new.
type notification struct {
	Receiver string
	Alerts   []alert
}

type alert struct {
	Status              string // firing or resolved.
	Labels, Annotations map[string]string
}

// lines has a line for each alert, but only for the first few.
func (n notification) lines() []string {
	const most = 3
	var lines []string
	for _, a := range n.Alerts[:min(len(n.Alerts), most)] {
		state := a.Status
		if state == "resolved" {
			state = "resolved; it was"
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s", a.Labels["alertname"], state, a.Annotations["description"]))
	}
	if more := len(n.Alerts) - most; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more like these", more))
	}
	return lines
}
