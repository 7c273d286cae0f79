// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// In an ordinary week nobody is paged, and there are few warnings.
func TestWeek_Ordinary(t *testing.T) {
	t.Parallel()
	calm(t, promtools[0], ordinary())
}

// Nor in its busiest hour, with scrapes as they are.
func TestWeek_Busy(t *testing.T) {
	t.Parallel()
	for _, tool := range promtools {
		t.Run(tool, func(t *testing.T) {
			t.Parallel()
			calm(t, tool, busy())
		})
	}
}

// calm fails if there is a page, or if there are more than a few warnings.
func calm(t *testing.T, tool string, h history) {
	t.Helper()
	const most = 5
	end := h.length - h.step
	expr := `max_over_time(ALERTS{alertstate="firing",severity!="info"}[7d])`
	fired := runHistories(t, tool, []history{h}, question{at: []time.Duration{end}, expr: expr}).firing[end]
	t.Logf("in %s: %v", h.length, fired)
	for _, a := range fired {
		if a.Labels["severity"] == "critical" {
			t.Errorf("a page: %s", alertKey(a))
		}
	}
	if len(fired) > most {
		t.Errorf("%d warnings; want %d at most: %v", len(fired), most, fired)
	}
}

// question is what is asked of Prometheus, and when; and about which alerts it is asked which annotations they have.
type question struct {
	at        []time.Duration
	expr      string
	alerts    []string
	annotated []time.Duration
}

// answer is what Prometheus says.
type answer struct {
	// firing have the label cluster as well, and not the other ones that tell clusters apart.
	firing map[time.Duration][]alerts.Alert
	// texts are the descriptions of the alerts that fire at some time, by alert and labels.
	texts map[string]string
}

// runHistories has promtool evaluate the pack while histories happen side by side, in steps of one length. It knows no
// way to print results except where they are not those expected, so that nothing is.
func runHistories(t *testing.T, tool string, histories []history, q question) answer {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "rule_files: [%s]\n", strings.Join(ruleFiles(t), ", "))
	fmt.Fprintf(&b, "evaluation_interval: %s\ntests:\n  - interval: %[1]s\n    input_series:\n", histories[0].step)
	for _, h := range histories {
		b.WriteString(h.series(t, usedMetrics(t)))
	}
	b.WriteString("    promql_expr_test:\n")
	for _, at := range q.at {
		fmt.Fprintf(&b, "      - {expr: '%s', eval_time: %s, exp_samples: []}\n", q.expr, at)
	}
	if len(q.annotated) > 0 {
		b.WriteString("    alert_rule_test:\n")
	}
	for _, at := range q.annotated {
		for _, name := range q.alerts {
			fmt.Fprintf(&b, "      - {alertname: %s, eval_time: %s}\n", name, at)
		}
	}
	path := filepath.Join(t.TempDir(), "history_test.yml")
	must.Do(t, os.WriteFile(path, []byte(b.String()), 0o600))
	out, err := exec.CommandContext(t.Context(), must.Get(toolbox.Path(tool))(t), "test", "rules", path).CombinedOutput()
	if failed := new(exec.ExitError); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "FAILED:") && !strings.Contains(string(out), "SUCCESS") {
		t.Fatalf("%s does not run the rules: %s", tool, out)
	}
	return parseAnswer(t, string(out))
}

var (
	evaluated = regexp.MustCompile(`time: (\w+),`)
	sample    = regexp.MustCompile(`\{([^}]*)\} [\d.E+]+`)
	annotated = regexp.MustCompile(`Labels:\{(.*)\}\n *Annotations:\{description=("(?:[^"\\]|\\.)*")`)
	labelPair = regexp.MustCompile(`(\w+)=("(?:[^"\\]|\\.)*")`)
)

// parseAnswer reads what promtool prints about expectations that are not met.
func parseAnswer(t *testing.T, out string) answer {
	t.Helper()
	a := answer{make(map[time.Duration][]alerts.Alert), make(map[string]string)}
	var now time.Duration
	for line := range strings.Lines(out) {
		if m := evaluated.FindStringSubmatch(line); m != nil {
			now = time.Duration(must.Get(model.ParseDuration(m[1]))(t))
		}
		if strings.HasPrefix(strings.TrimSpace(line), "got: {") {
			for _, m := range sample.FindAllStringSubmatch(line, -1) {
				a.firing[now] = append(a.firing[now], parseAlert(t, m[1]))
			}
		}
	}
	for _, m := range annotated.FindAllStringSubmatch(out, -1) {
		a.texts[alertKey(parseAlert(t, m[1]))] = must.Get(strconv.Unquote(m[2]))(t)
	}
	return a
}

func parseAlert(t *testing.T, text string) alerts.Alert {
	t.Helper()
	a := alerts.Alert{Labels: make(map[string]string)}
	for _, m := range labelPair.FindAllStringSubmatch(text, -1) {
		a.Labels[m[1]] = must.Get(strconv.Unquote(m[2]))(t)
	}
	a.Name = a.Labels["alertname"]
	for _, label := range []string{"__name__", "alertname", "alertstate", "datacenter", "job"} {
		delete(a.Labels, label)
	}
	return a
}

// alertKey tells alerts apart.
func alertKey(a alerts.Alert) string {
	key := a.Name
	for _, label := range slices.Sorted(maps.Keys(a.Labels)) {
		key += fmt.Sprintf(" %s=%s", label, a.Labels[label])
	}
	return key
}

func ruleFiles(t *testing.T) (paths []string) {
	t.Helper()
	for _, f := range harness.PackFiles(t, nil) {
		paths = append(paths, must.Get(filepath.Abs(f.Name))(t))
	}
	return paths
}

// usedMetrics are those that the rules read.
func usedMetrics(t *testing.T) map[string]bool {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []struct{ Expr string } }
	}
	must.Do(t, yaml.Unmarshal(joined(t, nil).Content, &file))
	used := make(map[string]bool)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			for _, name := range metricName.FindAllString(notMetrics.ReplaceAllString(r.Expr, " "), -1) {
				used[name] = true
			}
		}
	}
	return used
}

// notOrdinary are the metrics that the rules read and that no exporter has in an ordinary week, with the reason.
var notOrdinary = map[string]string{
	"consul_catalog_failed_node_instances":                 "all nodes are alive, but for one",
	"consul_catalog_overview_service_instances":            "the catalog is read as a whole",
	"consul_exporter_certificate_expiry_timestamp_seconds": "the exporters have no certificates",
	"consul_exporter_certificate_lifetime_seconds":         "the exporters have no certificates",
	"consul_exporter_agent_up":                             "each exporter asks one agent",
	"consul_license_expiry_timestamp_seconds":              "the cluster is of the Community Edition",
	"consul_port_turned_away":                              "no port turns an exporter away",
	"consul_responder_actions_total":                       "there is no responder",
	"consul_server_missing_since_timestamp_seconds":        "no server is missing",
	"consul_server_wan_missing_since_timestamp_seconds":    "no server is missing",
}

// What the rules read is there in an ordinary week.
func TestWeek_Metrics(t *testing.T) {
	t.Parallel()
	p := healthy(t, "a", small)
	for name := range usedMetrics(t) {
		known := fromElsewhere[name] != "" || slices.ContainsFunc(collector.AllFamilies(), func(f collector.FamilyInfo) bool {
			return f.Name == name
		})
		if !known || name == "up" || name == "scrape_duration_seconds" {
			continue
		}
		if there := len(p[name]) > 0; there == (notOrdinary[name] != "") {
			t.Errorf("%s is there in an ordinary week: %v; reason why not: %q", name, there, notOrdinary[name])
		}
	}
}
