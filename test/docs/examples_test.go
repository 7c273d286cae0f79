// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// Every command of the exporter among the examples has flags that the exporter has, with values of their kind.
func TestExamples_Flags(t *testing.T) {
	commands := map[string][]string{
		"the Dockerfile's HEALTHCHECK": dockerfileHealthcheck(t),
		"the systemd unit":             unitOptions(t),
		"the Deployment":               deploymentArgs(t),
		"the Nomad job":                nomadArgs(t),
		"the Compose file":             composeArgs(t),
	}
	for name, args := range commands {
		if err := checkCommand(args); err != nil {
			t.Errorf("%s: the exporter ends after %q: %v", name, args, err)
			continue
		}
		if len(args) == 0 {
			t.Errorf("%s has no flags", name)
		}
	}
}

// readExample returns an example.
func readExample(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("examples", name))
	harness.Must(t, err)
	return content
}

func dockerfileHealthcheck(t *testing.T) []string {
	t.Helper()
	content, err := os.ReadFile("Dockerfile")
	harness.Must(t, err)
	m := regexp.MustCompile(`(?m)^HEALTHCHECK .*CMD (\[.*\])$`).FindSubmatch(content)
	if m == nil {
		t.Fatal("the Dockerfile has no HEALTHCHECK")
	}
	var command []string
	harness.Must(t, json.Unmarshal(m[1], &command))
	return command[1:]
}

// unitOptions returns the flags that the Debian package and the drop-in with the token give to the unit.
func unitOptions(t *testing.T) []string {
	t.Helper()
	unit := readExample(t, "systemd/consul_cluster_exporter.service")
	for _, want := range []string{
		"\nEnvironmentFile=-/etc/default/consul_cluster_exporter\n", "\nExecStart=/usr/bin/consul_cluster_exporter $OPTIONS\n", "\nDynamicUser=yes\n",
		"\nProtectSystem=strict\n", "\nCapabilityBoundingSet=\n", "\nNoNewPrivileges=yes\n",
	} {
		if !bytes.Contains(unit, []byte(want)) {
			t.Errorf("the unit has no line %s", strings.TrimSpace(want))
		}
	}
	m := regexp.MustCompile(`(?m)^OPTIONS="(.*)"$`).FindSubmatch(readExample(t, "debian/consul_cluster_exporter.default"))
	if m == nil {
		t.Fatal("the Debian package's file of flags sets no OPTIONS")
	}
	dropIn := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/consul_cluster_exporter (--.*) \$OPTIONS$`).
		FindSubmatch(readExample(t, "systemd/consul_cluster_exporter.service.d/token.conf"))
	if dropIn == nil {
		t.Fatal("the drop-in with the token adds no flag")
	}
	return strings.Fields(string(dropIn[1]) + " " + string(m[1]))
}

func deploymentArgs(t *testing.T) []string {
	t.Helper()
	var deployment struct {
		Spec struct {
			Template struct {
				Spec struct{ Containers []struct{ Args []string } }
			}
		}
	}
	harness.Must(t, yaml.Unmarshal(readExample(t, "kubernetes/deployment.yaml"), &deployment))
	return deployment.Spec.Template.Spec.Containers[0].Args
}

func nomadArgs(t *testing.T) []string {
	t.Helper()
	_, rest, ok := strings.Cut(string(readExample(t, "nomad/consul_cluster_exporter.nomad.hcl")), "args = [")
	list, _, ok2 := strings.Cut(rest, "]")
	if !ok || !ok2 {
		t.Fatal("the Nomad job has no list args")
	}
	var args []string
	for lines := bufio.NewScanner(strings.NewReader(list)); lines.Scan(); {
		if arg := strings.Trim(strings.TrimSpace(lines.Text()), `",`); arg != "" {
			args = append(args, arg)
		}
	}
	return args
}

func composeArgs(t *testing.T) []string {
	t.Helper()
	var compose struct {
		Services map[string]struct{ Command []string }
	}
	harness.Must(t, yaml.Unmarshal(readExample(t, "compose/compose.yaml"), &compose))
	return compose.Services["exporter"].Command
}

// targetLabels are those that the Prometheus Operator gives to each target of a ServiceMonitor.
var targetLabels = []string{"container", "endpoint", "instance", "job", "namespace", "node", "pod", "service"}

// Where one of them is a label of the exporter's own metrics, too, the exporter's has to win: rules and dashboards know no exported_endpoint.
func TestExamples_HonorLabels(t *testing.T) {
	t.Parallel()
	var monitor struct {
		Spec struct {
			Endpoints []struct {
				HonorLabels bool `yaml:"honorLabels"`
			}
		}
	}
	harness.Must(t, yaml.Unmarshal(readExample(t, "kubernetes/servicemonitor.yaml"), &monitor))
	var clashes []string
	for _, f := range collector.AllFamilies() {
		for _, label := range f.Labels {
			if slices.Contains(targetLabels, label) {
				clashes = append(clashes, f.Name+"{"+label+"}")
			}
		}
	}
	if got, want := monitor.Spec.Endpoints[0].HonorLabels, len(clashes) > 0; got != want {
		t.Errorf("honorLabels is %t; %q have labels that the Operator gives to targets", got, clashes)
	}
}

// Prometheus reads the configuration of the Compose file, with the rules where the file mounts them.
func TestExamples_Prometheus(t *testing.T) {
	t.Parallel()
	promtool, err := toolbox.Path("promtool")
	harness.Must(t, err)
	dir := t.TempDir()
	harness.Must(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), readExample(t, "compose/prometheus.yml"), 0o600))
	harness.Must(t, os.CopyFS(filepath.Join(dir, "consul"), os.DirFS("alerts")))
	out, err := exec.CommandContext(t.Context(), promtool, "check", "config", filepath.Join(dir, "prometheus.yml")).CombinedOutput()
	files, globErr := filepath.Glob("alerts/*.yml")
	harness.Must(t, globErr)
	// All of them are rules but the example for Alertmanager.
	if got, want := bytes.Count(out, []byte("rules found")), len(files)-1; err != nil || got != want {
		t.Errorf("promtool finds %d files of rules (%v); want %d:\n%s", got, err, want, out)
	}
}
