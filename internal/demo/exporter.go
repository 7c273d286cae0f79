// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// exporterPort is the port of the exporter, if it is free.
const exporterPort = 9107

// exporter is the running exporter.
type exporter struct {
	process *process
	binary  string
	address string
}

// pageURL is where its status page is.
func (e *exporter) pageURL() string { return "http://" + e.address + "/" }

// metricsURL is where its metrics are.
func (e *exporter) metricsURL() string { return "http://" + e.address + "/metrics" }

// buildExporter builds the exporter from the repository into dir and returns the binary.
func buildExporter(ctx context.Context, root, dir string) (string, error) {
	binary := filepath.Join(dir, "consul_cluster_exporter")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	// The version does not matter here, and git may refuse to tell it.
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binary, ".")
	cmd.Dir = root
	cmd.SysProcAttr = childAttributes()
	// On an interrupt the go command also ends the compilers that it runs.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	output, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the exporter: %w: %s", err, cmp.Or(compilerError(output), "no output"))
	}
	return binary, nil
}

// compilerError returns the first line of the go command's output that is no headline.
func compilerError(output []byte) string {
	for line := range bytes.Lines(output) {
		if text := strings.TrimSpace(string(line)); text != "" && !strings.HasPrefix(text, "#") {
			return text
		}
	}
	return ""
}

// startExporter starts the exporter and waits until it answers.
func startExporter(ctx context.Context, binary, dir, consulURL string) (*exporter, error) {
	p, address, err := startServer(ctx, exporterPort, "/-/ready", func(address string) (*process, error) {
		return startProcess("exporter", dir, binary, "--consul.server="+consulURL, "--web.listen-address="+address)
	})
	if err != nil {
		return nil, err
	}
	return &exporter{p, binary, address}, nil
}

// scrapeTimeout is what a scrape may take: it is told to the exporter, as Prometheus does it.
const scrapeTimeout = 4 * time.Second

// scrape reads the exporter's metrics.
func (e *exporter) scrape(ctx context.Context) (metrics, error) {
	// The exporter keeps its time; a little more tells that it does not answer at all.
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout+time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.metricsURL(), http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint(scrapeTimeout.Seconds()))
	request.Header.Set("Accept", "text/plain;version=0.0.4")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", e.metricsURL(), response.Status)
	}
	return parseMetrics(response.Body)
}
