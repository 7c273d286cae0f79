// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/alerts"
)

// prometheusPort is the port of Prometheus, if it is free.
const prometheusPort = 9090

// prometheus is the running Prometheus.
type prometheus struct {
	process *process
	url     string
	// hasUI says whether this Prometheus has its web pages. One that is built from the Go module has none, as "make
	// tools" does it: they need a JavaScript build.
	hasUI bool
	// holds is how long each alert's condition must hold before the alert fires, as the rules write it, by the alert's name.
	holds map[string]string
}

// prometheusConfig is the configuration; what varies are the addresses of the exporter and of Alertmanager.
const prometheusConfig = `global:
  scrape_interval: 5s
  scrape_timeout: 4s
  evaluation_interval: 5s
rule_files: [consul-rules.yml]
alerting:
  alertmanagers:
    - static_configs:
        - targets: [%[2]q]
scrape_configs:
  - job_name: consul
    static_configs:
      - targets: [%[1]q]
        labels: {cluster: demo}
`

// startPrometheus starts Prometheus, which scrapes the exporter from then on and tells Alertmanager the alerts of the pack, and
// waits until it answers.
func startPrometheus(ctx context.Context, binary, dir, exporterAddress, alertmanagerAddress string) (*prometheus, error) {
	rules, err := alerts.Pack(nil)
	if err != nil {
		return nil, fmt.Errorf("render the rules: %w", err)
	}
	content := alerts.Join(rules)
	holds, err := holdTimes(content)
	if err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "consul-rules.yml"), content, 0o600); err != nil {
		return nil, fmt.Errorf("write the rules: %w", err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, prometheusConfig, exporterAddress, alertmanagerAddress), 0o600); err != nil {
		return nil, fmt.Errorf("write the configuration of Prometheus: %w", err)
	}
	p, address, err := startServer(ctx, prometheusPort, "/-/ready", func(address string) (*process, error) {
		return startProcess("prometheus", dir, binary,
			"--config.file="+config,
			"--storage.tsdb.path="+filepath.Join(dir, "prometheus-data"),
			"--web.listen-address="+address,
		)
	})
	if err != nil {
		return nil, err
	}
	running := &prometheus{process: p, url: "http://" + address, holds: holds}
	status, err := httpStatus(ctx, running.url+"/query")
	running.hasUI = err == nil && status == http.StatusOK
	return running, nil
}

// holdTimes returns how long each alert's condition must hold. Of alerts with the same name the first one counts.
func holdTimes(rules []byte) (map[string]string, error) {
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert string `yaml:"alert"`
				For   string `yaml:"for"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(rules, &file); err != nil {
		return nil, err
	}
	holds := make(map[string]string)
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			if _, ok := holds[rule.Alert]; !ok {
				holds[rule.Alert] = rule.For
			}
		}
	}
	return holds, nil
}

// graph returns a link to a graph of the last minutes, or, without web pages, to the present values as JSON.
func (p *prometheus) graph(expr string) string {
	if !p.hasUI {
		return p.url + "/api/v1/query?" + url.Values{"query": {expr}}.Encode()
	}
	return p.url + "/query?" + url.Values{
		"g0.expr":        {expr},
		"g0.tab":         {"graph"},
		"g0.range_input": {"5m"},
	}.Encode()
}
