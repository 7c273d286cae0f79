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
}

// prometheusConfig is the configuration; what varies is the exporter's address.
const prometheusConfig = `global:
  scrape_interval: 5s
  scrape_timeout: 4s
scrape_configs:
  - job_name: consul
    static_configs:
      - targets: [%q]
`

// startPrometheus starts Prometheus, which scrapes the exporter from then on, and waits until it answers.
func startPrometheus(ctx context.Context, binary, dir, exporterAddress string) (*prometheus, error) {
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, prometheusConfig, exporterAddress), 0o600); err != nil {
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
	running := &prometheus{process: p, url: "http://" + address}
	status, err := httpStatus(ctx, running.url+"/query")
	running.hasUI = err == nil && status == http.StatusOK
	return running, nil
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
