// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// asConsulExporter is the exporter under the name that charts, roles and units call: the link in the image, the
// package and the archive.
func asConsulExporter(t *testing.T) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "consul_exporter")
	must.Do(t, os.Symlink(os.Args[0], binary))
	return binary
}

// chartProbe is what the chart prometheus-consul-exporter has the kubelet ask, to restart the pod after three failures.
const (
	chartProbe        = "/"
	chartProbeTimeout = 10 * time.Second
)

// expectAlive expects that the kubelet's probe succeeds.
func expectAlive(t *testing.T, e *harness.Exporter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), chartProbeTimeout)
	defer cancel()
	if status, body, err := e.Get(ctx, chartProbe, chartProbeTimeout); err != nil || status != http.StatusOK {
		t.Errorf("GET %s: %d, %v; want 200 within %s: %s", chartProbe, status, err, chartProbeTimeout, body)
	}
}

// The command lines of the chart prometheus-community/prometheus-consul-exporter and of the Ansible role
// prometheus.prometheus.consul_exporter work, with their defaults and with what can be set. They differ only in
// the address to listen on, which must be a free one here.
func TestDropIn_Installers(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 1})
	binary, server := asConsulExporter(t), c.Servers[0].URL()
	for name, tc := range map[string]struct {
		args    string
		metrics string // Where they are.
	}{
		"chart":              {"--consul.server=" + strings.TrimPrefix(server, "http://"), "/metrics"},
		"chart with options": {"--consul.server=" + server + " --kv.filter=foobar --no-consul.health-summary", "/metrics"},
		"role": {
			"--consul.server=" + server + " --consul.timeout=500ms --consul.request-limit=0 --no-consul.health-summary " +
				"--no-consul.agent-only --no-consul.allow_stale --no-consul.require_consistent " +
				"--web.telemetry-path=/metrics --log.level=info --log.format=logfmt",
			"/metrics",
		},
		"role with everything": {
			"--web.config.file=" + harness.WriteFile(t, "web_config.yml", "http_server_config: {http2: true}") +
				" --consul.server=" + server + " --consul.timeout=5s --consul.request-limit=4 --kv.prefix=a/ --kv.filter=b " +
				"--meta.filter=c --consul.health-summary --consul.agent-only --consul.allow_stale " +
				"--no-consul.require_consistent --web.telemetry-path=/of-consul --log.level=debug --log.format=json",
			"/of-consul",
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := harness.StartBinary(t, binary, nil, strings.Fields(tc.args)...)
			expectAlive(t, e)
			harness.WaitFor(t, time.Minute, "Consul is up", func() string { // 500 ms are little on a busy machine.
				status, body, err := e.Get(t.Context(), tc.metrics, chartProbeTimeout)
				return harness.Unless(err == nil && status == http.StatusOK && strings.Contains(body, "\nconsul_up 1\n"),
					"%s: status %d, %v:\n%s", tc.metrics, status, err, body)
			})
		})
	}
}

// The chart's probe succeeds also when Consul hangs: the exporter must not be restarted then.
func TestDropIn_InstallersWhileConsulHangs(t *testing.T) {
	t.Parallel()
	hung := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t) // The kernel accepts connections.
	defer hung.Close()
	expectAlive(t, harness.StartBinary(t, asConsulExporter(t), nil, "--consul.server="+hung.Addr().String()))
}
