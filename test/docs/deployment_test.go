// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// What docs/deployment.md says of a cluster of three servers, and of exporters beside clients, is so.
func TestDeployment(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1})
	harness.Must(t, c.WaitSynced(t.Context()))
	content, err := os.ReadFile("docs/deployment.md")
	harness.Must(t, err)

	t.Run("beside a server", func(t *testing.T) {
		m := regexp.MustCompile(`Three servers with an empty\s+catalog are about (\d+) series`).FindSubmatch(content)
		if m == nil {
			t.Fatal("docs/deployment.md does not say how many series three servers are")
		}
		documented, err := strconv.ParseFloat(string(m[1]), 64)
		harness.Must(t, err)
		e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL())
		e.Scrape(t) // Telemetry and the counters of requests are complete in the second one.
		count := 0
		for series := range e.Scrape(t) {
			if strings.HasPrefix(series, "consul_") {
				count++
			}
		}
		if math.Abs(float64(count)-documented) > documented/5 {
			t.Errorf("three servers have %d series; docs/deployment.md says about %v", count, documented)
		}
	})

	t.Run("beside a client", func(t *testing.T) {
		_, section, _ := strings.Cut(string(content), "\n## One exporter beside every agent\n")
		flags := regexp.MustCompile(cli.Name + ` (--probe\.protocols=\S+)\n`).FindStringSubmatch(section)
		params := regexp.MustCompile(`collect\[\]: (\[.*\])`).FindStringSubmatch(section)
		if flags == nil || params == nil {
			t.Fatal("docs/deployment.md has no flags or no collectors for exporters beside clients")
		}
		var collectors []string
		harness.Must(t, yaml.Unmarshal([]byte(params[1]), &collectors))
		e := harness.StartExporter(t, nil, "--consul.server="+c.Clients[0].URL(), flags[1])
		var s harness.Samples
		// An agent that has just started does not have all of its telemetry.
		harness.WaitFor(t, time.Minute, fmt.Sprintf("all of %q are complete", collectors), func() string {
			status, body, err := e.Get(t.Context(), "/metrics?"+url.Values{"collect[]": collectors}.Encode(), 10*time.Second)
			harness.Must(t, err)
			if status != http.StatusOK {
				t.Fatalf("status %d: %s", status, body)
			}
			s = harness.ParseSamples(t, body)
			if slices.ContainsFunc(collectors, func(name string) bool {
				return s[fmt.Sprintf("consul_exporter_collector_success{collector=%q}", name)] != 1
			}) {
				return "the last scrape:\n" + s.String()
			}
			return ""
		})
		if servers := slices.Compact(s.Labels("consul_port_probes_total", "server")); !slices.Equal(servers, []string{"client-1"}) {
			t.Errorf("ports of %q are probed; want those of the client alone", servers)
		}
		s.Expect(t, harness.Samples{"consul_up": 1, `consul_port_up{port="8500",protocol="http",server="client-1",transport="tcp"}`: 1})
		s.ExpectNone(t, "consul_cluster_", "consul_catalog_", "consul_server_raft_reported_leader_info")
	})
}

// The pieces of YAML in all documents are YAML, and those for Prometheus are a configuration to it.
func TestDocsYAML(t *testing.T) {
	folder := t.TempDir()
	prometheus := regexp.MustCompile(`(?m)^(global|scrape_configs|rule_files|remote_write|alerting):`)
	checked := 0
	for _, d := range documents(t) {
		for _, block := range d.Blocks {
			if block.Language != "yaml" {
				continue
			}
			where := fmt.Sprintf("%s:%d", d.Path, block.Line)
			var any map[string]any
			if err := yaml.Unmarshal([]byte(block.Text), &any); err != nil {
				t.Errorf("%s: %v", where, err)
				continue
			}
			if !prometheus.MatchString(block.Text) {
				continue
			}
			checked++
			path := filepath.Join(folder, "prometheus.yml")
			harness.Must(t, os.WriteFile(path, []byte(block.Text), 0o600))
			if out := harness.RunTool(t, "promtool", "check", "config", "--syntax-only", path); !strings.Contains(out, "SUCCESS") {
				t.Errorf("%s: %s", where, out)
			}
		}
	}
	if checked < 8 {
		t.Errorf("%d configurations for Prometheus were found; there are more", checked)
	}
}
