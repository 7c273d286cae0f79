// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/dashboards"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// The exporter accepts the flags that examples give it. The first group of a pattern has them.
func TestExamples_Flags(t *testing.T) {
	for file, pattern := range map[string]string{
		"Dockerfile": `HEALTHCHECK .*CMD \["/bin/consul_cluster_exporter", (.*)\]`,
		"examples/debian/consul_cluster_exporter.default":               `OPTIONS="(.*)"`,
		"examples/systemd/consul_cluster_exporter.service.d/token.conf": `consul_cluster_exporter (--.*) \$OPTIONS`,
		"examples/systemd/consul.service.d/safe-to-stop.conf":           `consul_cluster_exporter (check .*)`,
		"examples/systemd/consul-release-stop.service":                  `consul_cluster_exporter (check .*)`,
		"examples/kubernetes/deployment.yaml":                           `args:\n((?: +- .*\n)+)`,
		"examples/nomad/consul_cluster_exporter.nomad.hcl":              `args = \[([^\]]*)\]`,
		"examples/systemd/consul-responder.service":                     `exporter (responder .*) \$RESPONDER_OPTIONS`,
		"examples/kubernetes/responder/responder.yaml":                  `args:\n((?: +- .*\n)+)`,
		"examples/nomad/consul_responder.nomad.hcl":                     `args = \[([^\]]*)\]`,
		"examples/compose/compose.yaml":                                 `build: [./]+\n +command: \[(.*)\]`,
	} {
		m := regexp.MustCompile(pattern).FindSubmatch(must.Get(os.ReadFile(file))(t))
		if m == nil {
			t.Errorf("%s gives the exporter no flags", file)
			continue
		}
		args := regexp.MustCompile(`[^\s",]{2,}`).FindAllString(string(m[1]), -1)
		if err := checkCommand(args); err != nil {
			t.Errorf("%s: the exporter ends after %q: %v", file, args, err)
		}
	}
}

// The responder accepts the configurations that examples give it.
func TestExamples_Responder(t *testing.T) {
	t.Parallel()
	for file, pattern := range map[string]string{
		"examples/kubernetes/responder/responder.yaml": `responder\.yml: \|\n((?: {4}.*\n)+)`,
		"examples/nomad/consul_responder.nomad.hcl":    `<<-CONFIG\n((?:.*\n)*?) *CONFIG\n`,
	} {
		m := regexp.MustCompile(pattern).FindSubmatch(must.Get(os.ReadFile(file))(t))
		if m == nil {
			t.Errorf("%s has no configuration of the responder", file)
			continue
		}
		folder := harness.WriteFiles(t, map[string]string{"secret": "x"})
		config := regexp.MustCompile(`(secret_file|file): \S*?(secret|/history\.jsonl)\n`).
			ReplaceAllString(strings.ReplaceAll(string(m[1]), `{{ env "NOMAD_ALLOC_DIR" }}`, ""), "$1: "+folder+"/$2\n")
		path := filepath.Join(folder, "responder.yml")
		must.Do(t, os.WriteFile(path, []byte(config), 0o600))
		code, _, stderr := harness.RunProgram(t, "responder", "--config.check", "--config.file="+path)
		if code != 0 || !strings.Contains(config, folder+"/secret\n") {
			t.Errorf("%s: exit code %d, %s:\n%s", file, code, stderr, config)
		}
	}
}

// Prometheus accepts its configurations in documents, and that of the Compose file with the rules where it mounts them.
// All YAML in documents is valid.
func TestExamples_Prometheus(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	must.Do(t, os.CopyFS(filepath.Join(folder, "consul"), os.DirFS("alerts")))
	file := filepath.Join(folder, "prometheus.yml")
	must.Do(t, os.WriteFile(file, must.Get(os.ReadFile("examples/compose/prometheus.yml"))(t), 0o600))
	if out := harness.RunTool(t, "promtool", "check", "config", file); !strings.Contains(out, "rules found") {
		t.Errorf("examples/compose/prometheus.yml: %s", out)
	}
	forPrometheus := regexp.MustCompile(`(?m)^(global|scrape_configs|rule_files|remote_write|alerting):`)
	for _, d := range documents(t) {
		for _, block := range d.Blocks {
			if block.Language != "yaml" {
				continue
			}
			where := fmt.Sprintf("%s:%d", strings.ReplaceAll(d.Path, "/", "-"), block.Line)
			var parsed map[string]any
			if err := yaml.Unmarshal([]byte(block.Text), &parsed); err != nil {
				t.Errorf("%s: %v", where, err)
			}
			if forPrometheus.MatchString(block.Text) {
				file := filepath.Join(folder, where) // So that promtool says which.
				must.Do(t, os.WriteFile(file, []byte(block.Text), 0o600))
				harness.RunTool(t, "promtool", "check", "config", "--syntax-only", file)
			}
		}
	}
}

// object begins a Kubernetes object, after its API's version.
const object = `apiVersion: %s
kind: %s
metadata:
  name: %s
  namespace: consul
  labels:
    app.kubernetes.io/name: consul-cluster-exporter
`

// The rules and dashboards among the examples for Kubernetes are those in alerts/ and dashboards/.
func TestExamples_Generated(t *testing.T) {
	t.Parallel()
	rules := string(must.Get(alerts.Single(alerts.FormatPrometheusRule, nil))(t))
	rules = strings.Replace(rules, alerts.Marker+"\n", "# Generated by make examples from alerts/.\n", 1)
	const name = "  name: consul-cluster-exporter\n"
	rules = strings.Replace(rules, name, name+"  namespace: consul\n", 1)
	harness.ExpectFile(t, "examples/kubernetes/prometheusrule.yaml", rules, "examples")

	var maps []string // A ConfigMap for each: all in one would be too large for kubectl apply.
	for _, f := range must.Get(dashboards.Files())(t) {
		if len(f.Content) > 230_000 { // It becomes an annotation, too, and these have at most 256 KiB.
			t.Errorf("%s has %d bytes, which is too much for kubectl apply", f.Name, len(f.Content))
		}
		name := "consul-dashboard-" + strings.TrimSuffix(f.Name, ".json")
		maps = append(maps, fmt.Sprintf(object, "v1", "ConfigMap", name)+
			"    grafana_dashboard: \"1\"\n  annotations:\n    grafana_folder: Consul\n"+
			"data:\n  consul-"+f.Name+": |\n"+indent(string(f.Content), "    "))
	}
	harness.ExpectFile(t, "examples/kubernetes/dashboards.yaml", "# Generated by make examples from dashboards/. For "+
		"the sidecar of Grafana's Helm chart, which looks for the label.\n"+strings.Join(maps, "---\n"), "examples")
}

// indent indents the lines of a text that are not empty.
func indent(text, by string) string {
	return regexp.MustCompile(`(?m)^.`).ReplaceAllString(text, by+"$0")
}
